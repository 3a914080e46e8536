//! Puts a text in the place of a file: whole or not at all, and one writer at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many writers it lets go first.
const TRIES_MAX: usize = 1000;
/// What stands behind the name of the file while its next text is being written.
const SUFFIX: &str = ".perigee-new";

/// The right to put another text in the place of a file; dropped, it leaves the file as it is.
///
/// The new text is written to a file beside the old one that has one name, whoever writes, and is locked. A process that
/// is killed leaves that file at most, unlocked, and the next writer uses it; so there is never more than one.
#[derive(Debug)]
pub struct Replacement {
    /// Where the file is, links followed.
    path: PathBuf,
    aside: PathBuf,
    file: File,
}

impl Replacement {
    /// Waits until nobody else writes to the file, which need not exist. Blocks.
    pub fn begin(path: &Path) -> io::Result<Self> {
        // A link is not to be replaced by what it leads to.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let aside = aside(&path).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        for _ in 0..TRIES_MAX {
            let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("a flag of the system's");
            let options = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).clone();
            let file = lock(options.open(&aside)?)?;
            // Whoever had the lock may have given the file its place, and then this is no file aside.
            if is_at(&file, &aside)? {
                return Ok(Self { path, aside, file });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Puts a text in the place of the file's, with the permissions it had.
    pub fn finish(self, text: &str) -> io::Result<()> {
        let mut file = &self.file;
        if let Ok(old) = fs::metadata(&self.path) {
            file.set_permissions(old.permissions())?;
            // Who may not give files away keeps them.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&self.aside, &self.path)?;
        sync_directory(&self.path)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Gone already if it was finished, and then the name may be another writer's.
        if is_at(&self.file, &self.aside).unwrap_or(false) {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// Puts a text in the place of a file's, or makes the file. Blocks.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    Replacement::begin(path)?.finish(text)
}

/// Removes what a process left aside that was killed while it wrote; a file that is being written stays.
pub fn clean_up(path: &Path) {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    if aside(&path).is_some_and(|aside| aside.exists()) {
        // To begin is to take over what was left; to drop is to remove it.
        drop(Replacement::begin(&path));
    }
}

/// Waits until nobody else has locked the file.
fn lock(file: File) -> io::Result<File> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Where files cannot be locked, one writer is as good as can be had.
        Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => return Ok(file),
        Err(Errno::WOULDBLOCK) => {}
        Err(error) => return Err(error.into()),
    }
    // The system can wait for a lock, but not up to a time. A thread that waits in vain lets go of it in the end.
    let (sender, locked) = mpsc::channel();
    thread::Builder::new().name("lock".to_owned()).spawn(move || {
        let taken = flock(&file, FlockOperation::LockExclusive);
        let _ = sender.send(taken.map(|()| file));
    })?;
    let taken = locked.recv_timeout(PATIENCE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    Ok(taken?)
}

/// Where the next text of a file is written.
fn aside(path: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name()?);
    name.push(SUFFIX);
    Some(path.with_file_name(name))
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the system keep the new name of a file, whatever happens to its power.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match File::open(directory)?.sync_all() {
        // Some file systems have nothing to do for it, and say so.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_text_takes_the_place_of_another_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for text in ["one, which is longer", "two", ""] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(directory.path()), ["a"]);
        }
        drop(Replacement::begin(&path).unwrap());
        assert_eq!(names(directory.path()), ["a"]);
        assert!(replace(&directory.path().join("absent/a"), "").is_err());
    }

    #[test]
    fn permissions_and_links_stay() {
        let directory = tempfile::tempdir().unwrap();
        let [path, link] = ["a", "link"].map(|name| directory.path().join(name));
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        replace(&link, "two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_a_killed_process_left_is_cleaned_up_and_what_is_being_written_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(aside(&path).unwrap(), "half").unwrap();
        clean_up(&path);
        assert_eq!(names(directory.path()), [""; 0]);
        fs::write(aside(&path).unwrap(), "half").unwrap();
        replace(&path, "whole").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn writers_take_turns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let replacement = Replacement::begin(&path).unwrap();
                        let text = fs::read_to_string(&path).unwrap() + "x";
                        replacement.finish(&text).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 80);
        assert_eq!(names(directory.path()), ["a"]);
    }
}
