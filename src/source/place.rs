//! Which zone files there are, and for which zones.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use crate::config;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::Name;
use crate::dns::name::NameError;

/// What the file of a zone ends with.
const SUFFIX: &[u8] = b".zone";

/// All places zones are to come from.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The places of each zone, in their order; more than one is a mistake.
    pub(super) zones: HashMap<Name, Vec<Place>>,
    /// What could not be made sense of.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether the directory was read; if not, nothing can be said of the zones that came from it.
    pub(super) directory_was_read: bool,
}

/// Where one zone is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The zone file.
    pub(super) path: PathBuf,
    /// Who says so.
    pub(super) origin: Origin,
}

/// Who says that a file holds a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Its name in the directory: without the file there is no zone.
    Directory,
    /// A `[[zone]]` at this position: without the file there is a mistake.
    Configured(Option<Position>),
}

impl Place {
    /// The line of the configuration that names it.
    pub(super) fn position(&self) -> Option<Position> {
        match &self.origin {
            Origin::Directory => None,
            Origin::Configured(position) => position.clone(),
        }
    }
}

impl Places {
    /// Looks at the directory and at what is configured.
    pub(super) fn find(zones: &config::Zones, configured: &[config::Zone]) -> Self {
        let mut places = Self::default();
        for zone in configured {
            let Some(path) = zone.file.clone() else { continue };
            let place = Place { path, origin: Origin::Configured(zone.position.clone()) };
            places.zones.entry(zone.name.clone()).or_default().push(place);
        }
        let directory = &zones.directory;
        if directory.as_os_str().is_empty() {
            places.directory_was_read = true;
        } else {
            match places.read_directory(directory) {
                Ok(()) => {
                    places.directory_was_read = true;
                    places.find_settings_of_none(configured);
                }
                Err(error) => places.diagnostics.push(unreadable(directory, &error, configured)),
            }
        }
        places
    }

    /// Warns of settings for a zone that is not there. It may still come: that is no reason not to serve the others.
    fn find_settings_of_none(&mut self, configured: &[config::Zone]) {
        for zone in configured.iter().filter(|zone| zone.file.is_none() && !self.zones.contains_key(&zone.name)) {
            let message = format!("there is no zone `{}` for the settings of this `[[zone]]`", zone.name);
            let help = format!("put it into `zones.directory` as `{}zone`, or say where it is with `file`", zone.name);
            self.diagnostics.push(Diagnostic::warning(zone.position.clone(), message).help(help));
        }
    }

    fn read_directory(&mut self, directory: &Path) -> io::Result<()> {
        let mut paths = std::fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        // The system lists them in any order; messages had better have one.
        paths.sort();
        for path in paths {
            match path.file_name().and_then(zone_of) {
                None => {}
                Some(Ok(name)) => {
                    self.zones.entry(name).or_default().push(Place { path, origin: Origin::Directory });
                }
                Some(Err(error)) => {
                    let message = format!("`{}` is not called after a zone: {error}", path.display());
                    let help = "call it by the zone's name, as in `example.org.zone`; `/` is written `\\047`";
                    self.diagnostics.push(Diagnostic::error(None, message).help(help));
                }
            }
        }
        Ok(())
    }
}

/// The zone a file in the directory holds, by its name; `None` if it is no zone file.
///
/// `root.zone` is the root. A final dot before the suffix changes nothing else, and so `root..zone` is the zone `root`.
pub fn zone_of(file_name: &OsStr) -> Option<Result<Name, NameError>> {
    let octets = file_name.as_encoded_bytes();
    // Hidden files, and the locks and copies that editors make.
    if octets.starts_with(b".") || octets.starts_with(b"#") {
        return None;
    }
    let name = octets.strip_suffix(SUFFIX)?;
    Some(match name {
        b"root" => Ok(Name::root()),
        // It would stand for an origin, of which there is none.
        b"@" => Err(NameError::NoOrigin),
        name => Name::parse_absolute(name),
    })
}

/// The directory could not be read: a mistake if zones were to come from it alone.
fn unreadable(directory: &Path, error: &io::Error, configured: &[config::Zone]) -> Diagnostic {
    let path = directory.display();
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no zones directory `{path}`"),
        kind => format!("the zones directory `{path}` cannot be read: {kind}"),
    };
    let help = "create it, or set `zones.directory`; `\"\"` stands for none";
    if configured.iter().all(|zone| zone.file.is_none()) {
        Diagnostic::error(None, message).help(help)
    } else {
        Diagnostic::warning(None, message).help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_after_its_zone() {
        let rows = [
            ("example.org.zone", Some(Ok("example.org."))),
            ("Example.ORG.zone", Some(Ok("example.org."))),
            ("example.org..zone", Some(Ok("example.org."))),
            ("org.zone", Some(Ok("org."))),
            ("root.zone", Some(Ok("."))),
            ("root..zone", Some(Ok("root."))),
            ("0\\04725.2.0.192.in-addr.arpa.zone", Some(Ok("0\\04725.2.0.192.in-addr.arpa."))),
            ("a..b.zone", Some(Err(NameError::EmptyLabel))),
            ("@.zone", Some(Err(NameError::NoOrigin))),
            (".zone", None),
            (".example.org.zone", None),
            (".#example.org.zone", None),
            ("#example.org.zone#", None),
            ("#example.org.zone", None),
            ("example.org.zone~", None),
            (".example.org.zone.swp", None),
            ("example.org.zone.swp", None),
            ("example.org.zone.bak", None),
            ("example.org", None),
            ("zone", None),
        ];
        for (file_name, expected) in rows {
            let expected = expected.map(|result| result.map(|name| name.parse::<Name>().expect("well-formed")));
            assert_eq!(zone_of(OsStr::new(file_name)), expected, "{file_name}");
        }
    }
}
