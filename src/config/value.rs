//! A value as an operator typed it, and how it becomes what it means.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::QueryClass;
use super::keys::{ALL, Field};
use super::listen::{self, Listen, NoPlace};
use super::units::{parse_duration, parse_share, parse_size};
use crate::dns::Name;
use crate::dns::edns::cookie::Secret;
use crate::geo::Place;

/// What messages call a number that no field could hold.
const HUGE: &str = "a number that large";

/// A value as it was typed, with the place it has in its text.
#[derive(Debug)]
pub(super) struct Value<'v> {
    /// What it looks like.
    pub(super) shape: Shape<'v>,
    /// The octets it takes; not meaningful for a variable of the environment.
    pub(super) span: Range<usize>,
}

/// What a typed value looks like, before anyone asks what is wanted.
#[derive(Debug)]
pub(super) enum Shape<'v> {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'v str),
    List(Vec<Value<'v>>),
    /// A number that no field could hold.
    HugeInteger,
    /// A date or a time of day; no key wants one.
    Datetime,
    /// A table; no key wants one.
    Table,
}

/// Why a value cannot be had.
pub(super) struct Fault {
    /// Where, in the text the value was typed in.
    pub(super) span: Range<usize>,
    /// What happened.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

impl Field<'_> {
    /// Puts a typed value in the field, or says all that is wrong with it and leaves the field alone.
    ///
    /// `key` is what messages call it; relative paths start at `base`.
    pub(super) fn assign(self, key: &str, value: &Value<'_>, base: &Path) -> Result<(), Vec<Fault>> {
        let reader = Reader { key, kind: self.kind(), bounds: self.bounds() };
        let one = |fault: Fault| vec![fault];
        match self {
            Self::Bool(field) => *field = reader.boolean(value).map_err(one)?,
            Self::OptionalBool(field) => *field = Some(reader.boolean(value).map_err(one)?),
            Self::Number(field, range) => *field = reader.number(value, &range).map_err(one)?,
            Self::Octets16(field, range) => *field = reader.number(value, &range).map_err(one)?,
            Self::Size(field, range) => *field = reader.size(value, &range).map_err(one)?,
            Self::Duration(field, range) => *field = reader.duration(value, &range).map_err(one)?,
            Self::Addresses(field, range) => *field = reader.addresses(value, &range)?,
            Self::Listen(field, range) => *field = reader.listen(value, &range)?,
            Self::Name(field) => *field = reader.name(value).map_err(one)?,
            Self::Path(field) => *field = reader.path(value, base).map_err(one)?,
            Self::Paths(field) => *field = reader.list(value, |value| reader.path(value, base))?,
            Self::Programs(field) => *field = reader.list(value, |value| reader.program(value))?,
            Self::Share(field, range) => *field = reader.share(value, &range).map_err(one)?,
            Self::Words(field) => *field = reader.list(value, |value| reader.text(value))?,
            Self::Classes(field) => *field = reader.classes(value)?,
            Self::Names(field) => *field = reader.all_or_list(value, |value| reader.name(value))?,
            Self::Networks(field) => *field = reader.all_or_list(value, |value| reader.network(value))?,
            Self::SomeNetworks(field) => *field = reader.list(value, |value| reader.network(value))?,
            Self::Text(field) => *field = reader.text(value).map_err(one)?,
            Self::ShortText(field, range) => *field = reader.short_text(value, &range).map_err(one)?,
            Self::Octets(field, range) => *field = reader.octets(value, &range).map_err(one)?,
            Self::Secrets(field, range) => *field = reader.secrets(value, &range)?,
            Self::Place(field) => *field = reader.place(value).map_err(one)?,
            Self::Word(field) => field.choose(reader.word(value, field.words()).map_err(one)?),
        }
        Ok(())
    }
}

/// What is asked of the value of one key.
struct Reader<'k> {
    key: &'k str,
    kind: String,
    bounds: String,
}

impl Reader<'_> {
    fn boolean(&self, value: &Value<'_>) -> Result<bool, Fault> {
        let Shape::Bool(boolean) = value.shape else {
            return Err(self.mismatch(value, "write `true` or `false`"));
        };
        Ok(boolean)
    }

    fn number<N>(&self, value: &Value<'_>, range: &RangeInclusive<N>) -> Result<N, Fault>
    where
        N: TryFrom<i64> + PartialOrd,
    {
        match value.shape {
            Shape::Integer(number) => N::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
                .ok_or_else(|| self.out_of_bounds(value, &number.to_string())),
            Shape::HugeInteger => Err(self.huge(value)),
            Shape::Bool(_) | Shape::Float(_) | Shape::Text(_) | Shape::List(_) | Shape::Datetime | Shape::Table => {
                Err(self.mismatch(value, "write a whole number without quotes"))
            }
        }
    }

    fn size(&self, value: &Value<'_>, range: &RangeInclusive<usize>) -> Result<usize, Fault> {
        let form = "write a size as `8MiB`, `64KiB` or a number of octets";
        let (size, typed) = match &value.shape {
            Shape::Integer(number) => (usize::try_from(*number).ok(), number.to_string()),
            Shape::Text(text) => match parse_size(text) {
                Some(size) => (Some(size), (*text).to_owned()),
                None => return Err(self.malformed(value, text, form)),
            },
            Shape::HugeInteger => return Err(self.huge(value)),
            Shape::Bool(_) | Shape::Float(_) | Shape::List(_) | Shape::Datetime | Shape::Table => {
                return Err(self.mismatch(value, form));
            }
        };
        size.filter(|size| range.contains(size)).ok_or_else(|| self.out_of_bounds(value, &typed))
    }

    fn duration(&self, value: &Value<'_>, range: &RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let form = "write a duration as `5s`, `10ms`, `1h30m` or a number of seconds";
        let (duration, typed) = match &value.shape {
            Shape::Integer(secs) => (u64::try_from(*secs).ok().map(Duration::from_secs), secs.to_string()),
            Shape::Float(secs) => (Duration::try_from_secs_f64(*secs).ok(), secs.to_string()),
            Shape::Text(text) => match parse_duration(text) {
                Some(duration) => (Some(duration), (*text).to_owned()),
                None => return Err(self.malformed(value, text, form)),
            },
            Shape::HugeInteger => return Err(self.huge(value)),
            Shape::Bool(_) | Shape::List(_) | Shape::Datetime | Shape::Table => {
                return Err(self.mismatch(value, form));
            }
        };
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| self.out_of_bounds(value, &typed))
    }

    fn addresses(&self, value: &Value<'_>, counts: &RangeInclusive<usize>) -> Result<Vec<SocketAddr>, Vec<Fault>> {
        let form = "write an address and a port: `192.0.2.1:53` or `[2001:db8::1]:53`";
        let advise = |text: &str| listen::advise(text).unwrap_or_else(|| form.into());
        self.each_once(value, counts, |value| {
            self.with_port(value, form, |text| text.parse().map_err(|_| advise(text)), &advise)
        })
    }

    fn listen(&self, value: &Value<'_>, counts: &RangeInclusive<usize>) -> Result<Vec<Listen>, Vec<Fault>> {
        let advise = |text: &str| listen::advise(text).unwrap_or_else(|| listen::FORM.into());
        self.each_once(value, counts, |value| {
            self.with_port(value, listen::FORM, |text| text.parse().map_err(|NoPlace(help)| help), &advise)
        })
    }

    /// Reads a list whose entries differ, and of which there are so many.
    fn each_once<T: Clone + Eq + Hash + Display>(
        &self,
        value: &Value<'_>,
        counts: &RangeInclusive<usize>,
        read: impl Fn(&Value<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Vec<Fault>> {
        let mut seen = HashSet::new();
        let entries = self.list(value, |value| {
            let entry = read(value)?;
            // Two sockets on one address would share its queries without a word.
            if !seen.insert(entry.clone()) {
                let message = format!("`{}` names `{entry}` twice", self.key);
                return Err(Fault { span: value.span.clone(), message, help: "name it once".into() });
            }
            Ok(entry)
        })?;
        if counts.contains(&entries.len()) {
            Ok(entries)
        } else {
            Err(vec![self.out_of_bounds(value, &format!("{} entries", entries.len()))])
        }
    }

    /// Reads one text with a port in it; what `parse` fails with and `advise` returns is help.
    fn with_port<T>(
        &self,
        value: &Value<'_>,
        form: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        advise: &dyn Fn(&str) -> String,
    ) -> Result<T, Fault> {
        match value.shape {
            Shape::Text(text) => parse(text).map_err(|help| self.malformed(value, text, &help)),
            Shape::Integer(port) => Err(self.mismatch(value, &advise(&port.to_string()))),
            Shape::Bool(_) | Shape::Float(_) | Shape::List(_) | Shape::HugeInteger | Shape::Datetime | Shape::Table => {
                Err(self.mismatch(value, form))
            }
        }
    }

    fn name(&self, value: &Value<'_>) -> Result<Name, Fault> {
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, "write a name as `\"example.org\"`"));
        };
        Name::parse_absolute(text.as_bytes())
            .map_err(|error| self.malformed(value, text, &format!("{error}; write a name as `example.org`")))
    }

    fn path(&self, value: &Value<'_>, base: &Path) -> Result<PathBuf, Fault> {
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, "write a path in quotes"));
        };
        Ok(if text.is_empty() { PathBuf::new() } else { base.join(text) })
    }

    fn program(&self, value: &Value<'_>) -> Result<String, Fault> {
        let text = self.text(value)?;
        if Path::new(&text).is_absolute() {
            return Ok(text);
        }
        Err(self.malformed(value, &text, "write the whole path of a program, as `/usr/local/bin/is-up`"))
    }

    fn text(&self, value: &Value<'_>) -> Result<String, Fault> {
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, "write a text in quotes"));
        };
        Ok(text.to_owned())
    }

    fn short_text(&self, value: &Value<'_>, range: &RangeInclusive<usize>) -> Result<String, Fault> {
        let text = self.text(value)?;
        if range.contains(&text.len()) { Ok(text) } else { Err(self.out_of_bounds(value, &text)) }
    }

    fn octets(&self, value: &Value<'_>, range: &RangeInclusive<usize>) -> Result<Vec<u8>, Fault> {
        let text = self.text(value)?;
        let octets = match text.strip_prefix("0x") {
            Some(digits) => data_encoding::HEXLOWER_PERMISSIVE
                .decode(digits.as_bytes())
                .map_err(|_| self.malformed(value, &text, "write two hexadecimal digits for each octet behind `0x`"))?,
            None => text.clone().into_bytes(),
        };
        if range.contains(&octets.len()) { Ok(octets) } else { Err(self.out_of_bounds(value, &text)) }
    }

    /// Reads secrets, and repeats none of them: messages end up in logs.
    fn secrets(&self, value: &Value<'_>, counts: &RangeInclusive<usize>) -> Result<Vec<Secret>, Vec<Fault>> {
        let secrets = self.list(value, |value| {
            let secret = match value.shape {
                Shape::Text(text) => Secret::parse(text),
                _ => None,
            };
            secret.ok_or_else(|| Fault {
                span: value.span.clone(),
                message: format!("an entry of `{}` is no secret", self.key),
                help: "write 32 hexadecimal digits in quotes; `openssl rand -hex 16` makes some".into(),
            })
        })?;
        if counts.contains(&secrets.len()) {
            Ok(secrets)
        } else {
            Err(vec![self.out_of_bounds(value, &format!("{} entries", secrets.len()))])
        }
    }

    fn place(&self, value: &Value<'_>) -> Result<Option<Place>, Fault> {
        let help = "write a latitude and a longitude in degrees, as in `\"48.137 11.576\"`, or `\"\"` for nowhere";
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, help));
        };
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| self.malformed(value, text, help))
    }

    fn word(&self, value: &Value<'_>, words: &[&str]) -> Result<usize, Fault> {
        let help = format!("write one of {}", self.kind);
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, &help));
        };
        words.iter().position(|word| *word == text).ok_or_else(|| self.malformed(value, text, &help))
    }

    fn classes(&self, value: &Value<'_>) -> Result<Vec<QueryClass>, Vec<Fault>> {
        let every = || QueryClass::WORDS.map(|(class, _)| class).to_vec();
        let named = self.all_or_list(value, |value| {
            let words = QueryClass::WORDS.map(|(_, word)| format!("`\"{word}\"`")).join(", ");
            let form = format!("write some of {words}, or `\"{ALL}\"`");
            let Shape::Text(text) = value.shape else {
                return Err(self.mismatch(value, &form));
            };
            let known = QueryClass::WORDS.iter().find(|(_, word)| *word == text);
            known.map(|(class, _)| *class).ok_or_else(|| self.malformed(value, text, &form))
        });
        Ok(named?.unwrap_or_else(every))
    }

    fn network(&self, value: &Value<'_>) -> Result<IpNet, Fault> {
        let form = "write a network as `192.0.2.0/24` or `2001:db8::/32`";
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, form));
        };
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network: IpNet| network.trunc()).map_err(|_| self.malformed(value, text, form))
    }

    fn share(&self, value: &Value<'_>, range: &RangeInclusive<f64>) -> Result<f64, Fault> {
        let form = "write a share as `\"0.5%\"`";
        let Shape::Text(text) = value.shape else {
            return Err(self.mismatch(value, form));
        };
        let share = parse_share(text).ok_or_else(|| self.malformed(value, text, form))?;
        if range.contains(&share) { Ok(share) } else { Err(self.out_of_bounds(value, text)) }
    }

    /// Reads a list, or the word that stands for everything.
    fn all_or_list<T>(
        &self,
        value: &Value<'_>,
        entry: impl FnMut(&Value<'_>) -> Result<T, Fault>,
    ) -> Result<Option<Vec<T>>, Vec<Fault>> {
        // A variable of the environment comes as a list of one.
        let is_all = |value: &Value<'_>| matches!(value.shape, Shape::Text(ALL));
        if is_all(value) || matches!(&value.shape, Shape::List(values) if matches!(&values[..], [one] if is_all(one))) {
            return Ok(None);
        }
        self.list(value, entry).map(Some)
    }

    /// Reads each entry of a list, and reports the faults of all.
    fn list<T>(
        &self,
        value: &Value<'_>,
        mut entry: impl FnMut(&Value<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Vec<Fault>> {
        let Shape::List(values) = &value.shape else {
            return Err(vec![self.mismatch(value, "write a list in brackets: `[\"…\", \"…\"]`")]);
        };
        let mut entries = Vec::with_capacity(values.len());
        let mut faults = Vec::new();
        for value in values {
            match entry(value) {
                Ok(value) => entries.push(value),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(entries) } else { Err(faults) }
    }

    /// The value is of another type.
    fn mismatch(&self, value: &Value<'_>, help: &str) -> Fault {
        let message = format!("`{}` cannot be {}", self.key, value.shape.describe());
        Fault { span: value.span.clone(), message, help: help.into() }
    }

    /// The value is a text, and not of the wanted form.
    fn malformed(&self, value: &Value<'_>, text: &str, help: &str) -> Fault {
        let message = format!("`{}` cannot be `{text}`", self.key);
        Fault { span: value.span.clone(), message, help: help.into() }
    }

    /// The value is beyond all bounds.
    fn huge(&self, value: &Value<'_>) -> Fault {
        Fault { help: format!("choose {}", self.bounds), ..self.mismatch(value, "") }
    }

    /// The value is of the right form and outside its bounds.
    fn out_of_bounds(&self, value: &Value<'_>, typed: &str) -> Fault {
        let message = format!("`{}` cannot be `{typed}`: out of bounds", self.key);
        Fault { span: value.span.clone(), message, help: format!("choose {}", self.bounds) }
    }
}

impl Shape<'_> {
    /// What it is, with the article a sentence needs.
    fn describe(&self) -> String {
        match self {
            Self::Bool(boolean) => format!("the boolean `{boolean}`"),
            Self::Integer(number) => format!("the number `{number}`"),
            Self::Float(number) => format!("the number `{number}`"),
            Self::Text(text) => format!("the text `{text}`"),
            Self::List(_) => "a list".into(),
            Self::HugeInteger => HUGE.into(),
            Self::Datetime => "a date or time".into(),
            Self::Table => "a table".into(),
        }
    }
}
