//! Sync messages of version 1.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dataplane_fuzz::sync::v1(bytes));
