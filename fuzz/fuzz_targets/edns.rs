//! See `tests/fuzzed/edns.rs`, which the tests run as well.

#![no_main]

mod support;
#[path = "../../tests/fuzzed/edns.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| target::check(octets));
