//! The file in which what is known of targets outlives the process: read at the start, written ever after.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::replace::{clean_up, replace};
use super::{blocking, wall};
use crate::config::Health;
use crate::health::state::{self, LINE_OCTETS_MAX, Remembered};
use crate::health::table::Table;
use crate::source::{Refusal, read_regular};

/// How long after a flip the file is written: targets fall together.
const SETTLE: Duration = Duration::from_secs(1);
/// How often it is written without one, at the least often.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is written in the time for which it counts, at the least often.
const TIMES_IN_AGE: u32 = 4;

/// Who writes what is known of targets.
pub struct Keeper {
    file: PathBuf,
    table: Arc<Table>,
    /// The longest pause between two times.
    pause: Duration,
    flipped: Notify,
    /// Held while the file is written, so that who comes last writes the newest.
    turn: Mutex<()>,
    /// Whether the last time failed, which is told once.
    failing: AtomicBool,
}

impl Keeper {
    /// A keeper of what a table knows. The file is not touched yet.
    pub fn new(file: PathBuf, table: Arc<Table>, age_max: Duration) -> Self {
        let pause = (age_max / TIMES_IN_AGE).min(PAUSE_MAX);
        Self { file, table, pause, flipped: Notify::new(), turn: Mutex::default(), failing: AtomicBool::new(false) }
    }

    /// Notes that a state has changed.
    pub fn note_flip(&self) {
        self.flipped.notify_one();
    }

    /// Writes the file soon after each flip, and every so often, until it is dropped.
    pub async fn keep_up(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.flipped.notified() => tokio::time::sleep(SETTLE.min(self.pause)).await,
                () = tokio::time::sleep(self.pause) => {}
            }
            let keeper = Arc::clone(&self);
            blocking(move || keeper.save()).await;
        }
    }

    /// Writes the file; warns if that fails and did not before. Blocks.
    pub fn save(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let now = wall().as_secs();
        let written = replace(&self.file, &state::print(&self.table.known(now), now));
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Err(error) if !failed_before => {
                let help = "make its directory writable for the user that runs perigee, or set `health.state-file`";
                tracing::warn!(file = %self.file.display(), %error, help, "states are not kept for the next start");
            }
            Ok(()) if failed_before => tracing::info!(file = %self.file.display(), "states are kept again"),
            Err(_) | Ok(()) => {}
        }
    }
}

/// Hands the table what an earlier process knew; returns who keeps it from now on, if there is a file for it. Blocks.
///
/// What cannot be read never stops a start: it is passed over with a warning.
pub fn open(config: &Health, table: &Arc<Table>) -> Option<Arc<Keeper>> {
    let file = Some(&config.state_file).filter(|file| !file.as_os_str().is_empty())?;
    clean_up(file);
    let octets_max = config.checks_max.saturating_add(1).saturating_mul(LINE_OCTETS_MAX);
    match recall(file, octets_max, config) {
        Ok(None) => {}
        Ok(Some(Remembered { kept, old, broken })) => {
            if broken > 0 {
                tracing::warn!(file = %file.display(), broken, "lines of states cannot be read and are passed over");
            }
            tracing::info!(file = %file.display(), checks = kept.len(), old, "states of an earlier start taken up");
            table.restore(kept);
        }
        Err(why) => tracing::warn!(file = %file.display(), why, "states of an earlier start are passed over"),
    }
    Some(Arc::new(Keeper::new(file.clone(), Arc::clone(table), config.state_age_max)))
}

/// Reads what counts of a file; `None` if there is no file, and why if nothing counts.
fn recall(file: &Path, octets_max: usize, config: &Health) -> Result<Option<Remembered>, String> {
    let octets = match read_regular(file, octets_max) {
        Ok(octets) => octets,
        Err(Refusal::Absent) => return Ok(None),
        Err(refusal @ (Refusal::NotAFile(_) | Refusal::TooLarge | Refusal::System(_))) => {
            return Err(refusal.to_string());
        }
    };
    let remembered = state::parse(&octets, wall().as_secs(), config.state_age_max, config.checks_max);
    remembered.map(Some).map_err(|useless| useless.to_string())
}
