//! What a script writes to the log.

use super::failure::bounded;

/// A line that a script writes to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What it says, on one line.
    pub text: String,
}

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Emergency, alert, critical and error.
    Error,
    /// Warning.
    Warning,
    /// Notice and info.
    Info,
    /// Debug.
    Debug,
}

impl Note {
    /// A line with a level as syslog numbers it (RFC 5424 section 6.2.1), of as much of a text as is told.
    pub(super) fn new(level: i64, text: String) -> Self {
        let level = match level {
            ..=3 => Level::Error,
            4 => Level::Warning,
            5 | 6 => Level::Info,
            7.. => Level::Debug,
        };
        // A text with a line end in it could pass for another line of the log.
        let is_plain = |character: char| !character.is_control();
        let text = bounded(text);
        let text = if text.chars().all(is_plain) { text } else { text.escape_debug().to_string() };
        Self { level, text }
    }
}
