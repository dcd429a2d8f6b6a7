//! Sync messages of version 0.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane_fuzz::sync::v0(bytes));
