//! See `tests/fuzzed/zone_text.rs`, which the tests run as well.

#![no_main]

#[path = "../../tests/fuzzed/zone_text.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| target::check(octets));
