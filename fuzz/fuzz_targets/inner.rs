//! Requests and answers of inner commands, as somebody else may have made them: `cargo +nightly fuzz run inner`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rmr::fuzz_inner(bytes));
