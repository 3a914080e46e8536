//! The directory of map files: which there are, which have changed, and what is in them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, mpsc};

use super::read::{Refusal, Stamp, read_regular};
use super::watched::Watched;
use crate::config::{MAP_OCTETS_MAX, MAPS_MAX};
use crate::diagnostic::{Diagnostic, Position};
use crate::networks::{self, Map, Maps, Row};

/// How many errors of one file are told; the rest are counted.
const ERRORS_MAX: usize = 20;
/// What the first column of a map is called.
const NETWORK: &str = "network";

/// The maps of a directory, each as it was last found sound.
#[derive(Debug)]
pub struct MapSource {
    directory: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

/// A map file.
#[derive(Debug)]
struct File {
    name: Box<str>,
    /// What the system said of it before it was last read.
    stamp: Option<Stamp>,
    /// What it last held without an error.
    map: Option<Arc<Map>>,
}

/// What came of a look at all files.
#[derive(Debug)]
pub struct Looked {
    /// Whether there is anything new.
    pub changed: bool,
    /// What is wrong with what was read.
    pub diagnostics: Vec<Diagnostic>,
}

impl MapSource {
    /// Takes a directory, which need not exist; an empty path for none. Nothing is read yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), files: BTreeMap::new() }
    }

    /// Reads what has changed since the last time, and all that is in `again`; tells what is wrong with it.
    ///
    /// A file that cannot be had keeps what it held before, and one that is gone is no map any more.
    pub fn read(&mut self, again: &[PathBuf]) -> Looked {
        let (paths, mut diagnostics) = self.list();
        let before = self.files.len();
        self.files.retain(|path, _| paths.iter().any(|(known, _)| known == path));
        let mut changed = self.files.len() < before;
        for (path, name) in paths {
            let stamp = Stamp::of(&path);
            let known = self.files.get(&path);
            if known.is_some_and(|file| file.stamp == stamp) && !again.contains(&path) {
                continue;
            }
            let before = known.and_then(|file| file.map.clone());
            let map = match read(&path) {
                Ok(map) => Some(Arc::new(map)),
                Err(errors) => {
                    diagnostics.extend(errors);
                    before
                }
            };
            self.files.insert(path, File { name, stamp, map });
            changed = true;
        }
        Looked { changed, diagnostics }
    }

    /// Every map there is.
    pub fn maps(&self) -> Arc<Maps> {
        let maps = self.files.values().filter_map(|file| Some((file.name.clone(), file.map.clone()?)));
        Arc::new(maps.collect::<HashMap<_, _>>())
    }

    /// Sends all maps, and what is wrong with those just read, whenever a file has changed, until nobody listens.
    ///
    /// `reload` asks for all files to be read again; ring it with `notify_one`.
    pub async fn watch(
        mut self,
        interval: Duration,
        changed: mpsc::Sender<(Arc<Maps>, Vec<Diagnostic>)>,
        reload: Arc<Notify>,
    ) {
        if self.directory.as_os_str().is_empty() {
            return;
        }
        let mut again = Vec::new();
        loop {
            let look = tokio::task::spawn_blocking(move || {
                // What is watched from before it is read changes with a word.
                let watched = self.watched(interval);
                let looked = self.read(&again);
                (self, watched, looked)
            });
            let (watched, looked);
            (self, watched, looked) = match look.await {
                Ok(looked) => looked,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down.
                Err(_) => return,
            };
            let news = looked.changed || !looked.diagnostics.is_empty();
            if news && changed.send((self.maps(), looked.diagnostics)).await.is_err() {
                return;
            }
            let (sender, mut settled) = mpsc::channel(1);
            again = tokio::select! {
                () = watched.watch(sender, Arc::clone(&reload)) => return,
                Some(again) = settled.recv() => again,
                () = changed.closed() => return,
            };
        }
    }

    /// The directory, which tells of files that come and go, and the files in it.
    fn watched(&self, interval: Duration) -> Watched {
        // The directory's stamp is taken before its files are listed: one that comes later changes it.
        let files = std::iter::once_with(|| self.list().0).flatten().map(|(path, _)| path);
        Watched::new(std::iter::once(self.directory.clone()).chain(files), interval)
    }

    /// The map files of the directory and their names, sorted.
    fn list(&self) -> (Vec<(PathBuf, Box<str>)>, Vec<Diagnostic>) {
        if self.directory.as_os_str().is_empty() {
            return (Vec::new(), Vec::new());
        }
        let entries = fs::read_dir(&self.directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
        let paths = match entries {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), Vec::new()),
            Err(error) => {
                let message = format!("the maps in `{}` cannot be read: {}", self.directory.display(), error.kind());
                let help = "make the directory readable, or set `lua.map-dir`; `\"\"` stands for none";
                let kept = self.files.iter().map(|(path, file)| (path.clone(), file.name.clone())).collect();
                return (kept, vec![Diagnostic::error(None, message).help(help)]);
            }
        };
        let mut maps: Vec<_> = paths.into_iter().filter_map(|path| Some((path.clone(), map_name(&path)?))).collect();
        maps.sort();
        let mut diagnostics = Vec::new();
        if maps.len() > MAPS_MAX {
            let message = format!("`{}` holds more than {MAPS_MAX} maps", self.directory.display());
            diagnostics.push(Diagnostic::error(None, message).help("the rest, in the order of names, are left out"));
            maps.truncate(MAPS_MAX);
        }
        (maps, diagnostics)
    }
}

/// The name of the map that a file holds; `None` if it is no map file.
fn map_name(path: &Path) -> Option<Box<str>> {
    let name = path.file_name()?.to_str()?.strip_suffix(".csv")?;
    // Hidden files, and the locks that editors make.
    if name.is_empty() || name.starts_with(['.', '#']) { None } else { Some(name.into()) }
}

/// Reads a map file; tells every error there is in it.
fn read(path: &Path) -> Result<Map, Vec<Diagnostic>> {
    let file: Arc<str> = path.display().to_string().into();
    let octets = usize::try_from(MAP_OCTETS_MAX).unwrap_or(usize::MAX);
    let text = read_regular(path, octets).map_err(|refusal| {
        let why = match refusal {
            Refusal::Absent => "it is not there".to_owned(),
            Refusal::NotAFile(kind) => format!("it is {kind}, not a file"),
            Refusal::TooLarge => format!("it has more than {MAP_OCTETS_MAX} octets"),
            Refusal::System(error) => error.kind().to_string(),
        };
        let position = Position::new(file.clone(), 1, 1);
        vec![Diagnostic::error(position, format!("the map cannot be read: {why}")).help("the map stays as it was")]
    })?;
    parse(&file, &text)
}

/// Reads the text of a map: a line of names, and a line with a value for each of them for every network.
fn parse(file: &Arc<str>, text: &[u8]) -> Result<Map, Vec<Diagnostic>> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text);
    let position = |at: Option<&csv::Position>| {
        let line = at.map_or(1, |at| line_of(text, at));
        Position::new(file.clone(), u32::try_from(line).unwrap_or(u32::MAX), 1)
    };
    let columns = match reader.headers().map(columns) {
        Ok(Ok(columns)) => columns,
        Ok(Err(message)) => {
            let at =
                position(reader.headers().ok().filter(|line| !line.is_empty()).and_then(csv::StringRecord::position));
            return Err(vec![Diagnostic::error(at, message).help("begin with a line as `network,site`")]);
        }
        Err(error) => return Err(vec![Diagnostic::error(position(error.position()), told(&error))]),
    };
    let (mut rows, mut lines, mut errors) = (Vec::new(), Vec::new(), Errors::default());
    for record in reader.records() {
        let read = record.map_err(|error| (position(error.position()), told(&error))).and_then(|record| {
            let at = position(record.position());
            let row = row(&record).ok_or_else(|| {
                let text = record.get(0).unwrap_or_default();
                (at.clone(), format!("`{}` is no network; write `address/bits`", text.escape_debug()))
            })?;
            Ok((row, at.line))
        });
        match read {
            Ok((row, line)) => {
                rows.push(row);
                lines.push(line);
            }
            Err((position, message)) => errors.add(position, message),
        }
    }
    errors.end(file)?;
    let networks: Vec<IpNet> = rows.iter().map(|(network, _)| *network).collect();
    Map::build(columns, rows).map_err(|duplicate| {
        let (first, second) = (lines[duplicate.first], lines[duplicate.second]);
        let message = format!("`{}` is in line {first} already", networks[duplicate.second]);
        let position = Position::new(file.clone(), second, 1);
        vec![Diagnostic::error(position, message).help("give each network once; host bits do not count")]
    })
}

/// The line on which a record stands; its position may be that of blank lines and remarks before it.
fn line_of(text: &[u8], at: &csv::Position) -> u64 {
    let start = usize::try_from(at.byte()).unwrap_or(usize::MAX).min(text.len());
    let lines = text[start..].split(|octet| *octet == b'\n');
    let skipped = lines.take_while(|line| line.starts_with(b"#") || [b"".as_slice(), b"\r"].contains(line)).count();
    at.line().max(1) + skipped as u64
}

/// The columns of values that a header names, or what is wrong with it.
fn columns(header: &csv::StringRecord) -> Result<Row, String> {
    let mut seen = HashSet::new();
    match header.iter().next() {
        Some(NETWORK) if header.len() > 1 => {}
        Some(NETWORK) => return Err("the map has no column of values".into()),
        Some(other) => return Err(format!("the first column is `{}`, not `{NETWORK}`", other.escape_debug())),
        None => return Err("the map is empty".into()),
    }
    for name in header {
        if name.is_empty() || !seen.insert(name) {
            return Err(format!("`{}` cannot be the name of one more column", name.escape_debug()));
        }
    }
    Ok(header.iter().skip(1).map(Box::from).collect())
}

/// The network of a line and its values; `None` if it is none.
fn row(record: &csv::StringRecord) -> Option<(IpNet, Row)> {
    let mut fields = record.iter();
    let network = networks::read(fields.next()?)?;
    Some((network, fields.map(Box::from).collect()))
}

/// What is wrong with a line, without the place.
fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the line has {len} values, and the first line {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the line is not UTF-8".into(),
        _ => error.to_string(),
    }
}

/// The errors of a file, up to their bound.
#[derive(Default)]
struct Errors {
    told: Vec<Diagnostic>,
    untold: usize,
}

impl Errors {
    fn add(&mut self, position: Position, message: String) {
        if self.told.len() < ERRORS_MAX {
            self.told.push(Diagnostic::error(position, message));
        } else {
            self.untold += 1;
        }
    }

    fn end(mut self, file: &Arc<str>) -> Result<(), Vec<Diagnostic>> {
        if self.untold > 0 {
            let message = format!("{} more lines of the map cannot be read", self.untold);
            self.told.push(Diagnostic::error(Position::new(file.clone(), 1, 1), message));
        }
        if self.told.is_empty() { Ok(()) } else { Err(self.told) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Map, Vec<String>> {
        let errors =
            |errors: Vec<Diagnostic>| errors.iter().map(|error| error.to_string().replace('\n', " ")).collect();
        parse(&"m.csv".into(), text.as_bytes()).map_err(errors)
    }

    fn values(map: &Map, address: &str) -> Option<Vec<String>> {
        let (_, row) = map.lookup(address.parse().unwrap()).entry?;
        Some(map.row(*row).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_map_has_a_header_remarks_and_a_line_for_each_network() {
        let text =
            "# sites\nnetwork, site ,weight\n10.0.0.0/8,kr,1\n# more\n\n 2001:db8::/32 ,\"a, b\" ,\n192.0.2.1,x,y\n";
        let map = parsed(text).unwrap();
        assert_eq!(map.columns(), &["site".into(), "weight".into()]);
        assert_eq!(values(&map, "10.9.9.9"), Some(vec!["kr".into(), "1".into()]));
        assert_eq!(values(&map, "2001:db8::1"), Some(vec!["a, b".into(), String::new()]));
        assert_eq!(values(&map, "192.0.2.1"), Some(vec!["x".into(), "y".into()]));
        assert_eq!(values(&map, "192.0.2.2"), None);
        assert_eq!(parsed("network,site\n").unwrap().networks().len(), 0);
    }

    #[test]
    fn every_line_that_is_none_is_told() {
        let header = "  help: begin with a line as `network,site`";
        let cases: &[(&str, &[&str])] = &[
            ("", &["m.csv:1:1: error: the map is empty"]),
            ("# nothing\n", &["m.csv:1:1: error: the map is empty"]),
            ("10.0.0.0/8,kr\n", &["m.csv:1:1: error: the first column is `10.0.0.0/8`, not `network`"]),
            ("network\n", &["m.csv:1:1: error: the map has no column of values"]),
            ("# x\nnetwork,a,a\n", &["m.csv:2:1: error: `a` cannot be the name of one more column"]),
            (
                "network,a\n10.0.0.0/33,x\n10.0.0.0/8\n# y\n10.0.0.0/8,x,y\nten,x\n10.0.0.0/8,x\n",
                &[
                    "m.csv:2:1: error: `10.0.0.0/33` is no network; write `address/bits`",
                    "m.csv:3:1: error: the line has 1 values, and the first line 2",
                    "m.csv:5:1: error: the line has 3 values, and the first line 2",
                    "m.csv:6:1: error: `ten` is no network; write `address/bits`",
                ],
            ),
            (
                "network,a\n10.0.0.0/8,x\n10.0.0.0/9,x\n10.9.9.9/8,x\n",
                &[
                    "m.csv:4:1: error: `10.0.0.0/8` is in line 2 already   help: give each network once; host bits do not count",
                ],
            ),
        ];
        for (text, expected) in cases {
            let errors = parsed(text).unwrap_err();
            let errors: Vec<_> = errors.iter().map(|error| error.trim_end_matches(header).trim_end()).collect();
            assert_eq!(errors, *expected, "{text:?}");
        }
        let many = format!("network,a\n{}", "x,y\n".repeat(ERRORS_MAX + 5));
        assert_eq!(
            parsed(&many).unwrap_err().last().unwrap(),
            "m.csv:1:1: error: 5 more lines of the map cannot be read"
        );
    }

    #[test]
    fn files_with_other_names_are_no_maps() {
        let cases =
            [("a.csv", Some("a")), ("a.b.csv", Some("a.b")), (".a.csv", None), ("#a.csv", None), ("a.csv~", None)];
        for (file, name) in cases {
            assert_eq!(map_name(Path::new(file)).as_deref(), name, "{file}");
        }
    }

    #[test]
    fn a_broken_file_keeps_what_it_held_and_a_file_that_goes_takes_its_map_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sites.csv");
        let mut source = MapSource::new(directory.path());
        let site = |source: &MapSource| source.maps().get("sites").and_then(|map| values(map, "10.0.0.1"));
        assert!(source.read(&[]).diagnostics.is_empty());
        for (text, expected, errors) in [
            ("network,site\n10.0.0.0/8,old\n", "old", 0),
            ("network,site\n10.0.0.0/8,newer\nnonsense,x\n", "old", 1),
            ("network,site\n10.0.0.0/8,newest\n", "newest", 0),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(source.read(&[]).diagnostics.len(), errors);
            assert_eq!(site(&source), Some(vec![expected.to_owned()]));
        }
        fs::remove_file(&path).unwrap();
        assert!(source.read(&[]).diagnostics.is_empty());
        assert_eq!(site(&source), None);
    }

    #[tokio::test]
    async fn maps_that_come_change_and_go_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a.csv"), "network,site\n10.0.0.0/8,one\n").unwrap();
        let mut source = MapSource::new(directory.path());
        source.read(&[]);
        let (sender, mut changed) = mpsc::channel(1);
        let watching = tokio::spawn(source.watch(Duration::from_millis(20), sender, Arc::new(Notify::new())));
        let mut until = async |expected: &[&str]| {
            loop {
                let (maps, _) = changed.recv().await.expect("it goes on");
                let mut told: Vec<_> =
                    maps.iter().map(|(name, map)| format!("{name} {:?}", values(map, "10.0.0.1"))).collect();
                told.sort();
                if told == expected {
                    return;
                }
            }
        };
        fs::write(path("a.csv"), "network,site\n10.0.0.0/8,two\n10.0.0.0/9,three\n").unwrap();
        until(&["a Some([\"three\"])"]).await;
        fs::write(path("b.csv"), "network,site\n").unwrap();
        until(&["a Some([\"three\"])", "b None"]).await;
        fs::remove_file(path("a.csv")).unwrap();
        until(&["b None"]).await;
        drop(changed);
        watching.await.expect("it ends when nobody listens");
    }
}
