//! See `tests/fuzzed/framing.rs`, which the tests run as well.

#![no_main]

#[path = "../../tests/fuzzed/framing.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| target::check(octets));
