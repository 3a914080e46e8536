//! Records that another one hangs on: run within its run, and whether they answer with targets that are up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mlua::{Function, Lua, Table, Value};

use super::api::VARIABLES;
use super::context::Context;
use super::failure::{Place, describe};
use super::program::Program;
use super::sandbox::{CHUNK, load};
use super::value;
use crate::diagnostic::Position;
use crate::dns::NameRef;

/// How many records may hang on each other in a row. Each takes some of the thread's stack.
const DEPTH_MAX: usize = 8;
/// How many records that others hang on a worker holds; past that it begins anew.
const HELD_MAX: usize = 1000;

/// The state of runs within runs.
#[derive(Default)]
pub(super) struct Nested {
    /// Records as functions of this VM.
    held: RefCell<HashMap<u64, Held>>,
    /// Where the query's variables are kept: the globals of the outermost run.
    root: RefCell<Option<Table>>,
    /// The programs that are under way, the outermost first.
    active: RefCell<Vec<Arc<Program>>>,
    /// What came of records in this run, by their programs.
    known: RefCell<HashMap<u64, bool>>,
    /// How records hang on themselves, if the run came upon that.
    cycle: RefCell<Option<String>>,
    /// Whether a call of the record that runs chose among targets none of which is up.
    fell_back: Cell<bool>,
}

struct Held {
    function: Function,
    program: Weak<Program>,
}

/// Why a record cannot be run within another.
pub(super) enum NestedError {
    /// The run is at its end, or has come upon what no record may do.
    Lua(mlua::Error),
    /// Records hang on themselves; how.
    Cycle(String),
    /// Too many hang on each other.
    Depth,
}

impl From<mlua::Error> for NestedError {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

impl Nested {
    /// Takes up the globals of the next runs.
    pub(super) fn turn_to(&self, environment: &Table) {
        *self.root.borrow_mut() = Some(environment.clone());
    }

    /// Begins a run.
    pub(super) fn begin(&self) {
        self.active.borrow_mut().clear();
        self.known.borrow_mut().clear();
        self.cycle.take();
        self.fell_back.set(false);
    }

    /// Takes up the program of the outermost run.
    pub(super) fn enter(&self, program: &Arc<Program>) {
        let mut active = self.active.borrow_mut();
        active.clear();
        active.push(Arc::clone(program));
    }

    /// The program that runs; `None` outside of runs.
    pub(super) fn running(&self) -> Option<Arc<Program>> {
        self.active.borrow().last().cloned()
    }

    /// Notes that a call chose among targets none of which is up.
    pub(super) fn note_fall_back(&self) {
        self.fell_back.set(true);
    }

    /// Whether the run came upon records that hang on themselves.
    pub(super) fn has_cycle(&self) -> bool {
        self.cycle.borrow().is_some()
    }

    /// Lets go of programs that no zone has any more.
    pub(super) fn forget_gone(&self) {
        self.held.borrow_mut().retain(|_, held| held.program.strong_count() > 0);
    }

    /// Where in a zone file a place in a record is that ran within another; `None` for other places.
    pub(super) fn position(&self, place: Place) -> Option<Position> {
        let held = self.held.borrow();
        let program = held.get(&place.included?)?.program.upgrade()?;
        Some(program.position_of_line(Some(place.line)))
    }

    /// A record as a function over globals, loaded at its first use.
    fn function(&self, lua: &Lua, program: &Arc<Program>, globals: &Table) -> mlua::Result<Function> {
        if let Some(held) = self.held.borrow().get(&program.id) {
            // It is never under way twice, so nobody else goes by the globals it has had.
            held.function.set_environment(globals.clone())?;
            return Ok(held.function.clone());
        }
        let function = load(lua, &program.bytecode, &format!("{CHUNK}#{}", program.id), globals)?;
        let mut held = self.held.borrow_mut();
        if held.len() >= HELD_MAX {
            held.clear();
        }
        held.insert(program.id, Held { function: function.clone(), program: Arc::downgrade(program) });
        Ok(function)
    }

    /// How records hang on themselves if this one is run now.
    fn cycle_by(&self, program: &Arc<Program>, zone: NameRef<'_>) -> Option<String> {
        let active = self.active.borrow();
        let begin = active.iter().position(|active| active.id == program.id)?;
        let name = |program: &Arc<Program>| {
            let record = program.record(zone);
            format!("`{}` ({})", record.name, record.position)
        };
        let names: Vec<String> = active[begin..].iter().chain([program]).map(name).collect();
        Some(names.join(" hangs on "))
    }
}

/// Whether a record answers with targets that are up, for the query that is being answered.
///
/// It does if it returns records and no call in it chose among targets none of which is up. It is asked for under its own
/// name, runs in globals of its own and at the cost of the run it is part of; what it looks at of the client, and when its
/// targets could change, counts for that. Nothing else is left of it.
pub(super) fn is_up(context: &Context, lua: &Lua, program: &Arc<Program>) -> Result<bool, NestedError> {
    let nested = &context.nested_runs;
    if let Some(cycle) = nested.cycle_by(program, context.zone().as_ref()) {
        *nested.cycle.borrow_mut() = Some(cycle.clone());
        return Err(NestedError::Cycle(cycle));
    }
    if let Some(known) = nested.known.borrow().get(&program.id) {
        return Ok(*known);
    }
    if nested.active.borrow().len() > DEPTH_MAX {
        return Err(NestedError::Depth);
    }
    let outer = context.go_into(program);
    let fell_back = nested.fell_back.replace(false);
    nested.active.borrow_mut().push(Arc::clone(program));
    let outcome = run(context, lua, program);
    nested.active.borrow_mut().pop();
    let answers = outcome.is_ok_and_up() && !nested.fell_back.get();
    nested.fell_back.set(fell_back);
    context.come_out(program, outer);
    if let Outcome::Failed(error) = outcome {
        context.end_run_by(&error);
        if context.is_spent() {
            return Err(NestedError::Lua(error));
        }
        tell(context, program, &error);
    }
    if let Some(cycle) = nested.cycle.borrow().clone() {
        // A script may have caught the error that told it.
        return Err(NestedError::Cycle(cycle));
    }
    nested.known.borrow_mut().insert(program.id, answers);
    Ok(answers)
}

/// What a run within another came to.
enum Outcome {
    /// Records.
    Records,
    /// None.
    Nothing,
    /// An error.
    Failed(mlua::Error),
}

impl Outcome {
    fn is_ok_and_up(&self) -> bool {
        matches!(self, Self::Records)
    }
}

/// Runs a record in globals of its own.
fn run(context: &Context, lua: &Lua, program: &Arc<Program>) -> Outcome {
    let made = in_own_globals(context, lua, program).and_then(|returned| {
        let made = value::make(lua, &returned, program.script().covered, &program.policy);
        made.map_err(|error| mlua::Error::runtime(error.to_string()))
    });
    match made {
        Ok(made) if made.rdata.is_empty() || made.denial.is_some() => Outcome::Nothing,
        Ok(_) => Outcome::Records,
        Err(error) => Outcome::Failed(error),
    }
}

/// Calls a record's function in globals of its own, with the query's variables as it sees them.
fn in_own_globals(context: &Context, lua: &Lua, program: &Arc<Program>) -> mlua::Result<Value> {
    let nothing = || mlua::Error::runtime("nothing runs that could hang on it");
    let root = context.nested_runs.root.borrow().clone().ok_or_else(nothing)?;
    let outer = context.included.globals().ok_or_else(nothing)?;
    let globals = if program.policy.limits.shared_state { root.clone() } else { empty_over(lua, &root)? };
    let function = context.nested_runs.function(lua, program, &globals)?;
    let variables = VARIABLES.iter().map(|name| root.raw_get(*name)).collect::<mlua::Result<Vec<Value>>>()?;
    VARIABLES.iter().try_for_each(|name| root.raw_set(*name, Value::Nil))?;
    context.included.go_into(&globals);
    let required = context.required();
    let values = required.as_ref().map(super::modules::Required::take_values);
    let returned = context.call(&function);
    if let (Some(required), Some(values)) = (required, values) {
        required.put_values(values);
    }
    context.included.come_out(&outer);
    for (name, value) in VARIABLES.iter().zip(variables) {
        root.raw_set(*name, value)?;
    }
    returned
}

/// Empty globals over the same base as others.
fn empty_over(lua: &Lua, root: &Table) -> mlua::Result<Table> {
    let globals = lua.create_table()?;
    globals.raw_set("_G", &globals)?;
    globals.set_metatable(root.metatable())?;
    Ok(globals)
}

/// Tells of a record that failed within the run of another, once a second. In a trial its own run tells it.
fn tell(context: &Context, program: &Arc<Program>, error: &mlua::Error) {
    if context.is_trial() || !context.included.may_tell(program.identity, context.now().unix_secs) {
        return;
    }
    let (place, message) = describe(error);
    let position = place.and_then(|place| context.position(place));
    let position = position.unwrap_or_else(|| program.position_of_line(None));
    tracing::warn!(%position, zone = %context.zone(), qname = %context.qname(), "a record that another hangs on failed: {message}");
}
