//! A zone's text to a zone that could be served: parsed, judged, built, its scripts compiled and tried.

use std::sync::Arc;
use std::time::Duration;

use super::thread_clock;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::{Name, Now};
use crate::health::table::{Named, Table};
use crate::resolve::Question;
use crate::script::{Discovery, Library, Modules, Policy, Program, Programs, Setup, Surroundings, Vm};
use crate::source::{Loaded, Text, ZoneReader};
use crate::zone::parser::{self, Included, Input, Options};
use crate::zone::{Scripts, Zone, ZoneSet, check};

/// How many errors of scripts are told for one zone; the rest are counted.
const SCRIPT_ERRORS_MAX: usize = 100;

/// What the file of a module ends with.
const MODULE_SUFFIX: &str = ".lua";

/// A zone that could be served.
pub struct Candidate {
    /// The zone.
    pub zone: Arc<Zone>,
    /// Its scripts, compiled.
    pub programs: Programs,
    /// The checks they asked for in a trial run.
    pub checks: Vec<Named>,
    /// The names they asked for in a trial run.
    pub names: Vec<Question>,
}

/// Makes a candidate of a zone's text; tells every fault there is.
///
/// Trial runs use a VM and a health table of their own: nothing is probed for a zone that may be refused. `beside` is
/// what they may look up, but for the zones.
pub fn load(
    config: &Config,
    library: &Arc<Library>,
    beside: &Surroundings,
    apex: &Name,
    text: &Text,
    reader: &mut ZoneReader,
) -> Loaded<Candidate> {
    let mut diagnostics = Vec::new();
    let candidate = make(config, library, beside, apex, text, reader, &mut diagnostics);
    for diagnostic in &mut diagnostics {
        // What concerns the zone as a whole is told of its first line.
        diagnostic.position.get_or_insert_with(|| Position::new(text.file.clone(), 1, 1));
    }
    match candidate {
        Some(candidate) => Ok((candidate, diagnostics)),
        None => Err(diagnostics),
    }
}

/// Makes a candidate, or none if there are errors among the diagnostics.
fn make(
    config: &Config,
    library: &Arc<Library>,
    beside: &Surroundings,
    apex: &Name,
    text: &Text,
    reader: &mut ZoneReader,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Candidate> {
    let input = Input { file: text.file.clone(), text: &text.octets };
    let mut include = |path: &str, from: &Position| {
        let text = reader.include(&from.file, path).map_err(|error| error.to_string())?;
        Ok(Included { file: text.file, text: text.octets })
    };
    let parsed = parser::parse(&input, &Options::new(apex.clone()), &mut include);
    diagnostics.extend(parsed.diagnostics);
    // Records that could not be read would only lead to faults that are none.
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(check::check(apex, &parsed.records));
    }
    if diagnostics.iter().any(Diagnostic::is_error) {
        return None;
    }
    let zone = Zone::build(apex, parsed.records, scripts_of(config, apex));
    if zone.is_none() {
        let message = format!("zone `{apex}` has no SOA record");
        diagnostics.push(Diagnostic::error(None, message).help("give the apex one (RFC 1035 section 5.2)"));
    }
    let zone = Arc::new(zone?);
    let modules = modules_of(config, apex, reader).map_err(|errors| diagnostics.extend(errors)).ok()?;
    let policy = Arc::new(Policy::clone(&policy_of(config, apex)).with_modules(modules));
    let programs = compile(&zone, &policy).map_err(|errors| diagnostics.extend(errors)).ok()?;
    let tried = try_out(config, library, beside, &zone, &programs).map_err(|error| diagnostics.push(error)).ok()?;
    diagnostics.extend(tried.warnings);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return None;
    }
    Some(Candidate { zone, programs, checks: tried.checks, names: tried.names })
}

/// What becomes of a zone's LUA records.
pub fn scripts_of(config: &Config, apex: &Name) -> Scripts {
    let of_zone = config.zone_of(apex).and_then(|zone| zone.lua);
    match (of_zone.unwrap_or(config.lua.enabled), config.lua.insert_whitespace) {
        (false, _) => Scripts::LeftOut,
        (true, false) => Scripts::Joined,
        (true, true) => Scripts::JoinedWithBlanks,
    }
}

/// What a zone's scripts may do.
pub fn policy_of(config: &Config, apex: &Name) -> Arc<Policy> {
    Arc::new(Policy::new(&config.lua, config.zone_of(apex)).with_interval(config.health.interval))
}

/// Reads and compiles the modules of a zone; they are watched with its file.
fn modules_of(config: &Config, apex: &Name, reader: &mut ZoneReader) -> Result<Modules, Vec<Diagnostic>> {
    let Some(zone) = config.zone_of(apex).filter(|zone| !zone.lua_dir.as_os_str().is_empty()) else {
        return Ok(Modules::default());
    };
    let files = reader.folder(&zone.lua_dir, MODULE_SUFFIX).map_err(|errors| {
        let told = errors.iter().map(|error| {
            let message = format!("the modules of zone `{apex}` cannot be read: {error}");
            Diagnostic::error(zone.position.clone(), message).help(error.help())
        });
        told.collect::<Vec<_>>()
    })?;
    let files: Vec<_> = files.into_iter().map(|(path, text)| (path, text.file, text.octets)).collect();
    Modules::compile(&files)
}

/// Compiles every script of a zone.
fn compile(zone: &Zone, policy: &Arc<Policy>) -> Result<Programs, Vec<Diagnostic>> {
    let (mut programs, mut errors) = (Vec::with_capacity(zone.scripts().len()), Vec::new());
    for script in zone.scripts() {
        match Program::compile(script, policy) {
            Ok(program) => programs.push(Arc::new(program)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(programs.into());
    }
    let untold = errors.len().saturating_sub(SCRIPT_ERRORS_MAX);
    errors.truncate(SCRIPT_ERRORS_MAX);
    if untold > 0 {
        errors.push(Diagnostic::error(None, format!("{untold} more scripts of zone `{}` do not compile", zone.apex())));
    }
    Err(errors)
}

/// Runs every script once: finds the checks they ask for, and what an operator should know before a client does.
fn try_out(
    config: &Config,
    library: &Arc<Library>,
    beside: &Surroundings,
    zone: &Arc<Zone>,
    programs: &Programs,
) -> Result<Discovery, Diagnostic> {
    if programs.is_empty() {
        return Ok(Discovery::default());
    }
    let table = Arc::new(Table::new(config.health.checks_max));
    let (limits, library) = (config.lua.clone(), library.clone());
    let mut vm = Vm::new(Setup { limits, library, table, seed: 0, clock: thread_clock() })?;
    // Of the zones there is only this one: another's may be refused yet, or not be read.
    let zones = ZoneSet::new([(zone.clone(), programs.clone())]);
    // Names are noted and looked up later: the zone may be refused, and nobody waits here.
    vm.turn_to(&Arc::new(Surroundings { names: Arc::default(), ..beside.with_zones(zones) }));
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Now { unix_secs: unix.as_secs(), monotonic: Duration::ZERO };
    Ok(vm.discover(programs, zone.apex().as_ref(), now))
}
