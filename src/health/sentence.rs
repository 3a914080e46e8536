//! One thing an operator says, as a line of text: read, and written so that it reads the same again.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use wildmatch::WildMatch;

use super::overrides::{Action, Override, Subject};
use crate::dns::Rtype;

/// The most octets a line may have.
const OCTETS_MAX: usize = 2048;
/// What stands between of what something is said, and what.
const ARROW: &str = "=>";
/// What to write, for those who wrote something else.
const EXAMPLE: &str = "write as in `target 192.0.2.1 => down`";

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The octet of the line at which it begins, from 0.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: &'static str,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>, help: &'static str) -> Self {
        Self { at, message: message.into(), help }
    }
}

/// Reads a line, and tells every fault in it; `None` for an empty line and a remark.
///
/// ```text
/// target 192.0.2.1 => down until 2026-11-21T08:00:00Z by kim because disk replacement
/// ```
pub fn parse(line: &str) -> Result<Option<Override>, Vec<Fault>> {
    read(line, None)
}

/// Reads a line that is said at a time, in seconds since 1970, so that it may also end `for 2h`.
pub fn parse_said(line: &str, now: u64) -> Result<Option<Override>, Vec<Fault>> {
    read(line, Some(now))
}

/// Reads of what something is said, without what: `target 192.0.2.1`.
pub fn parse_subject(text: &str) -> Result<Subject, Fault> {
    let (text, start) = (text.trim_end(), text.len() - text.trim_start().len());
    match text.contains(char::is_control) {
        true => Err(Fault::new(start, "it has a control character", "take it out")),
        false => read_subject(text, start),
    }
}

fn read(line: &str, now: Option<u64>) -> Result<Option<Override>, Vec<Fault>> {
    let (text, start) = (line.trim(), line.len() - line.trim_start().len());
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if line.len() > OCTETS_MAX {
        return Err(vec![Fault::new(start, format!("the line has more than {OCTETS_MAX} octets"), "say it shorter")]);
    }
    if let Some(at) = text.find(|char: char| char.is_control() && char != '\t') {
        return Err(vec![Fault::new(start + at, "the line has a control character", "take it out")]);
    }
    let mut words = Words { line, at: start };
    let Some((arrow, _)) = words.clone().find(|(_, word)| *word == ARROW) else {
        return Err(vec![Fault::new(start, format!("the line has no `{ARROW}`"), EXAMPLE)]);
    };
    let mut faults = Vec::new();
    let subject = read_subject(&line[..arrow], start).map_err(|fault| faults.push(fault));
    words.at = arrow + ARROW.len();
    let action = read_action(&mut words).map_err(|fault| faults.push(fault));
    let tail = read_tail(words, now, &mut faults);
    match (subject, action) {
        (Ok(subject), Ok(action)) if faults.is_empty() => {
            Ok(Some(Override { subject, action, until: tail.until, author: tail.author, reason: tail.reason }))
        }
        _ => Err(faults),
    }
}

/// The words of a line from an octet on, each with the octet at which it begins.
#[derive(Clone)]
struct Words<'l> {
    line: &'l str,
    at: usize,
}

impl<'l> Iterator for Words<'l> {
    type Item = (usize, &'l str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.line[self.at..];
        let begin = self.at + (rest.len() - rest.trim_start().len());
        let word = self.line[begin..].split(char::is_whitespace).next().filter(|word| !word.is_empty())?;
        self.at = begin + word.len();
        Some((begin, word))
    }
}

/// Reads of what something is said: a word for what kind of thing, and which.
fn read_subject(text: &str, start: usize) -> Result<Subject, Fault> {
    let mut words = Words { line: text, at: start };
    let (_, kind) = words.next().unwrap_or_default();
    let read: fn(&str) -> Result<Subject, (String, &'static str)> = match kind {
        "target" => read_target,
        "check" => |pattern| Ok(Subject::Check(WildMatch::new_case_insensitive(pattern))),
        "zone" => |pattern| Ok(Subject::Zone(WildMatch::new_case_insensitive(bare(pattern)))),
        "record" => read_record,
        other => {
            let message = format!("`{other}` is nothing of which something can be said");
            return Err(Fault::new(start, message, "there are `target`, `check`, `zone` and `record`"));
        }
    };
    let pattern = text[words.at..].trim();
    let Some((at, _)) = words.next() else {
        return Err(Fault::new(start, format!("`{kind}` does not say which"), EXAMPLE));
    };
    read(pattern).map_err(|(message, help)| Fault::new(at, message, help))
}

/// A name without its final dot.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Reads which targets: a network, an address, one with a port, or what these are like.
fn read_target(pattern: &str) -> Result<Subject, (String, &'static str)> {
    if let Ok(address) = pattern.parse::<IpAddr>() {
        return Ok(Subject::Network(address.to_canonical().into()));
    }
    if let Ok(address) = pattern.parse::<SocketAddr>() {
        return Ok(Subject::Target(WildMatch::new_case_insensitive(&address.to_string())));
    }
    match pattern.split_once('/') {
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
            let network = pattern.parse::<IpNet>();
            network.map(|network| Subject::Network(network.trunc())).map_err(|_| {
                (format!("`{pattern}` is no network"), "write `address/bits`, with no more bits than the address has")
            })
        }
        _ if pattern.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'.' | b'/')) => Err((
            format!("`{pattern}` is no address"),
            "write `192.0.2.1`, `192.0.2.0/24`, `[2001:db8::1]:443` or `192.0.2.*`",
        )),
        _ => Ok(Subject::Target(WildMatch::new_case_insensitive(pattern))),
    }
}

/// Reads which records: an owner, and a type if it matters.
fn read_record(pattern: &str) -> Result<Subject, (String, &'static str)> {
    let Some((owner, rtype)) = pattern.rsplit_once('/') else {
        return Ok(Subject::Record(WildMatch::new_case_insensitive(bare(pattern))));
    };
    if !rtype.contains(['*', '?']) && Rtype::parse(rtype.as_bytes()).is_none() {
        return Err((format!("`{rtype}` is no type"), "write as in `record www.example.org/A`, or leave the type out"));
    }
    Ok(Subject::Record(WildMatch::new_case_insensitive(&format!("{}/{rtype}", bare(owner)))))
}

/// Reads what is said.
fn read_action(words: &mut Words<'_>) -> Result<Action, Fault> {
    const HELP: &str = "there are `up`, `down`, `drain` and `pause`";
    let Some((at, word)) = words.next() else {
        return Err(Fault::new(words.line.trim_end().len(), format!("nothing is said behind `{ARROW}`"), HELP));
    };
    Action::ALL
        .into_iter()
        .find(|action| action.as_str() == word)
        .ok_or_else(|| Fault::new(at, format!("`{word}` is nothing that can be said"), HELP))
}

/// What may stand behind what is said.
#[derive(Default)]
struct Tail {
    until: Option<u64>,
    author: Option<String>,
    reason: Option<String>,
}

/// Reads until when, who and why, each of which may be left out; a remark may follow.
fn read_tail(mut words: Words<'_>, now: Option<u64>, faults: &mut Vec<Fault>) -> Tail {
    let mut tail = Tail::default();
    while let Some((at, word)) = words.next() {
        let told = match word {
            "because" => {
                let reason = words.line[words.at..].trim();
                tail.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
                if tail.reason.is_none() {
                    faults.push(Fault::new(at, "`because` gives no reason", "give one, or leave it out"));
                }
                return tail;
            }
            _ if word.starts_with('#') => return tail,
            "by" => match words.next() {
                Some((at, author)) => put(&mut tail.author, author.to_owned(), at, "who"),
                None => Err((at, "`by` says nobody".into(), "name who says it, in one word")),
            },
            "until" => {
                end_of(&mut words, at, word, read_time).and_then(|until| put(&mut tail.until, until, at, "when"))
            }
            "for" => end_of(&mut words, at, word, |text| read_span(text, now))
                .and_then(|until| put(&mut tail.until, until, at, "when")),
            other => {
                Err((at, format!("`{other}` is not understood here"), "there are `until`, `by` and, last, `because`"))
            }
        };
        faults.extend(told.err().map(|(at, message, help)| Fault::new(at, message, help)));
    }
    tail
}

/// What is wrong with a part of a line: where, what, and what to do.
type Told = (usize, String, &'static str);

/// Takes a part of which there may be one.
fn put<T>(place: &mut Option<T>, value: T, at: usize, what: &str) -> Result<(), Told> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err((at, format!("it is said twice {what}"), "say it once")),
    }
}

/// Reads the word behind `until` or `for`.
fn end_of(
    words: &mut Words<'_>,
    at: usize,
    word: &str,
    read: impl FnOnce(&str) -> Result<u64, (String, &'static str)>,
) -> Result<u64, Told> {
    let Some((at, text)) = words.next() else {
        return Err((at, format!("`{word}` says no time"), "write as in `until 2026-11-21T08:00:00Z`"));
    };
    read(text).map_err(|(message, help)| (at, message, help))
}

/// Reads a time as RFC 3339 has it.
fn read_time(text: &str) -> Result<u64, (String, &'static str)> {
    let time = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    time.ok_or_else(|| {
        (
            format!("`{text}` is no time"),
            "write it with its zone: `2026-11-21T08:00:00Z` or `2026-11-21T09:00:00+01:00`",
        )
    })
}

/// Reads a span that begins now, if there is a now.
fn read_span(text: &str, now: Option<u64>) -> Result<u64, (String, &'static str)> {
    let Some(now) = now else {
        let help = "write `until` and a time: nobody remembers when a file's line was written";
        return Err(("`for` has no meaning in a file".into(), help));
    };
    let end = text.parse::<SignedDuration>().ok().and_then(|span| u64::try_from(span.as_secs()).ok());
    let end = end.and_then(|secs| now.checked_add(secs)).filter(|end| written(*end).is_some());
    end.ok_or_else(|| (format!("`{text}` is no span of time"), "write it with its units: `30m`, `2h`, `7d`"))
}

/// A time, in seconds since 1970, as RFC 3339 has it.
fn written(secs: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(secs).ok()?).ok()
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "target {}", network.addr())
            }
            Self::Network(network) => write!(f, "target {network}"),
            Self::Target(pattern) => write!(f, "target {pattern}"),
            Self::Check(pattern) => write!(f, "check {pattern}"),
            Self::Zone(pattern) => write!(f, "zone {pattern}"),
            Self::Record(pattern) => write!(f, "record {pattern}"),
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {ARROW} {}", self.subject, self.action)?;
        if let Some(until) = self.end() {
            write!(f, " until {until}")?;
        }
        if let Some(author) = &self.author {
            write!(f, " by {author}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " because {reason}")?;
        }
        Ok(())
    }
}

impl Override {
    /// When it ends, as RFC 3339 has it.
    pub fn end(&self) -> Option<impl fmt::Display + use<>> {
        self.until.and_then(written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_reads_as_a_sentence_and_is_written_as_one() {
        let rows = [
            ("target 192.0.2.1 => down", "target 192.0.2.1 => down"),
            (
                "  target 192.0.2.1\t=>   down  by kim until 2026-11-21T09:00:00+01:00 because  disk: #12 => new  ",
                "target 192.0.2.1 => down until 2026-11-21T08:00:00Z by kim because disk: #12 => new",
            ),
            ("target 192.0.2.7/24 => drain # soon", "target 192.0.2.0/24 => drain"),
            ("target ::ffff:192.0.2.1 => up", "target 192.0.2.1 => up"),
            ("target 2001:DB8:0::1 => up", "target 2001:db8::1 => up"),
            ("target 192.0.2.1:443 => pause", "target 192.0.2.1:443 => pause"),
            ("target [2001:DB8::0:1]:443 => pause", "target [2001:db8::1]:443 => pause"),
            ("target 192.0.2.* => pause", "target 192.0.2.* => pause"),
            ("target db.example.net => pause", "target db.example.net => pause"),
            ("record www.example.org./A => up", "record www.example.org/A => up"),
            ("record WWW.example.org. => up", "record WWW.example.org => up"),
            ("record */TYPE65 => up", "record */TYPE65 => up"),
            ("zone *.example.org. => pause", "zone *.example.org => pause"),
            ("check https://*/ready at * => down", "check https://*/ready at * => down"),
            ("check http://a/=>b => down because => x", "check http://a/=>b => down because => x"),
        ];
        for (line, expected) in &rows {
            let said = parse(line).unwrap().unwrap();
            assert_eq!(said.to_string(), *expected, "{line}");
            assert_eq!(parse(expected).unwrap(), Some(said), "{line}");
        }
        for line in ["", "  ", "# target 192.0.2.1 => down", "\t#"] {
            assert_eq!(parse(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn every_fault_of_a_line_is_told_with_its_place() {
        let long = format!("zone {} => up", "x".repeat(OCTETS_MAX));
        let rows: &[(&str, &[&str])] = &[
            ("target 192.0.2.1 down", &["0 the line has no `=>`"]),
            ("target 192.0.2.1=>down", &["0 the line has no `=>`"]),
            ("=> down", &["0 `` is nothing of which something can be said"]),
            (" host a => down", &["1 `host` is nothing of which something can be said"]),
            ("target => down", &["0 `target` does not say which"]),
            ("target 192.0.2.300 => down", &["7 `192.0.2.300` is no address"]),
            ("target 192.0.2.0/33 => down", &["7 `192.0.2.0/33` is no network"]),
            ("record www.example.org/AA => down", &["7 `AA` is no type"]),
            ("zone a =>", &["9 nothing is said behind `=>`"]),
            ("zone a => DOWN", &["10 `DOWN` is nothing that can be said"]),
            ("zone a => down soon", &["15 `soon` is not understood here"]),
            ("zone a => down until", &["15 `until` says no time"]),
            ("zone a => down until 2026-11-21", &["21 `2026-11-21` is no time"]),
            ("zone a => down until 1926-11-21T08:00:00Z", &["21 `1926-11-21T08:00:00Z` is no time"]),
            ("zone a => down for 2h", &["19 `for` has no meaning in a file"]),
            ("zone a => down by", &["15 `by` says nobody"]),
            ("zone a => down by kim by lee", &["25 it is said twice who"]),
            ("zone a => down because ", &["15 `because` gives no reason"]),
            ("zone a => down\u{7} by kim", &["14 the line has a control character"]),
            (
                "host a => off until now by",
                &[
                    "0 `host` is nothing of which something can be said",
                    "10 `off` is nothing that can be said",
                    "20 `now` is no time",
                    "24 `by` says nobody",
                ],
            ),
            (&long, &["0 the line has more than 2048 octets"]),
        ];
        for (line, expected) in rows {
            let faults = parse(line).unwrap_err();
            let told: Vec<_> = faults.iter().map(|fault| format!("{} {}", fault.at, fault.message)).collect();
            assert_eq!(told, *expected, "{line}");
        }
    }

    #[test]
    fn what_is_said_now_may_end_after_a_span() {
        let said = parse_said("target 192.0.2.1 => down for 2h by kim", 1_795_248_000).unwrap().unwrap();
        assert_eq!(said.to_string(), "target 192.0.2.1 => down until 2026-11-21T10:00:00Z by kim");
        for span in ["2", "-2h", "300000y", ""] {
            assert!(parse_said(&format!("zone a => down for {span}"), 1).is_err(), "{span}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_so_that_it_reads_the_same(
            line in "((target|check|zone|record) \\PC{0,12} => (up|down|drain|pause)( (by|until|because|for|#) ?\\PC{0,12})*|\\PC*)"
        ) {
            if let Ok(Some(said)) = parse(&line) {
                prop_assert_eq!(parse(&said.to_string()), Ok(Some(said)));
            }
        }
    }
}
