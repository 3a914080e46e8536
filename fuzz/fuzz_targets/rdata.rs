//! See `tests/fuzzed/rdata.rs`, which the tests run as well.

#![no_main]

#[path = "../../tests/fuzzed/rdata.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| target::check(octets));
