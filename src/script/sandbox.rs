//! What a script can reach, and when it is stopped: an allow-list of globals, and a budget no `pcall` can catch.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::context::Context;
use super::failure::{Place, place_in};
use super::policy::Policy;
use super::value;
use crate::config;

/// The globals of Lua a script sees; everything else of Luau's is left out.
///
/// Absent on purpose: `loadstring`, Luau's own `require`, `getfenv`, `setfenv`, `collectgarbage`, `newproxy`, `gcinfo`,
/// `print`, `debug`, `buffer`, `vector`. `_G` is the script's own environment (see `environment.rs`).
pub(super) const GLOBALS: [&str; 27] = [
    "_VERSION",
    "assert",
    "bit",
    "bit32",
    "coroutine",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "os",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "utf8",
    "xpcall",
];
/// The libraries in `GLOBALS`: shared by all scripts of a VM, so nobody may write to them.
const LIBRARIES: [&str; 8] = ["bit", "bit32", "coroutine", "math", "os", "string", "table", "utf8"];
/// The longest string that repetition may make, in octets. One fill of it stays far below the time limit.
const STRING_OCTETS_MAX: usize = 1 << 20;
/// The longest subject of a search, in octets. TXT RDATA cannot hold more.
const SUBJECT_OCTETS_MAX: usize = 65_536;
/// The longest pattern of a search. A plain search costs at most subject times pattern, about a millisecond.
const PATTERN_OCTETS_MAX: usize = 1024;
/// The most a search may cost, in octets of the subject times octets of the pattern: some milliseconds. A set in a
/// pattern is gone through for each octet of the subject, and no step is taken meanwhile.
const SEARCH_MAX: usize = 4 << 20;
/// The most entries of a table that one call may make, move or sort.
const TABLE_ENTRIES_MAX: usize = 65_536;
/// The most coroutines a run may make.
const COROUTINES_MAX: usize = 1000;
/// How deep calls may be nested: Luau's own bound.
const CALLS_MAX: usize = 20_000;
/// How deep calls may be nested that go by way of the library, such as the function of a `gsub`: Luau's own bound, so
/// that a worker's stack never overflows.
const CALLS_BY_LIBRARY_MAX: usize = 200;
/// The clock is read once in so many steps. A step may be a library function that takes milliseconds for the largest
/// it is given, a sort say, so there cannot be many between two readings.
const STEPS_PER_CLOCK: usize = 4;
/// The text Luau raises when it gets no memory.
const MEMORY_ERROR: &str = "not enough memory";
/// How the text ends that Luau raises when calls are nested too deep.
pub(super) const RECURSION_ERROR: &str = "stack overflow";
/// The name chunks of scripts have in Luau's messages.
pub(super) const CHUNK: &str = "script";

/// What a run has used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// Loop turns, calls and returns.
    Steps(usize),
    /// Time.
    Time(Duration),
    /// Memory of the VM.
    Memory(usize),
    /// The depth of calls.
    Recursion,
    /// Coroutines.
    Coroutines,
    /// A bound on what a library function may be given.
    Size(String),
    /// Its turn: it needs something that is yet to come, and is run again then.
    Turn,
}

impl Spent {
    /// What happened, for an operator: with the key that sets the limit, or the bound that nothing sets.
    pub(super) fn told(&self, policy: &Policy) -> String {
        match self {
            Self::Steps(limit) => format!("it took {limit} steps, all that {} allows", policy.key("exec-limit")),
            Self::Time(limit) => format!("it ran for {limit:?}, as long as {} allows", policy.key("time-limit")),
            Self::Memory(limit) => {
                format!("it needs more memory than the {limit} octets of {}", policy.key("memory-limit"))
            }
            Self::Recursion => format!(
                "its recursion is too deep: more than {CALLS_MAX} calls, or {CALLS_BY_LIBRARY_MAX} by way of the library"
            ),
            Self::Coroutines => format!("it asked for more than {COROUTINES_MAX} coroutines"),
            Self::Size(what) => format!("it asked for {what}"),
            Self::Turn => "it waits for a look-up".to_owned(),
        }
    }
}

/// What a run may still use.
pub(super) struct Budget {
    steps: Cell<usize>,
    steps_max: Cell<usize>,
    coroutines: Cell<usize>,
    memory_max: Cell<usize>,
    time_max: Cell<Duration>,
    /// When the run is to end; `None` until the clock is first read.
    deadline: Cell<Option<Duration>>,
    clock: Box<dyn Fn() -> Duration>,
    spent: Cell<Option<Spent>>,
    /// Where in the script it was spent, where that is known.
    place: Cell<Option<Place>>,
}

impl Budget {
    fn new(clock: Box<dyn Fn() -> Duration>) -> Self {
        Self {
            steps: Cell::new(0),
            steps_max: Cell::new(0),
            coroutines: Cell::new(0),
            memory_max: Cell::new(0),
            time_max: Cell::new(Duration::ZERO),
            deadline: Cell::new(None),
            clock,
            spent: Cell::new(None),
            place: Cell::new(None),
        }
    }

    /// Grants a new run what `limits` say, and takes its first step; false when there is none to take.
    pub(super) fn open(&self, limits: &config::Lua) -> bool {
        self.steps.set(0);
        self.coroutines.set(0);
        self.steps_max.set(if limits.exec_limit == 0 { usize::MAX } else { limits.exec_limit });
        self.memory_max.set(limits.memory_limit);
        self.time_max.set(limits.time_limit);
        self.deadline.set(None);
        self.spent.set(None);
        self.place.set(None);
        self.step()
    }

    /// Ends the run; tells what it used up, if anything, and where in the script if that is known.
    pub(super) fn close(&self) -> Option<(Spent, Option<Place>)> {
        Some((self.spent.take()?, self.place.take()))
    }

    /// How much time the run has taken. A run that never read the clock took next to none.
    ///
    /// The clock may be late, and then one run is told as dearer and another as cheaper than it was; where they come
    /// one after the other, it evens out.
    pub(super) fn cost(&self) -> Duration {
        let begun = self.deadline.get().and_then(|deadline| deadline.checked_sub(self.time_max.get()));
        begun.map_or(Duration::ZERO, |begun| (self.clock)().saturating_sub(begun))
    }

    /// Takes a step; false when there is none left, then and ever after.
    fn step(&self) -> bool {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps >= self.steps_max.get() {
            self.spend(Spent::Steps(self.steps_max.get()));
        } else if steps.is_multiple_of(STEPS_PER_CLOCK) && self.is_late() {
            self.spend(Spent::Time(self.time_max.get()));
        }
        !self.is_spent()
    }

    /// Reads the clock. The first reading of a run starts it, so that a short run reads none.
    fn is_late(&self) -> bool {
        let now = (self.clock)();
        let deadline = self.deadline.get().unwrap_or_else(|| now.saturating_add(self.time_max.get()));
        self.deadline.set(Some(deadline));
        now > deadline
    }

    pub(super) fn is_spent(&self) -> bool {
        let spent = self.spent.take();
        let is_spent = spent.is_some();
        self.spent.set(spent);
        is_spent
    }

    /// Notes what ran out; the first reason stays.
    pub(super) fn spend(&self, what: Spent) {
        let first = self.spent.take().unwrap_or(what);
        self.spent.set(Some(first));
    }

    /// Notes what an error tells of Luau's own bounds: that there is no memory, or that calls are nested too deep.
    pub(super) fn spend_by(&self, error: &mlua::Error) {
        if is_memory_error(error) {
            self.spend(Spent::Memory(self.memory_max.get()));
        } else if is_recursion_error(error) {
            self.spend(Spent::Recursion);
        }
    }

    /// The same, for what a script was given as the error it caught.
    fn spend_by_caught(&self, problem: &Value) {
        if let Some(text) = problem.as_string() {
            let text = text.as_bytes();
            if *text == *MEMORY_ERROR.as_bytes() {
                self.spend(Spent::Memory(self.memory_max.get()));
            } else if text.ends_with(RECURSION_ERROR.as_bytes()) {
                self.spend(Spent::Recursion);
            }
        } else if let Some(error) = problem.as_error() {
            self.spend_by(error);
        }
    }

    /// Counts a coroutine; false when there may be no more.
    fn take_coroutine(&self) -> bool {
        self.coroutines.set(self.coroutines.get() + 1);
        if self.coroutines.get() > COROUTINES_MAX {
            self.spend(Spent::Coroutines);
        }
        !self.is_spent()
    }
}

/// A Luau state that can harm nobody, and the tables scripts run over.
pub(super) struct Sandbox {
    pub(super) lua: Lua,
    /// The read-only table under every environment: what the allow-list leaves, and the builtins.
    pub(super) base: Table,
    pub(super) budget: Rc<Budget>,
}

impl Sandbox {
    /// Makes a state with nothing in it but the allow-list; `clock` is read only to stop a run that takes too long.
    ///
    /// The caller adds builtins to `base` and then calls [`Sandbox::seal`].
    pub(super) fn new(context: &Rc<Context>, clock: Box<dyn Fn() -> Duration>) -> mlua::Result<Self> {
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::OS | StdLib::STRING | StdLib::UTF8 | StdLib::BIT;
        let lua = Lua::new_with(libraries | StdLib::MATH, LuaOptions::new())?;
        let budget = Rc::new(Budget::new(clock));
        let host = host_table(&lua, context, &budget)?;
        lua.load(include_str!("../../lua/prelude.lua")).set_name("=prelude").call::<()>(host)?;

        let globals = lua.globals();
        let base = lua.create_table()?;
        for name in GLOBALS {
            base.raw_set(name, globals.raw_get::<Value>(name)?)?;
        }
        let string_metatable = lua.load("return getmetatable('')").eval::<Table>()?;
        string_metatable.raw_set("__metatable", false)?;
        string_metatable.set_readonly(true);
        for name in LIBRARIES {
            globals.raw_get::<Table>(name)?.set_readonly(true);
        }
        Ok(Self { lua, base, budget })
    }

    /// Makes `base` read-only and sets the budget's interrupt.
    pub(super) fn seal(&self) {
        self.base.set_readonly(true);
        let budget = Rc::clone(&self.budget);
        // A script can catch one error with `pcall` and run on, so once the budget is spent the interrupt fires at
        // every step: the error then also strikes outside the `pcall`.
        self.lua.set_interrupt(move |lua| {
            if budget.step() {
                return Ok(VmState::Continue);
            }
            if budget.place.get().is_none() {
                budget.place.set(current_place(lua));
            }
            Err(mlua::Error::runtime("the budget is spent"))
        });
    }

    /// Loads compiled code as a function; its name is what Luau's messages call it.
    pub(super) fn load(&self, bytecode: &[u8], name: &str, environment: &Table) -> mlua::Result<Function> {
        load(&self.lua, bytecode, name, environment)
    }
}

/// Loads compiled code as a function; its name is what Luau's messages call it.
pub(super) fn load(lua: &Lua, bytecode: &[u8], name: &str, environment: &Table) -> mlua::Result<Function> {
    let chunk = lua.load(bytecode).set_name(format!("={name}")).set_mode(ChunkMode::Binary);
    chunk.set_environment(environment.clone()).into_function()
}

/// Compiles source to bytecode that every VM of ours can load.
pub(super) fn compile(source: &[u8]) -> mlua::Result<Vec<u8>> {
    Compiler::new().set_optimization_level(2).set_debug_level(1).compile(source)
}

/// Where the script is: in the innermost function that is a script's own.
fn current_place(lua: &Lua) -> Option<Place> {
    /// How many callers are looked through: the prelude's wrappers are two deep.
    const DEPTH_MAX: usize = 8;
    (0..DEPTH_MAX).find_map(|level| {
        lua.inspect_stack(level, |call| place_in(&format!("{}:{}", call.source().short_src?, call.current_line()?)))?
    })
}

/// What `lua/prelude.lua` gets from us.
fn host_table(lua: &Lua, context: &Rc<Context>, budget: &Rc<Budget>) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let spender = Rc::clone(budget);
    host.set(
        "spend",
        lua.create_function(move |_, what: String| -> mlua::Result<()> {
            spender.spend(Spent::Size(what));
            Err(mlua::Error::runtime("the budget is spent"))
        })?,
    )?;
    let spent = Rc::clone(budget);
    host.set(
        "spent",
        lua.create_function(move |_, problem: Value| {
            spent.spend_by_caught(&problem);
            Ok(spent.is_spent())
        })?,
    )?;
    let counter = Rc::clone(budget);
    host.set(
        "coroutine",
        lua.create_function(move |_, ()| {
            if counter.take_coroutine() { Ok(()) } else { Err(mlua::Error::runtime("the budget is spent")) }
        })?,
    )?;
    let clock = Rc::clone(context);
    host.set("now", lua.create_function(move |_, ()| Ok(clock.now().unix_secs))?)?;
    let random = Rc::clone(context);
    host.set("random", lua.create_function(move |_, bounds: MultiValue| draw(&random, &bounds))?)?;
    host.set("string_max", STRING_OCTETS_MAX)?;
    host.set("subject_max", SUBJECT_OCTETS_MAX)?;
    host.set("pattern_max", PATTERN_OCTETS_MAX)?;
    host.set("search_max", SEARCH_MAX)?;
    host.set("table_max", TABLE_ENTRIES_MAX)?;
    Ok(host)
}

/// Whether an error is at bottom one of memory.
pub(super) fn is_memory_error(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } => is_memory_error(cause),
        _ => false,
    }
}

/// Whether an error is at bottom that calls are nested too deep.
pub(super) fn is_recursion_error(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::RuntimeError(text) => text.lines().next().is_some_and(|line| line.ends_with(RECURSION_ERROR)),
        mlua::Error::CallbackError { cause, .. } => is_recursion_error(cause),
        _ => false,
    }
}

/// `math.random`: a fraction, a whole number up to the first bound, or one between both.
fn draw(context: &Context, bounds: &MultiValue) -> mlua::Result<f64> {
    let bound = |index: usize| bounds.get(index).and_then(value::number).map(f64::trunc);
    let (low, high) = match (bounds.len(), bound(0), bound(1)) {
        (0, ..) => return Ok(context.random_fraction()),
        (1, Some(high), _) => (1.0, high),
        (2, Some(low), Some(high)) => (low, high),
        _ => return Err(mlua::Error::runtime("`random` takes no, one or two numbers")),
    };
    if low > high {
        return Err(mlua::Error::runtime("`random` got an empty interval"));
    }
    Ok(low + (context.random_fraction() * (high - low + 1.0)).floor())
}
