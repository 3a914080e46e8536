//! Records that others include: as functions of this VM, and the way back from one to its place in a zone file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mlua::{Function, Lua, Table};

use super::failure::Place;
use super::program::Program;
use super::sandbox::{CHUNK, load};
use crate::diagnostic::Position;

/// How deep includes may be nested. The C stack is good for ten times that.
pub(super) const DEPTH_MAX: usize = 16;
/// How many included records a worker holds; past that it begins anew.
const HELD_MAX: usize = 1000;

/// The included records a worker has loaded.
#[derive(Default)]
pub(super) struct Included {
    /// The records as functions, each for every depth of runs within runs it was included at: those that are under way
    /// keep their globals.
    held: RefCell<HashMap<(u64, usize), Held>>,
    /// How many runs the one that runs is within.
    level: Cell<usize>,
    /// The globals of the run: what is included runs over the same.
    environment: RefCell<Option<Table>>,
    depth: Cell<usize>,
    /// When each record last told of an include that failed, in seconds since 1970.
    told: RefCell<HashMap<u64, u64>>,
}

struct Held {
    function: Function,
    program: Weak<Program>,
}

impl Included {
    /// Takes up the globals of the next run.
    pub(super) fn turn_to(&self, environment: &Table) {
        *self.environment.borrow_mut() = Some(environment.clone());
    }

    /// Begins a run.
    pub(super) fn begin(&self) {
        self.depth.set(0);
        self.level.set(0);
    }

    /// The globals of what runs.
    pub(super) fn globals(&self) -> Option<Table> {
        self.environment.borrow().clone()
    }

    /// Takes up the globals of a run within the run.
    pub(super) fn go_into(&self, globals: &Table) {
        self.level.set(self.level.get() + 1);
        *self.environment.borrow_mut() = Some(globals.clone());
    }

    /// Goes back to the globals of the run it was within.
    pub(super) fn come_out(&self, globals: &Table) {
        self.level.set(self.level.get().saturating_sub(1));
        *self.environment.borrow_mut() = Some(globals.clone());
    }

    /// Lets go of programs that no zone has any more.
    pub(super) fn forget_gone(&self) {
        self.held.borrow_mut().retain(|_, held| held.program.strong_count() > 0);
    }

    /// Goes one deeper, runs a program as statements in the globals of the run, and comes back.
    ///
    /// The caller sees to it that it is no deeper than [`DEPTH_MAX`].
    pub(super) fn run(&self, lua: &Lua, program: &Arc<Program>) -> mlua::Result<()> {
        let function = self.function(lua, program)?;
        self.depth.set(self.depth.get() + 1);
        let outcome = function.call::<()>(());
        self.depth.set(self.depth.get().saturating_sub(1));
        outcome
    }

    /// How many includes are under way.
    pub(super) fn depth(&self) -> usize {
        self.depth.get()
    }

    /// A program as a function over the globals of the run, loaded at its first use.
    fn function(&self, lua: &Lua, program: &Arc<Program>) -> mlua::Result<Function> {
        let environment = self.environment.borrow().clone();
        let environment = environment.ok_or_else(|| mlua::Error::runtime("nothing runs that could include it"))?;
        let key = (program.id, self.level.get());
        if let Some(held) = self.held.borrow().get(&key) {
            // With shared state the globals are those of the zone, which its next version takes over.
            held.function.set_environment(environment)?;
            return Ok(held.function.clone());
        }
        let bytecode = program.statements().map_err(|error| mlua::Error::runtime(error.to_owned()))?;
        let function = load(lua, bytecode, &format!("{CHUNK}#{}", program.id), &environment)?;
        let mut held = self.held.borrow_mut();
        if held.len() >= HELD_MAX {
            held.clear();
        }
        held.insert(key, Held { function: function.clone(), program: Arc::downgrade(program) });
        Ok(function)
    }

    /// Where in a zone file a place in an included record is; `None` for other places.
    pub(super) fn position(&self, place: Place) -> Option<Position> {
        let held = self.held.borrow();
        let id = place.included?;
        let (_, included) = held.iter().find(|((known, _), _)| *known == id)?;
        let program = included.program.upgrade()?;
        Some(program.position_in_statements(Some(place.line)))
    }

    /// Whether the record with this identity may tell of an include that failed: once a second.
    pub(super) fn may_tell(&self, identity: u64, unix_secs: u64) -> bool {
        let mut told = self.told.borrow_mut();
        if told.len() >= HELD_MAX {
            told.clear();
        }
        told.insert(identity, unix_secs) != Some(unix_secs)
    }
}
