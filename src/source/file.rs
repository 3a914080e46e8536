//! Zones in files: reads them with their includes, and notices changes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use hashbrown::{HashMap, HashSet};

use super::Event;
use super::notice::Notice;
use super::place::{Place, Places};
use super::read::{Look, Seen, Text, ZoneReader};
use super::reload::Reloads;
use crate::config::{self, ZONE_ABSENCE, ZONE_SETTLE, ZONE_SETTLE_MAX};
use crate::diagnostic::Diagnostic;
use crate::dns::Name;

/// The zones of `[zones]` and `[[zone]]`.
///
/// First [`load_all`](Self::load_all), then [`watch`](Self::watch).
pub struct FileSource<Z> {
    zones: config::Zones,
    configured: Vec<config::Zone>,
    load: Arc<Load<Z>>,
    tracked: HashMap<Name, Tracked>,
    /// What was last said about the directory, so that it is not said at every look.
    told: Vec<Diagnostic>,
}

/// What makes a zone of its text: parses, checks, and asks the reader for what is included.
///
/// Runs on several threads at a time. The diagnostics beside a zone are warnings; those in place of one tell why there is
/// none.
pub type Load<Z> = dyn Fn(&Name, &Text, &mut ZoneReader) -> Loaded<Z> + Send + Sync;

/// A zone and what is odd about it, or why there is none.
pub type Loaded<Z> = Result<(Z, Vec<Diagnostic>), Vec<Diagnostic>>;

/// A zone the source knows of.
#[derive(Debug, Default)]
struct Tracked {
    /// Where it comes from.
    places: Vec<Place>,
    /// What it was made of when it was last read, whether or not that succeeded.
    seen: Vec<Seen>,
    /// Whether it was sent.
    is_sent: bool,
    /// Since when a change waits to be read.
    changing_since: Option<Instant>,
    /// Since when its directory does not list it.
    absent_since: Option<Instant>,
}

/// How far a look at the files goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Extent {
    /// Reads what changed, once it has been left alone for a moment.
    Changes,
    /// Reads everything, now.
    Everything,
}

impl<Z: Send + 'static> FileSource<Z> {
    /// Reads nothing yet.
    pub fn new(
        zones: &config::Zones,
        configured: &[config::Zone],
        load: impl Fn(&Name, &Text, &mut ZoneReader) -> Loaded<Z> + Send + Sync + 'static,
    ) -> Self {
        Self {
            zones: zones.clone(),
            configured: configured.to_vec(),
            load: Arc::new(load),
            tracked: HashMap::new(),
            told: Vec::new(),
        }
    }

    /// Reads every zone there is, on all cores, and tells what came of each, in the order of their names.
    ///
    /// Blocks until done.
    pub fn load_all(&mut self) -> Vec<Event<Z>> {
        let mut events = Vec::new();
        self.look(Extent::Everything, Instant::now(), SystemTime::now(), &mut |event| {
            events.push(event);
            ControlFlow::Continue(())
        });
        events.sort_by(|a, b| a.name().cmp(&b.name()));
        events
    }

    /// Sends every change to `events` until its receiver is dropped.
    ///
    /// `reload` asks for everything to be read and sent again, which is done once it is sent. Files are read on threads made
    /// for blocking, never on the runtime's own.
    pub async fn watch(mut self, events: tokio::sync::mpsc::Sender<Event<Z>>, mut reload: Reloads) {
        let mut notice = if self.zones.watch { Notice::new() } else { Notice::mute() };
        let bell = notice.bell();
        // The first look finds what changed between `load_all` and the first watch.
        let mut pause = Duration::ZERO;
        let mut extent = Extent::Changes;
        let mut passes = Vec::new();
        notice.watch(&self.directories());
        loop {
            let rung = async {
                // A storm of events is one look each so often, not one each.
                tokio::time::sleep(ZONE_SETTLE).await;
                bell.notified().await;
            };
            if extent == Extent::Changes {
                tokio::select! {
                    () = events.closed() => return,
                    asked = reload.asked() => (extent, passes) = (Extent::Everything, asked),
                    () = rung => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            let events = events.clone();
            let look = tokio::task::spawn_blocking(move || {
                let pause = self.look(extent, Instant::now(), SystemTime::now(), &mut |event| match events
                    .blocking_send(event)
                {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                });
                notice.watch(&self.directories());
                (self, notice, pause)
            });
            extent = Extent::Changes;
            (self, notice, pause) = match look.await {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => return,
            };
            passes.clear();
        }
    }

    /// Looks at all files once, sends what came of it, and tells how soon to look again.
    fn look(
        &mut self,
        extent: Extent,
        now: Instant,
        wall: SystemTime,
        send: &mut dyn FnMut(Event<Z>) -> ControlFlow<()>,
    ) -> Duration {
        let places = Places::find(&self.zones, &self.configured);
        if places.diagnostics != self.told || extent == Extent::Everything {
            self.told.clone_from(&places.diagnostics);
            if !places.diagnostics.is_empty()
                && send(Event::Failed { name: None, diagnostics: places.diagnostics.clone() }).is_break()
            {
                return Duration::ZERO;
            }
        }
        if self.withdraw(&places, now, send).is_break() {
            return Duration::ZERO;
        }
        let mut due = Vec::new();
        for (name, places) in places.zones {
            let tracked = self.tracked.entry(name.clone()).or_default();
            if !tracked.is_due(&places, extent, now, wall) {
                continue;
            }
            tracked.changing_since = None;
            tracked.places = places;
            match tracked.places.as_slice() {
                [place] => due.push((name, place.clone())),
                places => {
                    tracked.seen = Vec::new();
                    let diagnostics = vec![conflict(&name, places)];
                    if send(Event::Failed { name: Some(name), diagnostics }).is_break() {
                        return Duration::ZERO;
                    }
                }
            }
        }
        self.load(due, send);
        let waits = self.tracked.values().any(Tracked::is_waiting);
        if waits { ZONE_SETTLE } else { self.zones.reload_interval }
    }

    /// Withdraws the zones that have left the directory for good.
    fn withdraw(
        &mut self,
        places: &Places,
        now: Instant,
        send: &mut dyn FnMut(Event<Z>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut gone = Vec::new();
        for (name, tracked) in &mut self.tracked {
            if places.zones.contains_key(name) {
                tracked.absent_since = None;
                continue;
            }
            tracked.changing_since = None;
            if !places.directory_was_read {
                // Nothing is known of it: a directory that cannot be read takes no zone away.
                tracked.absent_since = None;
            } else if now.duration_since(*tracked.absent_since.get_or_insert(now)) >= ZONE_ABSENCE {
                gone.push(name.clone());
            }
        }
        for name in gone {
            let was_sent = self.tracked.remove(&name).is_some_and(|tracked| tracked.is_sent);
            if was_sent {
                send(Event::Removed { name })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads zones on all cores, and sends each as soon as it is made.
    fn load(&mut self, due: Vec<(Name, Place)>, send: &mut dyn FnMut(Event<Z>) -> ControlFlow<()>) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(due.len());
        let next = AtomicUsize::new(0);
        let (load, octets_max) = (Arc::clone(&self.load), self.zones.size_max);
        std::thread::scope(|threads_scope| {
            let (done, results) = mpsc::sync_channel(threads);
            for _ in 0..threads {
                let (done, due, next, load) = (done.clone(), &due, &next, &load);
                threads_scope.spawn(move || {
                    while let Some((name, place)) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = load_one(name, place, octets_max, load.as_ref());
                        // Nobody listens any more: the source is at its end.
                        if done.send((name, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(done);
            for (name, (loaded, seen)) in results {
                let tracked = self.tracked.entry(name.clone()).or_default();
                tracked.seen = seen;
                let name = name.clone();
                let event = match loaded {
                    Ok((zone, warnings)) => {
                        tracked.is_sent = true;
                        Event::Changed { name, zone, warnings }
                    }
                    Err(diagnostics) => Event::Failed { name: Some(name), diagnostics },
                };
                if send(event).is_break() {
                    break;
                }
            }
        });
    }

    /// The directories in which a change would show.
    fn directories(&self) -> HashSet<&Path> {
        let files = self.tracked.values().flat_map(|tracked| &tracked.seen).flat_map(Seen::directories);
        let configured = Some(self.zones.directory.as_path()).filter(|path| !path.as_os_str().is_empty());
        files.chain(configured).map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path }).collect()
    }
}

/// Reads one zone, and tells what of.
fn load_one<Z>(name: &Name, place: &Place, octets_max: usize, load: &Load<Z>) -> (Loaded<Z>, Vec<Seen>) {
    let (mut reader, text) = ZoneReader::open(&place.path, octets_max);
    let loaded = match text {
        Ok(text) => load(name, &text, &mut reader),
        Err(error) => {
            let message = format!("zone `{name}`: {error}");
            Err(vec![Diagnostic::error(place.position(), message).help(error.help())])
        }
    };
    (loaded, reader.into_seen())
}

/// One zone comes from several places.
fn conflict(name: &Name, places: &[Place]) -> Diagnostic {
    let paths: Vec<String> = places.iter().map(|place| format!("`{}`", place.path.display())).collect();
    // The later of two is the more likely mistake, and the one in the configuration has a line to point at.
    let position = places.iter().rev().find_map(Place::position);
    Diagnostic::error(position, format!("zone `{name}` comes from more than one file: {}", paths.join(", ")))
        .help("keep one of them; letter case makes no difference")
}

impl Tracked {
    /// Whether the zone is to be read now.
    ///
    /// ```text
    /// files                                     extent       is due
    /// any                                       everything   at once
    /// from other places, or never read          changes      as soon as they are settled
    /// the same stamps, old enough to trust      changes      never
    /// other stamps, or stamps not to be trusted changes      as soon as they are settled, if contents differ
    /// ```
    fn is_due(&mut self, places: &[Place], extent: Extent, now: Instant, wall: SystemTime) -> bool {
        if extent == Extent::Everything {
            return true;
        }
        let moved = self.places != places;
        let looks: Vec<Look> = if moved {
            places.iter().map(|place| Look::at(&place.path)).collect()
        } else {
            self.seen.iter().map(Seen::look).collect()
        };
        if looks.iter().all(|look| *look == Look::Same) && !moved {
            self.changing_since = None;
            return false;
        }
        let since = now.duration_since(*self.changing_since.get_or_insert(now));
        if !looks.iter().all(|look| look.is_settled(since, wall)) {
            return false;
        }
        self.changing_since = None;
        moved || !self.seen.iter_mut().all(|seen| seen.is_unchanged(wall))
    }

    /// Whether something is expected to happen to it soon.
    fn is_waiting(&self) -> bool {
        self.changing_since.is_some() || self.absent_since.is_some()
    }
}

impl Look {
    /// Whether the file has been left alone long enough to be read; `since` tells how long a change has been known.
    ///
    /// A file that is gone gets the time that a replacement takes.
    pub(super) fn is_settled(self, since: Duration, wall: SystemTime) -> bool {
        match self {
            Self::Same => true,
            Self::Doubtful(stamp) | Self::Changed(stamp) => {
                since >= ZONE_SETTLE_MAX || !stamp.changed_within(ZONE_SETTLE, wall)
            }
            Self::Absent => since >= ZONE_ABSENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A directory with one zone file, looked at when the test says it is time.
    struct Bench {
        directory: tempfile::TempDir,
        source: FileSource<Vec<u8>>,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let zones = config::Zones { directory: directory.path().into(), ..config::Zones::default() };
            let source = FileSource::new(&zones, &[], |_, text, _| Ok((text.octets.clone(), Vec::new())));
            let mut bench = Self { directory, source, start: Instant::now() };
            bench.write("1");
            bench.source.load_all();
            bench
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("a.zone")
        }

        fn write(&self, text: &str) {
            fs::write(self.path(), text).expect("written");
        }

        /// Looks `now_ms` after the start, when the file is `age_ms` old; tells what came of it and when to look again.
        fn look(&mut self, now_ms: u64, age_ms: u64) -> (Vec<String>, Duration) {
            let now = self.start + Duration::from_millis(now_ms);
            let changed = fs::metadata(self.path()).and_then(|metadata| metadata.modified());
            let wall = changed.unwrap_or_else(|_| SystemTime::now()) + Duration::from_millis(age_ms);
            let mut told = Vec::new();
            let pause = self.source.look(Extent::Changes, now, wall, &mut |event| {
                told.push(match event {
                    Event::Changed { zone, .. } => String::from_utf8_lossy(&zone).into_owned(),
                    Event::Removed { .. } => "gone".into(),
                    Event::Failed { diagnostics, .. } => format!("{diagnostics:?}"),
                });
                ControlFlow::Continue(())
            });
            (told, pause)
        }
    }

    const IDLE: Duration = Duration::from_secs(1);

    #[test]
    fn a_changed_file_is_read_once_it_is_left_alone() {
        let mut bench = Bench::new();
        bench.write("half");
        assert_eq!(bench.look(0, 0), (vec![], ZONE_SETTLE));
        bench.write("whole");
        assert_eq!(bench.look(40, 40), (vec![], ZONE_SETTLE));
        assert_eq!(bench.look(90, 90), (vec!["whole".into()], IDLE));
        assert_eq!(bench.look(140, 140), (vec![], IDLE));
    }

    #[test]
    fn a_file_that_is_never_left_alone_is_read_all_the_same() {
        let mut bench = Bench::new();
        for now_ms in (0..500).step_by(50) {
            bench.write(&format!("at {now_ms}"));
            assert_eq!(bench.look(now_ms, 0), (vec![], ZONE_SETTLE));
        }
        bench.write("at 500");
        assert_eq!(bench.look(500, 0).0, ["at 500"]);
    }

    #[test]
    fn a_file_that_is_briefly_absent_keeps_its_zone() {
        let mut bench = Bench::new();
        fs::remove_file(bench.path()).expect("removed");
        assert_eq!(bench.look(0, 0), (vec![], ZONE_SETTLE));
        assert_eq!(bench.look(399, 0), (vec![], ZONE_SETTLE));
        bench.write("2");
        assert_eq!(bench.look(410, 60), (vec!["2".into()], IDLE));
        fs::remove_file(bench.path()).expect("removed");
        assert_eq!(bench.look(500, 0), (vec![], ZONE_SETTLE));
        assert_eq!(bench.look(900, 0), (vec!["gone".into()], IDLE));
    }

    #[test]
    fn contents_are_compared_while_a_stamp_cannot_be_trusted() {
        let mut bench = Bench::new();
        bench.write("2");
        // As if both had been written within one tick of the file system's clock.
        for seen in bench.source.tracked.values_mut().flat_map(|tracked| &mut tracked.seen) {
            seen.restamp();
        }
        assert_eq!(bench.look(0, 60).0, ["2"]);
        assert_eq!(bench.look(100, 100).0, Vec::<String>::new());
    }
}
