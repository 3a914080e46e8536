//! Lua; the only room that names mlua.
//!
//! A LUA record becomes a `Program` when its zone is loaded (`program.rs`); each worker's `Vm` runs it for a query.
//! Read `sandbox.rs` (what a script can reach and when it is stopped), `environment.rs` (its globals), `library.rs`
//! (what an operator adds to them), `modules.rs` (what a zone does), `policy.rs` (what its zone allows), `context.rs` (what it may know of the query),
//! `surroundings.rs` (what it may look up beside it), `api/` (the builtins), `value.rs` (what its result becomes) and
//! `failure.rs` (what comes of an error). The simple and common case takes no VM at all:
//! `literal.rs` reads it and `plan.rs` answers it. `schedule.rs` knows the calendar. A script can read the query and the health
//! table; it can write nothing but its result. There is no file, no socket and no clock here, but for the one clock
//! the `Vm` is handed to stop what takes too long.

mod api;
mod context;
mod environment;
mod failure;
mod library;
mod literal;
mod modules;
mod plan;
mod policy;
mod program;
mod sandbox;
mod schedule;
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

pub use context::Query;
pub use failure::{Failure, FailureKind};
pub use library::Library;
pub use modules::Modules;
pub use policy::Policy;
pub use program::Program;
pub use surroundings::{Programs, Surroundings};

use crate::config;
use crate::diagnostic::Diagnostic;
use crate::dns::{Client, NameRef, Now, Rcode, Rtype, Transport};
use crate::health::Check;
use crate::health::table::{Slot, Table};
use context::Context;
use environment::Environment;
use failure::{bounded, describe};
use sandbox::{CHUNK, Sandbox, is_memory_error};
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
    /// Whether plans stand in for the scripts that have one.
    plans: bool,
    /// The health slots of plans that have checks.
    planned: HashMap<u64, Planned>,
    /// Counts runs, to tell which scripts have not been used for the longest time.
    runs: u64,
}

struct Loaded {
    function: Function,
    program: Weak<Program>,
    used: u64,
}

/// The slots of a plan's checks, in their order.
struct Planned {
    slots: Vec<Arc<Slot>>,
    program: Weak<Program>,
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
        Ok(Self { sandbox, context, limits, library, loaded, environment, shared, plans, planned, runs: 0 })
    }

    /// Runs a program for a query.
    pub fn run<'p>(&mut self, program: &'p Arc<Program>, query: &Query<'_>) -> Result<Output<'p>, Failure> {
        self.context.begin(query);
        if let Some(made) = self.follow_plan(program) {
            let scope = self.scope(query);
            return match made {
                Ok(rdata) => {
                    Ok(Output { rdata: rdata.into_iter().map(Cow::Borrowed).collect(), ttl: None, denial: None, scope })
                }
                Err(why) => Err(fail(program, scope, FailureKind::Value, why.to_owned(), None)),
            };
        }
        self.context.begin(query);
        self.context.enter(program, query);
        self.runs += 1;
        let outcome = self.call(program, query);
        let spent = self.sandbox.budget.close();
        let scope = self.scope(query);
        let fail = |kind, message, line| fail(program, scope, kind, message, line);
        if let Some((spent, line)) = spent {
            // Whatever the run left behind is not to weigh on the next query.
            self.sandbox.lua.gc_collect().ok();
            let line = line.or_else(|| describe(outcome.as_ref().err()?).0);
            return Err(fail(FailureKind::Budget, spent.to_string(), line));
        }
        let returned = outcome.map_err(|error| {
            let (line, message) = describe(&error);
            fail(FailureKind::Error, message, line)
        })?;
        let Made { rdata, ttl, denial } = value::make(&self.sandbox.lua, &returned, program.script().covered)
            .map_err(|error| fail(FailureKind::Value, error.to_string(), None))?;
        Ok(Output { rdata: rdata.into_iter().map(Cow::Owned).collect(), ttl, denial, scope })
    }

    /// Answers by the program's plan, if it has one that can tell.
    fn follow_plan<'p>(&mut self, program: &'p Arc<Program>) -> Option<plan::Made<'p>> {
        let plan = program.plan.as_ref().filter(|plan| self.plans && plan.fits(program.policy.limits.exec_limit))?;
        let slots = match plan.checks() {
            [] => &[][..],
            checks => slots_of(&mut self.planned, &self.context, program, checks),
        };
        plan.run(&self.context, slots)
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

    /// Runs each program once, and tells which checks they ask for and what an operator should know of them.
    ///
    /// A failure here is a warning and no error: another client, or another time, may get an answer.
    pub fn discover(&mut self, programs: &[Arc<Program>], zone: NameRef<'_>, now: Now) -> Discovery {
        let nobody = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let client = Client { address: nobody, local: nobody, transport: Transport::Udp };
        let mut warnings = Vec::new();
        // A plan would say nothing of what is odd.
        let plans = std::mem::replace(&mut self.plans, false);
        self.context.discover();
        for program in programs.iter().filter(|program| program.script().covered != Rtype::LUA) {
            let qname = program.script().owner.as_ref();
            let wildcard = qname.is_wildcard().then(|| qname.label_count() - 1);
            let query = Query { qname, zone, wildcard, ..Query::plain(now, &client) };
            if let Err(failure) = self.run(program, &query) {
                let message = format!("the script failed in a trial run: {}", failure.message);
                warnings.push(
                    Diagnostic::warning(failure.position, message)
                        .help("queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0"),
                );
            }
            let position = program.script().position();
            warnings.extend(self.context.lints().into_iter().map(|lint| Diagnostic::warning(position.clone(), lint)));
        }
        self.plans = plans;
        // A trial takes one branch. What the others check can be read where it is constant, and the rest is found
        // when a query first asks for it.
        let mut checks = self.context.discovered();
        checks.extend(programs.iter().flat_map(|program| plan::constant_checks(&program.script().code)));
        let mut seen = HashSet::new();
        checks.retain(|check| seen.insert(check.clone()));
        Discovery { checks, warnings }
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
        if returned.as_ref().is_err_and(is_memory_error) {
            self.sandbox.budget.spend_memory();
        }
        if !self.limits.shared_state {
            self.environment.empty()?;
        }
        returned
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
            Loaded { function: function.clone(), program: Arc::downgrade(program), used: self.runs },
        );
        Ok(function)
    }

    /// Makes the environment of the query's zone the current one; only with shared state.
    fn enter_shared(&mut self, query: &Query<'_>) -> mlua::Result<()> {
        let apex = query.zone.to_lowercase_wire();
        if let Some(environment) = self.shared.get(&apex) {
            self.environment = environment.clone();
        } else {
            // The library runs anew, on a budget of its own.
            self.sandbox.budget.open(&self.limits);
            let (environment, _) = Environment::new(&self.sandbox, &self.library, &self.context)
                .map_err(|error| mlua::Error::runtime(error.message))?;
            self.shared.insert(apex, environment.clone());
            self.environment = environment;
        }
        self.context.set_required(Some(self.environment.required()));
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

/// A failure of a program at a line of its script.
fn fail(program: &Arc<Program>, scope: u8, kind: FailureKind, message: String, line: Option<usize>) -> Failure {
    let position = program.position_of_line(line);
    Failure { program: Arc::clone(program), kind, message: bounded(message), position, scope }
}

/// The slots of a plan's checks; asked of the table at first sight, and when it has let go of one.
fn slots_of<'s>(
    planned: &'s mut HashMap<u64, Planned>,
    context: &Context,
    program: &Arc<Program>,
    checks: &[Check],
) -> &'s [Arc<Slot>] {
    let ask = || checks.iter().map(|check| context.slot(check)).collect();
    let planned =
        planned.entry(program.id).or_insert_with(|| Planned { slots: ask(), program: Arc::downgrade(program) });
    if planned.slots.iter().any(|slot| slot.is_retired()) {
        planned.slots = ask();
    }
    &planned.slots
}

/// What trial runs of a zone's scripts showed.
#[derive(Default)]
pub struct Discovery {
    /// The checks they ask for, each once.
    pub checks: Vec<Check>,
    /// What an operator should know.
    pub warnings: Vec<Diagnostic>,
}
