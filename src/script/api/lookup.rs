//! Looking things up: names in the DNS, records of this server, and code in other records.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, LuaString};

use super::arguments::Arguments;
use super::object::ResourceRecord;
use super::{Api, CallError, Family};
use crate::diagnostic::Position;
use crate::dns::name::Folded;
use crate::dns::{Name, Rtype, rdata};
use crate::resolve::{Question, Reason, Record};
use crate::script::context::Context;
use crate::script::failure::describe;
use crate::script::included::DEPTH_MAX;
use crate::script::literal::{Literal, calls};
use crate::script::lookups::{LOOKUPS_MAX, Lookup};
use crate::script::program::Program;
use crate::script::sandbox::Spent;

/// Builtins that look things up.
pub(super) const FAMILY: Family = Family { install };

fn install(api: &mut Api<'_>) -> mlua::Result<()> {
    api.function("resolve", |context, arguments| {
        let (name, rtype) = (arguments.text()?, type_number(arguments)?);
        let (records, reason) = resolve(context, &name, rtype)?;
        Ok((records, reason.map(Reason::as_str)))
    })?;
    api.function("dblookup", |context, arguments| {
        let (name, rtype) = (arguments.text()?, type_number(arguments)?);
        dblookup(context, &name, rtype)
    })?;
    api.function("include", |context, arguments| {
        let name = arguments.text()?;
        include(context, arguments.lua(), &name)
    })
}

/// Takes the number of a type, or the text of one. A mnemonic is an error, as in PowerDNS.
fn type_number(arguments: &mut Arguments<'_>) -> Result<Rtype, CallError> {
    let number = arguments.whole_number().ok().and_then(|number| u16::try_from(number).ok());
    number.map(Rtype).ok_or_else(|| CallError::refused("needs the number of a type as argument 2, such as `pdns.A`"))
}

/// Whether the scripts of this zone may ask about a name.
fn may_ask(context: &Context, name: &Name) -> Result<(), CallError> {
    if let Some(why) = context.policy().refuses_lookup(name.as_ref()) {
        context.refuse(why);
        return Err(CallError::refused("was refused"));
    }
    Ok(())
}

/// Asks the resolvers for the records of one type at a name; returns them, and why there are none.
///
/// The reason is `nil` when the look-up worked, be it that the name has none of the type; otherwise `'nxdomain'`,
/// `'servfail'`, `'refused'`, `'timeout'`, `'unreachable'`, `'overload'` or `'failed'`. Answers are kept for their
/// TTL. A name that is not known yet ends the run; when it is, or when `resolver.timeout` is over, the script is run
/// anew. Errors on a malformed name, on a type that is none of records (`ANY`), and past 32 look-ups in one run.
///
/// ```lua
/// mirror 60 IN LUA A ";local found = {} for _, record in ipairs((resolve('www.example.net', 1))) do table.insert(found, record:toString()) end return found"
/// ```
fn resolve(
    context: &Context,
    name: &LuaString,
    rtype: Rtype,
) -> Result<(Vec<ResourceRecord>, Option<Reason>), CallError> {
    let text = name.to_string_lossy();
    let name = Name::parse_absolute(&name.as_bytes())
        .map_err(|error| CallError::refused(format!("got `{text}`, which is no name: {error}")))?;
    if rtype.is_meta() {
        return Err(CallError::refused(format!("cannot look up type {rtype}: ask for one type of records")));
    }
    may_ask(context, &name)?;
    match context.look_up(Question { name, rtype }) {
        Lookup::Known(answer) => {
            let age = context.now().monotonic.saturating_sub(answer.since);
            let records = answer.records.iter().map(|record| aged(record, rtype, age));
            Ok((records.collect(), answer.reason))
        }
        Lookup::Unknown(reason) => Ok((Vec::new(), Some(reason))),
        Lookup::Awaited => Err(CallError::Lua(context.end_run(Spent::Turn))),
        Lookup::TooMany => Err(CallError::refused(format!("was called more than {LOOKUPS_MAX} times in one run"))),
    }
}

/// The names of every look-up in a script whose arguments are constants, whichever branch it stands in.
pub(in crate::script) fn constant_questions(code: &[u8]) -> Vec<Question> {
    let question = |call: Literal| {
        let Literal::Call(_, arguments) = call else { return None };
        let [Literal::Text(name), Literal::Number(_, rtype) | Literal::Text(rtype)] = &arguments[..] else {
            return None;
        };
        let (name, rtype) = (Name::parse_absolute(name.as_bytes()).ok()?, Rtype(rtype.parse().ok()?));
        (!rtype.is_meta()).then_some(Question { name, rtype })
    };
    calls(code, &["resolve"]).into_iter().filter_map(question).collect()
}

/// A record that came so long ago.
fn aged(record: &Record, rtype: Rtype, age: Duration) -> ResourceRecord {
    let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let content = rdata::write(rtype, &record.rdata).into_bytes();
    ResourceRecord::new(record.owner.clone(), rtype, record.ttl.saturating_sub(age), content.into())
}

/// The records of one type that this server holds at a name, each as its text in a zone file.
///
/// The name is absolute, with or without its final dot. No wildcard, CNAME or script has a say; type LUA gives the
/// code of records of the script's own zone, and type ANY everything. A name that is not there, or is none: an empty
/// list.
///
/// ```lua
/// text 60 IN LUA TXT "#dblookup('www.example.com', 1) .. ' addresses'"
/// ```
fn dblookup(context: &Context, name: &LuaString, rtype: Rtype) -> Result<Vec<String>, CallError> {
    let Ok(name) = Name::parse_absolute(&name.as_bytes()) else { return Ok(Vec::new()) };
    may_ask(context, &name)?;
    let surroundings = context.surroundings();
    let folded = Folded::new(name.as_ref());
    let Some((zone, _)) = surroundings.zones.find(&folded, rtype) else { return Ok(Vec::new()) };
    let Some(node) = zone.node(folded.wire()) else { return Ok(Vec::new()) };
    let is_wanted = |held: Rtype| rtype == Rtype::ANY || rtype == held;
    let rrsets = node.rrsets().iter().filter(|rrset| is_wanted(rrset.rtype()));
    let mut texts: Vec<String> = rrsets
        .flat_map(|rrset| rrset.as_ref().rdata().map(|rdata| rdata::write(rrset.rtype(), rdata)).collect::<Vec<_>>())
        .collect();
    // Zones may be different people's, and code may hold what is nobody else's business.
    if is_wanted(Rtype::LUA) && *zone.apex() == context.zone() {
        texts.extend(node.scripts().iter().map(|index| zone.scripts()[*index as usize].presentation()));
    }
    Ok(texts)
}

/// Runs the code of every LUA record at a name of this zone as statements, in the globals of this run.
///
/// The name is relative to the zone, even with a final dot. Meant for records of type LUA; another's code is run as it
/// stands, without `return` in front and with its leading semicolon. What fails is logged and passed over: a name that
/// is none, has no such record, or whose code fails. A run that has used up its limits ends all the same, and so does
/// one that nests includes more than 16 deep.
///
/// ```lua
/// conf 60 IN LUA LUA "function nearest() return view({ {{'10.0.0.0/8'}, {'10.0.0.1'}}, {{'0.0.0.0/0', '::/0'}, {'192.0.2.1'}} }) end"
/// www 60 IN LUA A ";include('conf') return nearest()"
/// ```
fn include(context: &Context, lua: &Lua, name: &LuaString) -> Result<(), CallError> {
    let programs = match programs_at(context, name) {
        Ok(programs) => programs,
        Err(why) => {
            tell(context, None, &format!("`include('{}')` does nothing: {why}", name.to_string_lossy()));
            return Ok(());
        }
    };
    if context.included.depth() >= DEPTH_MAX {
        let asked = format!("includes nested more than {DEPTH_MAX} deep");
        return Err(CallError::Lua(context.end_run(Spent::Size(asked))));
    }
    for program in programs {
        let Err(error) = context.included.run(lua, &program) else { continue };
        context.end_run_by(&error);
        if context.is_spent() {
            return Err(CallError::Lua(error));
        }
        let (place, message) = describe(&error);
        let position = place.and_then(|place| context.included.position(place));
        let position = position.unwrap_or_else(|| program.position_in_statements(None));
        tell(context, Some(position), &format!("`include('{}')` failed: {message}", name.to_string_lossy()));
    }
    Ok(())
}

/// The LUA records at a name relative to the script's zone; or why there are none.
fn programs_at(context: &Context, name: &LuaString) -> Result<Vec<Arc<Program>>, String> {
    let apex = context.zone();
    let relative = Name::parse_absolute(&name.as_bytes()).map_err(|error| error.to_string())?;
    let labels = &relative.wire()[..relative.wire().len() - 1];
    let owner = apex.as_ref().prepend(labels).map_err(|error| error.to_string())?;
    let surroundings = context.surroundings();
    let zone = surroundings.zones.find(&Folded::new(apex.as_ref()), Rtype::SOA);
    let (zone, programs) = zone.filter(|(zone, _)| *zone.apex() == apex).ok_or("its zone is not served")?;
    let node = zone.node(Folded::new(owner.as_ref()).wire());
    let indexes = node.map(|node| node.scripts()).unwrap_or_default();
    if indexes.is_empty() {
        return Err(format!("there is no LUA record at `{owner}`"));
    }
    Ok(indexes.iter().filter_map(|index| programs.get(*index as usize)).cloned().collect())
}

/// Tells an operator of an include that was passed over: in a trial as a lint, else in the log, once a second for each
/// record.
fn tell(context: &Context, position: Option<Position>, what: &str) {
    if context.is_trial() {
        // What comes of a name that nobody has looked up yet says nothing.
        if !context.lookups.has_asked() {
            context.lint(position.map_or_else(|| what.to_owned(), |position| format!("{what} ({position})")));
        }
    } else if context.included.may_tell(context.program(), context.now().unix_secs) {
        let position = position.map(tracing::field::display);
        tracing::warn!(position, zone = %context.zone(), qname = %context.qname(), "{what}");
    }
}
