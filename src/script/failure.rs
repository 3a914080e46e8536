//! Why a run made no records, and how Luau's errors become that.

use std::sync::Arc;

use super::program::Program;
use super::sandbox::CHUNK;
use crate::diagnostic::Position;

/// How much of what happened is told, in characters: an error may be as long as a script can make a string.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a run made no records.
pub struct Failure {
    /// Which script failed.
    pub program: Arc<Program>,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, for the log.
    pub message: String,
    /// Where in the zone file.
    pub position: Position,
    /// How many bits of the client subnet were looked at.
    pub scope: u8,
}

/// What kind of failure a run ended in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// It used up its steps, time, memory, or a bound on sizes.
    Budget,
    /// It raised an error.
    Error,
    /// It returned something that is no RDATA of its type.
    Value,
    /// It needs a look-up that has not ended; no failure for anybody who can wait.
    Await,
    /// It asked for what its zone may not do.
    Denied,
    /// It did not run: it rests after a run that used up its budget.
    Resting,
    /// It did not run: the worker is asked for more than it has time for.
    Shed,
}

/// As much of a message as is told.
pub(super) fn bounded(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A line of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Which program's, if it was included; `None` for the one that runs.
    pub(super) included: Option<u64>,
    /// The line, from 1.
    pub(super) line: usize,
}

/// The place in a script and the words of an error, for an operator.
///
/// Luau puts a place in front of the words: `script:3: what happened`, `script#17:3:` in what was included. An error that a builtin or the prelude raises
/// has the script's line only in the trace of calls behind it.
pub(super) fn describe(error: &mlua::Error) -> (Option<Place>, String) {
    let (text, trace) = match error {
        mlua::Error::CallbackError { cause, traceback } => (describe(cause).1, Some(traceback)),
        mlua::Error::WithContext { cause, .. } => return describe(cause),
        // The compiler names no chunk, and its columns are not those of the zone file.
        mlua::Error::SyntaxError { message, .. } => (without_columns(&format!("{CHUNK}:{message}")), None),
        mlua::Error::RuntimeError(message) => (message.clone(), None),
        other => (other.to_string(), None),
    };
    let first = text.lines().next().unwrap_or_default();
    let after_chunk = [CHUNK, "prelude"].iter().find_map(|chunk| Some(after_number(first.strip_prefix(chunk)?).1));
    let after_chunk = after_chunk.and_then(|rest| rest.strip_prefix(':'));
    let words = after_chunk.and_then(|rest| rest.split_once(':')).map_or(first, |(_, words)| words);
    let place = place_in(&text).or_else(|| place_in(trace?));
    (place, words.trim().to_owned())
}

/// A message of the compiler without the columns it names.
fn without_columns(message: &str) -> String {
    let mut parts = message.split(" at column ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|character: char| character.is_ascii_digit()))
}

/// The first place in a script that a text names.
pub(super) fn place_in(text: &str) -> Option<Place> {
    text.match_indices(CHUNK).find_map(|(at, _)| {
        let (included, rest) = after_number(&text[at + CHUNK.len()..]);
        Some(Place { included, line: leading_number(rest.strip_prefix(':')?)? })
    })
}

/// The number behind `#`, if the text begins so, and the rest.
fn after_number(text: &str) -> (Option<u64>, &str) {
    let Some(numbered) = text.strip_prefix('#') else { return (None, text) };
    let end = numbered.find(|character: char| !character.is_ascii_digit()).unwrap_or(numbered.len());
    numbered[..end].parse().map_or((None, text), |number| (Some(number), &numbered[end..]))
}

/// The first line of a chunk that a text names.
pub(super) fn line_in(chunk: &str, text: &str) -> Option<usize> {
    text.match_indices(chunk).find_map(|(at, _)| leading_number(text[at + chunk.len()..].strip_prefix(':')?))
}

/// The number a text begins with.
fn leading_number(text: &str) -> Option<usize> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}
