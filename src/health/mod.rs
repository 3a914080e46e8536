//! Is a target up: what to probe, what one probe said, and what is held to be true.
//!
//! Read `check` (what to probe) and `verdict` (what one probe said), then `table` (where scripts and the checker
//! meet), `hysteresis` (verdicts to a state), `checker` (when to probe) and `probe` (how). All but `checker`, `probe`,
//! `tls` and `webhook` is pure: it waits for nothing, opens nothing and reads no clock. Absent on purpose: which target to answer
//! with; that is a script's choice.

pub mod check; // what to probe: a check, its kind, and what passes
pub mod checker; // background: when to probe, how many at once, when to forget
pub mod events; // what is told of targets that flip
pub mod extfile; // what others say of targets, in files
pub mod hysteresis; // pure rule: a run of verdicts to a state
pub mod overrides; // what operators say of targets
pub mod probe; // one probe of each kind
pub mod sentence; // one thing an operator says, as a line of text
pub mod sheet; // the lines of a file of overrides
pub mod state; // what is known of targets, as lines that outlive the process
pub mod table; // the shared table of slots: scripts read, the checker writes
pub mod tls; // whose certificates probes accept
pub mod verdict; // what one probe said, and why it failed
pub mod webhook; // flips told to whoever listens

use std::fmt;

pub use check::{Check, Host, Http, Kind, REDIRECTS_MAX, Record, Tls};
pub use verdict::{Reason, Verdict};

/// What is held to be true of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No probe has ended yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl State {
    /// The state in one lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
