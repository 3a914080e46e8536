//! `perigee serve`: serves until it is told to stop.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::config::{Config, Format, Level, Log};
use crate::daemon;
use crate::diagnostic::Diagnostic;

/// Serves by the configuration at a path, or the one found without; exits with 1 if that cannot be done.
pub fn run(config: Option<&Path>) -> ExitCode {
    let result = Config::load(config, std::env::vars_os()).and_then(|(config, warnings)| {
        start_log(&config.log);
        for Diagnostic { position, message, help, .. } in warnings {
            let position = position.map(|position| position.to_string());
            tracing::warn!(position, help, "{message}");
        }
        daemon::run(&config)
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
    let lines = tracing_subscriber::fmt().with_max_level(level).with_ansi(colours).with_writer(io::stderr);
    match log.format {
        Format::Text => lines.init(),
        // Without the module: it would be a second `target` beside the one that is probed.
        Format::Json => lines.with_target(false).json().flatten_event(true).init(),
    }
}
