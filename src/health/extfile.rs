//! What others say of targets, in files: an entry and its state a line.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The longest name an entry may have, in octets; that of a domain name fits.
pub const ENTRY_OCTETS_MAX: usize = 255;

/// What to do about a line that is none.
const FORM: &str = "write `ENTRY => up` or `ENTRY => down`, and a weight behind it if there is one";

/// Files by their names, each as it was last found sound.
pub type Files = HashMap<Box<str>, Arc<States>>;

/// What one file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct States(HashMap<Box<str>, Said>);

/// What a file says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it is up.
    pub up: bool,
    /// The weight it has.
    pub weight: Option<u32>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which line, from 1.
    pub line: u32,
    /// Which octet of it, from 1.
    pub column: u32,
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl States {
    /// Reads the text of a file; `fault` is told of each line that is none, and then the rest is worth nothing.
    ///
    /// A line is `ENTRY => up` or `ENTRY => down`, with a weight behind it or without; `#` begins a remark at the
    /// start of a word. An address is the same entry however it is written.
    pub fn read(text: &[u8], mut fault: impl FnMut(Fault)) -> Self {
        let mut states: HashMap<Box<str>, Said> = HashMap::new();
        for (line, octets) in (1..).zip(text.split(|octet| *octet == b'\n')) {
            let read = read_line(octets).and_then(|read| {
                let Some((entry, said)) = read else { return Ok(()) };
                match states.insert(canonical(entry), said) {
                    None => Ok(()),
                    Some(_) => Err((entry, format!("`{entry}` has a line already"), "give each entry one line")),
                }
            });
            if let Err((at, message, help)) = read {
                // Both are parts of one text.
                let column = at.as_ptr().addr() - octets.as_ptr().addr();
                let column = u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1);
                fault(Fault { line, column, message, help });
            }
        }
        Self(states)
    }

    /// What is said of an entry.
    pub fn get(&self, entry: &str) -> Option<Said> {
        self.0.get(&*canonical(entry)).copied()
    }
}

/// The files that do not say the same before and after, by their names.
pub fn changed(before: &Files, after: &Files) -> HashSet<Box<str>> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// What is wrong with a line: the part of it, what happened, what to do.
type Wrong<'l> = (&'l str, String, &'static str);

/// Reads a line; `None` if there is nothing on it.
fn read_line(octets: &[u8]) -> Result<Option<(&str, Said)>, Wrong<'_>> {
    let text = str::from_utf8(octets).map_err(|error| {
        let sound = str::from_utf8(&octets[..error.valid_up_to()]).unwrap_or_default();
        (&sound[sound.len()..], "the line is not UTF-8".to_owned(), "write it in UTF-8")
    })?;
    let mut words = text.split_ascii_whitespace().take_while(|word| !word.starts_with('#'));
    let Some(entry) = words.next() else { return Ok(None) };
    if entry.len() > ENTRY_OCTETS_MAX {
        return Err((entry, format!("the entry has more than {ENTRY_OCTETS_MAX} octets"), FORM));
    }
    let arrow = words.next().unwrap_or_default();
    if arrow != "=>" {
        return Err((entry, format!("no `=>` follows `{}`", entry.escape_debug()), FORM));
    }
    let Some(state) = words.next() else { return Err((entry, format!("`{entry}` has no state"), FORM)) };
    let up = match () {
        () if state.eq_ignore_ascii_case("up") => true,
        () if state.eq_ignore_ascii_case("down") => false,
        () => return Err((state, format!("`{}` is no state", state.escape_debug()), FORM)),
    };
    let weight = words.next().map(|weight| {
        let number = weight.parse::<u32>().ok().filter(|number| i32::try_from(*number).is_ok());
        number.ok_or_else(|| {
            let help = "write a whole number from 0 to 2147483647";
            (weight, format!("`{}` is no weight", weight.escape_debug()), help)
        })
    });
    let weight = weight.transpose()?;
    match words.next() {
        None => Ok(Some((entry, Said { up, weight }))),
        Some(more) => Err((more, format!("`{}` is one word too many", more.escape_debug()), FORM)),
    }
}

/// The one way to write an entry.
fn canonical(entry: &str) -> Box<str> {
    entry.parse::<IpAddr>().map_or_else(|_| entry.into(), |address| address.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> (States, Vec<String>) {
        let mut faults = Vec::new();
        let states = States::read(text, |fault| {
            faults.push(format!("{}:{}: {}", fault.line, fault.column, fault.message));
        });
        (states, faults)
    }

    #[test]
    fn a_line_says_the_state_of_an_entry_and_its_weight() {
        let text = b"# web\n\n192.0.2.1 => up\r\n 2001:DB8:0::1  =>  Down # since noon\nsite#1 => UP 7\n";
        let (states, faults) = read(text);
        assert_eq!(faults, [""; 0]);
        let up = |weight| Some(Said { up: true, weight });
        let rows = [
            ("192.0.2.1", up(None)),
            ("2001:db8::1", Some(Said { up: false, weight: None })),
            ("site#1", up(Some(7))),
            ("Site#1", None),
        ];
        for (entry, said) in rows {
            assert_eq!(states.get(entry), said, "{entry}");
        }
    }

    #[test]
    fn every_line_that_is_none_is_told_with_its_place() {
        let long = format!("{} => up", "a".repeat(ENTRY_OCTETS_MAX + 1));
        let rows: &[(&[u8], &str)] = &[
            (b"a\n", "1:1: no `=>` follows `a`"),
            (b"a up\n", "1:1: no `=>` follows `a`"),
            (b"a =>\n", "1:1: `a` has no state"),
            (b"\n  a => maybe", "2:8: `maybe` is no state"),
            (b"a => up -1", "1:9: `-1` is no weight"),
            (b"a => up 2147483648", "1:9: `2147483648` is no weight"),
            (b"a => up 1 2", "1:11: `2` is one word too many"),
            (b"a => up\na => up", "2:1: `a` has a line already"),
            (b"a => up\xff", "1:8: the line is not UTF-8"),
            (long.as_bytes(), "1:1: the entry has more than 255 octets"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text).1, [*expected], "{}", text.escape_ascii());
        }
    }

    #[test]
    fn files_that_came_went_or_say_something_else_have_changed() {
        let files = |files: &[(&str, &str)]| -> Files {
            files.iter().map(|(name, text)| ((*name).into(), Arc::new(read(text.as_bytes()).0))).collect()
        };
        let before = files(&[("same", "a => up"), ("other", "a => up"), ("gone", "a => up")]);
        let after = files(&[("same", "a => up # still"), ("other", "a => down"), ("new", "a => up")]);
        let mut names: Vec<_> = changed(&before, &after).into_iter().collect();
        names.sort();
        assert_eq!(names, ["gone".into(), "new".into(), "other".into()] as [Box<str>; 3]);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
        }
    }
}
