//! The file of overrides: read, and changed line by line.

use std::path::Path;

use super::replace::Replacement;
use crate::diagnostic::{Diagnostic, Position};
use crate::health::sheet::{OCTETS_MAX, Sheet};
use crate::source::{Refusal, read_regular};

/// What was found in the place of the file.
pub enum Found {
    /// Nothing, which says nothing.
    Absent,
    /// Something that cannot be read.
    Unreadable(Diagnostic),
    /// The lines that are sound, and what is wrong with the others.
    Sheet(Sheet, Vec<Diagnostic>),
}

/// Reads the file. Blocks.
pub fn find(path: &Path) -> Found {
    let file = path.display().to_string();
    match read_regular(path, OCTETS_MAX) {
        Ok(octets) => {
            let (sheet, faults) = Sheet::parse(&file, &octets);
            Found::Sheet(sheet, faults)
        }
        Err(Refusal::Absent) => Found::Absent,
        Err(refusal @ (Refusal::NotAFile(_) | Refusal::TooLarge | Refusal::System(_))) => {
            let message = format!("the overrides cannot be read: {refusal}");
            let help =
                format!("it is to be a file of at most {OCTETS_MAX} octets that the user may read who runs perigee");
            Found::Unreadable(Diagnostic::error(Position::new(file, 1, 1), message).help(help))
        }
    }
}

/// Reads the file whole, and tells all that is wrong with it. Blocks.
pub fn read(path: &Path) -> Result<Sheet, Vec<Diagnostic>> {
    match find(path) {
        Found::Absent => Ok(Sheet::default()),
        Found::Unreadable(fault) => Err(vec![fault]),
        Found::Sheet(sheet, faults) if faults.is_empty() => Ok(sheet),
        Found::Sheet(_, faults) => Err(faults),
    }
}

/// Changes the file, or makes it; returns what it says then, and what the change returned. Blocks.
///
/// A file that is not sound is not touched. Nobody else can change it in between who changes it by this.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Sheet) -> Result<T, Diagnostic>,
) -> Result<(Sheet, T), Vec<Diagnostic>> {
    let unwritten = |error: std::io::Error| {
        let message = format!("the overrides in `{}` cannot be written: {error}", path.display());
        vec![Diagnostic::error(None, message).help("run as a user that may write to the file and its directory")]
    };
    let replacement = Replacement::begin(path).map_err(unwritten)?;
    let before = read(path)?;
    let mut sheet = before.clone();
    let changed = change(&mut sheet).map_err(|fault| vec![fault])?;
    if sheet != before {
        replacement.finish(&sheet.to_string()).map_err(unwritten)?;
    }
    Ok((sheet, changed))
}
