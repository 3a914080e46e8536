//! What holds for any octets whatever: the targets of `fuzz/`, and what it has found worth keeping, run as tests.
//!
//! Each file has one `check`, which panics where a rule is broken. `fuzz/run.py` looks for octets that break one, and keeps
//! in `tests/data/corpus` a small set that reaches all the code that any did, one input a line.

mod edns; // options of EDNS in an OPT record
mod framing; // what a client sends on a stream, in any pieces
mod rdata; // data of records, from octets to text and from text to octets
mod request; // a message by either transport
mod zone_text; // a zone file

use std::path::Path;

use data_encoding::BASE64;

/// Runs a check on every input that is kept for it.
fn run(target: &str, check: fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/corpus/{target}.txt"));
    let lines = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut inputs = 0;
    for (index, line) in lines.lines().enumerate() {
        let octets = BASE64.decode(line.as_bytes());
        let octets = octets.unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), index + 1));
        let whole = std::panic::catch_unwind(|| check(&octets));
        whole.unwrap_or_else(|_| panic!("{}:{}: breaks a rule", path.display(), index + 1));
        inputs += 1;
    }
    assert!(inputs > 10, "{} has {inputs} inputs", path.display());
}

#[test]
fn any_message_is_answered_by_the_rules_or_not_at_all() {
    run("request", request::check);
}

#[test]
fn any_options_are_answered_by_the_rules() {
    run("edns", edns::check);
}

#[test]
fn any_zone_text_is_read_or_refused() {
    run("zone_text", zone_text::check);
}

#[test]
fn any_data_keeps_its_octets_and_its_text() {
    run("rdata", rdata::check);
}

#[test]
fn any_pieces_of_a_stream_are_the_same_messages() {
    run("framing", framing::check);
}
