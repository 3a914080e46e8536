//! Reads the files of a zone, and remembers what they were like.

use std::collections::hash_map::DefaultHasher;
use std::fs::{File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{FILES_PER_ZONE_MAX, ZONE_STAMP_COARSENESS};

/// Reads the files of one zone, within its bounds.
pub struct ZoneReader {
    seen: Vec<Seen>,
    octets_max: usize,
    octets_left: usize,
}

/// One file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What messages call the file.
    pub file: Arc<str>,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing of that name, or a symbolic link to nothing.
    #[error("there is no file `{0}`")]
    Absent(Arc<str>),
    /// A directory, a FIFO or the like.
    #[error("`{0}` is {1}, not a file")]
    NotAFile(Arc<str>, &'static str),
    /// The zone would have more octets than its bound.
    #[error("with `{0}`, the zone has more than {1} octets")]
    TooLarge(Arc<str>, usize),
    /// The zone would have more files than its bound.
    #[error("with `{0}`, the zone is made of more than {FILES_PER_ZONE_MAX} files")]
    TooMany(Arc<str>),
    /// A symbolic link that may not be followed.
    #[error("`{0}` is a link that leads out of its directory, or to a directory")]
    Link(Arc<str>),
    /// A directory in too many others.
    #[error("`{0}` lies too deep among directories")]
    TooDeep(Arc<str>),
    /// Anything the system said.
    #[error("`{0}` cannot be read: {kind}", kind = .1.kind())]
    System(Arc<str>, #[source] io::Error),
}

impl ReadError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Absent(_) => "create it, or correct its name",
            Self::NotAFile(..) => "put a file in its place",
            Self::TooLarge(..) => "raise `zones.size-max`, or split the zone",
            Self::TooMany(_) => "look for a file that includes itself",
            Self::Link(_) => "put a file in its place, or a directory",
            Self::TooDeep(_) => "move it up",
            Self::System(..) => "make it readable for the user that runs perigee",
        }
    }
}

impl ZoneReader {
    /// Reads the zone's first file.
    pub(super) fn open(path: &Path, octets_max: usize) -> (Self, Result<Text, ReadError>) {
        let mut reader = Self { seen: Vec::new(), octets_max, octets_left: octets_max };
        let text = reader.read(path);
        (reader, text)
    }

    /// Reads the file that an `$INCLUDE` in the file `from` calls `path`.
    ///
    /// `from` is the name its [`Text`] bears; a relative path starts at its directory. What is read, or would have been,
    /// is watched with the zone.
    pub fn include(&mut self, from: &str, path: &str) -> Result<Text, ReadError> {
        let base = self.seen.iter().find(|seen| *seen.file == *from).and_then(|seen| seen.path.parent());
        // Without its `.` components, a path that is included in a circle has one spelling.
        let path: PathBuf = base.unwrap_or_else(|| Path::new("")).join(path).components().collect();
        self.read(&path)
    }

    /// Lists a directory, sorted; what comes and goes in it is watched with the zone.
    pub(super) fn list(&mut self, path: &Path) -> Result<Vec<PathBuf>, ReadError> {
        let file: Arc<str> = path.display().to_string().into();
        if self.seen.len() == FILES_PER_ZONE_MAX {
            return Err(ReadError::TooMany(file));
        }
        let (seen, _) = Seen::read(path, Arc::clone(&file), 0, SystemTime::now());
        self.seen.push(seen);
        let entries = entries(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Absent(Arc::clone(&file)),
            _ => ReadError::System(Arc::clone(&file), error),
        })?;
        if entries.len() > FILES_PER_ZONE_MAX { Err(ReadError::TooMany(file)) } else { Ok(entries) }
    }

    /// What was read, in its order.
    pub(super) fn into_seen(self) -> Vec<Seen> {
        self.seen
    }

    /// Reads one more file of the zone.
    pub(super) fn read(&mut self, path: &Path) -> Result<Text, ReadError> {
        let file: Arc<str> = path.display().to_string().into();
        if self.seen.len() == FILES_PER_ZONE_MAX {
            return Err(ReadError::TooMany(file));
        }
        let (seen, octets) = Seen::read(path, Arc::clone(&file), self.octets_left, SystemTime::now());
        // A file included twice is watched once.
        if !self.seen.iter().any(|known| known.path == seen.path) {
            self.seen.push(seen);
        }
        match octets {
            Ok(octets) => {
                self.octets_left -= octets.len();
                Ok(Text { file, octets })
            }
            Err(Refusal::Absent) => Err(ReadError::Absent(file)),
            Err(Refusal::NotAFile(kind)) => Err(ReadError::NotAFile(file, kind)),
            Err(Refusal::TooLarge) => Err(ReadError::TooLarge(file, self.octets_max)),
            Err(Refusal::System(error)) => Err(ReadError::System(file, error)),
        }
    }
}

/// A file as it was when it was read, or found unreadable.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    path: PathBuf,
    file: Arc<str>,
    /// How many octets it might have had.
    octets_max: usize,
    /// What the system said of it before it was opened; `None` if it was absent.
    stamp: Option<Stamp>,
    /// Its contents, or the names in it if it is a directory; `None` if they could not be read.
    digest: Option<u64>,
    /// Whether it is a directory that was listed.
    is_directory: bool,
    /// Whether it had changed so lately that one more change could leave the same stamp.
    young: bool,
    /// The directory of what it points at, if it is a symbolic link.
    target_directory: Option<PathBuf>,
}

impl Seen {
    /// Reads a file of at most `octets_max` octets, and remembers it whatever comes of it.
    fn read(path: &Path, file: Arc<str>, octets_max: usize, now: SystemTime) -> (Self, Result<Vec<u8>, Refusal>) {
        // The stamp is taken first: should the file change before it is read, it is read once too often.
        let stamp = Stamp::of(path);
        let octets = read_regular(path, octets_max);
        let is_directory = matches!(octets, Err(Refusal::NotAFile(DIRECTORY)));
        // Where a link leads is said by no stamp of what it leads to.
        let names = is_directory.then(|| entries(path).ok()).flatten().map(|entries| {
            let links: Vec<Option<PathBuf>> = entries.iter().map(|entry| std::fs::read_link(entry).ok()).collect();
            (entries, links)
        });
        let seen = Self {
            path: path.into(),
            file,
            octets_max,
            stamp,
            digest: octets.as_deref().ok().map(digest).or_else(|| names.map(|names| digest(&names))),
            is_directory,
            young: stamp.is_some_and(|stamp| stamp.changed_within(ZONE_STAMP_COARSENESS, now)),
            target_directory: target_directory(path),
        };
        (seen, octets)
    }

    /// Compares the file with what is there now, by its stamp alone if that can be trusted.
    pub(super) fn look(&self) -> Look {
        match (Stamp::of(&self.path), self.stamp) {
            (None, None) => Look::Same,
            (None, Some(_)) => Look::Absent,
            (Some(now), before) if before != Some(now) => Look::Changed(now),
            (Some(now), _) if self.young => Look::Doubtful(now),
            (Some(_), _) => Look::Same,
        }
    }

    /// Compares the contents with what is there now, and remembers the new stamp if they are the same.
    pub(super) fn is_unchanged(&mut self, now: SystemTime) -> bool {
        let (seen, _) = Self::read(&self.path, Arc::clone(&self.file), self.octets_max, now);
        let same = seen.digest == self.digest && seen.stamp.is_some() == self.stamp.is_some();
        if same {
            *self = seen;
        }
        same
    }

    /// Takes the file's present stamp for the one it was just read with.
    #[cfg(test)]
    pub(super) fn restamp(&mut self) {
        (self.stamp, self.young) = (Stamp::of(&self.path), true);
    }

    /// The directories in which a change to the file would show.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        let own = Some(&*self.path).filter(|_| self.is_directory);
        self.path.parent().into_iter().chain(own).chain(self.target_directory.as_deref())
    }
}

/// What a glance at a file tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Look {
    /// It is as it was.
    Same,
    /// Its stamp is the same and was too fresh to be trusted: the contents must be compared.
    Doubtful(Stamp),
    /// Its stamp is another: the contents may be, too.
    Changed(Stamp),
    /// It was there and is no more.
    Absent,
}

impl Look {
    /// A first glance at a file.
    pub(super) fn at(path: &Path) -> Self {
        Stamp::of(path).map_or(Self::Absent, Self::Changed)
    }
}

/// What the system says of a file; it changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp {
    octets: u64,
    modified: Option<SystemTime>,
    /// When the file or what is said of it changed, and which file it is: (seconds, nanoseconds, device, inode).
    ///
    /// Tells what copies that keep the time of modification hide. All zero where the system has no such thing.
    identity: (i64, i64, u64, u64),
}

impl Stamp {
    /// Asks the system; `None` if there is nothing, or nothing that may be asked about.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { octets: metadata.len(), modified: metadata.modified().ok(), identity: identity(&metadata) })
    }

    /// Whether the file changed less than `span` before `now`, by the system's clock.
    ///
    /// A time in the future counts by its distance as well: a file server's clock may be ahead.
    pub(super) fn changed_within(&self, span: Duration, now: SystemTime) -> bool {
        let changed = match (self.identity, self.modified) {
            ((0, 0, ..), modified) => modified,
            ((secs, nanos, ..), _) => u64::try_from(secs).ok().and_then(|secs| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::new(secs, u32::try_from(nanos).unwrap_or(0)))
            }),
        };
        changed.is_some_and(|changed| {
            let distance = now.duration_since(changed).unwrap_or_else(|error| error.duration());
            distance < span
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (i64, i64, u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec(), metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (i64, i64, u64, u64) {
    (0, 0, 0, 0)
}

/// Why [`read_regular`] read nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing of that name, or a symbolic link to nothing.
    #[error("it is not there")]
    Absent,
    /// A directory, a FIFO or the like.
    #[error("it is {0}, not a file")]
    NotAFile(&'static str),
    /// It has more octets than it may.
    #[error("it is too large")]
    TooLarge,
    /// Anything the system said.
    #[error("{kind}", kind = .0.kind())]
    System(#[source] io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::System(error),
        }
    }
}

/// Reads a regular file whole, if it has at most `octets_max` octets.
///
/// Never waits for a writer: what is not a file is not opened, and what becomes a FIFO meanwhile is not waited for.
pub fn read_regular(path: &Path, octets_max: usize) -> Result<Vec<u8>, Refusal> {
    refuse_others(&std::fs::metadata(path)?)?;
    let file = open_without_waiting(path)?;
    let metadata = file.metadata()?;
    refuse_others(&metadata)?;
    let octets_max = u64::try_from(octets_max).unwrap_or(u64::MAX);
    if metadata.len() > octets_max {
        return Err(Refusal::TooLarge);
    }
    let mut octets = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may grow while it is read.
    file.take(octets_max.saturating_add(1)).read_to_end(&mut octets)?;
    if octets.len() as u64 > octets_max { Err(Refusal::TooLarge) } else { Ok(octets) }
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

fn refuse_others(metadata: &Metadata) -> Result<(), Refusal> {
    if metadata.is_file() { Ok(()) } else { Err(Refusal::NotAFile(kind(metadata))) }
}

/// What a directory is called.
const DIRECTORY: &str = "a directory";

/// The paths of what is in a directory, sorted.
fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// What it is, if it is not a file.
#[cfg(unix)]
fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_dir() {
        DIRECTORY
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { DIRECTORY } else { "a device" }
}

/// The directory of what a symbolic link points at in the end; `None` if `path` is no link or leads nowhere.
fn target_directory(path: &Path) -> Option<PathBuf> {
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let target = is_link.then(|| std::fs::canonicalize(path).ok())??;
    target.parent().map(Path::to_owned)
}

/// A digest of contents; compared within one run only.
fn digest<T: Hash + ?Sized>(octets: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    hasher.finish()
}
