//! What a script may know of the query it runs for, and what it has looked at.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ipnet::IpNet;
use mlua::{Function, Value};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::api::ring::Rings;
use super::failure::Place;
use super::included::Included;
use super::lookups::{Lookup, Lookups, Patience};
use super::modules::Required;
use super::nested::Nested;
use super::note::Note;
use super::policy::Policy;
use super::program::Program;
use super::sandbox::{Budget, RECURSION_ERROR, Spent};
use super::shedding::Load;
use super::surroundings::Surroundings;
use crate::diagnostic::Position;
use crate::dns::edns::{ClientSubnet, Edns};
use crate::dns::wire::Header;
use crate::dns::{Client, Name, NameRef, Now, Transport};
use crate::health::overrides::{Action, Overrides};
use crate::health::table::{Reading, Seat, Slot, Table};
use crate::health::{Check, Record};
use crate::resolve::Question;

/// How many health slots a worker keeps before it ever looks for those it could let go of.
const SLOTS_MIN: usize = 256;

/// How many records may have values that are remembered for `lastgood`.
const REMEMBERED_MAX: usize = 10_000;
/// How many names a record may keep values under.
const REMEMBERED_NAMES_MAX: usize = 16;
/// How many octets the names and values of a record may have together.
const REMEMBERED_OCTETS_MAX: usize = 4096;
/// How long a record may have been silent when room is needed for another.
const REMEMBERED_SILENCE: Duration = Duration::from_secs(3600);

/// How deep builtins may be nested that call a function of the script.
///
/// Luau counts calls and not how much of the thread's stack each takes, and here one takes kilobytes.
const FUNCTIONS_NESTED_MAX: usize = 16;

/// For how many pairs of a program and a slot a worker remembers what operators say.
const SAID_MAX: usize = 100_000;

/// How many lines one run may write to the log.
const NOTES_MAX: usize = 8;

/// The query a script runs for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// When it is answered.
    pub now: Now,
    /// Who asks, and where.
    pub client: &'q Client,
    /// The client behind the resolver, if the query says so and that is listened to.
    pub subnet: Option<ClientSubnet>,
    /// The name asked for, or the target of the CNAME that led here.
    pub qname: NameRef<'q>,
    /// The apex of the zone.
    pub zone: NameRef<'q>,
    /// How many labels stand behind the `*` of the wildcard the record stands at; `None` if it stands at the name itself.
    pub wildcard: Option<usize>,
    /// The header of the request.
    pub header: Header,
    /// The OPT record of the request.
    pub edns: Option<Edns>,
    /// Whether it can wait for names that are looked up.
    pub patience: Patience,
    /// How busy the worker is.
    pub load: Load,
}

impl<'q> Query<'q> {
    /// A query for the root, without EDNS.
    pub fn plain(now: Now, client: &'q Client) -> Self {
        let (qname, zone) = (NameRef::ROOT, NameRef::ROOT);
        let (header, patience, load) = (Header::default(), Patience::Left, Load::default());
        Self { now, client, subnet: None, qname, zone, wildcard: None, header, edns: None, patience, load }
    }
}

/// The worker's side of a run: the query's facts, the random source, the health slots it knows.
///
/// Every builtin is handed this; nothing is a global or a thread-local.
pub(super) struct Context {
    facts: Cell<Facts>,
    surroundings: RefCell<Arc<Surroundings>>,
    /// The identity of the program that runs, and what its zone allows.
    program: Cell<u64>,
    required: RefCell<Option<Required>>,
    policy: RefCell<Arc<Policy>>,
    /// What records answered last, by the identity of the program.
    remembered: RefCell<HashMap<u64, Remembered>>,
    /// The name asked for and the apex, for scripts that take the VM.
    names: RefCell<(Name, Name)>,
    /// How many bits of the client subnet were looked at.
    consulted: Cell<u8>,
    random: RefCell<SmallRng>,
    /// The points of lists that are chosen from by consistent hashing.
    rings: RefCell<Rings>,
    /// What the run has written to the log.
    notes: RefCell<Vec<Note>>,
    table: Arc<Table>,
    /// The slots this worker has used: a builtin costs a local look-up and one atomic load.
    slots: RefCell<HashMap<Check, Arc<Slot>>>,
    /// What operators say of them, if anything.
    said: Said,
    /// Slots that the run was the first to ask for.
    fresh: RefCell<Vec<Arc<Slot>>>,
    /// When what was read of targets could change at the earliest.
    until: Cell<Option<Duration>>,
    /// How many slots are let stand before those of checks that are gone are looked for.
    slots_max: Cell<usize>,
    /// What scripts asked for and should be told, when somebody wants to know.
    discovery: RefCell<Option<Discovery>>,
    /// How many builtins are waiting for a function of the script.
    nested: Cell<usize>,
    /// Why what the builtin that runs now asks for may not be had.
    refusal: RefCell<Option<String>>,
    /// What the script was last told that it may not have.
    denied: RefCell<Option<String>>,
    /// The names that were looked up.
    pub(super) lookups: Lookups,
    /// The records that were included.
    pub(super) included: Included,
    /// The records that run within others.
    pub(super) nested_runs: Nested,
    /// What the run may use up; there from when the sandbox is.
    budget: OnceCell<Rc<Budget>>,
}

/// What operators say of the targets of the program that runs.
#[derive(Default)]
struct Said {
    /// Of what they say this is the copy.
    generation: Cell<u64>,
    overrides: RefCell<Arc<Overrides>>,
    /// The record of the program that runs; only where anything is said.
    record: RefCell<Option<Arc<Record>>>,
    /// What was found for a program and a slot. As long as the slot is held, if weakly, no other has its address.
    found: RefCell<HashMap<(u64, *const Slot), Found>>,
}

/// What operators say of a slot.
type Found = (Weak<Slot>, Option<Action>);

impl Said {
    /// Takes up what is said now, and of whom.
    fn renew(&self, table: &Table, program: &Program, zone: NameRef<'_>) {
        let generation = table.generation();
        if generation != self.generation.get() {
            *self.overrides.borrow_mut() = table.overrides();
            self.found.borrow_mut().clear();
            self.generation.set(generation);
        }
        if !self.overrides.borrow().is_empty() {
            *self.record.borrow_mut() = Some(Arc::clone(program.record(zone)));
        }
    }

    /// What is said of a slot, as the program asks for it.
    fn of(&self, program: u64, slot: &Arc<Slot>) -> Option<Action> {
        let overrides = self.overrides.borrow();
        if overrides.is_empty() {
            return None;
        }
        let mut found = self.found.borrow_mut();
        if found.len() >= SAID_MAX {
            found.clear();
        }
        let said = || overrides.said_of(slot.check(), self.record.borrow().as_deref());
        // A full table gives another such slot each time.
        if slot.is_retired() {
            return said();
        }
        found.entry((program, Arc::as_ptr(slot))).or_insert_with(|| (Arc::downgrade(slot), said())).1
    }
}

/// The texts of one answer.
type Texts = Vec<Box<[u8]>>;

/// What one record answered last.
#[derive(Default)]
struct Remembered {
    /// By the names it gives.
    values: Vec<(Box<str>, Texts)>,
    renewed: Duration,
}

impl Remembered {
    fn octets(&self) -> usize {
        let octets = |texts: &[Box<[u8]>]| texts.iter().map(|text| text.len()).sum::<usize>();
        self.values.iter().map(|(name, texts)| name.len() + octets(texts)).sum()
    }
}

/// What trial runs leave behind.
#[derive(Default)]
struct Discovery {
    checks: Vec<Check>,
    /// Those of records that were run within another.
    of_nested: Vec<(Check, Arc<Program>)>,
    /// Records and those that they hang on.
    hanging: Vec<(Arc<Program>, Arc<Program>)>,
    lints: Vec<String>,
}

/// What is put back when a record that was run within another has ended.
pub(super) struct Outer {
    facts: Facts,
    name: Name,
    identity: u64,
    record: Option<Arc<Record>>,
    fresh: Vec<Arc<Slot>>,
    lints: Vec<String>,
    checks: Vec<Check>,
}

/// What is copied out of a query, so that objects a script makes can outlive it.
#[derive(Clone, Copy)]
struct Facts {
    now: Now,
    sender: SocketAddr,
    local: SocketAddr,
    tcp: bool,
    subnet: Option<ClientSubnet>,
    wildcard: Option<usize>,
    header: Header,
    edns: Option<Edns>,
    patience: Patience,
}

impl Context {
    /// A context over the shared health table, with a random source that starts from `seed`.
    pub(super) fn new(table: Arc<Table>, seed: u64) -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
        let header = Header::default();
        let facts = Facts {
            now,
            sender: nobody,
            local: nobody,
            tcp: false,
            subnet: None,
            wildcard: None,
            header,
            edns: None,
            patience: Patience::Spent,
        };
        Self {
            facts: Cell::new(facts),
            surroundings: RefCell::default(),
            program: Cell::new(0),
            policy: RefCell::default(),
            required: RefCell::default(),
            remembered: RefCell::default(),
            names: RefCell::new((Name::root(), Name::root())),
            consulted: Cell::new(0),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
            rings: RefCell::default(),
            notes: RefCell::default(),
            table,
            slots: RefCell::default(),
            said: Said::default(),
            fresh: RefCell::default(),
            until: Cell::new(None),
            slots_max: Cell::new(SLOTS_MIN),
            discovery: RefCell::new(None),
            nested: Cell::new(0),
            refusal: RefCell::default(),
            denied: RefCell::default(),
            lookups: Lookups::default(),
            included: Included::default(),
            nested_runs: Nested::default(),
            budget: OnceCell::new(),
        }
    }

    /// Takes up the budget, which the sandbox makes.
    pub(super) fn hold_to(&self, budget: &Rc<Budget>) {
        self.budget.get_or_init(|| Rc::clone(budget));
    }

    /// Ends the run, which no `pcall` can prevent; returns the error that does.
    pub(super) fn end_run(&self, spent: Spent) -> mlua::Error {
        if let Some(budget) = self.budget.get() {
            budget.spend(spent);
        }
        mlua::Error::runtime("the budget is spent")
    }

    /// Ends the run if an error tells that it met one of Luau's own bounds, of memory or of nested calls.
    pub(super) fn end_run_by(&self, error: &mlua::Error) {
        if let Some(budget) = self.budget.get() {
            budget.spend_by(error);
        }
    }

    /// Whether the run is at its end.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.get().is_some_and(|budget| budget.is_spent())
    }

    /// Takes up a query.
    pub(super) fn begin(&self, query: &Query<'_>) {
        self.consulted.set(0);
        self.until.set(None);
        self.notes.borrow_mut().clear();
        self.denied.take();
        self.facts.set(Facts {
            now: query.now,
            sender: query.client.address,
            local: query.client.local,
            tcp: query.client.transport == Transport::Tcp,
            subnet: query.subnet.filter(|subnet| subnet.source_length > 0),
            wildcard: query.wildcard,
            header: query.header,
            edns: query.edns,
            patience: query.patience,
        });
        self.lookups.begin();
        self.included.begin();
        self.nested_runs.begin();
    }

    /// Takes up the modules that an environment has loaded.
    pub(super) fn set_required(&self, required: Option<&Required>) {
        *self.required.borrow_mut() = required.cloned();
    }

    /// The modules that the environment of the run has loaded; `None` outside of runs.
    pub(super) fn required(&self) -> Option<Required> {
        self.required.borrow().clone()
    }

    /// Takes up other surroundings.
    pub(super) fn turn_to(&self, surroundings: &Arc<Surroundings>) {
        self.surroundings.borrow_mut().clone_from(surroundings);
        self.included.forget_gone();
        self.nested_runs.forget_gone();
    }

    /// What can be looked up beside the query.
    pub(super) fn surroundings(&self) -> std::cell::Ref<'_, Surroundings> {
        std::cell::Ref::map(self.surroundings.borrow(), |surroundings| &**surroundings)
    }

    /// Takes up what only a script that takes the VM can ask for: the query's names, and what it is allowed.
    pub(super) fn enter(&self, program: &Arc<Program>, query: &Query<'_>) {
        self.hear(program, query.zone);
        self.nested_runs.enter(program);
        *self.names.borrow_mut() = (query.qname.to_owned(), query.zone.to_owned());
        self.program.set(program.identity);
        if !Arc::ptr_eq(&self.policy.borrow(), &program.policy) {
            self.policy.borrow_mut().clone_from(&program.policy);
        }
    }

    /// Takes up a record that is run within the run, under its own name; returns what is to be put back.
    ///
    /// What was looked at of the client, when targets could change and what was drawn by chance go on.
    pub(super) fn go_into(&self, program: &Arc<Program>) -> Outer {
        let zone = self.zone();
        let facts = self.facts.get();
        let owner = program.script().owner.clone();
        let wildcard = owner.as_ref().is_wildcard().then(|| owner.as_ref().label_count() - 1);
        self.facts.set(Facts { wildcard, ..facts });
        let name = std::mem::replace(&mut self.names.borrow_mut().0, owner);
        let (identity, record) = (self.program.get(), self.said.record.borrow().clone());
        self.hear(program, zone.as_ref());
        let lints = self.lints();
        let checks = self.discovered();
        Outer { facts, name, identity, record, fresh: self.fresh.take(), lints, checks }
    }

    /// Goes back from a record to the one that it was run within.
    pub(super) fn come_out(&self, program: &Arc<Program>, outer: Outer) {
        self.name_fresh(program, self.zone().as_ref());
        *self.fresh.borrow_mut() = outer.fresh;
        self.facts.set(outer.facts);
        self.names.borrow_mut().0 = outer.name;
        self.program.set(outer.identity);
        *self.said.record.borrow_mut() = outer.record;
        if let Some(discovery) = self.discovery.borrow_mut().as_mut() {
            let checks = std::mem::replace(&mut discovery.checks, outer.checks);
            discovery.of_nested.extend(checks.into_iter().map(|check| (check, Arc::clone(program))));
            discovery.lints = outer.lints;
        }
    }

    /// Where in a zone file a place is that is in no code of the record that runs itself.
    pub(super) fn position(&self, place: Place) -> Option<Position> {
        self.nested_runs.position(place).or_else(|| self.included.position(place))
    }

    /// Notes that a call chose among targets none of which is up.
    pub(super) fn note_fall_back(&self) {
        self.nested_runs.note_fall_back();
    }

    /// Notes that the record that runs hangs on others; heard only in a trial run.
    pub(super) fn note_hanging(&self, on: &[Arc<Program>]) {
        let Some(running) = self.nested_runs.running() else { return };
        if let Some(discovery) = self.discovery.borrow_mut().as_mut() {
            discovery.hanging.extend(on.iter().map(|program| (Arc::clone(&running), Arc::clone(program))));
        }
    }

    /// The identity of the program that runs.
    pub(super) fn program(&self) -> u64 {
        self.program.get()
    }

    /// What the zone of the script allows.
    pub(super) fn policy(&self) -> std::cell::Ref<'_, Policy> {
        std::cell::Ref::map(self.policy.borrow(), |policy| &**policy)
    }

    /// Keeps a record's value for when it has none, if there is room.
    ///
    /// No record takes the room of another that still answers.
    pub(super) fn remember(&self, name: &str, texts: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
        let (mut remembered, now) = (self.remembered.borrow_mut(), self.now().monotonic);
        if remembered.len() >= REMEMBERED_MAX && !remembered.contains_key(&self.program.get()) {
            remembered.retain(|_, record| now.saturating_sub(record.renewed) < REMEMBERED_SILENCE);
            if remembered.len() >= REMEMBERED_MAX {
                return texts;
            }
        }
        let record = remembered.entry(self.program.get()).or_default();
        record.renewed = now;
        record.values.retain(|(known, _)| **known != *name);
        record.values.push((name.into(), texts.clone()));
        if record.values.len() > REMEMBERED_NAMES_MAX || record.octets() > REMEMBERED_OCTETS_MAX {
            record.values.pop();
        }
        texts
    }

    /// The value that was kept last under a name of this record.
    pub(super) fn recall(&self, name: &str) -> Vec<Box<[u8]>> {
        let remembered = self.remembered.borrow();
        let values = remembered.get(&self.program.get()).map_or(&[][..], |record| &record.values);
        values.iter().find(|(known, _)| **known == *name).map(|(_, texts)| texts.clone()).unwrap_or_default()
    }

    /// How many bits of the client subnet were looked at since [`Context::begin`].
    pub(super) fn consulted(&self) -> u8 {
        self.consulted.get()
    }

    pub(super) fn now(&self) -> Now {
        self.facts.get().now
    }

    /// `who`: the sender, with its port. Does not count as looking at the client subnet.
    pub(super) fn sender(&self) -> SocketAddr {
        self.facts.get().sender
    }

    /// `localwho`: where the query came in.
    pub(super) fn local(&self) -> SocketAddr {
        self.facts.get().local
    }

    /// `tcp`: whether the query came over TCP.
    pub(super) fn is_tcp(&self) -> bool {
        self.facts.get().tcp
    }

    /// `dh`: the header of the request.
    pub(super) fn header(&self) -> Header {
        self.facts.get().header
    }

    /// The OPT record of the request, for `dnssecOK` and `ednsPKTSize`.
    pub(super) fn edns(&self) -> Option<Edns> {
        self.facts.get().edns
    }

    /// How many labels stand behind the `*` of the wildcard the record stands at.
    pub(super) fn wildcard(&self) -> Option<usize> {
        self.facts.get().wildcard
    }

    /// `qname`, in the client's letter case.
    pub(super) fn qname(&self) -> Name {
        self.names.borrow().0.clone()
    }

    /// `zone`: the apex.
    pub(super) fn zone(&self) -> Name {
        self.names.borrow().1.clone()
    }

    /// `ecswho`: the client subnet; counts as looking at all of it.
    pub(super) fn subnet(&self) -> Option<IpNet> {
        let subnet = self.facts.get().subnet?;
        self.consult(subnet.source_length);
        IpNet::new(subnet.address, subnet.source_length).ok()
    }

    /// `bestwho`: the client subnet's address without a port, or the sender with its own.
    ///
    /// Counts as looking at all of the subnet.
    pub(super) fn client(&self) -> SocketAddr {
        let facts = self.facts.get();
        let Some(subnet) = facts.subnet else { return facts.sender };
        self.consult(subnet.source_length);
        SocketAddr::new(subnet.address, 0)
    }

    /// Whether `bestwho` is in `network`; families must match.
    ///
    /// Counts as looking at the bits that decide it for the whole neighbourhood: those of the network if the
    /// client is in it, and otherwise as many as show that it is not. Never none: an answer with a scope of 0 is for
    /// clients of the other family too (RFC 7871 section 7.3), for whom it may be decided otherwise.
    pub(super) fn client_is_in(&self, network: IpNet) -> bool {
        let facts = self.facts.get();
        let client = facts.subnet.map_or_else(|| facts.sender.ip(), |subnet| subnet.address);
        let (is_in, bits) = match (client, network.network()) {
            (IpAddr::V4(client), IpAddr::V4(other)) => {
                compare((client.to_bits() ^ other.to_bits()).leading_zeros(), network)
            }
            (IpAddr::V6(client), IpAddr::V6(other)) => {
                compare((client.to_bits() ^ other.to_bits()).leading_zeros(), network)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => (false, 1),
        };
        if facts.subnet.is_some() {
            self.consult(bits);
        }
        is_in
    }

    /// Looks `bestwho` up; `look` tells what it finds and how many bits of the address it went by, which then count as
    /// looked at.
    ///
    /// Never none, for the reason at [`Context::client_is_in`]: that no bit decides it is so for one family.
    pub(super) fn look_client_up<T>(&self, look: impl FnOnce(IpAddr) -> (T, u8)) -> T {
        let facts = self.facts.get();
        let client = facts.subnet.map_or_else(|| facts.sender.ip(), |subnet| subnet.address);
        let (found, bits) = look(client);
        if facts.subnet.is_some() {
            self.consult(bits.max(1));
        }
        found
    }

    fn consult(&self, bits: u8) {
        self.consulted.set(self.consulted.get().max(bits));
    }

    /// The worker's random source.
    pub(super) fn random(&self) -> std::cell::RefMut<'_, SmallRng> {
        self.random.borrow_mut()
    }

    /// The rings that the worker keeps.
    pub(super) fn rings(&self) -> std::cell::RefMut<'_, Rings> {
        self.rings.borrow_mut()
    }

    /// Takes a line for the log; those past [`NOTES_MAX`] are dropped.
    pub(super) fn note(&self, note: Note) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < NOTES_MAX {
            notes.push(note);
        }
    }

    /// The lines of the run, which are forgotten.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.notes.take()
    }

    /// A random number from 0 up to but not 1.
    pub(super) fn random_fraction(&self) -> f64 {
        self.random().random()
    }

    /// Puts another policy in the place of the zone's; returns that.
    pub(super) fn replace_policy(&self, policy: Arc<Policy>) -> Arc<Policy> {
        self.policy.replace(policy)
    }

    /// Calls a function that the script gave to a builtin.
    pub(super) fn call(&self, function: &Function) -> mlua::Result<Value> {
        let nested = self.nested.get();
        if nested == FUNCTIONS_NESTED_MAX {
            return Err(mlua::Error::runtime(RECURSION_ERROR));
        }
        self.nested.set(nested + 1);
        let returned = function.call(());
        self.nested.set(nested);
        returned
    }

    /// Notes that what a builtin asks for may not be had; the call then fails, whatever it returns.
    pub(super) fn refuse(&self, why: String) {
        self.refusal.borrow_mut().get_or_insert(why);
    }

    /// Why what a builtin asked for may not be had, if so.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    /// Remembers why a builtin's call is denied; returns it as the script is told.
    pub(super) fn deny(&self, builtin: &str, why: &str) -> String {
        let told = format!("`{builtin}` {why}");
        self.denied.replace(Some(told.clone()));
        told
    }

    /// Whether a failure with these words is that the script asked for what it may not have.
    pub(super) fn is_denial(&self, words: &str) -> bool {
        self.denied.borrow().as_deref() == Some(words)
    }

    /// The health slot of `check`, if the script's zone may have it probed.
    ///
    /// A slot that is never probed stands in for one it may not have, and the builtin's call fails.
    pub(super) fn slot(&self, check: &Check) -> Seat {
        let refusal = self.policy().refuses_probe(check);
        match refusal {
            None => self.granted_slot(check),
            Some(why) => {
                self.refuse(why);
                // A full table gives unlisted slots.
                Seat::new(Table::new(0).slot(check), None)
            }
        }
    }

    /// The health slot of a check that is known to be allowed; asking for it keeps it alive, and makes it if it is new.
    pub(super) fn granted_slot(&self, check: &Check) -> Seat {
        if let Some(discovery) = self.discovery.borrow_mut().as_mut() {
            discovery.checks.push(check.clone());
        }
        let known = self.slots.borrow().get(check).filter(|slot| !slot.is_retired()).cloned();
        let slot = known.unwrap_or_else(|| self.first_sight(check));
        slot.touch();
        let said = self.said.of(self.program.get(), &slot);
        Seat::new(slot, said)
    }

    /// Takes up what operators say of the targets of a program, if they say anything; and who it is that asks.
    pub(super) fn hear(&self, program: &Program, zone: NameRef<'_>) {
        self.program.set(program.identity);
        self.said.renew(&self.table, program, zone);
    }

    /// What operators have said, as a number that is another one when that changes.
    pub(super) fn generation(&self) -> u64 {
        self.said.generation.get()
    }

    /// Notes when what was read of a target could change.
    pub(super) fn depends_on(&self, reading: Reading) {
        let until = [self.until.get(), reading.until].into_iter().flatten().min();
        self.until.set(until);
    }

    /// When what was read of targets could change at the earliest, if they wobble.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until.get()
    }

    /// Tells the table which record the run's new slots are for.
    pub(super) fn name_fresh(&self, program: &Program, zone: NameRef<'_>) {
        for slot in self.fresh.take() {
            self.table.name(&slot, program.record(zone));
        }
    }

    /// Asks the table for the slot of a check this worker does not know, and keeps it if the table does.
    fn first_sight(&self, check: &Check) -> Arc<Slot> {
        let slot = self.table.slot(check);
        let mut slots = self.slots.borrow_mut();
        if slots.len() >= self.slots_max.get() {
            slots.retain(|_, slot| !slot.is_retired());
            // Looking again only when there are twice as many keeps the cost of it small for each check.
            self.slots_max.set(SLOTS_MIN.max(2 * slots.len()));
        }
        if !slot.is_retired() {
            slots.insert(check.clone(), slot.clone());
            self.fresh.borrow_mut().push(Arc::clone(&slot));
        }
        slot
    }

    /// What is known of a name; one that is not known yet ends the run, if the query can wait for it.
    pub(super) fn look_up(&self, question: Question) -> Lookup {
        let Facts { now, patience, .. } = self.facts.get();
        self.lookups.look_up(&self.surroundings().names, question, now.monotonic, patience)
    }

    /// Notes what an operator should know of a script; heard only in a trial run.
    pub(super) fn lint(&self, lint: String) {
        let mut discovery = self.discovery.borrow_mut();
        // Of a script that calls one builtin many times, once is enough.
        if let Some(discovery) = discovery.as_mut().filter(|discovery| !discovery.lints.contains(&lint)) {
            discovery.lints.push(lint);
        }
    }

    /// Whether this is a trial run, whose answer nobody gets.
    pub(super) fn is_trial(&self) -> bool {
        self.discovery.borrow().is_some()
    }

    /// Begins to collect checks and lints.
    pub(super) fn discover(&self) {
        *self.discovery.borrow_mut() = Some(Discovery::default());
        self.lookups.discover();
    }

    /// Ends the collecting: what runs from now on is no trial.
    #[cfg(test)]
    pub(super) fn end_trial(&self) {
        *self.discovery.borrow_mut() = None;
    }

    /// The lints since the last call.
    pub(super) fn lints(&self) -> Vec<String> {
        self.discovery.borrow_mut().as_mut().map(|discovery| std::mem::take(&mut discovery.lints)).unwrap_or_default()
    }

    /// The checks asked for since the last call.
    pub(super) fn discovered(&self) -> Vec<Check> {
        self.discovery.borrow_mut().as_mut().map(|discovery| std::mem::take(&mut discovery.checks)).unwrap_or_default()
    }

    /// The checks that records asked for which were run within others, since the last call.
    pub(super) fn discovered_within(&self) -> Vec<(Check, Arc<Program>)> {
        let mut discovery = self.discovery.borrow_mut();
        discovery.as_mut().map(|discovery| std::mem::take(&mut discovery.of_nested)).unwrap_or_default()
    }

    /// Records and those that trial runs have shown them to hang on.
    pub(super) fn hanging(&self) -> Vec<(Arc<Program>, Arc<Program>)> {
        let mut discovery = self.discovery.borrow_mut();
        discovery.as_mut().map(|discovery| std::mem::take(&mut discovery.hanging)).unwrap_or_default()
    }

    /// Ends the collection.
    pub(super) fn end_discovery(&self) {
        self.discovery.take();
    }
}

/// Whether an address that has so many bits in common with a network is in it, and how many bits tell.
fn compare(common: u32, network: IpNet) -> (bool, u8) {
    let common = u8::try_from(common).expect("an address has at most 128 bits");
    let is_in = common >= network.prefix_len();
    (is_in, if is_in { network.prefix_len().max(1) } else { common + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Kind, State, sentence};

    /// The answer to `client_is_in` and the bits it consulted, for a /24 client subnet.
    fn consult(subnet: &str, networks: &[&str]) -> (Vec<bool>, u8) {
        let context = Context::new(Arc::new(Table::new(1)), 0);
        let client = Client {
            address: ([127, 0, 0, 1], 53).into(),
            local: ([127, 0, 0, 1], 53).into(),
            transport: Transport::Udp,
        };
        let subnet = ClientSubnet { family: 1, source_length: 24, address: subnet.parse().unwrap() };
        let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
        context.begin(&Query { subnet: Some(subnet), ..Query::plain(now, &client) });
        let answers = networks.iter().map(|network| context.client_is_in(network.parse().unwrap())).collect();
        (answers, context.consulted())
    }

    #[test]
    fn checks_that_the_table_has_no_room_for_leave_nothing_with_the_worker() {
        let table = Arc::new(Table::new(1));
        let said = sentence::parse("target 192.0.2.1 => down").unwrap();
        table.set_overrides(Arc::new(Overrides::new(said.into_iter().collect())));
        let context = Context::new(Arc::clone(&table), 0);
        *context.said.overrides.borrow_mut() = table.overrides();
        for port in 0..1000 {
            let seat = context.granted_slot(&Check::new(Kind::tcp(([192, 0, 2, 1], port).into())));
            assert_eq!(seat.read().state, State::Down, "operators are heard all the same");
        }
        assert_eq!((context.slots.borrow().len(), context.said.found.borrow().len()), (1, 1));
        assert_eq!((context.fresh.borrow().len(), table.len(), table.turned_away()), (1, 1, 999));
    }

    #[test]
    fn the_scope_is_as_narrow_as_what_decided_and_no_narrower() {
        let cases: [(&str, &[&str], &[bool], u8); 6] = [
            ("192.168.1.0", &["192.168.0.0/16"], &[true], 16),
            // 10... and 192... differ in their first bit: all of 0.0.0.0/1 gets this answer.
            ("10.0.0.0", &["192.168.0.0/16", "0.0.0.0/0"], &[false, true], 1),
            // 192.169... leaves 192.168.0.0/16 at its sixteenth bit.
            ("192.169.1.0", &["192.168.0.0/16"], &[false], 16),
            // The other half of the addresses, and IPv6 clients, may be answered otherwise.
            ("192.168.1.0", &["0.0.0.0/0"], &[true], 1),
            ("192.168.1.0", &["2001:db8::/32"], &[false], 1),
            ("192.168.1.0", &[], &[], 0),
        ];
        for (subnet, networks, answers, bits) in cases {
            assert_eq!(consult(subnet, networks), (answers.to_vec(), bits), "{subnet} {networks:?}");
        }
    }
}
