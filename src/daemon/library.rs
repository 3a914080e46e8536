//! Reads the directory of Lua that all records share.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::thread_clock;
use crate::config::{Config, LIBRARY_FILE_OCTETS_MAX, LIBRARY_FILES_MAX};
use crate::diagnostic::{Diagnostic, Position};
use crate::health::table::Table;
use crate::script::{Library, Setup, Vm};

/// Reads, compiles and tries every `*.lua` file of `lua.include-dir`, in the order of their names.
///
/// A directory that does not exist is an empty library.
pub fn load(config: &Config) -> Result<Arc<Library>, Vec<Diagnostic>> {
    let directory = &config.lua.include_dir;
    if directory.as_os_str().is_empty() || !directory.exists() {
        return Ok(Arc::default());
    }
    let library = Arc::new(Library::compile(&read_all(directory)?)?);
    let (limits, table) = (config.lua.clone(), Arc::new(Table::new(0)));
    Vm::new(Setup { limits, library: library.clone(), table, seed: 0, clock: thread_clock() })
        .map_err(|error| vec![error])?;
    Ok(library)
}

/// Reads the files of a directory.
fn read_all(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, Vec<Diagnostic>> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(|error| vec![unreadable(directory, &error)])?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "lua") && path.is_file());
    paths.sort();
    if paths.len() > LIBRARY_FILES_MAX {
        let message = format!("`{}` holds more than {LIBRARY_FILES_MAX} Lua files", directory.display());
        return Err(vec![Diagnostic::error(None, message).help("name another directory with `lua.include-dir`")]);
    }
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match read(&path) {
            Ok(source) => files.push((path.display().to_string(), source)),
            Err(error) => errors.push(unreadable(&path, &error)),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// Reads a file up to its bound.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut source = Vec::new();
    fs::File::open(path)?.take(LIBRARY_FILE_OCTETS_MAX + 1).read_to_end(&mut source)?;
    if source.len() as u64 > LIBRARY_FILE_OCTETS_MAX {
        return Err(io::Error::other(format!("it has more than {LIBRARY_FILE_OCTETS_MAX} octets")));
    }
    Ok(source)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let name = path.display().to_string();
    Diagnostic::error(Position::new(name.as_str(), 1, 1), format!("cannot read `{name}`: {error}"))
        .help("make it readable for the user that runs perigee, or name another directory with `lua.include-dir`")
}
