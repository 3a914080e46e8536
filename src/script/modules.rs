//! Lua that one zone's records share: modules that `require` runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value};

use super::failure::describe;
use super::sandbox::compile;
use crate::diagnostic::{Diagnostic, Position};

/// The longest source of a module, in octets.
const SOURCE_OCTETS_MAX: usize = 1 << 20;
/// How many tables a module's value may be made of; each is made read-only anew in every run.
const TABLES_MAX: usize = 65_536;
/// How many modules may require each other in a row.
const DEPTH_MAX: usize = 32;

/// The modules of a zone, compiled: shared by all workers, never changed.
#[derive(Debug, Default)]
pub struct Modules(BTreeMap<Box<str>, Module>);

/// One of them.
#[derive(Debug)]
struct Module {
    /// Tells modules apart in a worker's store.
    id: u64,
    /// What messages call its file.
    file: String,
    bytecode: Vec<u8>,
}

impl Modules {
    /// Compiles files, given with their paths from the zone's directory, their names and their sources.
    ///
    /// `geo/helpers.lua` is the module `geo.helpers`. Tells every fault there is.
    pub fn compile(files: &[(PathBuf, Arc<str>, Vec<u8>)]) -> Result<Self, Vec<Diagnostic>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (mut modules, mut errors) = (BTreeMap::new(), Vec::new());
        for (path, file, source) in files {
            let fault = |line: Option<usize>, message: &str| {
                let line = line.and_then(|line| u32::try_from(line).ok()).unwrap_or(1);
                Diagnostic::error(Position::new(file.clone(), line, 1), message)
            };
            let Some(name) = module_name(path) else {
                let help = "use letters, digits, `_` and `-` in the names of files and directories";
                errors.push(fault(None, "no name can stand for this module").help(help));
                continue;
            };
            if source.len() > SOURCE_OCTETS_MAX {
                errors.push(fault(None, &format!("the module has more than {SOURCE_OCTETS_MAX} octets")));
                continue;
            }
            match compile(source) {
                Ok(bytecode) => {
                    let id = NEXT.fetch_add(1, Ordering::Relaxed);
                    modules.insert(name.into(), Module { id, file: file.to_string(), bytecode });
                }
                Err(error) => {
                    let (place, message) = describe(&error);
                    let line = place.map(|place| place.line);
                    errors.push(fault(line, &format!("the module does not compile: {message}")));
                }
            }
        }
        if errors.is_empty() { Ok(Self(modules)) } else { Err(errors) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

/// The name of the module in a file, by its path; `None` if it has letters that no name has.
fn module_name(path: &Path) -> Option<String> {
    let path = path.with_extension("");
    let parts = path.components().map(|component| match component {
        Component::Normal(part) => part.to_str().filter(|part| is_plain(part)),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("."))
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'))
}

/// Why a module cannot be had.
pub(super) enum RequireError {
    /// There is none of that name.
    Unknown,
    /// It is being loaded, and required again by the module of this name.
    Circle(String),
    /// Too many modules are being loaded.
    Depth,
    /// It returned nothing that can be shared.
    Value(&'static str),
    /// Its value has too many tables.
    Tables,
    /// It failed.
    Lua(mlua::Error),
}

impl From<mlua::Error> for RequireError {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// The modules that an environment has loaded.
///
/// What they returned lasts as long as the globals of the environment: until the run ends, unless state is shared.
#[derive(Clone)]
pub(super) struct Required(Rc<State>);

struct State {
    /// What modules see beside their own globals; read-only.
    base: Table,
    /// The globals of records, which are no module's to make read-only.
    environment: Table,
    values: RefCell<HashMap<u64, Kept<Value>>>,
    /// Modules as functions, loaded at their first use in this worker.
    functions: RefCell<HashMap<u64, Kept<Function>>>,
    /// The names of those being loaded, the innermost last.
    loading: RefCell<Vec<String>>,
}

/// What modules returned, and those that are being loaded.
pub(super) struct Returned(HashMap<u64, Kept<Value>>, Vec<String>);

/// Something that is of no use any more when its zone has other modules.
struct Kept<T> {
    of: Weak<Modules>,
    it: T,
}

impl Required {
    /// Nothing yet, over the table that the globals of records are laid over.
    pub(super) fn new(base: &Table, environment: &Table) -> Self {
        let (values, functions, loading) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (base, environment) = (base.clone(), environment.clone());
        Self(Rc::new(State { base, environment, values, functions, loading }))
    }

    /// The value of a module: what it returned when it was first asked for, read-only.
    pub(super) fn require(&self, lua: &Lua, modules: &Arc<Modules>, name: &str) -> Result<Value, RequireError> {
        let module = modules.0.get(name).ok_or(RequireError::Unknown)?;
        let known = self.0.values.borrow().get(&module.id).map(|kept| kept.it.clone());
        if let Some(value) = known {
            return Ok(value);
        }
        {
            let mut loading = self.0.loading.borrow_mut();
            if loading.iter().any(|loading| loading == name) {
                return Err(RequireError::Circle(loading.last().cloned().unwrap_or_default()));
            }
            if loading.len() == DEPTH_MAX {
                return Err(RequireError::Depth);
            }
            loading.push(name.to_owned());
        }
        let value = self.run(lua, modules, module);
        self.0.loading.borrow_mut().pop();
        let value = value?;
        let kept = Kept { of: Arc::downgrade(modules), it: value.clone() };
        self.0.values.borrow_mut().insert(module.id, kept);
        Ok(value)
    }

    /// Runs a module with globals of its own.
    fn run(&self, lua: &Lua, modules: &Arc<Modules>, module: &Module) -> Result<Value, RequireError> {
        let function = self.function(lua, modules, module)?;
        let (globals, metatable) = (lua.create_table()?, lua.create_table()?);
        metatable.raw_set("__index", &self.0.base)?;
        metatable.raw_set("__metatable", false)?;
        globals.raw_set("_G", &globals)?;
        globals.set_metatable(Some(metatable))?;
        // Every function that it makes has these globals, too.
        function.set_environment(globals)?;
        let value = function.call::<Value>(())?;
        match &value {
            Value::Nil => return Err(RequireError::Value("nothing")),
            Value::Table(table) => freeze(table, &self.0.environment)?,
            _ => {}
        }
        Ok(value)
    }

    fn function(&self, lua: &Lua, modules: &Arc<Modules>, module: &Module) -> mlua::Result<Function> {
        if let Some(kept) = self.0.functions.borrow().get(&module.id) {
            return Ok(kept.it.clone());
        }
        let chunk = lua.load(&*module.bytecode).set_name(format!("={}", module.file)).set_mode(ChunkMode::Binary);
        let function = chunk.into_function()?;
        let kept = Kept { of: Arc::downgrade(modules), it: function.clone() };
        self.0.functions.borrow_mut().insert(module.id, kept);
        Ok(function)
    }

    /// Hands over what modules returned, so that they are run anew.
    pub(super) fn take_values(&self) -> Returned {
        Returned(self.0.values.take(), self.0.loading.take())
    }

    /// Takes back what modules returned.
    pub(super) fn put_values(&self, Returned(values, loading): Returned) {
        *self.0.values.borrow_mut() = values;
        *self.0.loading.borrow_mut() = loading;
    }

    /// Forgets what modules returned.
    pub(super) fn empty(&self) {
        self.0.values.borrow_mut().clear();
        // A run that was stopped while it loaded has left its names.
        self.0.loading.borrow_mut().clear();
    }

    /// Lets go of modules that no zone has any more, and of all functions when there are more than `functions_max`.
    pub(super) fn forget_gone(&self, functions_max: usize) {
        self.0.values.borrow_mut().retain(|_, kept| kept.of.strong_count() > 0);
        let mut functions = self.0.functions.borrow_mut();
        functions.retain(|_, kept| kept.of.strong_count() > 0);
        if functions.len() > functions_max {
            functions.clear();
        }
    }
}

/// Makes a table and all those in it read-only but for one, however they refer to each other.
fn freeze(table: &Table, environment: &Table) -> Result<(), RequireError> {
    let mut waiting = vec![table.clone()];
    let mut frozen = 0;
    while let Some(table) = waiting.pop() {
        // What another module returned, and a library of Lua's, is read-only already, and so is a table met before.
        if table.is_readonly() || table == *environment {
            continue;
        }
        frozen += 1;
        if frozen > TABLES_MAX {
            return Err(RequireError::Tables);
        }
        table.set_readonly(true);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            waiting.extend([key, value].into_iter().filter_map(|part| match part {
                Value::Table(table) => Some(table),
                _ => None,
            }));
        }
        waiting.extend(table.metatable());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_called_after_its_file() {
        let cases = [
            ("helpers.lua", Some("helpers")),
            ("geo/helpers.lua", Some("geo.helpers")),
            ("a_b/c-d/E9.lua", Some("a_b.c-d.E9")),
            ("a.b.lua", None),
            ("a b.lua", None),
            ("../a.lua", None),
            ("/a.lua", None),
            (".lua", None),
        ];
        for (path, name) in cases {
            assert_eq!(module_name(Path::new(path)).as_deref(), name, "{path}");
        }
    }
}
