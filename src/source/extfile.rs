//! Files of states: which are read, and what is told of a bad one.

use std::path::Path;
use std::sync::Arc;

use super::collection::{Collection, Errors, Form};
use crate::config::{STATES_MAX, STATES_OCTETS_MAX};
use crate::diagnostic::{Diagnostic, Position};
use crate::health::extfile::States;

/// What a file of states is.
const FORM: &Form<States> = &Form {
    suffix: ".states",
    noun: "file of states",
    key: "health.file-dir",
    files_max: STATES_MAX,
    octets_max: STATES_OCTETS_MAX,
    parse,
};

/// The files of states of a directory, each as it was last found sound.
pub type StateSource = Collection<States>;

impl StateSource {
    /// Takes a directory, which need not exist; an empty path for none. Nothing is read yet.
    pub fn new(directory: &Path) -> Self {
        Self::of(directory, FORM)
    }
}

/// Reads the text of a file of states; tells every line that is none.
fn parse(file: &Arc<str>, text: &[u8]) -> Result<States, Vec<Diagnostic>> {
    let mut errors = Errors::default();
    let states = States::read(text, |fault| {
        let position = Position::new(file.clone(), fault.line, fault.column);
        errors.add(Diagnostic::error(position, fault.message).help(fault.help));
    });
    errors.end(file, FORM.noun)?;
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_broken_file_keeps_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.states");
        let mut source = StateSource::new(directory.path());
        let is_up = |source: &StateSource| source.held()["web"].get("a").map(|said| said.up);
        let good = "a => up\n";
        let bad = "a => down\n\n  b => sideways\n";
        fs::write(&path, good).unwrap();
        assert!(source.read(&[]).diagnostics.is_empty());
        fs::write(&path, bad).unwrap();
        let told: Vec<_> = source.read(&[]).diagnostics.iter().map(ToString::to_string).collect();
        let expected = "web.states:3:8: error: `sideways` is no state\n  help: write `ENTRY => up` or `ENTRY => down`, \
                        and a weight behind it if there is one";
        assert_eq!(told.len(), 1);
        assert!(told[0].ends_with(expected), "{}", told[0]);
        assert_eq!(is_up(&source), Some(true));
        fs::write(&path, "a => down\n").unwrap();
        assert!(source.read(&[]).diagnostics.is_empty());
        assert_eq!(is_up(&source), Some(false));
    }
}
