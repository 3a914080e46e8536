//! What a script can reach, and when it is stopped: an allow-list of globals, and a budget no `pcall` can catch.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::context::Context;
use super::failure::{Place, place_in};
use super::value;
use crate::config;

/// The globals of Lua a script sees; everything else of Luau's is left out.
///
/// Absent on purpose: `loadstring`, `require`, `getfenv`, `setfenv`, `collectgarbage`, `newproxy`, `gcinfo`,
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
/// The most entries a table may be made with in one call: sorting them stays near the time limit.
const TABLE_ENTRIES_MAX: usize = 65_536;
/// The clock is read once in so many steps. A step may be a library function that takes milliseconds for the largest
/// it is given, a sort say, so there cannot be many between two readings.
const STEPS_PER_CLOCK: usize = 4;
/// The text Luau raises when it gets no memory.
const MEMORY_ERROR: &str = "not enough memory";
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
    /// A bound on what a library function may be given.
    Size(String),
    /// Its turn: it needs something that is yet to come, and is run again then.
    Turn,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(limit) => write!(f, "it took {limit} steps, all that `lua.exec-limit` allows"),
            Self::Time(limit) => write!(f, "it ran for {limit:?}, as long as `lua.time-limit` allows"),
            Self::Memory(limit) => write!(f, "it needs more memory than the {limit} octets of `lua.memory-limit`"),
            Self::Size(what) => write!(f, "it asked for {what}"),
            Self::Turn => f.write_str("it waits for a look-up"),
        }
    }
}

/// What a run may still use.
pub(super) struct Budget {
    steps: Cell<usize>,
    steps_max: Cell<usize>,
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

    /// Notes that the VM got no memory.
    pub(super) fn spend_memory(&self) {
        self.spend(Spent::Memory(self.memory_max.get()));
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
            if problem.as_string().is_some_and(|text| text.as_bytes() == MEMORY_ERROR.as_bytes())
                || problem.as_error().is_some_and(is_memory_error)
            {
                spent.spend_memory();
            }
            Ok(spent.is_spent())
        })?,
    )?;
    let clock = Rc::clone(context);
    host.set("now", lua.create_function(move |_, ()| Ok(clock.now().unix_secs))?)?;
    let random = Rc::clone(context);
    host.set("random", lua.create_function(move |_, bounds: MultiValue| draw(&random, &bounds))?)?;
    host.set("string_max", STRING_OCTETS_MAX)?;
    host.set("subject_max", SUBJECT_OCTETS_MAX)?;
    host.set("pattern_max", PATTERN_OCTETS_MAX)?;
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
