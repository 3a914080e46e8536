//! The system's word that something changed in a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches directories, and rings when something in one of them changed.
///
/// A ring tells nothing else: many changes may be one ring, and a ring may be for nothing. Where the system cannot
/// watch, it never rings.
pub(super) struct Notice {
    bell: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// The directories that are watched, or could not be, with what they were: one that is replaced is watched anew.
    watched: HashMap<PathBuf, Option<Identity>>,
}

impl Notice {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let handler = move |event: notify::Result<notify::Event>| {
            // An error means that events were lost, which is as good a reason to look.
            if event.map_or(true, |event| is_change(&event.kind)) {
                ring.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!(%error, "files are polled: the system cannot report changes"))
            .ok();
        Self { bell, watcher, watched: HashMap::new() }
    }

    /// Never rings.
    pub(super) fn mute() -> Self {
        Self { bell: Arc::new(Notify::new()), watcher: None, watched: HashMap::new() }
    }

    /// What rings.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Watches these directories and no others.
    pub(super) fn watch(&mut self, directories: &HashSet<&Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|directory, _| {
            let keep = directories.contains(directory.as_path());
            if !keep {
                // It fails if the directory is gone, and then there is nothing to end.
                let _ = watcher.unwatch(directory);
            }
            keep
        });
        for &directory in directories {
            let found = identity(directory);
            if self.watched.get(directory) == Some(&found) {
                continue;
            }
            if self.watched.contains_key(directory) {
                let _ = watcher.unwatch(directory);
            }
            if found.is_some()
                && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
            {
                tracing::warn!(directory = %directory.display(), %error, "the directory is polled: it cannot be watched");
            }
            self.watched.insert(directory.to_owned(), found);
        }
    }
}

/// Whether files can be other than before; our own reading is an event too.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// Device and inode: they tell a directory from another that takes its place.
type Identity = (u64, u64);

/// Which directory a path leads to; `None` if to none.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.is_dir().then_some((0, 0))
}
