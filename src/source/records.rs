//! A zone's text to its records, includes and all.

use super::file::Loaded;
use super::read::{Text, ZoneReader};
use crate::diagnostic::Diagnostic;
use crate::dns::Name;
use crate::zone::Record;
use crate::zone::parser::{Included, Input, Options, parse};

/// Parses the text of the zone `name` and what it includes.
///
/// A [`Load`](super::Load) by itself, and the beginning of one that makes more of the records.
pub fn read_records(name: &Name, text: &Text, reader: &mut ZoneReader) -> Loaded<Vec<Record>> {
    let input = Input { file: text.file.clone(), text: &text.octets };
    let parsed = parse(&input, &Options::new(name.clone()), &mut |path, position| {
        reader
            .include(&position.file, path)
            .map(|Text { file, octets }| Included { file, text: octets })
            .map_err(|error| error.to_string())
    });
    if parsed.diagnostics.iter().any(Diagnostic::is_error) {
        Err(parsed.diagnostics)
    } else {
        Ok((parsed.records, parsed.diagnostics))
    }
}
