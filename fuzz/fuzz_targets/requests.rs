//! Fuzzes the requests of a proxy's clients, in pieces: `cargo +nightly fuzz run requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rmr::fuzz_requests(bytes));
