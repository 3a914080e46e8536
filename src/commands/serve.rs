//! `perigee serve`: serves until it is told to stop.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, Format, Level, Log};
use crate::daemon;
use crate::diagnostic::Diagnostic;

/// Serves by the configuration at a path, or the one found without; exits with 1 if that cannot be done.
///
/// `begin_threads` is called before the first thread is started, with no more rights than that may have.
pub fn run(config: Option<&Path>, begin_threads: fn()) -> ExitCode {
    let result = Config::load(config, std::env::vars_os()).and_then(|(config, warnings)| {
        start_log(&config.log);
        for Diagnostic { position, message, help, .. } in warnings {
            let position = position.map(|position| position.to_string());
            tracing::warn!(position, help, "{message}");
        }
        daemon::run(&config, begin_threads)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                eprintln!("{diagnostic}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Sends log lines to standard error.
fn start_log(log: &Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Colours are for a terminal: files and journals would keep their codes.
    let colours = io::stderr().is_terminal();
    // A line that cannot be written is lost. To complain of it on the same standard error would be a panic.
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(io::stderr).log_internal_errors(false);
    let wanted = tracing_subscriber::registry().with(wanted(level));
    match log.format {
        Format::Text => wanted.with(lines).init(),
        // Without the module: it would be a second `target` beside the one that is probed.
        Format::Json => wanted.with(lines.with_target(false).json().flatten_event(true)).init(),
    }
}

/// Which lines are written: those of the level.
///
/// A library calls it an error, in a line for each probe, when a certificate does not hold. The line about the target
/// that flips says so once.
fn wanted(level: LevelFilter) -> Targets {
    Targets::new().with_default(level).with_target("rustls_platform_verifier", LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_does_not_hold_is_told_by_its_target_alone() {
        let wanted = wanted(LevelFilter::INFO);
        let rows = [
            ("perigee::health::events", tracing::Level::INFO, true),
            ("perigee::health::events", tracing::Level::DEBUG, false),
            ("rustls_platform_verifier::verification::others", tracing::Level::ERROR, false),
        ];
        for (module, level, is_wanted) in rows {
            assert_eq!(wanted.would_enable(module, &level), is_wanted, "{module} {level}");
        }
    }
}
