//! VRRP advertisements of both versions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane_fuzz::vrrp::advertisement(bytes));
