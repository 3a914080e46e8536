//! Maps database files into memory.
//!
//! The one other place with `unsafe`: no way to map a file is safe in Rust's sense, for whoever may write to the file may
//! change what is mapped. A city database has a hundred megabytes of which queries touch a few, and a map costs no more
//! than those, shared with every process that maps the file. What the operator has to do for it, the manual says: put
//! another file in its place by renaming. One that is cut short where it lies ends the process (SIGBUS).

use std::fs::File;
use std::io;
use std::path::Path;

use maxminddb::Mmap;

use super::{Database, NoDatabase};

/// Why a file is no database to look things up in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not let it be read.
    #[error("{}", .0.kind())]
    System(#[from] io::Error),
    /// A directory, a FIFO or the like.
    #[error("it is not a file")]
    NotAFile,
    /// Something else than a MaxMind DB, or a damaged one.
    #[error("it is no MaxMind DB file: {0}")]
    NoDatabase(#[from] NoDatabase),
}

impl OpenError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::System(_) => "correct the path, and make it readable for the user that runs perigee",
            Self::NotAFile => "put a file in its place",
            Self::NoDatabase(_) => "fetch it anew; perigee reads the `.mmdb` files that databases are shipped as",
        }
    }
}

/// Opens the database in a file; it stays mapped as long as the database is held.
pub fn open(path: &Path) -> Result<Database, OpenError> {
    // To open a FIFO would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(OpenError::NotAFile);
    }
    Ok(Database::new(map(&File::open(path)?)?)?)
}

/// Maps a file.
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: nobody may write to the mapped file. The manual demands that files are replaced by renaming; perigee itself
    // opens them for reading alone. The decoder checks every offset and every text as it reads it.
    unsafe { Mmap::map(file) }
}
