//! Map files: which are read, and the text of one.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::collection::{Collection, Errors, Form};
use crate::config::{MAP_OCTETS_MAX, MAPS_MAX};
use crate::diagnostic::{Diagnostic, Position};
use crate::networks::{self, Map, Row};

/// What the first column of a map is called.
const NETWORK: &str = "network";

/// What a map file is.
const FORM: &Form<Map> =
    &Form { suffix: ".csv", noun: "map", key: "lua.map-dir", files_max: MAPS_MAX, octets_max: MAP_OCTETS_MAX, parse };

/// The maps of a directory, each as it was last found sound.
pub type MapSource = Collection<Map>;

impl MapSource {
    /// Takes a directory, which need not exist; an empty path for none. Nothing is read yet.
    pub fn new(directory: &Path) -> Self {
        Self::of(directory, FORM)
    }
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
            Err((position, message)) => errors.add(Diagnostic::error(position, message)),
        }
    }
    errors.end(file, FORM.noun)?;
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

#[cfg(test)]
mod tests {
    use super::super::collection::ERRORS_MAX;
    use super::*;
    use std::fs;
    use std::time::Duration;
    use tokio::sync::mpsc;

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
            assert_eq!(FORM.name(Path::new(file)).as_deref(), name, "{file}");
        }
    }

    #[test]
    fn a_broken_file_keeps_what_it_held_and_a_file_that_goes_takes_its_map_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sites.csv");
        let mut source = MapSource::new(directory.path());
        let site = |source: &MapSource| source.held().get("sites").and_then(|map| values(map, "10.0.0.1"));
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
        let watching = tokio::spawn(source.watch(Duration::from_millis(20), sender, crate::source::reloads().1));
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
