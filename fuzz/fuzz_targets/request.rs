//! See `tests/fuzzed/request.rs`, which the tests run as well.

#![no_main]

mod support;
#[path = "../../tests/fuzzed/request.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| target::check(octets));
