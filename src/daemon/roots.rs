//! Reads the file of root certificates that checks verify by, beside those of the system.

use std::fs;
use std::io::Read;

use crate::config::{Config, ROOTS_OCTETS_MAX};
use crate::diagnostic::{Diagnostic, Position};
use crate::health::tls::{self, Roots, Unreadable};

/// Reads every certificate of `health.ca-file`.
pub fn read(config: &Config) -> Result<Roots, Vec<Diagnostic>> {
    let path = &config.health.ca_file;
    if path.as_os_str().is_empty() {
        return Ok(Roots::new());
    }
    let mut octets = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(ROOTS_OCTETS_MAX + 1).read_to_end(&mut octets));
    let unreadable = |why: String| {
        let message = format!("`health.ca-file`: cannot read `{}`: {why}", path.display());
        vec![Diagnostic::error(None, message).help("name a file of certificates in PEM form")]
    };
    read.map_err(|error| unreadable(error.kind().to_string()))?;
    if octets.len() as u64 > ROOTS_OCTETS_MAX {
        return Err(unreadable(format!("it has more than {ROOTS_OCTETS_MAX} octets")));
    }
    tls::roots(&octets).map_err(|Unreadable { line, what }| {
        let position = Position::new(path.display().to_string(), line, 1);
        let help = "`health.ca-file` holds root certificates in PEM form, one after the other";
        vec![Diagnostic::error(position, what).help(help)]
    })
}
