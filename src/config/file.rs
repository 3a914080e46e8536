//! perigee.toml, read: each key to its field, each fault to its line and column.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{ACCESS_KEYS, Field, KEYS, Key, ZONE_KEYS};
use super::value::{Fault, Shape, Value};
use super::{Access, Action, Config, Zone};
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::Name;

/// Sets what `text` says in `config` and reports all that cannot be had.
///
/// A syntax error does not end the reading, so that the faults around it are told as well.
pub(super) fn apply(config: &mut Config, path: &Path, text: &str, diagnostics: &mut Vec<Diagnostic>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut sheet = Sheet { file: path.display().to_string().into(), text, base: base_of(path), diagnostics };
    let mut broken_lines = Vec::new();
    for error in errors {
        let position = sheet.position(&error.span().unwrap_or(text.len()..text.len()));
        // One slip can upset the parser more than once; the first complaint of a line is the one that helps.
        if !broken_lines.contains(&position.line) {
            broken_lines.push(position.line);
            let message = error.message().trim_end_matches(", expected nothing");
            sheet.diagnostics.push(Diagnostic::error(position, message).help("see https://toml.io for the syntax"));
        }
    }
    let sound = sheet.diagnostics.len();
    rebase(config, &sheet.base);
    sheet.document(config, document.get_ref());
    // What stands on a broken line was read by guess: its other faults are no news.
    let mut index = 0;
    sheet.diagnostics.retain(|diagnostic| {
        index += 1;
        let line = diagnostic.position.as_ref().map(|position| position.line);
        index <= sound || line.is_none_or(|line| !broken_lines.contains(&line))
    });
    sheet.diagnostics.sort_by(|a, b| a.position.cmp(&b.position));
}

/// The directory at which relative paths in the file start: its own.
fn base_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new(".") => parent.into(),
        _ => PathBuf::new(),
    }
}

/// Makes the default paths start at the file's directory too.
fn rebase(config: &mut Config, base: &Path) {
    for key in KEYS {
        if let Field::Path(path) = (key.field)(config)
            && !path.as_os_str().is_empty()
        {
            *path = base.join(&path);
        }
    }
}

/// A configuration file that is being read.
struct Sheet<'t> {
    file: Arc<str>,
    text: &'t str,
    base: PathBuf,
    diagnostics: &'t mut Vec<Diagnostic>,
}

impl Sheet<'_> {
    /// Reads the tables at the top.
    fn document(&mut self, config: &mut Config, document: &DeTable<'_>) {
        for (name, value) in document {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("zone", _) => config.zone.extend(self.repeated(&ZONES, name, value)),
                ("access", _) => config.access.extend(self.repeated(&ACCESS, name, value)),
                (table, _) if !KEYS.iter().any(|key| key.table == table) => self.unknown_table(name),
                (table, DeValue::Table(keys)) => self.table(config, KEYS, table, keys),
                (table, _) => {
                    let help = format!("write `[{table}]` on a line of its own and the keys below");
                    self.error(&name.span(), &format!("`{table}` is a table"), &help);
                }
            }
        }
    }

    /// Reads tables of a kind that may stand any number of times; those with a fault are left out.
    fn repeated<T>(
        &mut self,
        kind: &Repeated<T>,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<T> {
        let table = kind.table;
        let DeValue::Array(entries) = value.get_ref() else {
            self.error(&name.span(), &format!("`{table}` is not written as `[[{table}]]`"), kind.help);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in entries {
            match entry.get_ref() {
                DeValue::Table(keys) => tables.extend(self.one_of(kind, keys, entry.span())),
                _ => self.error(&entry.span(), &format!("`{table}` holds something that is no table"), kind.help),
            }
        }
        tables
    }

    /// Reads one of them; `None` if something is wrong with it.
    fn one_of<T>(&mut self, kind: &Repeated<T>, keys: &DeTable<'_>, span: Range<usize>) -> Option<T> {
        let faults_before = self.diagnostics.len();
        let mut one = (kind.new)(self.position(&span));
        self.table(&mut one, kind.keys, kind.table, keys);
        if !keys.keys().any(|name| name.get_ref() == kind.required) {
            self.error(&span, &format!("this `[[{}]]` has no `{}`", kind.table, kind.required), kind.help);
        }
        if let Some(empty) = (kind.empty)(&one) {
            self.error(&span, &format!("this `[[{}]]` has an empty `{empty}`", kind.table), kind.help);
        }
        (self.diagnostics.len() == faults_before).then_some(one)
    }

    /// Reads the keys of one table into `target`.
    fn table<T>(&mut self, target: &mut T, known: &[Key<T>], table: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let key = known.iter().find(|key| key.table == table && key.name == name.get_ref());
            let Some(key) = key else {
                self.unknown_key(known, table, name);
                continue;
            };
            let typed = typed(value);
            if let Err(faults) = (key.field)(target).assign(&key.path(), &typed, &self.base) {
                for Fault { span, message, help } in faults {
                    self.error(&span, &message, &help);
                }
            }
        }
    }

    fn unknown_table(&mut self, name: &Spanned<DeString<'_>>) {
        let repeated = [ZONES.table, ACCESS.table];
        let mut tables: Vec<&str> = KEYS.iter().map(|key| key.table).chain(repeated).collect();
        tables.dedup();
        let help = match nearest(name.get_ref(), tables.iter().copied()) {
            Some(table) if repeated.contains(&table) => format!("did you mean `[[{table}]]`?"),
            Some(table) => format!("did you mean `[{table}]`?"),
            None => match KEYS.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => format!("`{}` belongs in `[{}]`", key.name, key.table),
                None => format!("the tables are {}", quoted(tables.into_iter())),
            },
        };
        self.error(&name.span(), &format!("there is no table `{}`", name.get_ref()), &help);
    }

    fn unknown_key<T>(&mut self, known: &[Key<T>], table: &str, name: &Spanned<DeString<'_>>) {
        let here = || known.iter().filter(|key| key.table == table).map(|key| key.name);
        let help = match nearest(name.get_ref(), here()) {
            Some(key) => format!("did you mean `{key}`?"),
            None => match KEYS.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => format!("`{}` belongs in `[{}]`", key.name, key.table),
                None => format!("the keys here are {}", quoted(here())),
            },
        };
        self.error(&name.span(), &format!("`{table}` has no key `{}`", name.get_ref()), &help);
    }

    fn error(&mut self, span: &Range<usize>, message: &str, help: &str) {
        let position = self.position(span);
        self.diagnostics.push(Diagnostic::error(position, message).help(help));
    }

    /// The line and column at which a span begins.
    fn position(&self, span: &Range<usize>) -> Position {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = before.iter().filter(|octet| **octet == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|octet| **octet != b'\n').count() + 1;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Position::new(Arc::clone(&self.file), number(line), number(column))
    }
}

/// A kind of table that may stand any number of times.
struct Repeated<T: 'static> {
    table: &'static str,
    keys: &'static [Key<T>],
    /// The key that must be given.
    required: &'static str,
    /// What it is before any key is read.
    new: fn(Position) -> T,
    /// Names a key that may be left out, but not be set to nothing, and is.
    empty: fn(&T) -> Option<&'static str>,
    /// How it is written.
    help: &'static str,
}

const ZONES: Repeated<Zone> = Repeated {
    table: "zone",
    keys: ZONE_KEYS,
    required: "name",
    new: |position| Zone { position: Some(position), ..Zone::new(Name::root()) },
    empty: |zone| zone.file.as_ref().filter(|file| file.as_os_str().is_empty()).map(|_| "file"),
    help: "write `[[zone]]`, then `name = \"example.org\"` below, and `file = \"example.org.zone\"` if the zone is not \
           in `zones.directory`",
};

const ACCESS: Repeated<Access> = Repeated {
    table: "access",
    keys: ACCESS_KEYS,
    required: "action",
    new: |position| Access { position: Some(position), ..Access::new(Action::Allow) },
    empty: |rule| {
        let none = [
            ("networks", rule.networks.as_ref().is_some_and(Vec::is_empty)),
            ("types", rule.types.as_ref().is_some_and(Vec::is_empty)),
            ("zones", rule.zones.as_ref().is_some_and(Vec::is_empty)),
        ];
        none.into_iter().find(|(_, is_empty)| *is_empty).map(|(key, _)| key)
    },
    help: "write `[[access]]`, then `action = \"refuse\"` below, and of `networks`, `types` and `zones` those that it is \
           to be for",
};

/// The known name that is closest to `name`, if it is close enough to be a slip.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    /// Two slips in a word of five letters, and about one more for each three letters.
    const LIKENESS_MIN: f64 = 0.6;
    let name = name.to_ascii_lowercase();
    known
        .map(|known| (known, strsim::normalized_damerau_levenshtein(&name, &known.to_ascii_lowercase())))
        .filter(|(_, likeness)| *likeness >= LIKENESS_MIN)
        // Of equals, the first: `max_by` would take the last.
        .min_by(|a, b| b.1.total_cmp(&a.1))
        .map(|(known, _)| known)
}

fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What was typed, without the file's own types.
fn typed<'v>(value: &'v Spanned<DeValue<'_>>) -> Value<'v> {
    let shape = match value.get_ref() {
        DeValue::Boolean(boolean) => Shape::Bool(*boolean),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Shape::HugeInteger, Shape::Integer)
        }
        DeValue::Float(number) => Shape::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::String(text) => Shape::Text(text),
        DeValue::Array(values) => Shape::List(values.iter().map(typed).collect()),
        DeValue::Datetime(_) => Shape::Datetime,
        DeValue::Table(_) => Shape::Table,
    };
    Value { shape, span: value.span() }
}
