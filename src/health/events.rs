//! What is told of targets that flip.

use super::checker::Outcome;
use super::hysteresis::Flip;
use super::table::Table;
use tracing::field::display;

/// How many records of a check are told.
const RECORDS_TOLD_MAX: usize = 8;

/// Logs a verdict: a flip at level info, whatever else at level debug.
pub fn log(outcome: &Outcome, table: &Table) {
    let Outcome { slot, took, reason, flip } = outcome;
    let check = slot.check();
    let target = check.target().map(display);
    let (reason, took_ms) = (reason.as_ref().map(display), took.as_millis());
    let Some(Flip { from, to }) = flip else {
        tracing::debug!(target, %check, state = %slot.state(), reason, took_ms, "target probed");
        return;
    };
    let records = table.records(check);
    let zone = records.first().map(|record| display(record.zone.clone()));
    let names: Vec<&str> = records.iter().take(RECORDS_TOLD_MAX).map(|record| &*record.name).collect();
    let names = Some(names.join(" ")).filter(|names| !names.is_empty()).map(display);
    tracing::info!(target, %check, zone, records = names, %from, %to, reason, took_ms, "target flips");
}
