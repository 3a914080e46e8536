//! What operators say, in force: taken from their file, published, and ended when its time is over.

use std::collections::HashSet;
use std::future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tracing::field::display;

use super::overrides::{self, Found};
use super::replace::clean_up;
use super::{blocking, log_diagnostics};
use crate::diagnostic::Diagnostic;
use crate::health::overrides::{Override, Overrides, Subject};
use crate::health::table::Table;
use crate::source::{Reloads, Watched};

/// How long the wait for an end may be before the clock is looked at again: somebody may set it.
const CLOCK_LOOK: Duration = Duration::from_secs(60);

/// Where overrides are said and taken back, by their file or by calls.
///
/// What is said by a call stands in the file, too, so that it outlives the process. Calls block, for as long as a file
/// takes to be written.
pub struct Desk {
    file: PathBuf,
    table: Arc<Table>,
    clock: Wall,
    board: Mutex<Board>,
    /// Rings when something else may be the next to end.
    renewed: Notify,
}

/// A clock that tells the time since 1970.
pub type Wall = Box<dyn Fn() -> Duration + Send + Sync>;

/// What is known at the desk. Locked while the file is read or written, so that what is published is the newest.
#[derive(Default)]
struct Board {
    /// What the file says, as it was last found sound.
    known: Vec<Override>,
    /// What of that has not ended.
    in_force: Vec<Override>,
    /// Whether the file was read before.
    was_read: bool,
    /// Whether there was one.
    was_there: bool,
}

impl Desk {
    /// A desk over a file, which need not exist; what the table holds follows it. Nothing is read yet.
    pub fn new(file: PathBuf, table: Arc<Table>, clock: Wall) -> Self {
        Self { file, table, clock, board: Mutex::default(), renewed: Notify::new() }
    }

    /// What is in force, in the order of the file.
    pub fn list(&self) -> Vec<Override> {
        self.lock().in_force.clone()
    }

    /// Says something from now on, in the place of what was said of the same; in force when it returns.
    pub fn add(&self, said: Override) -> Result<(), Vec<Diagnostic>> {
        self.edit(|sheet| sheet.add(said))
    }

    /// Takes back what is said of this; returns how many lines that were.
    pub fn remove(&self, subject: &Subject) -> Result<usize, Vec<Diagnostic>> {
        self.edit(|sheet| Ok(sheet.remove(subject)))
    }

    fn edit<T>(
        &self,
        change: impl FnOnce(&mut crate::health::sheet::Sheet) -> Result<T, Diagnostic>,
    ) -> Result<T, Vec<Diagnostic>> {
        let mut board = self.lock();
        let (sheet, changed) = overrides::edit(&self.file, change)?;
        board.known = sheet.overrides().cloned().collect();
        (board.was_read, board.was_there) = (true, true);
        self.publish(&mut board);
        Ok(changed)
    }

    /// Reads the file and takes it up, if it is sound; says so in the log if not.
    ///
    /// When it is first read there is nothing that could stay in force, so what is sound of it holds: without any of it,
    /// all that was taken out would be answered again.
    pub fn read(&self) {
        let mut board = self.lock();
        let was_there = std::mem::replace(&mut board.was_there, true);
        match overrides::find(&self.file) {
            Found::Absent => {
                if was_there {
                    tracing::warn!(file = %self.file.display(), "overrides withdrawn: their file is gone");
                }
                (board.known, board.was_there) = (Vec::new(), false);
            }
            Found::Unreadable(fault) => {
                log_diagnostics(&[fault]);
                tracing::error!(file = %self.file.display(), "overrides refused, the old ones hold on");
            }
            Found::Sheet(sheet, faults) => {
                log_diagnostics(&faults);
                match (faults.is_empty(), board.was_read) {
                    (false, true) => {
                        tracing::error!(file = %self.file.display(), "overrides refused, the old ones hold on");
                    }
                    (sound, _) => {
                        if !sound {
                            tracing::error!(file = %self.file.display(), "overrides at fault, the sound ones hold");
                        }
                        board.known = sheet.overrides().cloned().collect();
                    }
                }
            }
        }
        board.was_read = true;
        self.publish(&mut board);
    }

    /// Follows the file and the clock until it is dropped. `reload` asks for the file to be read again.
    ///
    /// `watched` was made of the file before it was first read.
    pub async fn keep_up(self: Arc<Self>, watched: Watched, mut reload: Reloads) {
        let (settled_in, mut settled) = mpsc::channel(1);
        let watching = watched.watch(settled_in, &mut reload);
        let following = async {
            loop {
                let end = self.next_end();
                let desk = Arc::clone(&self);
                tokio::select! {
                    Some(_settled) = settled.recv() => blocking(move || desk.read()).await,
                    () = wait(end) => blocking(move || desk.publish(&mut desk.lock())).await,
                    () = self.renewed.notified() => {}
                }
            }
        };
        tokio::select! {
            () = watching => {}
            () = following => {}
        }
    }

    /// Has the table hold what has not ended, and logs what begins and ends by that.
    fn publish(&self, board: &mut Board) {
        let now = (self.clock)().as_secs();
        let in_force: Vec<Override> = board.known.iter().filter(|said| said.holds_at(now)).cloned().collect();
        if in_force == board.in_force {
            return;
        }
        self.table.set_overrides(Arc::new(Overrides::new(in_force.clone())));
        let before = std::mem::replace(&mut board.in_force, in_force);
        for said in missing(&before, &board.in_force) {
            let cause = if said.holds_at(now) { "taken back" } else { "expired" };
            log(said, Some(cause));
        }
        missing(&board.in_force, &before).for_each(|said| log(said, None));
        self.renewed.notify_one();
    }

    /// How long it takes until the next override ends; `None` if none does.
    fn next_end(&self) -> Option<Duration> {
        let end = self.lock().in_force.iter().filter_map(|said| said.until).min()?;
        Some(Duration::from_secs(end).saturating_sub((self.clock)()))
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a desk over a file, cleans up behind a writer that was killed, and reads it. Blocks.
pub fn open(file: PathBuf, table: Arc<Table>, look: Duration) -> (Arc<Desk>, Watched) {
    clean_up(&file);
    // Made before the file is read, so that no change is missed.
    let watched = Watched::new([file.clone()], look);
    let desk = Desk::new(file, table, Box::new(super::wall));
    desk.read();
    (Arc::new(desk), watched)
}

/// Waits until an override ends, or it is time to look at the clock again; for ever if none ends.
async fn wait(end: Option<Duration>) {
    match end {
        Some(end) => tokio::time::sleep(end.min(CLOCK_LOOK)).await,
        None => future::pending().await,
    }
}

/// Those of the one list that are not in the other.
fn missing<'o>(these: &'o [Override], others: &[Override]) -> impl Iterator<Item = &'o Override> {
    let others: HashSet<String> = others.iter().map(ToString::to_string).collect();
    these.iter().filter(move |said| !others.contains(&said.to_string()))
}

/// Logs that an override begins, or why it ends.
fn log(said: &Override, cause: Option<&str>) {
    let Override { subject, action, author, reason, .. } = said;
    let (until, author, reason) = (said.end().map(display), author.as_deref(), reason.as_deref());
    match cause {
        None => tracing::info!(%subject, %action, until, author, reason, "override begins"),
        Some(cause) => tracing::info!(%subject, %action, until, author, reason, cause, "override ends"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::Instant;

    use super::*;
    use crate::health::sentence;
    use crate::source::reloads;

    fn said(line: &str) -> Override {
        sentence::parse(line).unwrap().unwrap()
    }

    /// A desk over a file in a directory of its own, by tokio's clock.
    struct Rig {
        directory: tempfile::TempDir,
        desk: Arc<Desk>,
    }

    /// When a rig's clock begins: 2026-11-21T08:00:00Z.
    const START: u64 = 1_795_248_000;

    impl Rig {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let start = Instant::now();
            let clock = move || Duration::from_secs(START) + start.elapsed();
            let desk = Desk::new(directory.path().join("overrides"), Arc::new(Table::new(8)), Box::new(clock));
            Self { directory, desk: Arc::new(desk) }
        }

        fn write(&self, text: &str) {
            fs::write(self.directory.path().join("overrides"), text).unwrap();
        }

        fn text(&self) -> String {
            fs::read_to_string(self.directory.path().join("overrides")).unwrap()
        }

        /// What is in force, as the table has it.
        fn in_force(&self) -> Vec<String> {
            let held: Vec<_> = self.desk.table.overrides().as_slice().iter().map(ToString::to_string).collect();
            assert_eq!(held, self.desk.list().iter().map(ToString::to_string).collect::<Vec<_>>());
            held
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_with_a_fault_replaces_no_good_set_and_one_that_goes_takes_all_along() {
        let rig = Rig::new();
        rig.desk.read();
        assert_eq!(rig.in_force(), [""; 0]);
        let rows: [(&str, &[&str]); 4] = [
            ("zone a => up\nzone b => down until 2026-11-21T08:00:00Z\n", &["zone a => up"]),
            ("zone a => down\nzone b => off\n", &["zone a => up"]),
            ("# all is well\n", &[]),
            ("zone a => down\n", &["zone a => down"]),
        ];
        for (text, expected) in rows {
            rig.write(text);
            rig.desk.read();
            assert_eq!(rig.in_force(), expected, "{text}");
        }
        fs::remove_file(rig.directory.path().join("overrides")).unwrap();
        rig.desk.read();
        assert_eq!(rig.in_force(), [""; 0]);
        fs::create_dir(rig.directory.path().join("overrides")).unwrap();
        rig.desk.read();
    }

    #[tokio::test(start_paused = true)]
    async fn the_sound_lines_of_a_file_hold_when_it_is_the_first() {
        let rig = Rig::new();
        rig.write("zone a => down\nzone b => off\n");
        rig.desk.read();
        assert_eq!(rig.in_force(), ["zone a => down"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_by_a_call_is_in_force_at_once_and_stands_in_the_file() {
        let rig = Rig::new();
        rig.desk.add(said("zone a => down by kim")).unwrap();
        rig.desk.add(said("zone b => drain")).unwrap();
        rig.desk.add(said("zone a => up")).unwrap();
        assert_eq!(rig.in_force(), ["zone b => drain", "zone a => up"]);
        assert_eq!(rig.text(), "zone b => drain\nzone a => up\n");
        assert_eq!(rig.desk.remove(&said("zone A => up").subject), Ok(1));
        assert_eq!(rig.desk.remove(&said("zone A => up").subject), Ok(0));
        assert_eq!(rig.in_force(), ["zone b => drain"]);
        rig.write("zone b => off\n");
        assert!(rig.desk.add(said("zone c => up")).is_err());
        assert_eq!((rig.in_force(), rig.text()), (vec!["zone b => drain".to_owned()], "zone b => off\n".to_owned()));
        let names = fs::read_dir(rig.directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside the file");
    }

    #[tokio::test(start_paused = true)]
    async fn an_override_ends_at_its_time_whoever_looks() {
        let rig = Rig::new();
        rig.write("zone a => up until 2026-11-21T08:00:07Z\nzone b => up until 2026-11-21T10:00:00Z\n");
        rig.desk.read();
        let watched = Watched::new([], Duration::from_secs(100_000));
        let following = tokio::spawn(Arc::clone(&rig.desk).keep_up(watched, reloads().1));
        let (start, moment) = (Instant::now(), Duration::from_millis(100));
        for (secs, left) in [(7, 1), (2 * 3600, 0)] {
            let end = start + Duration::from_secs(secs);
            tokio::time::sleep_until(end - moment).await;
            assert_eq!(rig.in_force().len(), left + 1);
            tokio::time::sleep_until(end + moment).await;
            assert_eq!(rig.in_force().len(), left);
        }
        // One that is said meanwhile ends as well.
        rig.desk.add(said("zone c => up until 2026-11-21T11:00:00Z")).unwrap();
        assert_eq!(rig.in_force().len(), 1);
        tokio::time::sleep_until(start + Duration::from_secs(3 * 3600) + moment).await;
        assert_eq!(rig.in_force().len(), 0);
        following.abort();
    }

    #[tokio::test]
    async fn a_change_of_the_file_is_noticed() {
        let rig = Rig::new();
        let watched = Watched::new([rig.directory.path().join("overrides")], Duration::from_millis(20));
        let following = tokio::spawn(Arc::clone(&rig.desk).keep_up(watched, reloads().1));
        let until = async |expected: &[&str]| {
            while rig.in_force() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        rig.write("zone a => up\n");
        until(&["zone a => up"]).await;
        overrides::edit(&rig.desk.file, |sheet| sheet.add(said("zone b => up"))).unwrap();
        until(&["zone a => up", "zone b => up"]).await;
        fs::remove_file(&rig.desk.file).unwrap();
        until(&[]).await;
        following.abort();
    }
}
