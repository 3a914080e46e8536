//! One located message: what happened, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

/// A place in a file an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file's name as the operator gave it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in octets, from 1.
    pub column: u32,
}

impl Position {
    /// A place in `file`; line and column count from 1.
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// What was read cannot be used.
    Error,
    /// It can be used, and probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One message to an operator.
///
/// Its text form is `file:line:column: error: what happened`, then `  help: what to do` on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// Where; `None` when no file is concerned.
    pub position: Option<Position>,
    /// What happened: lower case, no final stop, values in backquotes.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `position`.
    pub fn error(position: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, position: position.into(), message: message.into(), help: None }
    }

    /// A warning at `position`.
    pub fn warning(position: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(position, message) }
    }

    /// The same message with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_has_place_severity_message_and_help() {
        let diagnostic = Diagnostic::error(Position::new("zones/a.zone", 12, 9), "no weight above 0").help("give one");
        assert_eq!(diagnostic.to_string(), "zones/a.zone:12:9: error: no weight above 0\n  help: give one");
        assert_eq!(Diagnostic::warning(None, "odd").to_string(), "warning: odd");
    }
}
