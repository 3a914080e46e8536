//! Lua that an operator shares among all records: functions and tables that every script finds beside the builtins.

use mlua::{Table, Value};

use super::failure::{describe, line_in};
use super::policy::Policy;
use super::sandbox::{Sandbox, compile};
use crate::diagnostic::{Diagnostic, Position};

/// How deep tables of a library are made read-only; deeper ones are refused.
const TABLE_DEPTH_MAX: usize = 32;

/// The files of a library, compiled: shared by all workers, never changed.
#[derive(Default)]
pub struct Library {
    files: Vec<File>,
}

/// One file of it.
struct File {
    name: String,
    bytecode: Vec<u8>,
}

impl Library {
    /// Compiles files, given with their names in the order they are to run; tells every fault there is.
    pub fn compile(files: &[(String, Vec<u8>)]) -> Result<Self, Vec<Diagnostic>> {
        let (mut compiled, mut errors) = (Vec::new(), Vec::new());
        for (name, source) in files {
            match compile(source) {
                Ok(bytecode) => compiled.push(File { name: name.clone(), bytecode }),
                Err(error) => {
                    let (place, message) = describe(&error);
                    errors.push(fault(
                        name,
                        place.map(|place| place.line),
                        &format!("the library does not compile: {message}"),
                    ));
                }
            }
        }
        if errors.is_empty() { Ok(Self { files: compiled }) } else { Err(errors) }
    }

    /// Runs every file with `environment` for its globals, and moves what it sets there to `base`.
    ///
    /// Functions keep `environment` as theirs, so they see the variables of the query that calls them. Tables become
    /// read-only: what one record writes is not for another to read. Returns the names of what was set.
    pub(super) fn run(&self, sandbox: &Sandbox, environment: &Table, base: &Table) -> Result<Vec<String>, Diagnostic> {
        let mut names = Vec::new();
        for File { name, bytecode } in &self.files {
            let mut run = || {
                sandbox.load(bytecode, name, environment)?.call::<()>(())?;
                for pair in environment.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    names.extend(key.as_string().map(|key| key.to_string_lossy()));
                    freeze(&value, TABLE_DEPTH_MAX)?;
                    base.raw_set(key, value)?;
                }
                environment.clear()
            };
            let outcome = run();
            if let Some((spent, _)) = sandbox.budget.close() {
                return Err(fault(name, None, &format!("the library is stopped: {}", spent.told(&Policy::default()))));
            }
            outcome.map_err(|error| {
                let message = describe(&error).1;
                fault(name, line_in(name, &error.to_string()), &format!("the library fails: {message}"))
            })?;
        }
        Ok(names)
    }
}

/// Makes a table and those in it read-only.
fn freeze(value: &Value, depth: usize) -> mlua::Result<()> {
    let Value::Table(table) = value else { return Ok(()) };
    if table.is_readonly() {
        return Ok(());
    }
    if depth == 0 {
        return Err(mlua::Error::runtime(format!("tables are nested more than {TABLE_DEPTH_MAX} deep")));
    }
    table.set_readonly(true);
    table.for_each(|_: Value, value: Value| freeze(&value, depth - 1))
}

fn fault(name: &str, line: Option<usize>, message: &str) -> Diagnostic {
    let line = line.and_then(|line| u32::try_from(line).ok()).unwrap_or(1);
    Diagnostic::error(Position::new(name, line, 1), message)
        .help("correct it, or set `lua.include-dir` to another directory or to an empty text")
}
