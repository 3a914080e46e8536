//! Regular expressions, for all kinds: compiled once, and only as many and as large as there is room for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use regex::bytes::Regex;
use tokio::sync::Semaphore;
use tokio::task;

use crate::health::Reason;
use crate::health::check::Pattern;

/// How many compiled expressions are kept.
const PATTERNS_MAX: usize = 1024;
/// How many octets are searched at the most, whatever a check has read.
pub(super) const SEARCHED_MAX: usize = 64 << 10;
/// How many octets are searched at once; more are searched aside, where other probes do not have to wait.
const SEARCHED_AT_ONCE_MAX: usize = 256;
/// How many searches go on aside.
const SEARCHES_ASIDE_MAX: usize = 2;

/// The expressions that checks use.
pub(super) struct Patterns {
    compiled: Mutex<HashMap<Arc<str>, Compiled>>,
    aside: Arc<Semaphore>,
}

/// A compiled expression, or why it is none.
type Compiled = Result<Regex, Arc<str>>;

impl Default for Patterns {
    fn default() -> Self {
        Self { compiled: Mutex::default(), aside: Arc::new(Semaphore::new(SEARCHES_ASIDE_MAX)) }
    }
}

impl Patterns {
    /// Whether what was read, however much, matches somewhere in its first [`SEARCHED_MAX`] octets.
    pub(super) async fn matches(&self, pattern: &Pattern, read: &Bytes) -> Result<bool, Reason> {
        let regex = self.compile(pattern)?;
        self.search(read, move |searched| regex.is_match(&searched)).await
    }

    /// What the first group matches, or the whole expression if there is no group in it.
    pub(super) async fn first_group(&self, pattern: &Pattern, read: &Bytes) -> Result<Option<Bytes>, Reason> {
        let regex = self.compile(pattern)?;
        let group = usize::from(regex.captures_len() > 1);
        self.search(read, move |searched| {
            let found = regex.captures(&searched).and_then(|captures| captures.get(group));
            found.map(|found| searched.slice(found.range()))
        })
        .await
    }

    /// Searches at once, or aside if that may take long.
    async fn search<T, F>(&self, read: &Bytes, search: F) -> Result<T, Reason>
    where
        T: Send + 'static,
        F: FnOnce(Bytes) -> T + Send + 'static,
    {
        let searched = read.slice(..read.len().min(SEARCHED_MAX));
        if searched.len() <= SEARCHED_AT_ONCE_MAX {
            return Ok(search(searched));
        }
        // A search cannot be ended: its turn is over when it is, even if the probe has been given up long before.
        let turn = Arc::clone(&self.aside).acquire_owned().await;
        let found = task::spawn_blocking(move || {
            let _turn = turn;
            search(searched)
        });
        found.await.map_err(|_| Reason::Broken)
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

#[cfg(test)]
mod tests {
    use super::*;

    impl Patterns {
        fn is_match(&self, pattern: &Pattern, read: &[u8]) -> Result<bool, Reason> {
            Ok(self.compile(pattern)?.is_match(&read[..read.len().min(SEARCHED_MAX)]))
        }
    }

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

    #[tokio::test]
    async fn the_first_group_counts_and_else_the_whole() {
        let patterns = Patterns::default();
        let rows = [
            ("load=([0-9]+)", "load=12 load=13", Some("12")),
            ("[0-9]+", "a 7", Some("7")),
            ("load=([0-9]+)", "none", None),
            ("a(b)?", "a", None),
        ];
        for (text, read, found) in rows {
            for blanks in [0, SEARCHED_AT_ONCE_MAX] {
                let read = Bytes::from(" ".repeat(blanks) + read);
                let group = patterns.first_group(&pattern(text), &read).await;
                assert_eq!(group, Ok(found.map(Bytes::from)), "{text}");
                assert_eq!(patterns.matches(&pattern(text), &read).await, Ok(found.is_some() || text == "a(b)?"));
            }
        }
    }

    #[tokio::test]
    async fn no_more_is_kept_or_searched_than_there_is_room_for() {
        let patterns = Patterns::default();
        for index in 0..2 * PATTERNS_MAX + 1 {
            patterns.is_match(&pattern(&format!("a{index}")), b"").unwrap();
        }
        assert!(patterns.compiled.lock().unwrap().len() <= PATTERNS_MAX);
        let long = [vec![b'a'; SEARCHED_MAX], b"b".to_vec()].concat();
        assert_eq!(patterns.matches(&pattern("b"), &long.clone().into()).await, Ok(false));
        assert_eq!(patterns.is_match(&pattern("b"), &long), Ok(false));
    }
}
