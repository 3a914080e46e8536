//! The lines of a file of overrides: read, and changed so that all others stay as they were.

use std::fmt;
use std::sync::Arc;

use super::overrides::{Override, Subject};
use super::sentence;
use crate::diagnostic::{Diagnostic, Position};

/// The most overrides there may be: each is held against every check.
pub const OVERRIDES_MAX: usize = 1000;
/// The most octets a file of overrides may have, remarks included.
pub const OCTETS_MAX: usize = 1 << 20;
/// How many faults of a file are told; the rest are counted.
const FAULTS_TOLD_MAX: usize = 20;

/// What operators say, line by line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet(Vec<Line>);

/// A line, and what it says if it is no remark.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    text: String,
    said: Option<Override>,
}

impl Sheet {
    /// Reads the text of a file; tells every line that is at fault, which then says nothing.
    pub fn parse(file: &str, octets: &[u8]) -> (Self, Vec<Diagnostic>) {
        let (file, mut lines, mut faults): (Arc<str>, _, _) = (file.into(), Vec::new(), Vec::new());
        if octets.len() > OCTETS_MAX {
            let message = format!("the file has more than {OCTETS_MAX} octets");
            let fault = Diagnostic::error(Position::new(file, 1, 1), message).help("take out what has expired");
            return (Self::default(), vec![fault]);
        }
        let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
        let all = (!octets.is_empty()).then(|| octets.split(|octet| *octet == b'\n')).into_iter().flatten();
        for (number, line) in (1..).zip(all) {
            let line = read_line(line.strip_suffix(b"\r").unwrap_or(line));
            match line {
                Ok(line) => lines.push(line),
                Err(told) => faults.extend(told.into_iter().map(|(at, message, help)| {
                    let column = u32::try_from(at + 1).unwrap_or(u32::MAX);
                    Diagnostic::error(Position::new(file.clone(), number, column), message).help(help)
                })),
            }
        }
        let sheet = Self(lines);
        faults.extend(sheet.excess().map(|message| {
            Diagnostic::error(Position::new(file.clone(), 1, 1), message).help("say it of networks, zones or patterns")
        }));
        (sheet, bounded(faults, &file))
    }

    /// What is said, in the order of the lines.
    pub fn overrides(&self) -> impl Iterator<Item = &Override> {
        self.0.iter().filter_map(|line| line.said.as_ref()).take(OVERRIDES_MAX)
    }

    /// Says something from now on, in the place of what was said of the same.
    ///
    /// It becomes the last line, since the last of those that speak of one target holds.
    pub fn add(&mut self, said: Override) -> Result<(), Diagnostic> {
        let text = said.to_string();
        if sentence::parse(&text) != Ok(Some(said.clone())) {
            let message = format!("`{}` cannot be written as a line", text.escape_debug());
            return Err(Diagnostic::error(None, message).help("name who says it in one word, and why in one line"));
        }
        self.remove(&said.subject);
        self.0.push(Line { text, said: Some(said) });
        match self.excess() {
            None => Ok(()),
            Some(message) => Err(Diagnostic::error(None, message).help("remove what is not needed any more")),
        }
    }

    /// Takes back what is said of this; returns how many lines that were.
    pub fn remove(&mut self, subject: &Subject) -> usize {
        self.drop_lines(|said| said.subject.is(subject))
    }

    /// Takes out what has expired; returns how many lines that were.
    pub fn remove_expired(&mut self, now: u64) -> usize {
        self.drop_lines(|said| !said.holds_at(now))
    }

    fn drop_lines(&mut self, which: impl Fn(&Override) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|line| !line.said.as_ref().is_some_and(&which));
        before - self.0.len()
    }

    /// What is too much of it, if anything is.
    fn excess(&self) -> Option<String> {
        let octets: usize = self.0.iter().map(|line| line.text.len() + 1).sum();
        if self.0.iter().filter(|line| line.said.is_some()).count() > OVERRIDES_MAX {
            return Some(format!("there are more than {OVERRIDES_MAX} overrides"));
        }
        (octets > OCTETS_MAX).then(|| format!("the file has more than {OCTETS_MAX} octets"))
    }
}

/// Reads a line; tells where it is at fault, why, and what to do.
fn read_line(octets: &[u8]) -> Result<Line, Vec<(usize, String, &'static str)>> {
    let text = std::str::from_utf8(octets)
        .map_err(|error| vec![(error.valid_up_to(), "the line is not UTF-8".into(), "save the file as UTF-8")])?;
    let said = sentence::parse(text)
        .map_err(|faults| faults.into_iter().map(|fault| (fault.at, fault.message, fault.help)).collect::<Vec<_>>())?;
    Ok(Line { text: text.into(), said })
}

/// The first faults, and how many more there are.
fn bounded(mut faults: Vec<Diagnostic>, file: &Arc<str>) -> Vec<Diagnostic> {
    let more = faults.len().saturating_sub(FAULTS_TOLD_MAX);
    faults.truncate(FAULTS_TOLD_MAX);
    if more > 0 {
        let message = format!("there are {more} more faults in the file");
        faults.push(Diagnostic::error(Position::new(file.clone(), 1, 1), message));
    }
    faults
}

impl fmt::Display for Sheet {
    /// Writes it as its file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{}", line.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# who is on duty: kim

target 192.0.2.1   =>  down by kim because disk
zone *.example.org => pause # all night
  # until the move
record www.example.org/A => up
";

    fn said(line: &str) -> Override {
        sentence::parse(line).unwrap().unwrap()
    }

    fn sheet(text: &str) -> Sheet {
        let (sheet, faults) = Sheet::parse("overrides", text.as_bytes());
        assert_eq!(faults, []);
        sheet
    }

    #[test]
    fn remarks_and_order_outlive_a_change() {
        let mut sheet = sheet(TEXT);
        assert_eq!(sheet.to_string(), TEXT);
        assert_eq!(sheet.overrides().count(), 3);
        sheet.add(said("target 192.0.2.1 => drain")).unwrap();
        sheet.add(said("zone example.net => pause")).unwrap();
        assert_eq!(sheet.remove(&said("record WWW.example.org/a => down").subject), 1);
        assert_eq!(sheet.remove(&said("target 192.0.2.2 => down").subject), 0);
        let expected = "\
# who is on duty: kim

zone *.example.org => pause # all night
  # until the move
target 192.0.2.1 => drain
zone example.net => pause
";
        assert_eq!(sheet.to_string(), expected);
    }

    #[test]
    fn what_has_expired_can_be_taken_out() {
        let mut sheet = sheet("zone a => up until 2026-11-21T08:00:00Z\nzone b => up\n");
        let end = sheet.overrides().next().unwrap().until.unwrap();
        assert_eq!((sheet.remove_expired(end - 1), sheet.remove_expired(end)), (0, 1));
        assert_eq!(sheet.to_string(), "zone b => up\n");
    }

    #[test]
    fn what_would_be_more_than_a_line_is_not_added() {
        let mut sheet = sheet(TEXT);
        let plain = said("zone a => up");
        for (author, reason) in
            [(Some("kim lee"), None), (Some(""), None), (None, Some("a\nzone b => up")), (None, Some(" "))]
        {
            let (author, reason) = (author.map(str::to_owned), reason.map(str::to_owned));
            assert!(sheet.add(Override { author, reason, ..plain.clone() }).is_err());
        }
        assert_eq!(sheet.to_string(), TEXT);
    }

    #[test]
    fn every_line_at_fault_is_told_with_its_place_and_the_others_hold() {
        let text = b"zone a => up\nzone b => off\n\xff\r\n zone => up by\r\nzone c => up";
        let (sheet, faults) = Sheet::parse("o", text);
        let told: Vec<_> = faults.iter().map(|fault| fault.to_string().lines().next().unwrap().to_owned()).collect();
        let expected = [
            "o:2:11: error: `off` is nothing that can be said",
            "o:3:1: error: the line is not UTF-8",
            "o:4:2: error: `zone` does not say which",
            "o:4:13: error: `by` says nobody",
        ];
        assert_eq!(told, expected);
        assert_eq!(sheet.to_string(), "zone a => up\nzone c => up\n");
        let (_, faults) = Sheet::parse("o", "x\n".repeat(50).as_bytes());
        assert_eq!((faults.len(), &*faults[20].message), (21, "there are 30 more faults in the file"));
    }

    #[test]
    fn lines_and_octets_are_bounded() {
        let many: String = (0..=OVERRIDES_MAX).map(|number| format!("zone z{number} => up\n")).collect();
        let (full, faults) = Sheet::parse("o", many.as_bytes());
        assert_eq!(faults[0].message, "there are more than 1000 overrides");
        assert_eq!(full.overrides().count(), OVERRIDES_MAX);
        let (_, faults) = Sheet::parse("o", &vec![b'#'; OCTETS_MAX + 1]);
        assert_eq!(faults[0].message, "the file has more than 1048576 octets");
        let mut full = sheet(&many[..many.len() - "zone z1000 => up\n".len()]);
        assert!(full.add(said("zone a => up")).is_err());
        let mut full = sheet(&many[..many.len() - "zone z1000 => up\n".len()]);
        assert!(full.add(said("zone z7 => down")).is_ok());
    }
}
