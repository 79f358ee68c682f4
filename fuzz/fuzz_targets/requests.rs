//! What clients of a proxy send, in pieces: `cargo +nightly fuzz run requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rmr::fuzz_requests(bytes));
