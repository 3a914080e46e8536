//! What is told of targets that flip.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tracing::field::display;

use super::checker::Outcome;
use super::hysteresis::Flip;
use super::table::Table;
use super::{Reason, Record};

/// How many records of a check are told, and how many zones; one check may stand in a million records.
pub const RECORDS_TOLD_MAX: usize = 16;

/// How many characters of a reason or of the name of a check are told. Either may quote what a target said.
const TEXT_CHARS_MAX: usize = 512;

/// Logs a verdict: a flip at level info, whatever else at level debug. Returns what is told of a flip.
pub fn log(outcome: &Outcome, table: &Table) -> Option<Event> {
    let event = Event::of(outcome, table);
    match &event {
        Some(event) => event.log(),
        None => log_quietly(outcome),
    }
    event
}

/// A target that flipped, with all that is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When its probe ended, in seconds since 1970.
    pub at: u64,
    /// The check, as it is written everywhere; on one line.
    pub check: String,
    /// What is probed, if that is an address.
    pub target: Option<String>,
    /// The zones of all its records, each once, sorted.
    pub zones: Vec<String>,
    /// Records that name the check, sorted.
    pub records: Vec<Arc<Record>>,
    /// How many more there are.
    pub records_left_out: usize,
    /// What it was and what it is.
    pub flip: Flip,
    /// Why the probe failed, if it did: in one word, and in words for an operator, on one line.
    pub reason: Option<(&'static str, String)>,
    /// How long the probe took.
    pub took: Duration,
}

impl Event {
    /// What is to be told of a verdict; `None` if nothing flipped.
    pub fn of(outcome: &Outcome, table: &Table) -> Option<Self> {
        let Outcome { slot, took, reason, flip } = outcome;
        let flip = (*flip)?;
        let (check, mut records) = (slot.check(), table.records(slot.check()));
        let mut zones: Vec<String> = records.iter().map(|record| record.zone.clone()).collect();
        zones.sort();
        zones.dedup();
        zones.truncate(RECORDS_TOLD_MAX);
        let records_left_out = records.len().saturating_sub(RECORDS_TOLD_MAX);
        records.truncate(RECORDS_TOLD_MAX);
        Some(Self {
            at: slot.last().at,
            check: on_one_line(check),
            target: check.target().map(|target| target.to_string()),
            zones,
            records,
            records_left_out,
            flip,
            reason: reason.as_ref().map(|reason| (reason.name(), on_one_line(reason))),
            took: *took,
        })
    }

    /// Writes its line into the log.
    fn log(&self) {
        let Self { check, flip: Flip { from, to }, .. } = self;
        let listed = |names: Vec<&str>| Some(names.join(" ")).filter(|names| !names.is_empty()).map(display);
        let target = self.target.as_ref().map(display);
        let zone = listed(self.zones.iter().map(String::as_str).collect());
        let records = listed(self.records.iter().map(|record| &*record.name).collect());
        let left_out = Some(self.records_left_out).filter(|count| *count > 0);
        let (cause, reason) = self.reason.as_ref().map(|(name, text)| (display(name), display(text))).unzip();
        let took_ms = millis(self.took);
        tracing::info!(target, %check, zone, records, left_out, %from, %to, cause, reason, took_ms, "target flips");
    }
}

/// Writes the line of a verdict that changes nothing.
fn log_quietly(Outcome { slot, took, reason, .. }: &Outcome) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (check, target) = (on_one_line(slot.check()), slot.check().target().map(display));
    let cause = reason.as_ref().map(Reason::name).map(display);
    let (reason, took_ms) = (reason.as_ref().map(on_one_line).map(display), millis(*took));
    tracing::debug!(target, %check, state = %slot.state(), cause, reason, took_ms, "target probed");
}

/// A time as logs and receivers count it. A wider number would be a text in logs of JSON.
pub fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// A text on one line, cut where it gets too long.
fn on_one_line(text: &impl Display) -> String {
    let text = text.to_string();
    let mut line = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        if index == TEXT_CHARS_MAX {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_stands_on_one_line_and_ends() {
        let long = "x".repeat(2 * TEXT_CHARS_MAX);
        let rows = [
            ("connection refused", "connection refused".to_owned()),
            ("a\nb\r\x1b[2J", "a\\nb\\r\\u{1b}[2J".to_owned()),
            ("body does not contain `grün`", "body does not contain `grün`".to_owned()),
            (&long, "x".repeat(TEXT_CHARS_MAX) + "…"),
        ];
        for (text, line) in rows {
            assert_eq!(on_one_line(&text), line);
        }
    }
}
