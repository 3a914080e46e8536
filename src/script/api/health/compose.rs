//! What hangs on several checks, and on other records.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, MetaMethod, UserData, UserDataMethods, Value};

use super::choice::{Call, Choice, PROBE_OPTIONS};
use super::kinds::Template;
use super::targets::{TARGETS_MAX, read_probe};
use crate::dns::name::Folded;
use crate::dns::{Name, Rtype};
use crate::health::table::Reading;
use crate::health::{Check, State};
use crate::script::api::arguments::{Arguments, Options, entries};
use crate::script::api::object::method;
use crate::script::api::{Api, CallError};
use crate::script::context::Context;
use crate::script::literal::{Literal, calls_at, defines, place_of};
use crate::script::nested::{self, NestedError};
use crate::script::policy::Policy;
use crate::script::program::Program;
use crate::script::surroundings::Programs;
use crate::script::value::kind;
use crate::zone::ZoneSet;

/// The builtins that hang on other records.
const COMPOSING: [&str; 4] = ["all_up", "any_up", "k_of_n", "weight_of"];

/// The fields of `check` beside those of its kind and of every probe.
const CHECK_FIELDS: [&str; 2] = ["target", "source"];

/// Says whether several things are up: the builtins `all_up`, `any_up` and `k_of_n`; and `weight_of` one.
///
/// A thing is a check made by `check`, a truth, so that calls nest, or the name of a record of the zone: relative to its
/// apex, or absolute with a dot at its end. A type may follow, `'db/AAAA'`; otherwise it is the record for the type that is
/// asked for, or the only one there is. A record is up if its script, run for the same query, returns records and chose
/// none of them among targets that are all down. Each thing is asked for, whatever the others are.
///
/// `weight_of` is 0 for what is not up, the weight a target gave itself, or 1.
///
/// Errors on a list without a thing in it, on names without such a record, and on records that hang on themselves.
///
/// ```lua
/// db 30 IN LUA A "ifportup(5432, {'192.0.2.1', '192.0.2.2'})"
/// www 30 IN LUA A "all_up{'db', check{kind='tcp', target='192.0.2.9', port=443}} and '192.0.2.9' or '192.0.2.3'"
/// ```
pub(super) fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    let context = Rc::clone(api.context);
    api.function("check", move |_, arguments| {
        let fields = arguments.fields("a table such as `{kind='tcp', target='192.0.2.1', port=443}`")?;
        let check = read_check(&fields, &context.policy(), &mut |lint| context.lint(lint))?;
        // It is probed from now on, whether its truth is asked for or not.
        context.slot(&check);
        Ok(HealthCheck { check, context: Rc::clone(&context) })
    })?;
    api.function("all_up", |context, arguments| {
        let up = things(context, arguments)?;
        Ok(up.into_iter().all(|up| up))
    })?;
    api.function("any_up", |context, arguments| {
        let up = things(context, arguments)?;
        Ok(up.into_iter().any(|up| up))
    })?;
    api.function("k_of_n", |context, arguments| {
        let least = arguments.integral()?;
        let up = things(context, arguments)?;
        let wanted = usize::try_from(least).ok().filter(|least| (1..=up.len()).contains(least));
        let refusal = || format!("wants {least} of {}; ask for 1 to {} of them", up.len(), up.len());
        let wanted = wanted.ok_or_else(|| CallError::refused(refusal()))?;
        Ok(up.into_iter().filter(|up| *up).count() >= wanted)
    })?;
    api.function("weight_of", |context, arguments| {
        let thing = arguments.value();
        let weight = weight_of(context, arguments.lua(), &thing);
        arguments.renew();
        weight
    })
}

/// A check, whose truth a script can ask for.
struct HealthCheck {
    check: Check,
    context: Rc<Context>,
}

impl HealthCheck {
    fn reading(&self) -> Reading {
        let reading = self.context.slot(&self.check).read();
        self.context.depends_on(reading);
        reading
    }

    fn weight(&self) -> u32 {
        let reading = self.reading();
        if reading.state == State::Up { reading.weight.unwrap_or(1) } else { 0 }
    }
}

impl UserData for HealthCheck {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.check.to_string()));
        method(methods, "up", |this, _| Ok(this.reading().state == State::Up));
        method(methods, "state", |this, _| Ok(this.reading().state.as_str()));
        method(methods, "weight", |this, _| Ok(this.weight()));
    }
}

/// Reads the table that is given to `check`.
pub(in crate::script) fn read_check(
    fields: &Options,
    policy: &Policy,
    lint: &mut dyn FnMut(String),
) -> Result<Check, CallError> {
    let beside: Vec<&str> = PROBE_OPTIONS.iter().map(|(name, _)| *name).chain(CHECK_FIELDS).collect();
    let template = Template::read(fields, &beside, lint)?;
    let kind = match fields.text("target")? {
        Some(text) => template.kind(&read_probe(&text, &template)?)?,
        None => template.without_target().ok_or_else(|| CallError::refused("needs a field `target`"))?,
    };
    Ok(Choice::read(Call::Up, fields, policy, lint)?.check(kind))
}

/// Takes a list of things that may be up; whether each is.
fn things(context: &Context, arguments: &mut Arguments<'_>) -> Result<Vec<bool>, CallError> {
    let value = arguments.value();
    let expected = "a list of checks, truths and names of records";
    let things = entries(arguments.lua(), &value).ok_or_else(|| arguments.refuse(expected, &value))?;
    if things.is_empty() || things.len() > TARGETS_MAX {
        return Err(CallError::refused(format!("got {} things to ask for; give 1 to {TARGETS_MAX}", things.len())));
    }
    // All are asked for, whatever the first is, so that the checks of all are known.
    let up = things.iter().map(|thing| is_up(context, arguments.lua(), thing)).collect::<Result<Vec<_>, _>>();
    arguments.renew();
    up
}

/// Whether a thing is up.
fn is_up(context: &Context, lua: &Lua, thing: &Value) -> Result<bool, CallError> {
    match thing {
        Value::Boolean(truth) => Ok(*truth),
        Value::String(name) => is_record_up(context, lua, &name.to_string_lossy()),
        other => {
            let check = other.as_userdata().and_then(|object| object.borrow::<HealthCheck>().ok());
            let refusal = || format!("needs checks, truths and names of records, and got {}", kind(other));
            Ok(check.ok_or_else(|| CallError::refused(refusal()))?.reading().state == State::Up)
        }
    }
}

/// The weight of a thing.
fn weight_of(context: &Context, lua: &Lua, thing: &Value) -> Result<u32, CallError> {
    if let Some(check) = thing.as_userdata().and_then(|object| object.borrow::<HealthCheck>().ok()) {
        return Ok(check.weight());
    }
    is_up(context, lua, thing).map(u32::from)
}

/// Whether every record of a name is up.
fn is_record_up(context: &Context, lua: &Lua, name: &str) -> Result<bool, CallError> {
    let covered = context.nested_runs.running().map_or(Rtype::A, |program| program.script().covered);
    let found = named_records(&context.surroundings().zones, &context.zone(), covered, name);
    let programs = found.map_err(|why| CallError::refused(format!("got `{name}`: {why}")))?;
    context.note_hanging(&programs);
    let mut is_up = false;
    for program in &programs {
        is_up |= nested::is_up(context, lua, program).map_err(|error| match error {
            NestedError::Lua(error) => CallError::Lua(error),
            NestedError::Cycle(how) => CallError::refused(format!("got `{name}`, which hangs on itself: {how}")),
            NestedError::Depth => CallError::refused(format!("got `{name}`, on which too many records hang in a row")),
        })?;
    }
    Ok(is_up)
}

/// The LUA records that a text names for those of one zone, asked by a record for `covered`; or why there are none.
pub(in crate::script) fn named_records(
    zones: &ZoneSet<Programs>,
    apex: &Name,
    covered: Rtype,
    text: &str,
) -> Result<Vec<Arc<Program>>, String> {
    let typed = text.rsplit_once('/').and_then(|(name, rtype)| Some((name, Rtype::parse(rtype.as_bytes())?)));
    let (name, wanted) = typed.map_or((text, None), |(name, rtype)| (name, Some(rtype)));
    let owner = Name::parse(name.as_bytes(), Some(apex.as_ref())).map_err(|error| error.to_string())?;
    if !owner.as_ref().is_in(apex.as_ref()) {
        return Err(format!("`{owner}` is outside of the zone"));
    }
    let zone = zones.find(&Folded::new(apex.as_ref()), Rtype::SOA);
    let (zone, programs) = zone.filter(|(zone, _)| *zone.apex() == *apex).ok_or("its zone is not served")?;
    let node = zone.node(Folded::new(owner.as_ref()).wire());
    let indexes = node.map(|node| node.scripts()).unwrap_or_default();
    let here = indexes.iter().filter_map(|index| programs.get(*index as usize));
    // What is there to be included answers nothing.
    let here: Vec<&Arc<Program>> = here.filter(|program| program.script().covered != Rtype::LUA).collect();
    let of = |rtype: Rtype| here.iter().filter(move |program| program.script().covered == rtype);
    let only = || {
        let first = here.first()?.script().covered;
        (of(first).count() == here.len()).then_some(first)
    };
    let rtype = match wanted {
        Some(wanted) => Some(wanted),
        None if of(covered).next().is_some() => Some(covered),
        None => only(),
    };
    let several = || format!("`{owner}` has LUA records for several types; put one behind the name: `{name}/A`");
    match rtype {
        _ if here.is_empty() => Err(format!("there is no LUA record at `{owner}`")),
        None => Err(several()),
        Some(rtype) if of(rtype).next().is_none() => Err(format!("there is no LUA record for {rtype} at `{owner}`")),
        Some(rtype) => Ok(of(rtype).map(|program| Arc::clone(program)).collect()),
    }
}

/// The names of records that a script's code shows it to hang on, each with the octet at which it stands.
pub(in crate::script) fn constant_names(code: &[u8]) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (at, function, arguments) in calls_at(code, &COMPOSING) {
        if defines(code, &function) {
            continue;
        }
        let things = match (&*function, &arguments[..]) {
            ("weight_of", things) => things,
            ("k_of_n", [_, Literal::Table(things, _)]) | (_, [Literal::Table(things, _)]) => things,
            _ => &[],
        };
        names.extend(things.iter().filter_map(|thing| match thing {
            Literal::Text(text) => Some((place_of(code, at, text), text.clone())),
            Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
        }));
    }
    names
}
