//! Any octets as a zone file: nothing panics, and what is written reads back as the same records.

use perigee::zone::check;
use perigee::zone::lexer::fields;
use perigee::zone::parser::{Included, Input, Options, parse};

/// Reads a zone file that includes itself, writes its records and reads them again.
pub(crate) fn check(text: &[u8]) {
    let apex: perigee::dns::Name = "example.com.".parse().expect("a well-formed name");
    // A little, so that the time does not go into long `$GENERATE`.
    let options = Options { generated_octets_max: 4_000, ..Options::new(apex.clone()) };
    let mut depth = 0;
    let mut include = |path: &str, _: &_| {
        depth += 1;
        if depth > 4 {
            return Err("enough".to_owned());
        }
        Ok(Included { file: format!("{path}{depth}").into(), text: text.to_vec() })
    };
    let parsed = parse(&Input { file: "fuzz".into(), text }, &options, &mut include);
    check::check(&apex, &parsed.records);
    let _ = fields(text);

    let written: Vec<String> = parsed.records.iter().map(ToString::to_string).collect();
    let again = parse(&Input { file: "again".into(), text: written.join("\n").as_bytes() }, &options, &mut include);
    let read: Vec<String> = again.records.iter().map(ToString::to_string).collect();
    assert_eq!(written, read, "{:?}", again.diagnostics);
}
