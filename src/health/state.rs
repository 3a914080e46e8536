//! What is known of targets, as lines of text that outlive the process.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Value, json};

use super::hysteresis::Run;
use super::{Check, State};

/// What the first line says the others are. Another number is for lines that this one cannot read.
pub const VERSION: u64 = 1;
/// The most octets a line is meant to have; lines are bounded by the bounds of the texts in them.
pub const LINE_OCTETS_MAX: usize = 2048;
/// How many characters of a check or a reason are written.
const TEXT_MAX: usize = 256;
/// How far a time may be ahead: clocks are set back a little all the time.
const AHEAD_MAX: u64 = 60;

/// What was known of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Tells its check from others.
    pub identity: u64,
    /// The check as people read it. It must be the same too.
    pub check: String,
    /// The state, and the verdicts that count.
    pub run: Run,
    /// The weight that the target last gave itself.
    pub weight: Option<u32>,
    /// When the state was reached, in seconds since 1970.
    pub since: u64,
    /// When the last probe ended, in seconds since 1970.
    pub at: u64,
    /// Until when somebody watched over it, in seconds since 1970.
    pub watched: u64,
    /// Why the last probe failed, if it did. For people: the next probe says it anew.
    pub reason: Option<String>,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// What still counts.
    pub kept: Vec<Kept>,
    /// How many lines were about what nobody has watched for too long.
    pub old: usize,
    /// How many lines could not be read.
    pub broken: usize,
}

/// Why nothing that was kept counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Useless {
    /// The first line is not what it must be.
    #[error("its first line is none that perigee writes")]
    NoHeader,
    /// It was written by another version.
    #[error("it is of version {0}, and this is version {VERSION}")]
    Version(u64),
    /// It was written too long ago.
    #[error("it is {0:?} old")]
    Old(Duration),
    /// It was written in times to come.
    #[error("it was written {0:?} from now; was the clock set back")]
    Ahead(Duration),
}

/// A number that tells a check from others, in this process and the next.
///
/// The hasher has fixed keys. Where it or the check's fields change with a release, nothing is found under the old
/// numbers, and the checks are new.
pub fn identity(check: &Check) -> u64 {
    let mut hasher = DefaultHasher::new();
    check.hash(&mut hasher);
    hasher.finish()
}

/// A check as it is written.
pub fn shown(check: &Check) -> String {
    bounded(&check.to_string())
}

/// A text, or the beginning of a long one.
pub(super) fn bounded(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// Writes what is known at a time, in seconds since 1970: a line that says so, and one for each check.
pub fn print(kept: &[Kept], now: u64) -> String {
    let lines = kept.iter().map(|kept| {
        let Kept { identity, check, run: Run { state, failures, passes }, weight, since, at, watched, reason } = kept;
        json!({
            "check": check, "id": format!("{identity:016x}"), "state": state.as_str(), "failures": failures,
            "passes": passes, "weight": weight, "since": since, "at": at, "watched": watched, "reason": reason,
        })
    });
    let header = json!({ "perigee-health": VERSION, "written": now });
    std::iter::once(header).chain(lines).map(|line| format!("{line}\n")).collect()
}

/// Reads what was written, as far as it still counts.
///
/// A line that cannot be read costs what it says and no more: each state stands for itself.
pub fn parse(text: &[u8], now: u64, age_max: Duration, entries_max: usize) -> Result<Remembered, Useless> {
    let mut lines = text.split(|octet| *octet == b'\n');
    let header: Value = lines.next().and_then(|line| serde_json::from_slice(line).ok()).ok_or(Useless::NoHeader)?;
    let number = |key: &str| header.get(key).and_then(Value::as_u64).ok_or(Useless::NoHeader);
    match number("perigee-health")? {
        VERSION => {}
        other => return Err(Useless::Version(other)),
    }
    let written = number("written")?;
    if written > now.saturating_add(AHEAD_MAX) {
        return Err(Useless::Ahead(Duration::from_secs(written - now)));
    }
    let age = |then: u64| Duration::from_secs(now.saturating_sub(then));
    if age(written) > age_max {
        return Err(Useless::Old(age(written)));
    }
    let mut remembered = Remembered::default();
    for line in lines.filter(|line| !line.is_empty()).take(entries_max) {
        match read_line(line, written) {
            None => remembered.broken += 1,
            Some(kept) if age(kept.watched) > age_max => remembered.old += 1,
            Some(kept) => remembered.kept.push(kept),
        }
    }
    Ok(remembered)
}

/// Reads the line of a check; `None` if it is none that could have been written then.
fn read_line(line: &[u8], written: u64) -> Option<Kept> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let number = |key: &str| line.get(key).and_then(Value::as_u64);
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let state = match text("state")? {
        "up" => State::Up,
        "down" => State::Down,
        _ => return None,
    };
    let run = Run { state, failures: number("failures")?.try_into().ok()?, passes: number("passes")?.try_into().ok()? };
    Some(Kept {
        identity: u64::from_str_radix(text("id")?, 16).ok()?,
        check: text("check")?.to_owned(),
        run,
        weight: number("weight").and_then(|weight| weight.try_into().ok()),
        since: number("since")?,
        at: number("at")?,
        watched: number("watched").filter(|watched| *watched <= written)?,
        reason: text("reason").map(bounded),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::health::{Http, Kind};

    const NOW: u64 = 1_795_248_000;
    const AGE_MAX: Duration = Duration::from_secs(600);

    fn kept(identity: u64, state: State) -> Kept {
        let run = Run { state, failures: 0, passes: 1 };
        let check = format!("tcp 192.0.2.1:{identity} \"\n\u{1F600}");
        Kept {
            identity,
            check,
            run,
            weight: Some(7),
            since: NOW - 90,
            at: NOW - 3,
            watched: NOW,
            reason: Some("é\t\"".into()),
        }
    }

    fn read(text: &str, now: u64) -> Result<Remembered, Useless> {
        parse(text.as_bytes(), now, AGE_MAX, 100)
    }

    #[test]
    fn what_is_written_is_read() {
        let kept = vec![kept(1, State::Up), Kept { weight: None, reason: None, ..kept(u64::MAX, State::Down) }];
        let text = print(&kept, NOW);
        assert_eq!(text.lines().count(), 3);
        assert_eq!(read(&text, NOW + 600), Ok(Remembered { kept, old: 0, broken: 0 }));
    }

    #[test]
    fn what_is_old_or_ahead_or_of_others_does_not_count() {
        let text = print(&[kept(1, State::Up)], NOW);
        let rows = [
            (text.as_str(), NOW + 601, "it is 601s old"),
            (&text, NOW - 61, "it was written 61s from now; was the clock set back"),
            ("", NOW, "its first line is none that perigee writes"),
            ("{}\n", NOW, "its first line is none that perigee writes"),
            ("[1]\n", NOW, "its first line is none that perigee writes"),
            ("{\"perigee-health\":2,\"written\":1}", NOW, "it is of version 2, and this is version 1"),
            ("{\"perigee-health\":1,\"written\":-1}", NOW, "its first line is none that perigee writes"),
            ("\u{0}\u{0}\u{0}", NOW, "its first line is none that perigee writes"),
        ];
        for (text, now, expected) in rows {
            assert_eq!(read(text, now).unwrap_err().to_string(), expected, "{text:?}");
        }
        assert!(read(&text, NOW - 60).is_ok());
    }

    #[test]
    fn a_broken_line_costs_what_it_says_and_no_more() {
        let old = Kept { watched: NOW - 300, ..kept(2, State::Up) };
        let text = print(&[kept(1, State::Up), old, kept(3, State::Down)], NOW);
        let text = text.replacen("\"state\":\"up\"", "\"state\":\"well\"", 1) + "{\"id\":";
        let remembered = read(&text, NOW + 301).unwrap();
        assert_eq!((remembered.kept, remembered.old, remembered.broken), (vec![kept(3, State::Down)], 1, 2));
        let many = parse(print(&[kept(1, State::Up), kept(2, State::Up)], NOW).as_bytes(), NOW, AGE_MAX, 1).unwrap();
        assert_eq!(many.kept.len(), 1);
    }

    #[test]
    fn checks_that_differ_in_anything_have_identities_that_do() {
        let url = |url: &str| Check::new(Kind::Http { address: None, request: Arc::new(Http::get(url)) });
        let check = url("http://a.example/");
        assert_eq!(identity(&check), identity(&url("http://a.example/")));
        let timeout = Check { timeout: Duration::from_secs(9), ..check.clone() };
        let others = [url("http://b.example/"), timeout.clone(), Check::new(Kind::tcp(([192, 0, 2, 1], 80).into()))];
        for other in others {
            assert_ne!(identity(&check), identity(&other), "{other}");
        }
        assert_eq!(shown(&check), shown(&timeout));
        assert_eq!(shown(&url(&"x".repeat(1000))).len(), TEXT_MAX);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400) {
            let _ = parse(&octets, NOW, AGE_MAX, 100);
            let mut text = print(&[kept(1, State::Up), kept(2, State::Down)], NOW).into_bytes();
            let at = at.min(text.len());
            text.splice(at..at, octets);
            let _ = parse(&text, NOW, AGE_MAX, 100);
        }
    }
}
