//! `perigee override`: says what to hold of targets, whatever their probes say, and takes it back.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::daemon::overrides;
use crate::diagnostic::Diagnostic;
use crate::health::overrides::{Override, Subject};
use crate::health::sentence::{self, Fault};

/// What `perigee override` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Prints what is said, line by line
    List,
    /// Says something, in the place of what was said of the same
    Add(Said),
    /// Takes back what is said of something
    Remove(Unsaid),
}

#[derive(Args, Debug)]
struct Said {
    /// What it is about: target, check, zone or record
    kind: String,
    /// Which: an address, a network, a name, or a pattern with `*` and `?`
    which: String,
    /// What is said: up, down, drain or pause; then, as it may be: for 2h, until TIME, by NAME, because REASON
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "ACTION")]
    words: Vec<String>,
}

#[derive(Args, Debug)]
struct Unsaid {
    /// What it is about: target, check, zone or record
    #[arg(required_unless_present = "expired", requires = "which")]
    kind: Option<String>,
    /// Which, as it was said
    which: Option<String>,
    /// Takes out all that has expired
    #[arg(long, conflicts_with = "kind")]
    expired: bool,
}

/// Reads or changes the file that the configuration names; exits with 1 if that cannot be done.
pub fn run(config: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let told = Config::load(config, std::env::vars_os()).and_then(|(config, _)| {
        let file = file(&config)?;
        match &arguments.command {
            Command::List => list(&file),
            Command::Add(said) => add(&file, said),
            Command::Remove(unsaid) => remove(&file, unsaid),
        }
    });
    match told {
        Ok(text) => {
            // Whoever stops reading, as `head` does, has read enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            diagnostics.iter().for_each(|diagnostic| eprintln!("{diagnostic}"));
            ExitCode::FAILURE
        }
    }
}

/// Where overrides stand.
fn file(config: &Config) -> Result<PathBuf, Vec<Diagnostic>> {
    let file = Some(&config.health.overrides_file).filter(|file| !file.as_os_str().is_empty());
    file.cloned().ok_or_else(|| {
        let help = "set `health.overrides-file` in the configuration, and name that with `--config` if need be";
        vec![Diagnostic::error(None, "there is no file for overrides").help(help)]
    })
}

fn list(file: &Path) -> Result<String, Vec<Diagnostic>> {
    let now = now();
    let remark = |said: &Override| if said.holds_at(now) { "" } else { "# expired: " };
    Ok(overrides::read(file)?.overrides().map(|said| format!("{}{said}\n", remark(said))).collect())
}

fn add(file: &Path, Said { kind, which, words }: &Said) -> Result<String, Vec<Diagnostic>> {
    let line = format!("{kind} {which} => {}", words.join(" "));
    let said =
        sentence::parse_said(&line, now()).map_err(|faults| faults.into_iter().map(explain).collect::<Vec<_>>())?;
    let said = said.ok_or_else(|| vec![Diagnostic::error(None, "a remark says nothing")])?;
    let author = said.author.clone().or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()));
    let said = Override { author, ..said };
    let told = format!("{said}\n");
    overrides::edit(file, |sheet| sheet.add(said)).map(|_| told)
}

fn remove(file: &Path, Unsaid { kind, which, expired }: &Unsaid) -> Result<String, Vec<Diagnostic>> {
    let subject = match (kind, which) {
        (Some(kind), Some(which)) if !expired => Some(subject(&format!("{kind} {which}"))?),
        _ => None,
    };
    let (_, count) = overrides::edit(file, |sheet| match &subject {
        None => Ok(sheet.remove_expired(now())),
        Some(subject) => match sheet.remove(subject) {
            0 => {
                let message = format!("nothing is said of `{subject}`");
                Err(Diagnostic::error(None, message).help("`perigee override list` prints what is"))
            }
            count => Ok(count),
        },
    })?;
    Ok(format!("{count} taken out\n"))
}

fn subject(text: &str) -> Result<Subject, Vec<Diagnostic>> {
    sentence::parse_subject(text).map_err(|fault| vec![explain(fault)])
}

fn explain(fault: Fault) -> Diagnostic {
    Diagnostic::error(None, fault.message).help(fault.help)
}

/// The time, in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
