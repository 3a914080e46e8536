//! Regular expressions, for all kinds: compiled once, and only as many and as large as there is room for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::Regex;

use crate::health::Reason;
use crate::health::check::Pattern;

/// How many compiled expressions are kept.
const PATTERNS_MAX: usize = 1024;
/// How many octets are searched at the most, whatever a check has read.
pub(super) const SEARCHED_MAX: usize = 64 << 10;

/// The expressions that checks use.
#[derive(Default)]
pub(super) struct Patterns {
    compiled: Mutex<HashMap<Arc<str>, Compiled>>,
}

/// An expression, or why it is none.
type Compiled = Result<Regex, Arc<str>>;

impl Patterns {
    /// Whether what was read matches somewhere in its first [`SEARCHED_MAX`] octets.
    pub(super) fn is_match(&self, pattern: &Pattern, read: &[u8]) -> Result<bool, Reason> {
        Ok(self.compile(pattern)?.is_match(searched(read)))
    }

    /// What the first group matches, or the whole expression if there is no group in it.
    pub(super) fn first_group<'r>(&self, pattern: &Pattern, read: &'r [u8]) -> Result<Option<&'r [u8]>, Reason> {
        let regex = self.compile(pattern)?;
        let group = usize::from(regex.captures_len() > 1);
        let found = regex.captures(searched(read)).and_then(|captures| captures.get(group));
        Ok(found.map(|found| found.as_bytes()))
    }

    /// The compiled expression; one that is new is compiled now.
    fn compile(&self, pattern: &Pattern) -> Result<Regex, Reason> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= PATTERNS_MAX && !compiled.contains_key(&pattern.0) {
            // Those in use are back after one probe; to find out which are not would cost every probe something.
            compiled.clear();
        }
        let entry = compiled.entry(Arc::clone(&pattern.0)).or_insert_with(|| pattern.compile().map_err(Arc::from));
        entry.clone().map_err(|why| Reason::Unusable(format!("`{}` is no regular expression: {why}", pattern.0)))
    }
}

fn searched(read: &[u8]) -> &[u8] {
    &read[..read.len().min(SEARCHED_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(text.into())
    }

    #[test]
    fn octets_match_whatever_they_are() {
        let rows: [(&str, &[u8], bool); 7] = [
            ("OK|READY", b"it is READY", true),
            ("^OK$", b"it is OK", false),
            ("(?m)^OK$", b"first\nOK\nlast", true),
            ("b.d", b"\xff\xfebad\x00", true),
            (r"(?-u)\xff\x00", b"a\xff\x00b", true),
            ("", b"", true),
            ("x", b"", false),
        ];
        let patterns = Patterns::default();
        for (text, read, is_match) in rows {
            assert_eq!(patterns.is_match(&pattern(text), read), Ok(is_match), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_says_why() {
        let patterns = Patterns::default();
        let rows = [
            ("a(", "`a(` is no regular expression: unclosed group"),
            ("*", "`*` is no regular expression: repetition operator missing expression"),
            (r"(\w{99}){99}", r"`(\w{99}){99}` is no regular expression: it is too large"),
        ];
        for (text, why) in rows {
            assert_eq!(patterns.is_match(&pattern(text), b"").unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn the_first_group_counts_and_else_the_whole() {
        let patterns = Patterns::default();
        let rows = [
            ("load=([0-9]+)", "load=12 load=13", Some("12")),
            ("[0-9]+", "a 7", Some("7")),
            ("load=([0-9]+)", "none", None),
            ("a(b)?", "a", None),
        ];
        for (text, read, found) in rows {
            let group = patterns.first_group(&pattern(text), read.as_bytes());
            assert_eq!(group, Ok(found.map(str::as_bytes)), "{text}");
        }
    }

    #[test]
    fn no_more_is_kept_or_searched_than_there_is_room_for() {
        let patterns = Patterns::default();
        for index in 0..2 * PATTERNS_MAX + 1 {
            patterns.is_match(&pattern(&format!("a{index}")), b"").unwrap();
        }
        assert!(patterns.compiled.lock().unwrap().len() <= PATTERNS_MAX);
        let long = [vec![b'a'; SEARCHED_MAX], b"b".to_vec()].concat();
        assert_eq!(patterns.is_match(&pattern("b"), &long), Ok(false));
    }
}
