//! `perigee check`: reads configuration and zones, and tells all that is wrong.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::config::{self, Config};
use crate::daemon::places::Places;
use crate::daemon::{candidate, capability, cookies, hook, library, overrides, roots};
use crate::diagnostic::Diagnostic;
use crate::dns::Name;
use crate::source::{self, FileSource, MapSource, StateSource};

/// What `perigee check` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to check: a .toml is a configuration, a directory holds NAME.zone files, anything else is a zone file
    /// [default: the configuration, and all it names]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The zone's name, if the file's own does not tell it
    #[arg(long, value_name = "NAME")]
    pub origin: Option<Name>,
    /// How to tell it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: a message each, and a line that sums up
    Text,
    /// For programs: one object
    Json,
}

/// Checks what it is told to and writes a report to standard output.
///
/// Exits with 1 if there is an error in what was read, and with 2 if the arguments contradict each other.
pub fn run(config: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let subjects: Vec<Subject> = arguments.paths.iter().map(|path| Subject::of(path)).collect();
    let zone_files = subjects.iter().filter(|subject| matches!(subject, Subject::ZoneFile(_))).count();
    if arguments.origin.is_some() && zone_files != 1 {
        let message = "`--origin` names the zone of one zone file: give it with exactly one\n";
        // There is nowhere left to complain if standard error is closed.
        let _ = clap::Error::raw(ErrorKind::ArgumentConflict, message).print();
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    report.add_subjects(config, &subjects, arguments.origin.as_ref());
    let text = match arguments.format {
        Format::Text => report.to_string(),
        Format::Json => format!("{:#}\n", report.to_json()),
    };
    // Whoever stops reading, as `head` does, has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    if report.diagnostics.iter().any(Diagnostic::is_error) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What a path stands for.
enum Subject {
    Configuration(PathBuf),
    Directory(PathBuf),
    ZoneFile(PathBuf),
}

impl Subject {
    fn of(path: &Path) -> Self {
        if path.is_dir() {
            Self::Directory(path.into())
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            Self::Configuration(path.into())
        } else {
            Self::ZoneFile(path.into())
        }
    }
}

/// A configuration with the rules of another, for these zones alone.
fn only(rules: &Config, directory: &Path, zone: Vec<config::Zone>) -> Config {
    let zones = config::Zones { directory: directory.into(), ..rules.zones.clone() };
    Config { zones, zone, ..rules.clone() }
}

/// What was read, and what is wrong with it.
#[derive(Default)]
struct Report {
    zones: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    fn add_subjects(&mut self, config: Option<&Path>, subjects: &[Subject], origin: Option<&Name>) {
        if subjects.is_empty() {
            if let Some(config) = self.add_configuration(config, std::env::vars_os()) {
                self.add_zones(config);
            }
            return;
        }
        // Zones are read by the rules of a configuration that is named; one that merely lies about is not meant.
        let rules = match config {
            Some(path) => self.add_configuration(Some(path), std::env::vars_os()),
            None => Some(Config::default()),
        };
        let rules = rules.unwrap_or_default();
        for subject in subjects {
            match subject {
                Subject::Configuration(path) => {
                    // What the environment overrides is not what the file says.
                    if let Some(config) = self.add_configuration(Some(path), []) {
                        self.add_zones(config);
                    }
                }
                Subject::Directory(path) => {
                    // What is set for zones of a directory holds, and those from elsewhere are not meant.
                    let settings = rules.zone.iter().filter(|zone| zone.file.is_none()).cloned();
                    self.add_zones(only(&rules, path, settings.collect()));
                }
                Subject::ZoneFile(path) => {
                    if let Some(name) = self.zone_name(path, origin) {
                        let settings = rules.zone_of(&name).cloned();
                        let zone = settings.unwrap_or_else(|| config::Zone::new(name));
                        let zone = config::Zone { file: Some(path.clone()), position: None, ..zone };
                        self.add_zones(only(&rules, Path::new(""), vec![zone]));
                    }
                }
            }
        }
    }

    fn add_configuration(
        &mut self,
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Option<Config> {
        let (config, diagnostics) = match Config::load(path, environment) {
            Ok((config, warnings)) => (Some(config), warnings),
            Err(diagnostics) => (None, diagnostics),
        };
        self.diagnostics.extend(diagnostics);
        self.diagnostics.extend(config.iter().flat_map(capability::check));
        self.diagnostics.extend(config.iter().flat_map(hook::check));
        self.diagnostics.extend(config.iter().flat_map(|config| match cookies::read(&config.edns) {
            Ok((_, warnings)) => warnings,
            Err(faults) => faults,
        }));
        let file = config.as_ref().map(|config| &config.health.overrides_file);
        let file = file.filter(|file| !file.as_os_str().is_empty());
        self.diagnostics.extend(file.and_then(|file| overrides::read(file).err()).into_iter().flatten());
        config
    }

    /// Reads the zones of a configuration as a server does that starts.
    fn add_zones(&mut self, config: Config) {
        let library = match library::load(&config) {
            Ok(library) => library,
            // A server would not start, and what scripts miss without it is no news.
            Err(diagnostics) => return self.diagnostics.extend(diagnostics),
        };
        let places = match Places::open(&config) {
            Ok(places) => places.surroundings(),
            Err(diagnostics) => return self.diagnostics.extend(diagnostics),
        };
        self.diagnostics.extend(roots::read(&config).err().into_iter().flatten());
        let mut maps = MapSource::new(&config.lua.map_dir);
        self.diagnostics.extend(maps.read(&[]).diagnostics);
        self.diagnostics.extend(StateSource::new(&config.health.file_dir).read(&[]).diagnostics);
        let beside = places.with_maps(maps.held());
        let (zones, configured) = (config.zones.clone(), config.zone.clone());
        let mut source = FileSource::new(&zones, &configured, move |apex, text, reader| {
            candidate::load(&config, &library, &beside, apex, text, reader)
        });
        let events = source.load_all();
        if events.is_empty() {
            let message = format!("there are no zones in `{}`", zones.directory.display());
            self.diagnostics.push(
                Diagnostic::error(None, message)
                    .help("put a file called `NAME.zone` there, or name one in a `[[zone]]` of the configuration"),
            );
        }
        for event in events {
            self.zones += usize::from(event.name().is_some());
            self.diagnostics.extend_from_slice(event.diagnostics());
        }
    }

    /// The zone that a file holds, as it was told or else by the file's name.
    fn zone_name(&mut self, path: &Path, origin: Option<&Name>) -> Option<Name> {
        if !path.exists() {
            let message = format!("there is no file or directory `{}`", path.display());
            self.diagnostics.push(Diagnostic::error(None, message).help("correct the path"));
            return None;
        }
        if let Some(origin) = origin {
            return Some(origin.clone());
        }
        let message = match path.file_name().and_then(source::zone_of) {
            Some(Ok(name)) => return Some(name),
            Some(Err(error)) => format!("`{}` is not called after a zone: {error}", path.display()),
            None => format!("`{}` does not tell by its name which zone it holds", path.display()),
        };
        self.diagnostics.push(Diagnostic::error(None, message).help("name the zone with `--origin NAME`"));
        None
    }

    /// How many errors, and how many warnings.
    fn counts(&self) -> (usize, usize) {
        let errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        (errors, self.diagnostics.len() - errors)
    }

    fn to_json(&self) -> serde_json::Value {
        let (errors, warnings) = self.counts();
        let diagnostics: Vec<_> = self
            .diagnostics
            .iter()
            .map(|Diagnostic { severity, position, message, help }| {
                json!({
                    "severity": severity.to_string(),
                    "file": position.as_ref().map(|position| &*position.file),
                    "line": position.as_ref().map(|position| position.line),
                    "column": position.as_ref().map(|position| position.column),
                    "message": message,
                    "help": help,
                })
            })
            .collect();
        json!({
            "diagnostics": diagnostics,
            "summary": { "zones": self.zones, "errors": errors, "warnings": warnings },
        })
    }
}

impl fmt::Display for Report {
    /// Writes each diagnostic and a last line that sums up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        let (errors, warnings) = self.counts();
        writeln!(f, "{}, {}, {}", counted(self.zones, "zone"), counted(errors, "error"), counted(warnings, "warning"))
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
