//! Times of the week and of the year as people write them: `Mon-Fri 09:00-17:30`, `12-24 - 12-26`.
//!
//! A window is told of the time that a clock on the wall shows, so it needs no rule for the days on which the clock is
//! put forward or back: an hour that comes twice is in it twice, and one that is left out is not in it at all.

use jiff::civil::{Date, DateTime, Time, Weekday};

/// The minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;
/// The most days, dates or times one window may list: a longer one is many windows.
const LISTED_MAX: usize = 64;
/// The longest text of a window, in octets.
const TEXT_OCTETS_MAX: usize = 1024;
/// How many characters of a text that is no window are shown.
const SHOWN_MAX: usize = 80;
/// The forms of windows, for messages.
const FORMS: &str = "write windows as `09:00-17:30`, `Mon-Fri 09:00-17:30`, `Sat,Sun 22:00-06:00`, `12-24 - 12-26`, \
                     `2026-12-24 - 2026-12-26` or `2026-12-24T18:00 - 2026-12-26T09:00`";

/// The shapes of dates, with a `0` for each digit.
const MONTH_DAY: &str = "00-00";
const DATE: &str = "0000-00-00";
const MOMENT: &str = "0000-00-00T00:00";

/// A window: the moments that satisfy each of what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Any of these days of the week; empty for all.
    days: Vec<Weekday>,
    /// Any of these dates; empty for all.
    dates: Vec<Dates>,
    /// Any of these times of the day; empty for all.
    times: Vec<Times>,
}

/// Days of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Dates {
    /// From a day to a day, both included.
    Days(Date, Date),
    /// From a month and day to a month and day in every year, both included; may go over the end of the year.
    Yearly((i8, i8), (i8, i8)),
    /// From a moment up to another.
    Moments(DateTime, DateTime),
}

/// Minutes since midnight, from one up to another; may go over midnight, and then counts to the day it begins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    from: u16,
    to: u16,
}

/// Why a text is no window; says which words, and how windows are written.
#[derive(Debug, thiserror::Error)]
#[error("got the window `{window}`: {why}; {FORMS}")]
pub(super) struct WindowError {
    window: String,
    why: String,
}

impl Window {
    /// Reads a window: days, dates and times in any order, with blanks between them.
    pub(super) fn parse(text: &str) -> Result<Self, WindowError> {
        let window = if text.len() > TEXT_OCTETS_MAX {
            Err(format!("it has more than {TEXT_OCTETS_MAX} octets"))
        } else {
            Reader { rest: text.trim_ascii() }.window()
        };
        window.map_err(|why| WindowError { window: text.chars().take(SHOWN_MAX).collect(), why })
    }

    /// Whether the window is open at a moment on the wall's clock.
    pub(super) fn holds(&self, moment: DateTime) -> bool {
        let today = || self.is_day(moment.date(), moment);
        let yesterday = || moment.date().yesterday().is_ok_and(|date| self.is_day(date, moment));
        // From 0 to 23, and from 0 to 59.
        let minute = moment.hour().unsigned_abs() as u16 * 60 + moment.minute().unsigned_abs() as u16;
        if self.times.is_empty() {
            return today();
        }
        self.times.iter().any(|Times { from, to }| {
            if from < to {
                (*from..*to).contains(&minute) && today()
            } else {
                (minute >= *from && today()) || (minute < *to && yesterday())
            }
        })
    }

    /// Whether the window may begin on a day.
    fn is_day(&self, date: Date, moment: DateTime) -> bool {
        let is_weekday = self.days.is_empty() || self.days.contains(&date.weekday());
        is_weekday && (self.dates.is_empty() || self.dates.iter().any(|dates| dates.hold(date, moment)))
    }
}

impl Dates {
    fn hold(&self, date: Date, moment: DateTime) -> bool {
        match self {
            Self::Days(from, to) => (*from..=*to).contains(&date),
            Self::Moments(from, to) => (*from..*to).contains(&moment),
            Self::Yearly(from, to) => {
                let day = (date.month(), date.day());
                if from <= to { (*from..=*to).contains(&day) } else { day >= *from || day <= *to }
            }
        }
    }
}

/// What is left of a window's text.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn window(&mut self) -> Result<Window, String> {
        let mut window = Window::default();
        while !self.rest.is_empty() {
            // What comes next shows in the first few characters.
            let is_time = self.rest.find(':').is_some_and(|colon| colon <= 2);
            if self.rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
                self.list("days", &mut window.days, Self::days)?;
            } else if is_time {
                self.list("times", &mut window.times, |reader| Ok(vec![reader.times()?]))?;
            } else {
                self.list("dates", &mut window.dates, |reader| Ok(vec![reader.dates()?]))?;
            }
        }
        if window == Window::default() { Err("it is empty".into()) } else { Ok(window) }
    }

    /// Reads a list with commas between its entries.
    fn list<T>(
        &mut self,
        what: &str,
        list: &mut Vec<T>,
        read: impl Fn(&mut Self) -> Result<Vec<T>, String>,
    ) -> Result<(), String> {
        if !list.is_empty() {
            return Err(format!("it has {what} in two places, where a list has commas"));
        }
        loop {
            list.extend(read(self)?);
            if list.len() > LISTED_MAX {
                return Err(format!("it lists more than {LISTED_MAX} {what}"));
            }
            if !self.take(',') {
                return Ok(());
            }
        }
    }

    /// Reads a day of the week, or all from one to another.
    fn days(&mut self) -> Result<Vec<Weekday>, String> {
        let from = self.day()?;
        let to = if self.take('-') { self.day()? } else { from };
        let count = from.until(to) + 1;
        Ok(from.cycle_forward().take(count.unsigned_abs().into()).collect())
    }

    fn day(&mut self) -> Result<Weekday, String> {
        let word = self.word(|character| character.is_ascii_alphabetic());
        let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let lower = word.to_ascii_lowercase();
        let at = names.iter().position(|name| lower == *name || lower == name[..3]);
        let day = at.and_then(|at| Weekday::from_monday_zero_offset(at as i8).ok());
        day.ok_or_else(|| format!("`{word}` is no day of the week"))
    }

    /// Reads `12-24`, `2026-12-24`, `2026-12-24T18:00`, or two of a kind with `-` between them.
    fn dates(&mut self) -> Result<Dates, String> {
        let word = self.word(is_of_date);
        // Without blanks around it the sign between two dates looks like those in them.
        let (from, to) = match halves(word) {
            Some(halves) => halves,
            None if self.take('-') => (word, self.word(is_of_date)),
            None => (word, word),
        };
        let refused = || format!("`{from}` to `{to}` is no span of dates");
        let dates = match (&*shape(from), &*shape(to)) {
            (MONTH_DAY, MONTH_DAY) => Dates::Yearly(month_and_day(from)?, month_and_day(to)?),
            (DATE, DATE) => Dates::Days(read(from, "date")?, read(to, "date")?),
            (MOMENT, MOMENT) => Dates::Moments(read(from, "date with a time")?, read(to, "date with a time")?),
            (MONTH_DAY | DATE | MOMENT, MONTH_DAY | DATE | MOMENT) => return Err(refused()),
            _ => return Err(format!("`{}` is no day, date or time", self.unread(word))),
        };
        match &dates {
            Dates::Days(from, to) if from > to => Err(refused()),
            Dates::Moments(from, to) if from >= to => Err(refused()),
            Dates::Days(..) | Dates::Moments(..) | Dates::Yearly(..) => Ok(dates),
        }
    }

    fn times(&mut self) -> Result<Times, String> {
        let from = self.minute()?;
        if !self.take('-') {
            return Err("it has a time with no `-` and another time behind it".into());
        }
        let to = self.minute()?;
        if from == to || from == DAY_MINUTES {
            return Err("it has times from which nothing or a whole day follows; leave them out for a whole day".into());
        }
        Ok(Times { from, to })
    }

    /// Reads `HH:MM` as minutes since midnight; `24:00` is the end of the day.
    fn minute(&mut self) -> Result<u16, String> {
        let word = self.word(|character| character.is_ascii_digit() || character == ':');
        let refused = || format!("`{word}` is no time from `00:00` to `24:00`");
        if word == "24:00" {
            return Ok(DAY_MINUTES);
        }
        let (hour, minute) = word.split_once(':').filter(|(_, minute)| minute.len() == 2).ok_or_else(refused)?;
        let time =
            hour.parse().ok().zip(minute.parse().ok()).and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok());
        let time = time.ok_or_else(refused)?;
        Ok(time.hour().unsigned_abs() as u16 * 60 + time.minute().unsigned_abs() as u16)
    }

    /// Takes the characters that belong to a word, and the blanks behind it.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|character| !belongs(character)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_ascii_start();
        word
    }

    /// Takes a sign, and the blanks behind it, if it comes next.
    fn take(&mut self, sign: char) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.map_or(self.rest, str::trim_ascii_start);
        rest.is_some()
    }

    /// What could not be read, to show it.
    fn unread(&self, word: &'t str) -> &'t str {
        let rest = self.rest.split_ascii_whitespace().next().unwrap_or_default();
        if word.is_empty() { rest } else { word }
    }
}

/// A text with a `0` for each digit.
fn shape(text: &str) -> String {
    text.replace(|character: char| character.is_ascii_digit(), "0")
}

/// Whether a character may stand in a date.
fn is_of_date(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '-' | ':' | 'T')
}

/// Two dates that stand together without blanks.
fn halves(word: &str) -> Option<(&str, &str)> {
    let length = word.len().checked_sub(1).filter(|length| [10, 20, 32].contains(length))? / 2;
    let (from, to) = (word.get(..length)?, word.get(length + 1..)?);
    (word.as_bytes()[length] == b'-' && !from.ends_with('-')).then_some((from, to))
}

/// Reads `MM-DD` of any year, leap years included.
fn month_and_day(text: &str) -> Result<(i8, i8), String> {
    /// The year that has every day.
    const LEAP_YEAR: &str = "2000-";
    let date: Date =
        read(&format!("{LEAP_YEAR}{text}"), "date").map_err(|_| format!("`{text}` is no month and day"))?;
    Ok((date.month(), date.day()))
}

fn read<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no {what}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;

    fn moment(text: &str) -> DateTime {
        text.replace(' ', "T").parse().unwrap()
    }

    #[test]
    fn a_window_is_open_when_its_words_say_so() {
        // 2026-07-06 is a Monday.
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "Mon-Fri 09:00-17:30",
                &["2026-07-06 09:00", "2026-07-10 17:29:59"],
                &["2026-07-06 08:59:59", "2026-07-06 17:30", "2026-07-11 12:00"],
            ),
            (
                "Sat,Sun 22:00-06:00",
                &["2026-07-11 22:00", "2026-07-12 05:59", "2026-07-12 23:00", "2026-07-13 05:00"],
                &["2026-07-11 05:00", "2026-07-10 23:00", "2026-07-13 06:00", "2026-07-13 22:00"],
            ),
            ("fri-MON", &["2026-07-10 00:00", "2026-07-13 23:59"], &["2026-07-14 00:00", "2026-07-09 23:59"]),
            ("monday , Wednesday", &["2026-07-06 12:00", "2026-07-08 12:00"], &["2026-07-07 12:00"]),
            ("09:00-17:00", &["2026-07-11 09:00"], &["2026-07-11 17:00"]),
            ("9:00 - 12:00, 13:00-24:00", &["2026-07-11 09:00", "2026-07-11 23:59"], &["2026-07-11 12:30"]),
            ("22:00-24:00", &["2026-07-11 23:59:59"], &["2026-07-12 00:00"]),
            ("22:00-00:00", &["2026-07-11 23:59:59"], &["2026-07-12 00:00"]),
            (
                "2026-12-24 - 2026-12-26",
                &["2026-12-24 00:00", "2026-12-26 23:59"],
                &["2026-12-27 00:00", "2027-12-25 00:00"],
            ),
            ("2026-12-24-2026-12-26", &["2026-12-25 00:00"], &["2026-12-23 23:59"]),
            (
                "2026-12-31 22:00-02:00",
                &["2026-12-31 22:00", "2027-01-01 01:59"],
                &["2026-12-31 01:00", "2027-01-01 22:00"],
            ),
            ("12-24 - 12-26", &["2026-12-24 00:00", "2031-12-26 23:59"], &["2026-12-23 23:59", "2026-12-27 00:00"]),
            (
                "12-31-01-02",
                &["2026-12-31 00:00", "2027-01-01 00:00", "2027-01-02 23:59"],
                &["2027-01-03 00:00", "2026-12-30 00:00"],
            ),
            ("02-29", &["2028-02-29 12:00"], &["2027-02-28 12:00", "2027-03-01 12:00", "2028-02-28 12:00"]),
            ("05-01, 12-25 - 12-26", &["2026-05-01 12:00", "2026-12-26 12:00"], &["2026-05-02 12:00"]),
            (
                "2026-12-24T18:00 - 2026-12-26T09:00",
                &["2026-12-24 18:00", "2026-12-26 08:59:59"],
                &["2026-12-24 17:59", "2026-12-26 09:00"],
            ),
            ("09:00-17:00 Mon 07-01-07-31", &["2026-07-06 12:00"], &["2026-08-03 12:00", "2026-07-07 12:00"]),
        ];
        for (text, open, closed) in cases {
            let window = Window::parse(text).unwrap();
            for at in *open {
                assert!(window.holds(moment(at)), "`{text}` is closed at {at}");
            }
            for at in *closed {
                assert!(!window.holds(moment(at)), "`{text}` is open at {at}");
            }
        }
    }

    #[test]
    fn clocks_that_are_changed_change_no_window() {
        let cases = [
            // 02:00 to 03:00 is left out on 2026-03-29 in Berlin, and comes twice on 2026-10-25.
            ("02:00-03:00", "Europe/Berlin", "2026-03-29T00:59:59Z", false),
            ("02:00-03:00", "Europe/Berlin", "2026-03-29T01:00:00Z", false),
            ("02:00-03:00", "Europe/Berlin", "2026-10-25T00:30:00Z", true),
            ("02:00-03:00", "Europe/Berlin", "2026-10-25T01:30:00Z", true),
            ("02:00-03:00", "Europe/Berlin", "2026-10-25T02:00:00Z", false),
            // Office hours are 08:00 UTC in winter and 07:00 UTC in summer.
            ("Mon-Fri 09:00-17:00", "Europe/Berlin", "2026-03-27T08:00:00Z", true),
            ("Mon-Fri 09:00-17:00", "Europe/Berlin", "2026-03-27T07:59:59Z", false),
            ("Mon-Fri 09:00-17:00", "Europe/Berlin", "2026-03-30T07:00:00Z", true),
            ("Mon-Fri 09:00-17:00", "Europe/Berlin", "2026-03-30T15:00:00Z", false),
            // A night that is an hour shorter.
            ("Sat 22:00-04:00", "America/New_York", "2026-03-08T07:59:59Z", true),
            ("Sat 22:00-04:00", "America/New_York", "2026-03-08T08:00:00Z", false),
            // Samoa had no 2011-12-30.
            ("2011-12-30", "Pacific/Apia", "2011-12-30T10:30:00Z", false),
            ("2011-12-31", "Pacific/Apia", "2011-12-30T10:30:00Z", true),
        ];
        for (text, zone, at, expected) in cases {
            let zone = TimeZoneDatabase::bundled().get(zone).unwrap();
            let moment = zone.to_datetime(at.parse::<Timestamp>().unwrap());
            assert_eq!(Window::parse(text).unwrap().holds(moment), expected, "{text} {at}");
        }
    }

    #[test]
    fn what_is_no_window_is_told_with_the_forms_of_one() {
        let cases = [
            ("", "it is empty"),
            ("Foo 09:00-10:00", "`Foo` is no day of the week"),
            ("Mon-", "`` is no day of the week"),
            ("09:00", "it has a time with no `-` and another time behind it"),
            ("25:00-26:00", "`25:00` is no time from `00:00` to `24:00`"),
            ("9:5-10:00", "`9:5` is no time from `00:00` to `24:00`"),
            ("24:00-06:00", "it has times from which nothing or a whole day follows; leave them out for a whole day"),
            ("09:00-09:00", "it has times from which nothing or a whole day follows; leave them out for a whole day"),
            ("2026-02-29", "`2026-02-29` is no date"),
            ("13-01", "`13-01` is no month and day"),
            ("2026-12-26 - 2026-12-24", "`2026-12-26` to `2026-12-24` is no span of dates"),
            ("2026-12-24 - 12-26", "`2026-12-24` to `12-26` is no span of dates"),
            ("20261224", "`20261224` is no day, date or time"),
            ("Mon 09:00-10:00 Tue", "it has days in two places, where a list has commas"),
            ("?", "`?` is no day, date or time"),
        ];
        for (text, why) in cases {
            let message = Window::parse(text).unwrap_err().to_string();
            assert_eq!(message, format!("got the window `{text}`: {why}; {FORMS}"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_window_or_an_error(text in "[ 0-9A-Za-z,:TMonSatSun-]{0,40}|\\PC{0,40}") {
            let _ = Window::parse(&text);
        }

        #[test]
        fn a_window_over_midnight_is_open_when_its_complement_is_closed(
            from in 0..1440u16, to in 0..1440u16, minute in 0..(14 * 1440u32),
        ) {
            prop_assume!(from != to);
            let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let window = |from, to| Window::parse(&format!("{}-{}", time(from), time(to))).unwrap();
            let at = moment("2027-12-25 00:00") + jiff::SignedDuration::from_mins(minute.into());
            prop_assert_ne!(window(from, to).holds(at), window(to, from).holds(at));
        }
    }
}
