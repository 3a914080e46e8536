//! Reads the files below a directory that belongs to a zone, such as its modules.

use std::fs;
use std::path::{Path, PathBuf};

use super::read::{ReadError, Text, ZoneReader};

/// How deep directories may lie in each other.
const DEPTH_MAX: usize = 8;

impl ZoneReader {
    /// Reads every file below `root` whose name ends in `suffix`, with its path from there; in the order of the paths.
    ///
    /// They count to the zone's bounds, and are watched with it, as is what comes and goes. Hidden files are left out.
    /// A symbolic link may lead to a file below `root` and nowhere else: what is in there is all the zone may read.
    /// Every file that cannot be had is told.
    pub fn folder(&mut self, root: &Path, suffix: &str) -> Result<Vec<(PathBuf, Text)>, Vec<ReadError>> {
        let (mut texts, mut errors) = (Vec::new(), Vec::new());
        // Watched before it is told apart: it may be made later.
        match (self.list(root), fs::canonicalize(root)) {
            (Ok(entries), Ok(real)) => {
                let mut folder = Folder { reader: self, real, suffix, texts: &mut texts, errors: &mut errors };
                folder.walk(entries, DEPTH_MAX);
            }
            (Err(error), _) => errors.push(error),
            (Ok(_), Err(error)) => errors.push(ReadError::System(root.display().to_string().into(), error)),
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let relative =
            |(path, text): (PathBuf, Text)| (path.strip_prefix(root).map(Path::to_owned).unwrap_or(path), text);
        let mut texts: Vec<_> = texts.into_iter().map(relative).collect();
        texts.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(texts)
    }
}

/// A walk through a directory.
struct Folder<'w> {
    reader: &'w mut ZoneReader,
    /// The directory without symbolic links.
    real: PathBuf,
    suffix: &'w str,
    texts: &'w mut Vec<(PathBuf, Text)>,
    errors: &'w mut Vec<ReadError>,
}

impl Folder<'_> {
    fn walk(&mut self, entries: Vec<PathBuf>, depth: usize) {
        for path in entries {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            if name.starts_with(b".") {
                continue;
            }
            let is_link = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
            let file = || path.display().to_string().into();
            if path.is_dir() {
                let outcome = match depth.checked_sub(1) {
                    // A link could lead in a circle.
                    _ if is_link => Err(ReadError::Link(file())),
                    None => Err(ReadError::TooDeep(file())),
                    Some(depth) => self.reader.list(&path).map(|entries| self.walk(entries, depth)),
                };
                self.errors.extend(outcome.err());
            } else if name.ends_with(self.suffix.as_bytes()) {
                let is_below = !is_link || fs::canonicalize(&path).is_ok_and(|real| real.starts_with(&self.real));
                let text = if is_below { self.reader.read(&path) } else { Err(ReadError::Link(file())) };
                match text {
                    Ok(text) => self.texts.push((path, text)),
                    Err(error) => self.errors.push(error),
                }
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_below_a_directory_are_read_and_links_lead_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for folder in ["lua/geo/deep", "lua/.hidden", "other"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for file in
            ["zone", "lua/a.lua", "lua/geo/b.lua", "lua/geo/deep/c.lua", "lua/.x.lua", "lua/notes.txt", "other/d.lua"]
        {
            fs::write(path(file), file).unwrap();
        }
        fs::write(path("lua/.hidden/e.lua"), "").unwrap();
        symlink("geo/b.lua", path("lua/within.lua")).unwrap();
        let read = || {
            let (mut reader, _) = ZoneReader::open(&path("zone"), 1 << 20);
            let read = reader.folder(&path("lua"), ".lua").map_err(|errors| {
                errors
                    .iter()
                    .map(|error| error.to_string().replace(&path("lua").display().to_string(), "lua"))
                    .collect::<Vec<_>>()
            })?;
            let names = read
                .iter()
                .map(|(name, text)| format!("{}: {}", name.display(), String::from_utf8_lossy(&text.octets)));
            Ok::<_, Vec<String>>(names.collect::<Vec<_>>())
        };
        assert_eq!(
            read().unwrap(),
            [
                "a.lua: lua/a.lua",
                "geo/b.lua: lua/geo/b.lua",
                "geo/deep/c.lua: lua/geo/deep/c.lua",
                "within.lua: lua/geo/b.lua"
            ]
        );
        symlink("../other/d.lua", path("lua/out.lua")).unwrap();
        symlink("../other", path("lua/outside")).unwrap();
        symlink("nothing", path("lua/nothing.lua")).unwrap();
        assert_eq!(
            read().unwrap_err(),
            [
                "`lua/nothing.lua` is a link that leads out of its directory, or to a directory",
                "`lua/out.lua` is a link that leads out of its directory, or to a directory",
                "`lua/outside` is a link that leads out of its directory, or to a directory",
            ]
        );
        let (mut reader, _) = ZoneReader::open(&path("zone"), 1 << 20);
        assert_eq!(reader.folder(&path("absent"), ".lua").unwrap_err().len(), 1);
    }
}
