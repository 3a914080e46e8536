//! How Lua values become a builtin's arguments: numbers pass for strings and texts of numbers for numbers.

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use mlua::{Lua, LuaString, MultiValue, Table, UserDataRef, Value};

use super::CallError;
use crate::script::value::{self, is_numeric, kind};

/// The arguments of one call, taken from the left.
///
/// A `nil` counts as absent; an argument that is left over at the end is an error.
pub(super) struct Arguments<'l> {
    lua: &'l Lua,
    values: MultiValue,
    taken: usize,
}

/// The most values of tables that one call may be given, over all its tables. Each takes time that no step counts.
pub(in crate::script) const VALUES_MAX: usize = 16_384;
/// The most octets of texts that one call may be given, over all of them: texts are copied, and one may be named
/// thousands of times.
pub(in crate::script) const TEXTS_OCTETS_MAX: usize = 1 << 20;

/// What the arguments of a call may still hold.
///
/// It is the state's, as the rules that read values are handed nothing else.
#[derive(Default)]
pub(super) struct Allowance {
    values: Cell<usize>,
    octets: Cell<usize>,
}

impl Allowance {
    fn renew(&self) {
        self.values.set(VALUES_MAX);
        self.octets.set(TEXTS_OCTETS_MAX);
    }

    /// What was too much, if anything; both are left at nothing then.
    fn exceeded(&self) -> Option<String> {
        if self.values.get() == 0 {
            return Some(format!("more than {VALUES_MAX} values"));
        }
        (self.octets.get() == 0).then(|| format!("texts of more than {TEXTS_OCTETS_MAX} octets"))
    }
}

/// Takes from what a call may still hold; false when there is not so much left.
fn take(lua: &Lua, values: usize, octets: usize) -> bool {
    let Some(allowance) = lua.app_data_ref::<Allowance>() else { return true };
    let take = |left: &Cell<usize>, amount: usize| {
        left.set(left.get().saturating_sub(amount));
        left.get() > 0
    };
    take(&allowance.values, values) & take(&allowance.octets, octets)
}

/// An entry with a weight.
pub(super) struct Weighted<T> {
    /// From 1 to 2^32-1.
    pub(super) weight: u32,
    /// What is chosen.
    pub(super) value: T,
}

/// What comes of an entry that has a weight and no value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is an error.
    Refused,
    /// It is an empty text.
    Empty,
}

/// A rule of `view`, as far as it has its parts.
#[derive(Default)]
pub(super) struct Rule {
    /// Networks, not yet read.
    pub(super) networks: Option<Vec<LuaString>>,
    /// What is answered to clients in them.
    pub(super) values: Option<Vec<Value>>,
}

/// A table of options, by name.
#[derive(Default)]
pub(in crate::script) struct Options(Vec<(String, Setting)>);

/// What kind of value an option holds.
#[derive(Clone, Copy)]
pub(in crate::script) enum Wanted {
    /// A string; numbers and booleans pass.
    Text,
    /// A number; any text passes, as it may be one.
    Number,
    /// A number, or the text of one.
    Numeric,
    /// A number, a string, or a table of them.
    Any,
    /// A table of strings.
    Texts,
}

/// An entry of a list of targets.
pub(in crate::script) enum Item {
    /// A string.
    Text(String),
    /// A table of named values.
    Fields(Options),
}

/// The value of an option.
#[derive(Clone, Debug)]
pub(in crate::script) enum Setting {
    /// A string.
    Text(String),
    /// A number, and its text.
    Number(f64, String),
    /// `true` or `false`.
    Boolean(bool),
    /// A table of strings and numbers.
    Texts(Vec<(String, String)>),
    /// What no option takes; says what it is.
    Other(&'static str),
}

impl<'l> Arguments<'l> {
    pub(super) fn new(lua: &'l Lua, values: MultiValue) -> Self {
        if let Some(allowance) = lua.app_data_ref::<Allowance>() {
            allowance.renew();
        }
        Self { lua, values, taken: 0 }
    }

    /// What was more than a call may be given; reads on from `got`.
    pub(super) fn exceeded(&self) -> Option<String> {
        self.lua.app_data_ref::<Allowance>()?.exceeded()
    }

    pub(super) fn lua(&self) -> &'l Lua {
        self.lua
    }

    /// Takes the next argument, whatever it is; `Nil` when there is none.
    pub(super) fn value(&mut self) -> Value {
        self.taken += 1;
        self.values.pop_front().unwrap_or(Value::Nil)
    }

    /// Takes all that are left.
    pub(super) fn rest(&mut self) {
        self.values.clear();
    }

    /// Errors if arguments are left.
    pub(super) fn end(&self) -> Result<(), CallError> {
        if self.values.iter().all(Value::is_nil) {
            return Ok(());
        }
        Err(CallError::refused(format!("takes {} arguments, and got {}", self.taken, self.taken + self.values.len())))
    }

    /// The refusal of the argument that was taken last.
    pub(super) fn refuse(&self, expected: &str, got: &Value) -> CallError {
        CallError::refused(format!("needs {expected} as argument {}, and got {}", self.taken, kind(got)))
    }

    /// Takes a string, or a number as its text.
    pub(super) fn text(&mut self) -> Result<LuaString, CallError> {
        let value = self.value();
        string(self.lua, &value).ok_or_else(|| self.refuse("a string", &value))
    }

    /// Takes a number, or a text of one; fractions are cut off.
    pub(super) fn whole_number(&mut self) -> Result<i64, CallError> {
        let value = self.value();
        number(self.lua, &value).ok_or_else(|| self.refuse("a number", &value))
    }

    /// Takes a number, or a text of one, or nothing; fractions are cut off.
    pub(super) fn optional_number(&mut self) -> Result<Option<i64>, CallError> {
        let value = self.value();
        if value.is_nil() {
            return Ok(None);
        }
        number(self.lua, &value).map(Some).ok_or_else(|| self.refuse("a number", &value))
    }

    /// Reads what was taken as a number.
    pub(super) fn read_number(&self, value: &Value) -> Result<i64, CallError> {
        number(self.lua, value).ok_or_else(|| self.refuse("a number", value))
    }

    /// Takes a list of strings, or nothing.
    pub(super) fn optional_list(&mut self) -> Result<Option<Vec<LuaString>>, CallError> {
        let value = self.value();
        if value.is_nil() {
            return Ok(None);
        }
        list(self.lua, &value).map(Some).ok_or_else(|| self.refuse("a list of strings", &value))
    }

    /// Takes a string, or a number as its text, or nothing.
    pub(super) fn optional_text(&mut self) -> Result<Option<LuaString>, CallError> {
        if self.values.front().is_none_or(Value::is_nil) {
            self.value();
            return Ok(None);
        }
        self.text().map(Some)
    }

    /// Takes a TTL, or nothing.
    pub(super) fn ttl(&mut self) -> Result<Option<u32>, CallError> {
        match self.value() {
            Value::Nil => Ok(None),
            value => value::ttl(&value).map(Some).ok_or_else(|| self.refuse("a TTL from 0 to 2147483647", &value)),
        }
    }

    /// Takes a whole number, or a text of one; a fraction is refused.
    pub(super) fn integral(&mut self) -> Result<i64, CallError> {
        let value = self.value();
        let number = self.lua.coerce_number(value.clone()).ok().flatten();
        // The cast saturates, and whoever asks has a use for small numbers alone.
        let number = number.filter(|number| number.fract() == 0.0).map(|number| number as i64);
        number.ok_or_else(|| self.refuse("a whole number", &value))
    }

    /// Takes a string, or a list of them.
    pub(super) fn one_or_list(&mut self) -> Result<Vec<String>, CallError> {
        let value = self.value();
        let texts = string(self.lua, &value).map(|one| vec![one]).or_else(|| list(self.lua, &value));
        let texts = texts.ok_or_else(|| self.refuse("a string or a list of strings", &value))?;
        Ok(texts.iter().map(LuaString::to_string_lossy).collect())
    }

    /// Takes a list of strings: all keys numbers, all values strings or numbers; the keys are ignored.
    pub(super) fn list(&mut self) -> Result<Vec<LuaString>, CallError> {
        let value = self.value();
        list(self.lua, &value).ok_or_else(|| self.refuse("a list of strings", &value))
    }

    /// Takes a string, or a list of strings.
    pub(super) fn texts(&mut self) -> Result<Vec<LuaString>, CallError> {
        let value = self.value();
        let texts = string(self.lua, &value).map(|text| vec![text]).or_else(|| list(self.lua, &value));
        texts.ok_or_else(|| self.refuse("a string or a list of strings", &value))
    }

    /// Takes a list of strings, as one group, or a list of such lists.
    pub(super) fn groups(&mut self) -> Result<Vec<Vec<LuaString>>, CallError> {
        let value = self.value();
        if let Some(flat) = list(self.lua, &value) {
            return Ok(vec![flat]);
        }
        let groups =
            entries(self.lua, &value).and_then(|groups| groups.iter().map(|group| list(self.lua, group)).collect());
        groups.ok_or_else(|| self.refuse("a list of addresses or a list of such lists", &value))
    }

    /// Takes a list of tables of texts with texts for keys; each in the order of its keys.
    pub(super) fn tables(&mut self) -> Result<Vec<Vec<(String, String)>>, CallError> {
        let value = self.value();
        let text = |value: &Value| string(self.lua, value).map(|text| text.to_string_lossy());
        let table = |value: &Value| -> Option<Vec<(String, String)>> {
            let Value::Table(table) = value else { return None };
            let pair = |pair: mlua::Result<(Value, Value)>| {
                pair.ok().and_then(|(key, value)| Some((text(&key)?, text(&value)?)))
            };
            let mut pairs: Vec<_> = table.pairs::<Value, Value>().map(pair).collect::<Option<_>>()?;
            pairs.sort_unstable();
            Some(pairs)
        };
        let tables = entries(self.lua, &value).and_then(|tables| tables.iter().map(table).collect());
        tables.ok_or_else(|| self.refuse("a list of tables from addresses to URLs", &value))
    }

    /// Takes a list of values of any kind; all keys are numbers, and ignored. Numbers become their texts.
    pub(super) fn values(&mut self) -> Result<Vec<Value>, CallError> {
        let value = self.value();
        values(self.lua, &value).ok_or_else(|| self.refuse("a list", &value))
    }

    /// Takes a list of `{weight, value}`, with values of any kind.
    pub(super) fn weighted(&mut self, missing: Missing) -> Result<Vec<Weighted<Value>>, CallError> {
        let value = self.value();
        let refusal = || CallError::refused("needs a list of `{weight, value}`");
        let choice = |entry: &Value| {
            let (weight, value) = pair(self.lua, entry).ok_or_else(refusal)?;
            let value = match value {
                Value::Nil if missing == Missing::Refused => return Err(refusal()),
                Value::Nil => Value::String(self.lua.create_string("")?),
                value => value,
            };
            Ok(Weighted { weight: read_weight(self.lua, &weight)?, value })
        };
        entries(self.lua, &value).ok_or_else(refusal)?.iter().map(choice).collect()
    }

    /// Takes a list of `{networks, values}`; what stands behind those is ignored.
    pub(super) fn rules(&mut self) -> Result<Vec<Rule>, CallError> {
        let value = self.value();
        let rule = |rule: &Value| -> Option<Rule> {
            let parts = entries(self.lua, rule)?;
            let [networks, values_of, ..] = &parts[..] else { return Some(Rule::default()) };
            Some(Rule { networks: Some(list(self.lua, networks)?), values: Some(values(self.lua, values_of)?) })
        };
        let rules = entries(self.lua, &value).and_then(|rules| rules.iter().map(rule).collect());
        rules.ok_or_else(|| self.refuse("a list of `{networks, values}`", &value))
    }

    /// Takes an object; `expected` is its kind, with an article.
    pub(super) fn object<T: 'static>(&mut self, expected: &str) -> Result<UserDataRef<T>, CallError> {
        let value = self.value();
        let object = value.as_userdata().and_then(|object| object.borrow::<T>().ok());
        object.ok_or_else(|| self.refuse(expected, &value))
    }

    /// Takes a table of texts by text, or nothing.
    pub(super) fn optional_texts(&mut self) -> Result<Option<Vec<(LuaString, LuaString)>>, CallError> {
        let value = self.value();
        if value.is_nil() {
            return Ok(None);
        }
        texts(self.lua, &value).map(Some).ok_or_else(|| self.refuse("a table of strings", &value))
    }

    /// Takes a list of strings and of tables of named values, as one group, or a list of such lists.
    pub(super) fn items(&mut self) -> Result<Vec<Vec<Item>>, CallError> {
        const EXPECTED: &str = "a list of targets or a list of such lists";
        let value = self.value();
        let items = entries(self.lua, &value).ok_or_else(|| self.refuse(EXPECTED, &value))?;
        if !items.iter().any(is_group) {
            return Ok(vec![self.group(&items)?]);
        }
        let group = |group: &Value| match entries(self.lua, group) {
            Some(entries) => self.group(&entries),
            None => Err(self.refuse(EXPECTED, group)),
        };
        items.iter().map(group).collect()
    }

    fn group(&self, entries: &[Value]) -> Result<Vec<Item>, CallError> {
        let item = |entry: &Value| match entry {
            Value::Table(table) if !is_group(entry) => Ok(Item::Fields(Options(fields(self.lua, table)?))),
            other => string(self.lua, other)
                .map(|text| Item::Text(text.to_string_lossy()))
                .ok_or_else(|| self.refuse("a list of targets or a list of such lists", other)),
        };
        entries.iter().map(item).collect()
    }

    /// Takes a table of named values; `expected` says of what.
    pub(super) fn fields(&mut self, expected: &str) -> Result<Options, CallError> {
        match self.value() {
            Value::Table(table) => Ok(Options(fields(self.lua, &table)?)),
            other => Err(self.refuse(expected, &other)),
        }
    }

    /// Begins to count anew what the call is given: for one that runs others.
    pub(super) fn renew(&self) {
        if let Some(allowance) = self.lua.app_data_ref::<Allowance>() {
            allowance.renew();
        }
    }

    /// Takes a table of options, or nothing.
    pub(super) fn options(&mut self) -> Result<Options, CallError> {
        match self.value() {
            Value::Nil => Ok(Options::default()),
            Value::Table(table) => Ok(Options(settings(self.lua, &table)?)),
            other => Err(self.refuse("a table of options", &other)),
        }
    }
}

/// Whether a value is a table that is a list, be it empty, and has no names in it.
fn is_group(value: &Value) -> bool {
    let Value::Table(table) = value else { return false };
    let first = table.pairs::<Value, Value>().next();
    first.is_none_or(|pair| !pair.is_ok_and(|(key, _)| key.is_string()))
}

/// The settings in a table that holds nothing else.
fn fields(lua: &Lua, table: &Table) -> Result<Vec<(String, Setting)>, CallError> {
    let nameless = table.pairs::<Value, Value>().any(|pair| !pair.is_ok_and(|(key, _)| key.is_string()));
    if nameless {
        return Err(CallError::refused("got a table with a value that has no name"));
    }
    settings(lua, table)
}

/// The settings in a table; what has no text for a key is no option.
fn settings(lua: &Lua, table: &Table) -> Result<Vec<(String, Setting)>, CallError> {
    let mut settings = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        if !take(lua, 1, 0) {
            return Err(CallError::refused("got too many options"));
        }
        if let Value::String(name) = name {
            settings.push((name.to_string_lossy(), setting(lua, &value)));
        }
    }
    Ok(settings)
}

/// A value as a setting.
fn setting(lua: &Lua, value: &Value) -> Setting {
    let text = |value: &Value| string(lua, value).map(|text| text.to_string_lossy());
    match value {
        Value::Boolean(boolean) => Setting::Boolean(*boolean),
        Value::Table(table) => {
            let texts = table.pairs::<Value, Value>().map(|pair| {
                let (name, value) = pair.ok().filter(|_| take(lua, 1, 0))?;
                Some((text(&name)?, text(&value)?))
            });
            texts.collect::<Option<_>>().map_or_else(|| Setting::Other(kind(value)), Setting::Texts)
        }
        other => match (text(other), value::number(other)) {
            (Some(text), Some(number)) => Setting::Number(number, text),
            (Some(text), None) => Setting::Text(text),
            (None, _) => Setting::Other(kind(other)),
        },
    }
}

impl Options {
    /// Options from elsewhere than a call.
    pub(in crate::script) fn of(settings: Vec<(String, Setting)>) -> Self {
        Self(settings)
    }

    fn get(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, setting)| setting)
    }

    /// Whether it is given.
    pub(in crate::script) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The option as text: numbers and booleans pass.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, CallError> {
        let expected = |what| CallError::refused(format!("needs a string for the option `{name}`, and got {what}"));
        match self.get(name) {
            None => Ok(None),
            Some(Setting::Text(text) | Setting::Number(_, text)) => Ok(Some(text.clone())),
            Some(Setting::Boolean(boolean)) => Ok(Some(boolean.to_string())),
            Some(Setting::Texts(_)) => Err(expected("a table")),
            Some(Setting::Other(what)) => Err(expected(what)),
        }
    }

    /// The option as a number, or the text of one; `None` inside when it is given and is neither.
    pub(super) fn number(&self, name: &str) -> Option<Option<f64>> {
        let number = match self.get(name)? {
            Setting::Number(number, _) => Some(*number),
            Setting::Text(text) => text.trim().parse().ok(),
            Setting::Boolean(_) | Setting::Texts(_) | Setting::Other(_) => None,
        };
        Some(number.filter(|number| number.is_finite()))
    }

    /// The option as a table of texts; empty if it is none.
    pub(super) fn texts(&self, name: &str) -> Vec<(String, String)> {
        match self.get(name) {
            Some(Setting::Texts(texts)) => texts.clone(),
            None | Some(Setting::Text(_) | Setting::Number(..) | Setting::Boolean(_) | Setting::Other(_)) => Vec::new(),
        }
    }

    /// The option as a list of texts, in the order of their numbers; empty if it is none.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let place = |(key, text): (String, String)| Some((key.parse::<usize>().ok()?, text));
        let mut places: Vec<_> = self.texts(name).into_iter().filter_map(place).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, text)| text).collect()
    }

    /// Whether the option is given and is true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text(name).ok().flatten().as_deref() == Some("true")
    }

    /// What is wrong with the option if it is given and is of another kind.
    pub(super) fn fault(&self, name: &str, wanted: Wanted) -> Option<String> {
        let setting = self.get(name)?;
        let needs = match (wanted, setting) {
            (Wanted::Text, Setting::Text(_) | Setting::Number(..) | Setting::Boolean(_))
            | (Wanted::Number, Setting::Text(_) | Setting::Number(..))
            | (Wanted::Numeric, Setting::Number(..))
            | (Wanted::Any, Setting::Text(_) | Setting::Number(..))
            | (Wanted::Texts, Setting::Texts(_)) => return None,
            (Wanted::Numeric, Setting::Text(text)) if text.trim().parse::<f64>().is_ok_and(f64::is_finite) => {
                return None;
            }
            (Wanted::Any, Setting::Texts(texts)) if !texts.is_empty() => return None,
            (Wanted::Text, Setting::Texts(_) | Setting::Other(_)) => "string",
            (Wanted::Number | Wanted::Any, Setting::Boolean(_) | Setting::Texts(_) | Setting::Other(_))
            | (Wanted::Numeric, _) => "number",
            (Wanted::Texts, _) => "table of strings",
        };
        let got = match setting {
            Setting::Text(_) => "a string",
            Setting::Number(..) => "a number",
            Setting::Boolean(_) => "a boolean",
            Setting::Texts(_) => "a table",
            Setting::Other(what) => what,
        };
        Some(format!("the option `{name}` needs a {needs} and got {got}"))
    }
}

/// A string, or a number as its text.
pub(super) fn string(lua: &Lua, value: &Value) -> Option<LuaString> {
    match value {
        Value::String(text) => take(lua, 0, text.as_bytes().len()).then(|| text.clone()),
        Value::Integer(_) | Value::Number(_) => lua.coerce_string(value.clone()).ok()?,
        _ => None,
    }
}

/// A number, or a text of one, cut to a whole number.
fn number(lua: &Lua, value: &Value) -> Option<i64> {
    // The cast saturates, and what is no number becomes 0: no call has a use for more.
    lua.coerce_number(value.clone()).ok()?.map(|number| number as i64)
}

/// The values of a table whose keys are all numbers or texts of numbers, in the order of `next`.
pub(super) fn entries(lua: &Lua, value: &Value) -> Option<Vec<Value>> {
    let Value::Table(table) = value else { return None };
    if !take(lua, table.raw_len(), 0) {
        return None;
    }
    let mut values = Vec::with_capacity(table.raw_len());
    let mut all_numeric = true;
    let walked = table.for_each(|key: Value, value: Value| {
        if values.len() >= VALUES_MAX {
            take(lua, VALUES_MAX, 0);
            return Err(mlua::Error::runtime("the table is too long"));
        }
        all_numeric &= is_numeric(lua, &key);
        values.push(value);
        Ok(())
    });
    // What has no place in a sequence was not counted before.
    let uncounted = values.len().saturating_sub(table.raw_len());
    (walked.is_ok() && take(lua, uncounted, 0) && all_numeric).then_some(values)
}

/// A list of anything; numbers become their texts, as they do in PowerDNS.
fn values(lua: &Lua, value: &Value) -> Option<Vec<Value>> {
    let mut values = entries(lua, value)?;
    for value in &mut values {
        *value = plain(lua, std::mem::take(value))?;
    }
    Some(values)
}

/// A value that is no number: of one, its text.
fn plain(lua: &Lua, value: Value) -> Option<Value> {
    match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => string(lua, &value).map(Value::String),
        other => Some(other),
    }
}

/// The entries `1` and `2` of a table; the second may be missing.
fn pair(lua: &Lua, value: &Value) -> Option<(Value, Value)> {
    let Value::Table(table) = value else { return None };
    let (mut weight, mut value, mut all_numeric) = (Value::Nil, Value::Nil, true);
    let walked = table.for_each(|key: Value, entry: Value| {
        if !take(lua, 1, 0) {
            return Err(mlua::Error::runtime("the table is too long"));
        }
        match lua.coerce_number(key)? {
            Some(1.0) => weight = entry,
            Some(2.0) => value = entry,
            Some(_) => {}
            None => all_numeric = false,
        }
        Ok(())
    });
    (walked.is_ok() && all_numeric && !weight.is_nil()).then_some((weight, plain(lua, value)?))
}

/// A table whose keys and values are all texts, or numbers as such.
fn texts(lua: &Lua, value: &Value) -> Option<Vec<(LuaString, LuaString)>> {
    let Value::Table(table) = value else { return None };
    let mut texts = Vec::new();
    let walked = table.for_each(|key: Value, value: Value| {
        if !take(lua, 1, 0) {
            return Err(mlua::Error::runtime("the table is too long"));
        }
        texts.push((string(lua, &key), string(lua, &value)));
        Ok(())
    });
    walked.ok()?;
    texts.into_iter().map(|(key, value)| Some((key?, value?))).collect()
}

/// A list of strings.
pub(super) fn list(lua: &Lua, value: &Value) -> Option<Vec<LuaString>> {
    entries(lua, value)?.iter().map(|entry| string(lua, entry)).collect()
}

/// Reads a weight as C's `strtoull` would: `1.5` and `1x` are 1. Errors below 1 and above 2^32-1.
fn read_weight(lua: &Lua, value: &Value) -> Result<u32, CallError> {
    let refusal = |text: &str| {
        CallError::refused(format!("got the weight `{text}`; a weight is a whole number from 1 to {}", u32::MAX))
    };
    if let Value::Integer(number) = value {
        let weight = u32::try_from(*number).ok().filter(|weight| *weight > 0);
        return weight.ok_or_else(|| refusal(&number.to_string()));
    }
    let text = string(lua, value).ok_or_else(|| CallError::refused(format!("got {} for a weight", kind(value))))?;
    let text = text.to_string_lossy();
    let text_of_number = text.trim_start();
    let digits = text_of_number.strip_prefix('+').unwrap_or(text_of_number);
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    let weight = digits[..end].parse().ok().filter(|weight| *weight > 0);
    weight.ok_or_else(|| refusal(&text))
}

/// Reads an address, IPv6 with or without brackets, with or without a port.
pub(in crate::script) fn read_address(text: &str) -> Option<SocketAddr> {
    read_portless(text).map(|address| SocketAddr::new(address, 0)).or_else(|| text.parse().ok())
}

/// Reads an address without a port, IPv6 with or without brackets.
fn read_portless(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.map_or_else(|| text.parse().ok(), |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::from))
}

/// Reads a network: `address/bits` with host bits cleared, or a bare address in full length.
///
/// Returns `None` inside for a length past the family's, which PowerDNS accepts and lets match nothing.
pub(in crate::script) fn read_network(text: &str) -> Option<Option<IpNet>> {
    let Some((address, bits)) = text.split_once('/') else {
        return Some(Some(read_portless(text)?.into()));
    };
    let address = read_portless(address)?;
    let bits: u8 = bits.parse().ok()?;
    Some(IpNet::new(address, bits).ok().map(|network| network.trunc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_and_without_ports() {
        let cases: [(&str, Option<(IpAddr, u16)>); 8] = [
            ("192.0.2.1", Some(("192.0.2.1".parse().unwrap(), 0))),
            ("192.0.2.1:53", Some(("192.0.2.1".parse().unwrap(), 53))),
            ("2001:db8::1", Some(("2001:db8::1".parse().unwrap(), 0))),
            ("[2001:db8::1]", Some(("2001:db8::1".parse().unwrap(), 0))),
            ("[2001:db8::1]:53", Some(("2001:db8::1".parse().unwrap(), 53))),
            ("example.com", None),
            ("010.0.0.1", None),
            ("12", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read_address(text), expected.map(|(address, port)| SocketAddr::new(address, port)), "{text}");
        }
    }

    #[test]
    fn networks_lose_their_host_bits_and_may_match_nothing() {
        assert_eq!(read_network("192.168.1.9/16"), Some(Some("192.168.0.0/16".parse().unwrap())));
        assert_eq!(read_network("192.168.1.9"), Some(Some("192.168.1.9/32".parse().unwrap())));
        assert_eq!(read_network("192.168.1.9/33"), Some(None));
        assert_eq!(read_network("[2001:db8::9]/32"), Some(Some("2001:db8::/32".parse().unwrap())));
        assert_eq!(read_network("[2001:db8::9]"), Some(Some("2001:db8::9/128".parse().unwrap())));
        assert_eq!(read_network("192.168.1.9:53"), None);
        assert_eq!(read_network("!192.168.1.9"), None);
        assert_eq!(read_network("192.168.1.9/x"), None);
    }
}
