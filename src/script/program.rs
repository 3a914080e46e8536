//! A LUA record's script, compiled: shared by all workers, never changed.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use super::failure::describe;
use super::literal::blanks;
use super::plan::Plan;
use super::policy::Policy;
use super::sandbox::compile;
use crate::diagnostic::{Diagnostic, Position};
use crate::dns::{NameRef, Rtype};
use crate::health::Record;
use crate::zone::Script;

/// The longest code of a script, in octets: what a message of 65,535 octets could carry and a little more.
const CODE_OCTETS_MAX: usize = 128 << 10;

/// A LUA record's script, compiled: shared by all workers, never changed.
pub struct Program {
    /// Tells programs apart in a worker's store.
    pub(super) id: u64,
    /// The same for a program that is compiled anew of the same record, with the same code.
    pub(super) identity: u64,
    script: Script,
    pub(super) policy: Arc<Policy>,
    pub(super) bytecode: Vec<u8>,
    /// The code as statements, or why it is none: what another record includes. Compiled when that first happens, as it
    /// never does for most; what is there to be included has it from the start.
    statements: OnceLock<Result<Vec<u8>, NoStatements>>,
    /// What it comes to without a VM, if it is simple enough.
    pub(super) plan: Option<Plan>,
    /// What was put in front of the code, less what was taken off: the way back from an octet of the source.
    prefix: Prefix,
    /// The blanks of the code that are line ends for the compiler.
    breaks: Vec<usize>,
    /// The record as those who tell of its checks know it. Made when that first happens.
    record: OnceLock<Arc<Record>>,
    /// When a failure of it was last logged, in seconds since 1970.
    logged: AtomicU64,
    /// The same for what it says itself.
    noted: AtomicU64,
}

/// Why code is no statements.
struct NoStatements {
    line: Option<usize>,
    message: String,
}

/// How the source of a chunk begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    /// As the code does.
    None,
    /// With `return `, before an expression.
    Return,
    /// With what follows the leading semicolon of statements.
    Semicolon,
}

impl Program {
    /// Compiles a script of a zone with this policy; the error points at the line of the zone file.
    pub fn compile(script: &Script, policy: &Arc<Policy>) -> Result<Self, Diagnostic> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if script.code.len() > CODE_OCTETS_MAX {
            let message = format!("the script has {} octets, more than {CODE_OCTETS_MAX}", script.code.len());
            return Err(Diagnostic::error(script.position(), message).help("move what it computes into data"));
        }
        let breaks = breaks(script);
        let code = laid_out(script, &breaks);
        let (prefix, source) = match code.strip_prefix(b";") {
            // A `LUA LUA` record is there to be included in others, and is statements as it stands.
            _ if script.covered == Rtype::LUA => (Prefix::None, code),
            Some(statements) => (Prefix::Semicolon, statements.to_vec()),
            None => (Prefix::Return, [b"return ", &*code].concat()),
        };
        let bytecode = compile(&source).map_err(|error| {
            let (place, message) = describe(&error);
            let position = position_of_line(script, &breaks, prefix, place.map(|place| place.line));
            Diagnostic::error(position, format!("the script does not compile: {message}"))
                .help("an expression needs no `return`; statements begin with `;` and return a value")
        })?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let plan = if prefix == Prefix::Return { Plan::compile(&script.code, script.covered, policy) } else { None };
        // What is not allowed is left to the VM, which tells it.
        let plan = plan.filter(|plan| {
            !policy.denied().any(|builtin| names(&script.code, builtin))
                && plan.checks().iter().all(|check| policy.refuses_probe(check).is_none())
        });
        let (script, policy) = (script.clone(), policy.clone());
        let identity = identify(&script);
        let (statements, record) = (OnceLock::new(), OnceLock::new());
        let (logged, noted) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { id, identity, script, policy, bytecode, statements, plan, prefix, breaks, record, logged, noted })
    }

    /// The record it was compiled from.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The record as those who tell of its checks know it.
    pub fn record(&self, zone: NameRef<'_>) -> &Arc<Record> {
        let bare = |name: NameRef<'_>| name.to_string().trim_end_matches('.').to_owned();
        self.record.get_or_init(|| {
            let name = format!("{}/{}", bare(self.script.owner.as_ref()), self.script.covered);
            Arc::new(Record { zone: bare(zone), name, position: self.script.position().to_string() })
        })
    }

    /// The code as another record includes it: statements as they stand; or why it cannot be.
    pub(super) fn statements(&self) -> Result<&[u8], &str> {
        if self.prefix == Prefix::None {
            return Ok(&self.bytecode);
        }
        let compiled = self.statements.get_or_init(|| {
            compile(&laid_out(&self.script, &self.breaks)).map_err(|error| {
                let (place, message) = describe(&error);
                NoStatements { line: place.map(|place| place.line), message }
            })
        });
        compiled.as_deref().map_err(|fault| &*fault.message)
    }

    /// Where the first word of a line stands in the zone file when the code is included; without a line, where it does
    /// not compile, or where it begins.
    pub(super) fn position_in_statements(&self, line: Option<usize>) -> Position {
        let fault = || self.statements.get()?.as_ref().err()?.line;
        position_of_line(&self.script, &self.breaks, Prefix::None, line.or_else(fault))
    }

    /// Where the first word of a line of the source stands in the zone file.
    pub(super) fn position_of_line(&self, line: Option<usize>) -> Position {
        position_of_line(&self.script, &self.breaks, self.prefix, line)
    }

    /// Whether a failure at `unix_secs` is to be logged: one a second is, however many there are.
    pub fn may_log(&self, unix_secs: u64) -> bool {
        self.logged.swap(unix_secs, Ordering::Relaxed) != unix_secs
    }

    /// Whether what it says at `unix_secs` is to be logged: that of one run a second is.
    pub fn may_note(&self, unix_secs: u64) -> bool {
        self.noted.swap(unix_secs, Ordering::Relaxed) != unix_secs
    }
}

/// Whether a name stands anywhere in a code, be it in a string.
fn names(code: &[u8], name: &str) -> bool {
    code.windows(name.len()).any(|window| window == name.as_bytes())
}

/// A number for an owner, a type and a code; equal for equal ones for as long as the process runs.
fn identify(script: &Script) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    HASHER.hash_one((script.owner.as_ref().to_lowercase_wire(), script.covered, &script.code))
}

/// The code with line ends for some of its blanks.
fn laid_out(script: &Script, breaks: &[usize]) -> Vec<u8> {
    let mut code = script.code.to_vec();
    breaks.iter().for_each(|at| code[*at] = b'\n');
    code
}

/// The blanks that end a piece of the code, or begin one, and may as well be line ends.
///
/// The compiler tells lines and no columns. So the pieces of a record that is written over several lines are lines to
/// it, wherever that changes nothing: not in a string or a comment, and not before a parenthesis, which would be taken
/// for the begin of another statement.
fn breaks(script: &Script) -> Vec<usize> {
    let mut seams = script.seams().peekable();
    if seams.peek().is_none() {
        return Vec::new();
    }
    let (code, blanks) = (&script.code, blanks(&script.code));
    let is_blank = |at: &usize| blanks.binary_search(at).is_ok();
    let goes_on = |at: &usize| code[*at..].iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'(');
    let of_seam = |seam: usize| [seam.checked_sub(1), Some(seam)].into_iter().flatten().find(is_blank);
    let mut breaks: Vec<usize> = seams.filter_map(of_seam).filter(|at| !goes_on(at)).collect();
    breaks.dedup();
    breaks
}

/// Where the first word of a line stands; the script's begin when no line is known.
fn position_of_line(script: &Script, breaks: &[usize], prefix: Prefix, line: Option<usize>) -> Position {
    let first = usize::from(prefix == Prefix::Semicolon && line.is_some());
    let line_at = match line.unwrap_or(1) {
        0 | 1 => first,
        line => {
            let octets = script.code.iter().enumerate();
            let ends = octets.filter(|(at, octet)| **octet == b'\n' || breaks.binary_search(at).is_ok());
            ends.map(|(at, _)| at + 1).nth(line - 2).unwrap_or(first)
        }
    };
    let blanks = script.code[line_at.min(script.code.len())..].iter().take_while(|octet| octet.is_ascii_whitespace());
    script.position_at(line_at + blanks.count())
}
