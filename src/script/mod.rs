//! Lua; the only room that names mlua.
//!
//! A LUA record becomes a `Program` when its zone is loaded (`program.rs`); each worker's `Vm` runs it for a query.
//! Read `sandbox.rs` (what a script can reach and when it is stopped), `environment.rs` (its globals), `library.rs`
//! (what an operator adds to them), `modules.rs` (what a zone does), `policy.rs` (what its zone allows), `rest.rs` and
//! `shedding.rs` (when it is not run at all), `context.rs` (what it may know of the query), `surroundings.rs` (what it may
//! look up beside it), `lookups.rs` and `included.rs` (what it has of that), `nested.rs` and `hanging.rs` (records that it
//! hangs on), `api/` (the builtins), `value.rs` (what its result becomes), `failure.rs` (what comes of an error) and
//! `note.rs` (what it tells the log). The simple and common case takes no VM at all: `literal.rs` reads it and `plan.rs`
//! answers it. `schedule.rs` knows the calendar. A script can read the query and the health table; it can write nothing
//! but its result. There is no file, no socket and no clock here, but for the one clock the `Vm` is handed to stop what
//! takes too long.

mod api;
mod context;
mod environment;
mod failure;
mod hanging;
mod included;
mod library;
mod literal;
mod lookups;
mod modules;
mod nested;
mod note;
mod plan;
mod policy;
mod program;
mod rest;
mod sandbox;
mod schedule;
mod shedding;
mod surroundings;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mlua::{Function, Value};
use smallvec::SmallVec;

pub use api::{Builtin, builtins};
pub use context::Query;
pub use failure::{Failure, FailureKind};
pub use library::Library;
pub use lookups::Patience;
pub use modules::Modules;
pub use note::{Level, Note};
pub use policy::Policy;
pub use program::Program;
pub use shedding::Load;
pub use surroundings::{Programs, Surroundings};

use crate::config;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::{Client, NameRef, Now, Rcode, Rtype, Transport};
use crate::health::Check;
use crate::health::check::Pattern;
use crate::health::table::{Named, Seat, Table};
use crate::resolve::Question;
use crate::resolve::table::Awaited;
use api::lookup::constant_questions;
use context::Context;
use environment::Environment;
use failure::{Place, bounded, describe};
use hanging::Hanging;
use plan::ConstantCall;
use rest::Resting;
use sandbox::{CHUNK, Sandbox};
use shedding::{Cost, Decision, Shedding};
use value::Made;

/// What a VM is made of.
pub struct Setup {
    /// What the server grants; each program brings what its zone does.
    pub limits: config::Lua,
    /// What they find beside the builtins.
    pub library: Arc<Library>,
    /// The health table they read.
    pub table: Arc<Table>,
    /// Where the random source starts.
    pub seed: u64,
    /// The time the worker's thread has had; read only to stop a run that takes too long.
    ///
    /// Not the time of day's passing: on a machine that is busy with other things, a good script is not to fail.
    pub clock: Box<dyn Fn() -> Duration>,
}

/// What a run made.
#[derive(Debug)]
pub struct Output<'p> {
    /// RDATA of the script's type in wire form; none means no records.
    pub rdata: SmallVec<[Cow<'p, [u8]>; 4]>,
    /// The TTL it asks for instead of its record's; of a denial, that of the SOA.
    pub ttl: Option<u32>,
    /// What is to be answered instead of records: NOERROR for NODATA, whatever else there is of the type.
    pub denial: Option<Rcode>,
    /// How many bits of the client subnet were looked at.
    pub scope: u8,
    /// When what was read of targets could change at the earliest, if they wobble: a time of the clock of the query.
    pub until: Option<Duration>,
}

/// A worker's Lua: one sandboxed state that runs every script, each in an environment of its own.
pub struct Vm {
    sandbox: Sandbox,
    context: Rc<Context>,
    limits: config::Lua,
    library: Arc<Library>,
    loaded: HashMap<u64, Loaded>,
    /// The environment of the run, emptied after each; with shared state, that of the zone.
    environment: Environment,
    shared: HashMap<Box<[u8]>, Environment>,
    /// How much memory there may be in use with what lives on.
    shared_max: usize,
    /// Whether plans stand in for the scripts that have one.
    plans: bool,
    /// The health slots of plans that have checks.
    planned: HashMap<u64, Planned>,
    /// The programs that are not run for a while.
    resting: Resting,
    /// What runs cost, and which are not made for it; only where somebody wants to know.
    accounts: Option<Accounts>,
    /// Counts runs, to tell which scripts have not been used for the longest time.
    runs: u64,
}

/// What is known of what runs cost.
struct Accounts {
    shedding: Shedding,
    /// Read before and after each run. The clock that ends runs is too late to tell what short ones took.
    stopwatch: Box<dyn Fn() -> Duration>,
    /// The record that is known to cost most, and what.
    dearest: Option<Dearest>,
    expenses: Expenses,
}

/// A record that costs more than others.
struct Dearest {
    cost: Cost,
    program: Weak<Program>,
    /// When it was asked for.
    asked: Duration,
}

/// What scripts have cost since somebody last asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Expenses {
    /// How many times a script was run.
    pub runs: u64,
    /// How long that took.
    pub time: Duration,
}

struct Loaded {
    function: Function,
    program: Weak<Program>,
    used: u64,
    /// What a run of it costs, once one was measured.
    cost: Option<Cost>,
    /// Whether a run of it ever gave an answer.
    answered: bool,
}

/// The seats of a plan's checks, in their order.
struct Planned {
    seats: Vec<Seat>,
    program: Weak<Program>,
    /// What operators said when the seats were made.
    generation: u64,
}

impl Vm {
    /// Makes a VM; errors when there is no memory for an empty one, or when the library does not run.
    pub fn new(setup: Setup) -> Result<Self, Diagnostic> {
        let Setup { limits, library, table, seed, clock } = setup;
        let context = Rc::new(Context::new(table, seed));
        let sandbox = Sandbox::new(&context, clock)
            .and_then(|sandbox| {
                api::install(&sandbox.lua, &sandbox.base, &context)?;
                sandbox.seal();
                context.hold_to(&sandbox.budget);
                Ok(sandbox)
            })
            .map_err(|error| {
                Diagnostic::error(None, format!("cannot make a Lua VM: {error}"))
                    .help("let the process have more memory, or take fewer workers with `server.workers`")
            })?;
        let (loaded, shared) = (HashMap::new(), HashMap::new());
        sandbox.budget.open(&limits);
        let (environment, names) = Environment::new(&sandbox, &library, &context)?;
        // Globals that live on may hide a builtin as well as a library may.
        let plans = !limits.shared_state && !names.iter().any(|name| plan::BUILTINS.contains(&&**name));
        context.set_required(Some(environment.required()));
        let planned = HashMap::new();
        context.included.turn_to(environment.table());
        context.nested_runs.turn_to(environment.table());
        let resting = Resting::new(limits.overrun_share);
        let shared_max =
            sandbox.lua.used_memory().saturating_add(limits.memory_limit.saturating_mul(SHARED_MEMORY_LIMITS));
        Ok(Self {
            sandbox,
            context,
            limits,
            library,
            loaded,
            environment,
            shared,
            plans,
            planned,
            resting,
            shared_max,
            accounts: None,
            runs: 0,
        })
    }

    /// Runs a program for a query.
    pub fn run<'p>(&mut self, program: &'p Arc<Program>, query: &Query<'_>) -> Result<Output<'p>, Failure> {
        self.context.begin(query);
        if let Some(made) = self.follow_plan(program, query) {
            let (scope, until) = (self.scope(query), self.context.until());
            return match made {
                Ok(rdata) => {
                    let rdata = rdata.into_iter().map(Cow::Borrowed).collect();
                    Ok(Output { rdata, ttl: None, denial: None, scope, until })
                }
                Err(why) => {
                    let position = program.position_of_line(None);
                    Err(fail(program, scope, FailureKind::Value, why.to_owned(), position))
                }
            };
        }
        self.context.begin(query);
        if self.rests(program, query.now) {
            let message = "it rests after it used up its budget".to_owned();
            return Err(fail(program, 0, FailureKind::Resting, message, program.position_of_line(None)));
        }
        let Some(accounts) = &mut self.accounts else { return self.run_script(program, query) };
        let now = query.now.monotonic;
        let known = self.loaded.get(&program.id).and_then(|loaded| loaded.cost);
        let expected = Cost::expected(known);
        if !accounts.let_run(program, expected, query) {
            return Err(fail(program, 0, FailureKind::Shed, String::new(), program.position_of_line(None)));
        }
        let begun = (accounts.stopwatch)();
        let outcome = self.run_script(program, query);
        if let Some(accounts) = &mut self.accounts {
            let took = (accounts.stopwatch)().saturating_sub(begun);
            accounts.expenses.runs += 1;
            accounts.expenses.time += took;
            accounts.shedding.account(now, expected, took);
            if let Some(loaded) = self.loaded.get_mut(&program.id) {
                loaded.cost = Some(Cost::after(known, took));
            }
        }
        outcome
    }

    /// Runs a program in the VM.
    fn run_script<'p>(&mut self, program: &'p Arc<Program>, query: &Query<'_>) -> Result<Output<'p>, Failure> {
        self.context.enter(program, query);
        self.runs += 1;
        let used_before = self.sandbox.lua.used_memory();
        let outcome = self.call(program, query);
        self.context.name_fresh(program, query.zone);
        let spent = self.sandbox.budget.close();
        let scope = self.scope(query);
        let context = self.context.clone();
        let fail = |kind, message, place: Option<Place>| {
            let included = place.and_then(|place| context.position(place));
            let position = included.unwrap_or_else(|| program.position_of_line(place.map(|place| place.line)));
            fail(program, scope, kind, message, position)
        };
        if self.context.lookups.is_awaiting() {
            return Err(fail(FailureKind::Await, "it waits for a look-up".to_owned(), None));
        }
        if let Some((spent, place)) = spent {
            let place = place.or_else(|| describe(outcome.as_ref().err()?).0);
            drop(outcome);
            let rest = self.lay_to_rest(program, query.now, used_before);
            return Err(fail(FailureKind::Budget, spent.told(&program.policy) + &rest, place));
        }
        let returned = outcome.map_err(|error| {
            let (place, message) = describe(&error);
            let is_denial = self.context.is_denial(&message);
            fail(if is_denial { FailureKind::Denied } else { FailureKind::Error }, message, place)
        })?;
        let covered = program.script().covered;
        let made = value::make(&self.sandbox.lua, &returned, covered, &program.policy).map_err(|error| {
            let kind = if error.is_budget() { FailureKind::Budget } else { FailureKind::Value };
            fail(kind, error.to_string(), None)
        });
        let Made { rdata, ttl, denial } = made?;
        if let Some(loaded) = self.loaded.get_mut(&program.id) {
            loaded.answered = true;
        }
        if !self.resting.is_empty() {
            self.resting.forgive(program.identity);
        }
        Ok(Output {
            rdata: rdata.into_iter().map(Cow::Owned).collect(),
            ttl,
            denial,
            scope,
            until: self.context.until(),
        })
    }

    /// Whether a program is not to run now.
    fn rests(&self, program: &Arc<Program>, now: Now) -> bool {
        if self.resting.is_empty() {
            return false;
        }
        let answered = self.loaded.get(&program.id).is_some_and(|loaded| loaded.answered);
        self.resting.holds(program.identity, zone_key(program), answered, now.monotonic)
    }

    /// Lays a program to rest after a run that spent its budget; says so, if the rest is worth a word.
    fn lay_to_rest(&mut self, program: &Arc<Program>, now: Now, used_before: usize) -> String {
        if self.sandbox.lua.used_memory().saturating_sub(used_before) > GARBAGE_MAX {
            // Whatever the run left behind is not to weigh on the next query.
            self.sandbox.lua.gc_collect().ok();
        }
        let rest = self.resting.lay(program.identity, zone_key(program), self.sandbox.budget.cost(), now.monotonic);
        match rest.as_millis() {
            0 => String::new(),
            millis => format!("; it rests for {} s", millis as f64 / 1000.0),
        }
    }

    /// What the last run waits for, if it ended in [`FailureKind::Await`].
    pub fn awaited(&mut self) -> Option<Awaited> {
        self.context.lookups.take_awaited()
    }

    /// Answers by the program's plan, if it has one that can tell.
    fn follow_plan<'p>(&mut self, program: &'p Arc<Program>, query: &Query<'_>) -> Option<plan::Made<'p>> {
        let plan = program.plan.as_ref().filter(|plan| self.plans && plan.fits(&program.policy.limits))?;
        if plan.asks_for_name() {
            self.context.enter(program, query);
        }
        let slots = match plan.checks() {
            [] => &[][..],
            checks => seats_of(&mut self.planned, &self.context, program, checks, query),
        };
        plan.run(&self.context, slots)
    }

    /// Has runs measured from now on by `stopwatch`, and not made when the worker is asked for too much.
    pub fn account_for_runs(&mut self, overload: config::Overload, stopwatch: Box<dyn Fn() -> Duration>) {
        let (shedding, dearest, expenses) = (Shedding::new(overload), None, Expenses::default());
        self.accounts = Some(Accounts { shedding, stopwatch, dearest, expenses });
    }

    /// What scripts have cost since this was last called; logs that an overload is over, if so.
    ///
    /// Costs next to nothing where no script was run.
    #[inline]
    pub fn take_expenses(&mut self, now: Now) -> Option<Expenses> {
        let accounts = self.accounts.as_mut()?;
        (accounts.expenses.runs > 0 || accounts.shedding.is_shedding()).then(|| accounts.take_expenses(now))
    }

    /// What the last run wrote to the log.
    pub fn notes(&mut self) -> Vec<Note> {
        self.context.notes()
    }

    /// Collects garbage, and tells how many octets of memory are in use after it.
    pub fn collect(&mut self) -> usize {
        // Twice, as what the first makes free may hold the last of something else.
        self.sandbox.lua.gc_collect().ok();
        self.sandbox.lua.gc_collect().ok();
        self.sandbox.lua.used_memory()
    }

    /// Takes up other surroundings, and lets go of programs that no zone has any more.
    pub fn turn_to(&mut self, surroundings: &Arc<Surroundings>) {
        self.context.turn_to(surroundings);
        self.loaded.retain(|_, loaded| loaded.program.strong_count() > 0);
        self.planned.retain(|_, planned| planned.program.strong_count() > 0);
        for environment in self.shared.values().chain([&self.environment]) {
            environment.required().forget_gone(self.limits.scripts_held_max);
        }
    }

    /// Runs each program once, and tells which checks and names they ask for and what an operator should know of them.
    ///
    /// A failure here is a warning and no error: another client, or another time, may get an answer.
    pub fn discover(&mut self, programs: &[Arc<Program>], zone: NameRef<'_>, now: Now) -> Discovery {
        let nobody = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let client = Client { address: nobody, local: nobody, transport: Transport::Udp };
        let mut warnings = Vec::new();
        // A plan would say nothing of what is odd.
        let plans = std::mem::replace(&mut self.plans, false);
        // Nor is a record to rest because another one like it spent its budget.
        self.resting = Resting::new(1.0);
        self.context.discover();
        let mut errors = Vec::new();
        let mut trials = Duration::ZERO;
        let (mut asked, mut constant) = (Vec::new(), Vec::new());
        let hanging = Hanging::read(programs, &self.context.surroundings().zones, &zone.to_owned());
        for program in programs {
            let calls = plan::constant_calls(&program.script().code, &program.policy);
            let faults = call_faults(program, &calls);
            let (denials, is_faulty) = (denials(program, &calls), !faults.is_empty() || hanging.is_faulty(program));
            errors.extend(faults);
            // A trial takes one branch. What the others check can be read where it is constant, and the rest is found
            // when a query first asks for it.
            let checks = calls.into_iter().flat_map(|call| call.checks.unwrap_or_default());
            constant.extend(checks.map(|check| (check, Arc::clone(program))));
            if program.script().covered == Rtype::LUA {
                continue;
            }
            let qname = program.script().owner.as_ref();
            let wildcard = qname.is_wildcard().then(|| qname.label_count() - 1);
            let query = Query { qname, zone, wildcard, ..Query::plain(now, &client) };
            let position = program.script().position();
            if trials > TRIALS_TIME_MAX {
                warnings.push(
                    Diagnostic::warning(position, "the script was not tried: others of its zone took too long")
                        .help("correct those that use up their budget in a trial run"),
                );
                errors.extend(denials);
                continue;
            }
            match self.run(program, &query) {
                Err(failure) if failure.kind == FailureKind::Denied => {
                    errors.push(Diagnostic::error(failure.position, failure.message).help(DENIED_HELP));
                }
                outcome => {
                    // What comes of a name that nobody has looked up yet says nothing, and what is wrong with a
                    // constant call, or with how records hang on each other, is told once.
                    let is_told = is_faulty || self.context.lookups.has_asked() || self.context.nested_runs.has_cycle();
                    warnings.extend(outcome.err().filter(|_| !is_told).map(|failure| {
                        trials += self.sandbox.budget.cost();
                        let message = format!("the script failed in a trial run: {}", failure.message);
                        Diagnostic::warning(failure.position, message)
                            .help("queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0")
                    }));
                    errors.extend(denials);
                }
            }
            asked.extend(self.context.discovered().into_iter().map(|check| (check, Arc::clone(program))));
            asked.extend(self.context.discovered_within());
            warnings.extend(self.context.lints().into_iter().map(|lint| Diagnostic::warning(position.clone(), lint)));
        }
        self.plans = plans;
        self.resting = Resting::new(self.limits.overrun_share);
        let mut names = self.context.lookups.discovered();
        names.extend(programs.iter().flat_map(|program| constant_questions(&program.script().code)));
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        errors.extend(hanging.faults(&self.context.hanging(), zone));
        self.context.end_discovery();
        asked.extend(constant);
        errors.extend(pattern_faults(&asked));
        let checks = named(asked, zone);
        warnings.extend(errors);
        Discovery { checks, names, warnings }
    }

    /// Opens the budget and calls the program's function.
    fn call(&mut self, program: &Arc<Program>, query: &Query<'_>) -> mlua::Result<Value> {
        let limit = self.sandbox.lua.used_memory().saturating_add(program.policy.limits.memory_limit);
        let function = self.function(program, query)?;
        if !self.sandbox.budget.open(&program.policy.limits) {
            return Err(mlua::Error::runtime("the budget is spent"));
        }
        self.sandbox.lua.set_memory_limit(limit)?;
        let returned = function.call::<Value>(());
        self.sandbox.lua.set_memory_limit(0)?;
        if let Err(error) = &returned {
            self.sandbox.budget.spend_by(error);
        }
        if self.limits.shared_state {
            self.bound_shared(query);
        } else {
            self.environment.empty()?;
        }
        returned
    }

    /// Drops the globals of the query's zone when what lives on has grown past its bound.
    ///
    /// Nobody can tell whose memory is whose. But a zone that grows is the likeliest to be the one that crosses the
    /// bound; if it was another, the bound is crossed again until the right one is asked for.
    fn bound_shared(&mut self, query: &Query<'_>) {
        let lua = &self.sandbox.lua;
        if lua.used_memory() <= self.shared_max {
            return;
        }
        lua.gc_collect().ok();
        if lua.used_memory() > self.shared_max {
            self.shared.remove(&query.zone.to_lowercase_wire());
        }
    }

    /// The program as a function, loaded at its first use.
    ///
    /// At most `lua.scripts-held-max` are held; of those the half that was not used for the longest time makes room.
    fn function(&mut self, program: &Arc<Program>, query: &Query<'_>) -> mlua::Result<Function> {
        if self.limits.shared_state {
            self.enter_shared(query)?;
        }
        if let Some(loaded) = self.loaded.get_mut(&program.id) {
            loaded.used = self.runs;
            if self.limits.shared_state {
                loaded.function.set_environment(self.environment.table().clone())?;
            }
            return Ok(loaded.function.clone());
        }
        if self.loaded.len() >= self.limits.scripts_held_max {
            let mut ages: Vec<u64> = self.loaded.values().map(|loaded| loaded.used).collect();
            let middle = ages.len() / 2;
            let (_, &mut oldest, _) = ages.select_nth_unstable(middle);
            self.loaded.retain(|_, loaded| loaded.used > oldest);
        }
        let function = self.sandbox.load(&program.bytecode, CHUNK, self.environment.table())?;
        self.loaded.insert(
            program.id,
            Loaded {
                function: function.clone(),
                program: Arc::downgrade(program),
                used: self.runs,
                cost: None,
                answered: false,
            },
        );
        Ok(function)
    }

    /// Makes the environment of the query's zone the current one; only with shared state.
    fn enter_shared(&mut self, query: &Query<'_>) -> mlua::Result<()> {
        let apex = query.zone.to_lowercase_wire();
        if let Some(environment) = self.shared.get(&apex) {
            self.environment = environment.clone();
        } else {
            // The library runs anew, on a budget of its own and as the operator's, whatever the zone may do.
            self.sandbox.budget.open(&self.limits);
            let of_zone = self.context.replace_policy(Arc::default());
            let made = Environment::new(&self.sandbox, &self.library, &self.context);
            self.context.replace_policy(of_zone);
            let (environment, _) = made.map_err(|error| mlua::Error::runtime(error.message))?;
            self.shared.insert(apex, environment.clone());
            self.environment = environment;
        }
        self.context.set_required(Some(self.environment.required()));
        self.context.included.turn_to(self.environment.table());
        self.context.nested_runs.turn_to(self.environment.table());
        self.environment.renew()
    }

    /// The scope that the run earned (RFC 7871 section 7.2.1).
    fn scope(&self, query: &Query<'_>) -> u8 {
        match self.limits.scope {
            config::Scope::Derived => self.context.consulted(),
            config::Scope::Source => query.subnet.map_or(0, |subnet| subnet.source_length),
        }
    }
}

impl Accounts {
    /// Whether a program that is expected to cost so much is to be run; tells when it is the first not to be.
    fn let_run(&mut self, program: &Arc<Program>, expected: Cost, query: &Query<'_>) -> bool {
        let now = query.now.monotonic;
        let is_dearest = |other: &Dearest| other.cost <= expected || other.asked.saturating_add(DEAREST_KNOWN) <= now;
        if self.dearest.as_ref().is_none_or(is_dearest) {
            self.dearest = Some(Dearest { cost: expected, program: Arc::downgrade(program), asked: now });
        }
        let decision = self.shedding.decide(now, query.load, expected);
        if decision == Decision::ShedFirst {
            let dearest = self.dearest.as_ref().and_then(|known| Some((known.cost, known.program.upgrade()?)));
            let (Cost(cost), dearest) = dearest.unwrap_or_else(|| (expected, Arc::clone(program)));
            let script = dearest.script();
            let (position, covered) = (script.position(), script.covered);
            tracing::warn!(
                %position, owner = %script.owner, %covered, ?cost,
                "overload: records whose scripts cost much are not answered; this one costs most"
            );
        }
        decision == Decision::Run
    }

    /// Takes what was spent, and tells when an overload is over.
    fn take_expenses(&mut self, now: Now) -> Expenses {
        if let Some(shed) = self.shedding.end(now.monotonic) {
            tracing::info!(shed, "overload over: every record is answered");
        }
        std::mem::take(&mut self.expenses)
    }
}

/// How many times `lua.memory-limit` the globals of all zones together may come to where they live on.
const SHARED_MEMORY_LIMITS: usize = 8;
/// How much more memory a run that spent its budget may leave for the collector to find in its own time.
const GARBAGE_MAX: usize = 256 << 10;
/// How much time trial runs of a zone may take that fail; those after it are not made.
const TRIALS_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the record that costs most is held to do so when it is not asked for.
const DEAREST_KNOWN: Duration = Duration::from_secs(1);
/// What to do when a script asks for what its zone may not do.
const DENIED_HELP: &str = "let the zone do so in its `[[zone]]`, or have the record answer in another way";

/// Tells zones apart by what their scripts share.
fn zone_key(program: &Program) -> usize {
    Arc::as_ptr(&program.policy).addr()
}

/// What is wrong with the constant calls of a script, and would be for every client.
fn call_faults(program: &Program, calls: &[ConstantCall]) -> Vec<Diagnostic> {
    let fault = |call: &ConstantCall| {
        let why = call.checks.as_ref().err()?;
        let help = "correct the call; its part of `docs/lua.md` tells what it takes";
        Some(Diagnostic::error(program.script().position_at(call.at), why.clone()).help(help))
    };
    calls.iter().filter_map(fault).collect()
}

/// The regular expressions of checks that are none.
fn pattern_faults(asked: &[(Check, Arc<Program>)]) -> Vec<Diagnostic> {
    let mut compiled: HashMap<&Pattern, Option<String>> = HashMap::new();
    let mut told = HashSet::new();
    let mut faults = Vec::new();
    for (check, program) in asked {
        for pattern in check.kind.patterns() {
            let why = compiled.entry(pattern).or_insert_with(|| pattern.compile().err());
            let Some(why) = why.as_ref().filter(|_| told.insert((pattern, program.id))) else { continue };
            let position = program.script().position_at(literal::place_of(&program.script().code, 0, &pattern.0));
            let message = format!("the regular expression `{}` does not compile: {why}", pattern.0);
            faults.push(Diagnostic::error(position, message).help("its targets would always be down; correct it"));
        }
    }
    faults
}

/// What the code of a script shows it to ask for that its zone may not do, whichever branch it stands in.
fn denials(program: &Program, calls: &[ConstantCall]) -> Vec<Diagnostic> {
    let (script, policy) = (program.script(), &program.policy);
    let called = literal::called(&script.code).into_iter().filter_map(|(at, name)| {
        let why = policy.refuses_call(name)?;
        Some(Diagnostic::warning(script.position_at(at), format!("`{name}` {why}")).help(DENIED_HELP))
    });
    let checks = calls.iter().flat_map(|call| call.checks.iter().flatten().map(|check| (call.at, check)));
    let probed = checks.filter_map(|(at, check)| {
        let why = policy.refuses_probe(check)?;
        let target = check.target().map(|target| target.to_string()).unwrap_or_default();
        let position = script.position_at(literal::place_of(&script.code, at, &target));
        Some(Diagnostic::error(position, format!("the script {why}")).help(DENIED_HELP))
    });
    let asked = constant_questions(&script.code).into_iter().filter_map(|question| {
        let why = policy.refuses_lookup(question.name.as_ref())?;
        Some(Diagnostic::error(script.position(), format!("the script {why}")).help(DENIED_HELP))
    });
    called.chain(probed).chain(asked).collect()
}

/// A failure of a program at a place in its zone file.
fn fail(program: &Arc<Program>, scope: u8, kind: FailureKind, message: String, position: Position) -> Failure {
    Failure { program: Arc::clone(program), kind, message: bounded(message), position, scope }
}

/// The seats of a plan's checks; made at first sight, when the table has let go of a slot, and when operators say
/// something else.
fn seats_of<'s>(
    planned: &'s mut HashMap<u64, Planned>,
    context: &Context,
    program: &Arc<Program>,
    checks: &[Check],
    query: &Query<'_>,
) -> &'s [Seat] {
    context.hear(program, query.zone);
    let generation = context.generation();
    // A plan asks for nothing that its zone may not have.
    let ask = || {
        let seats: Vec<Seat> = checks.iter().map(|check| context.granted_slot(check)).collect();
        context.name_fresh(program, query.zone);
        Planned { seats, program: Arc::downgrade(program), generation }
    };
    let planned = planned.entry(program.id).or_insert_with(ask);
    if planned.generation != generation || planned.seats.iter().any(|seat| seat.slot().is_retired()) {
        *planned = ask();
    }
    &planned.seats
}

/// Each check once, with the records that ask for it.
fn named(checks: Vec<(Check, Arc<Program>)>, zone: NameRef<'_>) -> Vec<Named> {
    let (mut places, mut named) = (HashMap::new(), Vec::<Named>::new());
    for (check, program) in checks {
        let at = *places.entry(check.clone()).or_insert_with(|| {
            named.push(check.into());
            named.len() - 1
        });
        let (records, record) = (&mut named[at].records, program.record(zone));
        // Those of one program come in a row.
        if records.last().is_none_or(|last| !Arc::ptr_eq(last, record)) {
            records.push(Arc::clone(record));
        }
    }
    named
}

/// What trial runs of a zone's scripts showed.
#[derive(Default)]
pub struct Discovery {
    /// The checks they ask for, each once.
    pub checks: Vec<Named>,
    /// The names they look up, each once.
    pub names: Vec<Question>,
    /// What an operator should know; errors among it, when scripts ask for what their zone may not do.
    pub warnings: Vec<Diagnostic>,
}
