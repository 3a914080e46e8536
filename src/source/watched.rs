//! A few files that are no zones: tells which of them have changed and then been left alone.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::read::{Look, Stamp};
use super::reload::{Pass, Reloads};
use crate::config::ZONE_SETTLE;

/// Files that are looked at every so often.
///
/// Made before they are first read, it misses no change: first [`new`](Self::new), then read, then
/// [`watch`](Self::watch). What is read of a file, and whether it is any good, is up to who is told.
#[derive(Debug)]
pub struct Watched {
    files: Vec<File>,
    interval: Duration,
}

/// A file as it was when it was last told of.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// What the system says of it; `None` if it is absent.
    stamp: Option<Stamp>,
    /// Since when a change waits to be told.
    changing_since: Option<Instant>,
}

/// Files that are to be read.
#[derive(Debug)]
pub struct Settled {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// What is over when they are read; to be dropped then.
    pub passes: Vec<Pass>,
}

impl Watched {
    /// Takes these files as they are now; `interval` is the pause between two looks.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>, interval: Duration) -> Self {
        let file = |path: PathBuf| File { stamp: Stamp::of(&path), path, changing_since: None };
        Self { files: paths.into_iter().map(file).collect(), interval }
    }

    /// Sends the paths of what has changed to `settled` until its receiver is dropped; never an empty list.
    ///
    /// A file that is gone counts as changed once it has been absent for longer than a replacement takes. `reload` asks
    /// for all to be told of as they are, changed or not. The system is asked on a thread
    /// made for blocking: a file server that hangs holds up nothing else.
    pub async fn watch(mut self, settled: mpsc::Sender<Settled>, reload: &mut Reloads) {
        let mut pause = self.interval;
        loop {
            let passes = tokio::select! {
                () = settled.closed() => return,
                passes = reload.asked() => passes,
                () = tokio::time::sleep(pause) => Vec::new(),
            };
            let all = !passes.is_empty();
            let look = tokio::task::spawn_blocking(move || {
                let changed = if all { self.all() } else { self.look(Instant::now(), SystemTime::now()) };
                (self, changed)
            });
            let paths;
            (self, paths) = match look.await {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => return,
            };
            let waits = self.files.iter().any(|file| file.changing_since.is_some());
            pause = if waits { ZONE_SETTLE } else { self.interval };
            if !paths.is_empty() && settled.send(Settled { paths, passes }).await.is_err() {
                return;
            }
        }
    }

    /// Takes every file as it is now, and tells of all.
    fn all(&mut self) -> Vec<PathBuf> {
        for file in &mut self.files {
            (file.stamp, file.changing_since) = (Stamp::of(&file.path), None);
        }
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Looks at every file once, and tells which have changed and are settled.
    fn look(&mut self, now: Instant, wall: SystemTime) -> Vec<PathBuf> {
        let settled = self.files.iter_mut().filter_map(|file| file.look(now, wall).then(|| file.path.clone()));
        settled.collect()
    }
}

impl File {
    /// Whether it has changed and is settled.
    ///
    /// A file that changes twice within one tick of its file system's clock, and had been settled in between, would
    /// have to be compared by its contents. These files are large, and are replaced by renaming another: that one has
    /// an inode of its own.
    fn look(&mut self, now: Instant, wall: SystemTime) -> bool {
        let stamp = Stamp::of(&self.path);
        if stamp == self.stamp {
            self.changing_since = None;
            return false;
        }
        let since = now.duration_since(*self.changing_since.get_or_insert(now));
        if !stamp.map_or(Look::Absent, Look::Changed).is_settled(since, wall) {
            return false;
        }
        (self.stamp, self.changing_since) = (stamp, None);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::reload::reloads;
    use super::*;
    use std::fs;

    /// A file that is looked at when the test says it is time.
    struct Bench {
        directory: tempfile::TempDir,
        watched: Watched,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("a.mmdb");
            fs::write(&path, "1").expect("written");
            let watched = Watched::new([path], Duration::from_secs(1));
            Self { directory, watched, start: Instant::now() }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("a.mmdb")
        }

        fn write(&self, text: &str) {
            fs::write(self.path(), text).expect("written");
        }

        /// Looks `now_ms` after the start, when the file is `age_ms` old; tells whether it has settled.
        fn look(&mut self, now_ms: u64, age_ms: u64) -> bool {
            let now = self.start + Duration::from_millis(now_ms);
            let changed = fs::metadata(self.path()).and_then(|metadata| metadata.modified());
            let wall = changed.unwrap_or_else(|_| SystemTime::now()) + Duration::from_millis(age_ms);
            !self.watched.look(now, wall).is_empty()
        }
    }

    #[test]
    fn a_changed_file_is_told_of_once_when_it_is_left_alone() {
        let mut bench = Bench::new();
        assert!(!bench.look(0, 0));
        bench.write("half");
        assert!(!bench.look(10, 0));
        bench.write("whole, and longer");
        assert!(!bench.look(50, 40));
        assert!(bench.look(100, 90));
        assert!(!bench.look(150, 140));
    }

    #[test]
    fn a_file_that_is_never_left_alone_is_told_of_all_the_same() {
        let mut bench = Bench::new();
        bench.write("longer");
        assert!(!bench.look(0, 0));
        assert!(!bench.look(499, 0));
        assert!(bench.look(500, 0));
    }

    #[test]
    fn a_file_that_another_takes_the_place_of_has_changed() {
        let mut bench = Bench::new();
        let aside = bench.directory.path().join("b.mmdb");
        fs::write(&aside, "2").expect("written");
        fs::rename(aside, bench.path()).expect("renamed");
        assert!(!bench.look(0, 0));
        assert!(bench.look(60, 60));
    }

    #[test]
    fn a_file_that_is_gone_has_changed_after_a_while() {
        let mut bench = Bench::new();
        fs::remove_file(bench.path()).expect("removed");
        assert!(!bench.look(0, 0));
        assert!(!bench.look(399, 0));
        assert!(bench.look(400, 0));
        assert!(!bench.look(500, 0));
        bench.write("1");
        assert!(!bench.look(600, 0));
        assert!(bench.look(660, 60));
    }

    #[tokio::test]
    async fn a_change_reaches_who_listens_and_a_reload_tells_of_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| fs::write(path, "1").expect("written"));
        let watched = Watched::new(paths.clone(), Duration::from_millis(50));
        let (sender, mut settled) = mpsc::channel(1);
        let (reload, mut asked) = reloads();
        let watching = tokio::spawn(async move { watched.watch(sender, &mut asked).await });
        fs::write(&paths[1], "longer").expect("written");
        assert_eq!(settled.recv().await.expect("it is watched").paths, [paths[1].clone()]);
        let (pass, mut passing) = Pass::begin();
        reload.ask(&pass);
        drop(pass);
        assert_eq!(settled.recv().await.expect("it is watched").paths, paths);
        passing.over().await;
        drop(settled);
        watching.await.expect("it ends when nobody listens");
    }
}
