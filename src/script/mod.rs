//! Lua; the only room that names mlua.
//!
//! A LUA record becomes a `Program` when its zone is loaded; each worker's `Vm` runs it for a query. Read
//! `sandbox.rs` (what a script can reach and when it is stopped), `context.rs` (what it may know), `api/` (the
//! builtins) and `value.rs` (what its result becomes). A script can read the query and the health table; it can
//! write nothing but its result. There is no file, no socket and no clock here, but for the one clock the `Vm`
//! is handed to stop what takes too long.

mod api;
mod context;
mod sandbox;
mod value;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlua::{ChunkMode, Compiler, Function, LuaString, Table, Value};

pub use context::Query;

use crate::config;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::Rtype;
use crate::health::Check;
use crate::zone::Script;
use context::Context;
use sandbox::{CHUNK, Sandbox, Spent, is_memory_error};

/// The longest code of a script, in octets: what a message of 65,535 octets could carry and a little more.
const CODE_OCTETS_MAX: usize = 128 << 10;

/// A LUA record's script, compiled: shared by all workers, never changed.
pub struct Program {
    /// Tells programs apart in a worker's store.
    id: u64,
    script: Script,
    bytecode: Vec<u8>,
    /// What was put in front of the code, less what was taken off: the way back from an octet of the source.
    prefix: Prefix,
    /// When a failure of it was last logged, in seconds since 1970.
    logged: AtomicU64,
}

/// How the source of a chunk begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    /// With `return `, before an expression.
    Return,
    /// With what follows the leading semicolon of statements.
    Semicolon,
}

impl Program {
    /// Compiles a script; the error points at the line of the zone file.
    pub fn compile(script: &Script) -> Result<Self, Diagnostic> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if script.code.len() > CODE_OCTETS_MAX {
            let message = format!("the script has {} octets, more than {CODE_OCTETS_MAX}", script.code.len());
            return Err(Diagnostic::error(script.position(), message).help("move what it computes into data"));
        }
        let (prefix, source) = match script.code.strip_prefix(b";") {
            Some(statements) => (Prefix::Semicolon, statements.to_vec()),
            None => (Prefix::Return, [b"return ", &*script.code].concat()),
        };
        let compiler = Compiler::new().set_optimization_level(2).set_debug_level(1);
        let bytecode = compiler.compile(&source).map_err(|error| {
            let (line, message) = split_message(&innermost(&error));
            let position = position_of_line(script, prefix, line);
            Diagnostic::error(position, format!("the script does not compile: {message}"))
                .help("an expression needs no `return`; statements begin with `;` and return a value")
        })?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id, script: script.clone(), bytecode, prefix, logged: AtomicU64::new(0) })
    }

    /// The record it was compiled from.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Whether a failure at `unix_secs` is to be logged: one a second is, however many there are.
    pub fn may_log(&self, unix_secs: u64) -> bool {
        self.logged.swap(unix_secs, Ordering::Relaxed) != unix_secs
    }
}

/// Why a run made no records.
#[derive(Debug)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, for the log.
    pub message: String,
    /// Where in the zone file.
    pub position: Position,
    /// How many bits of the client subnet were looked at.
    pub scope: u8,
}

/// What kind of failure a run ended in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// It used up its steps, time, memory, or a bound on sizes.
    Budget,
    /// It raised an error.
    Error,
    /// It returned something that is no RDATA of its type.
    Value,
}

/// What a run made.
#[derive(Debug)]
pub struct Output {
    /// RDATA of the script's type in wire form; none means no records.
    pub rdata: Vec<Vec<u8>>,
    /// How many bits of the client subnet were looked at.
    pub scope: u8,
}

/// A worker's Lua: one sandboxed state that runs every script, each in an environment of its own.
pub struct Vm {
    sandbox: Sandbox,
    context: Rc<Context>,
    limits: config::Lua,
    loaded: HashMap<u64, Loaded>,
    /// The environment of the run, emptied after each; with shared state, that of the zone.
    environment: Environment,
    shared: HashMap<Box<[u8]>, Environment>,
    /// Counts runs, to tell which scripts have not been used for the longest time.
    runs: u64,
}

struct Loaded {
    function: Function,
    used: u64,
}

/// A table of globals over the read-only base.
#[derive(Clone)]
struct Environment(Table);

impl Vm {
    /// Makes a VM over the shared health table.
    ///
    /// `seed` starts its random source; `clock` is read only to stop a run that takes too long. Errors only when
    /// there is no memory for an empty VM.
    pub fn new(
        limits: config::Lua,
        table: Arc<crate::health::table::Table>,
        seed: u64,
        clock: fn() -> Duration,
    ) -> Result<Self, VmError> {
        let context = Rc::new(Context::new(table, seed));
        let sandbox = Sandbox::new(&context, clock)?;
        api::install(&sandbox.lua, &sandbox.base, &context)?;
        sandbox.seal();
        let environment = Environment::new(&sandbox, &context)?;
        Ok(Self {
            sandbox,
            context,
            limits,
            loaded: HashMap::new(),
            environment,
            shared: HashMap::new(),
            runs: 0,
        })
    }

    /// Runs a program for a query.
    pub fn run(&mut self, program: &Program, query: &Query<'_>) -> Result<Output, Failure> {
        self.context.begin(query);
        self.runs += 1;
        let outcome = self.call(program, query);
        let spent = self.sandbox.budget.close();
        let scope = self.scope(query);
        let fail = |kind, message: String, line| Failure {
            kind,
            message,
            position: position_of_line(&program.script, program.prefix, line),
            scope,
        };
        if let Some(spent) = spent {
            // Whatever the run left behind is not to weigh on the next query.
            self.sandbox.lua.gc_collect().ok();
            let line = outcome.as_ref().err().and_then(|error| split_message(&innermost(error)).0);
            return Err(fail(FailureKind::Budget, spent.to_string(), line));
        }
        let returned = outcome.map_err(|error| {
            let (line, message) = describe(&error);
            fail(FailureKind::Error, message, line)
        })?;
        let rdata = value::to_rdata(&self.sandbox.lua, &returned, program.script.covered)
            .map_err(|error| fail(FailureKind::Value, error.to_string(), None))?;
        Ok(Output { rdata, scope })
    }

    /// Runs each program once, and tells which checks they ask for and what an operator should know of them.
    ///
    /// A failure here is a warning and no error: another client, or another time, may get an answer.
    pub fn discover(&mut self, programs: &[Arc<Program>], zone: crate::dns::NameRef<'_>, now: crate::dns::Now) -> Discovery {
        let nobody = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let client = crate::dns::Client { address: nobody, local: nobody, transport: crate::dns::Transport::Udp };
        let mut warnings = Vec::new();
        self.context.discover();
        for program in programs.iter().filter(|program| program.script.covered != Rtype::LUA) {
            let qname = program.script.owner.as_ref();
            let query = Query { now, client: &client, subnet: None, qname, zone };
            if let Err(failure) = self.run(program, &query) {
                let message = format!("the script failed in a trial run: {}", failure.message);
                warnings.push(
                    Diagnostic::warning(failure.position, message)
                        .help("queries it fails for are answered SERVFAIL; the trial asked as client 0.0.0.0"),
                );
            }
            let position = program.script.position();
            warnings.extend(self.context.lints().into_iter().map(|lint| Diagnostic::warning(position.clone(), lint)));
        }
        Discovery { checks: self.context.discovered(), warnings }
    }

    /// Opens the budget and calls the program's function.
    fn call(&mut self, program: &Program, query: &Query<'_>) -> mlua::Result<Value> {
        let limit = self.sandbox.lua.used_memory().saturating_add(self.limits.memory_limit);
        let function = self.function(program, query)?;
        if self.sandbox.budget.open(&self.limits).is_err() {
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
    fn function(&mut self, program: &Program, query: &Query<'_>) -> mlua::Result<Function> {
        if self.limits.shared_state {
            self.enter_shared(query)?;
        }
        if let Some(loaded) = self.loaded.get_mut(&program.id) {
            loaded.used = self.runs;
            if self.limits.shared_state {
                loaded.function.set_environment(self.environment.0.clone())?;
            }
            return Ok(loaded.function.clone());
        }
        if self.loaded.len() >= self.limits.scripts_held_max {
            let mut ages: Vec<u64> = self.loaded.values().map(|loaded| loaded.used).collect();
            let middle = ages.len() / 2;
            let (_, &mut oldest, _) = ages.select_nth_unstable(middle);
            self.loaded.retain(|_, loaded| loaded.used > oldest);
        }
        let function = self
            .sandbox
            .lua
            .load(&program.bytecode[..])
            .set_name(format!("={CHUNK}"))
            .set_mode(ChunkMode::Binary)
            .set_environment(self.environment.0.clone())
            .into_function()?;
        self.loaded.insert(program.id, Loaded { function: function.clone(), used: self.runs });
        Ok(function)
    }

    /// Makes the environment of the query's zone the current one; only with shared state.
    fn enter_shared(&mut self, query: &Query<'_>) -> mlua::Result<()> {
        let apex = query.zone.to_lowercase_wire();
        self.environment = match self.shared.get(&apex) {
            Some(environment) => environment.clone(),
            None => {
                let environment = Environment::new(&self.sandbox, &self.context)?;
                self.shared.insert(apex, environment.clone());
                environment
            }
        };
        // The query's variables are set anew before every run.
        VARIABLES.iter().try_for_each(|name| self.environment.0.raw_set(*name, Value::Nil))
    }

    /// The scope that the run earned (RFC 7871 section 7.2.1).
    fn scope(&self, query: &Query<'_>) -> u8 {
        match self.limits.scope {
            config::Scope::Derived => self.context.consulted(),
            config::Scope::Source => query.subnet.map_or(0, |subnet| subnet.source_length),
        }
    }
}

/// What trial runs of a zone's scripts showed.
pub struct Discovery {
    /// The checks they asked for.
    pub checks: Vec<Check>,
    /// What an operator should know.
    pub warnings: Vec<Diagnostic>,
}

/// A VM could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a Lua VM: {0}")]
pub struct VmError(#[from] mlua::Error);

/// The query's variables, as scripts name them.
const VARIABLES: [&str; 7] = ["qname", "zone", "who", "bestwho", "localwho", "ecswho", "tcp"];

impl Environment {
    /// Makes an empty environment over the base; the variables appear in it as they are asked for.
    fn new(sandbox: &Sandbox, context: &Rc<Context>) -> mlua::Result<Self> {
        let lua = &sandbox.lua;
        let environment = lua.create_table()?;
        let within = environment.clone();
        let context = Rc::clone(context);
        let ask = lua.create_function(move |lua, (_, name): (Value, LuaString)| {
            if name.as_bytes() == b"_G" {
                return Ok(Value::Table(within.clone()));
            }
            let value = api::variable(lua, &context, &name.as_bytes())?;
            if !value.is_nil() {
                // Asked for again it is the same object, changes and all, until the run ends.
                within.raw_set(name, value.clone())?;
            }
            Ok(value)
        })?;
        let variables = lua.create_table()?;
        variables.raw_set("__index", ask)?;
        let base = lua.create_table()?;
        for pair in sandbox.base.pairs::<Value, Value>() {
            let (name, value) = pair?;
            base.raw_set(name, value)?;
        }
        base.set_metatable(Some(variables))?;
        base.set_readonly(true);
        let metatable = lua.create_table()?;
        metatable.raw_set("__index", base)?;
        metatable.raw_set("__metatable", false)?;
        metatable.set_readonly(true);
        environment.set_metatable(Some(metatable))?;
        Ok(Self(environment))
    }

    /// Takes out all that a run left.
    fn empty(&self) -> mlua::Result<()> {
        if self.0.is_empty() { Ok(()) } else { self.0.clear() }
    }
}

/// The line and the words of an error, for an operator.
fn describe(error: &mlua::Error) -> (Option<usize>, String) {
    let (line, message) = split_message(&innermost(error));
    // An error of a builtin has no line of its own; the call it came from has.
    let line = line.or_else(|| match error {
        mlua::Error::CallbackError { traceback, .. } => line_in(traceback),
        _ => None,
    });
    (line, message)
}

/// The first line of the error at the bottom of a chain of them.
fn innermost(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => innermost(cause),
        mlua::Error::RuntimeError(message) | mlua::Error::SyntaxError { message, .. } => {
            message.lines().next().unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    }
}

/// Splits `script:3: what happened`, as Luau writes it, into line and words.
fn split_message(message: &str) -> (Option<usize>, String) {
    let Some(line) = line_in(message).filter(|_| message.starts_with(CHUNK) || message.starts_with(':')) else {
        return (None, message.to_owned());
    };
    let words = message.splitn(3, ':').nth(2).unwrap_or(message);
    (Some(line), words.trim().to_owned())
}

/// The first line number of a script that a text mentions.
fn line_in(text: &str) -> Option<usize> {
    let after = text.split_once(&format!("{CHUNK}:")).map(|(_, after)| after).or_else(|| text.strip_prefix(':'))?;
    let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

/// Where the first word of a line of the source stands in the zone file; the script's begin when no line is known.
fn position_of_line(script: &Script, prefix: Prefix, line: Option<usize>) -> Position {
    let first = usize::from(prefix == Prefix::Semicolon && line.is_some());
    let line_at = match line.unwrap_or(1) {
        0 | 1 => first,
        line => {
            let newlines = script.code.iter().enumerate().filter(|(_, octet)| **octet == b'\n');
            newlines.map(|(at, _)| at + 1).nth(line - 2).unwrap_or(first)
        }
    };
    let blanks = script.code[line_at.min(script.code.len())..].iter().take_while(|octet| octet.is_ascii_whitespace());
    script.position_at(line_at + blanks.count())
}
