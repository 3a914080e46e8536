//! A script of literals and builtins, compiled once into a plan that needs no VM.
//!
//! Most LUA records are one call of a builtin with constant tables, nested or not. For those the arguments are read,
//! the networks parsed, the weights summed and the results turned into RDATA when the zone is loaded. A plan answers
//! exactly as the VM would: it draws the same random numbers in the same order and looks at the same bits of the
//! client, which a property test holds it to. Whatever would end in an error is left to the VM, which tells it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use rand::RngExt;
use smallvec::SmallVec;

use super::api::CallError;
use super::api::arguments::{Item, Options, Setting, read_address, read_network};
use super::api::geo::{Unknown, pick_closest};
use super::api::hash::{hash_address, hash_name};
use super::api::health::{
    Call, Candidate, Choice, Groups, Target, clamp_port, own_url_check, port_check, read_check, read_request,
    read_target, read_up, url_check,
};
use super::api::pick::{draw, draw_sample, shares};
use super::api::ring::{Entry, Fingerprint};
use super::context::Context;
use super::literal::{Literal, calls_at, defines};
use super::policy::Policy;
use super::value::one_to_rdata;
use crate::config::{self, RECORDS_MAX};
use crate::dns::Rtype;
use crate::health::table::Seat;
use crate::health::{Check, Kind};

/// The most values a plan may hold; a longer list is left to the VM and its budget.
const LEAVES_MAX: usize = 4096;
/// Steps that every run takes beside its calls: the first, and the return.
const STEPS_BESIDE_CALLS: usize = 2;

/// The builtins that plans stand in for. Where a library gives one of these names another meaning there are no plans.
pub(super) const BUILTINS: [&str; 15] = [
    "all",
    "ifportup",
    "ifup",
    "ifurlextup",
    "ifurlup",
    "pickchashed",
    "pickclosest",
    "pickhashed",
    "picknamehashed",
    "pickrandom",
    "pickrandomsample",
    "pickselfweighted",
    "pickwhashed",
    "pickwrandom",
    "view",
];

/// Those of them that ask for checks.
const CHECKING: [&str; 5] = ["ifportup", "ifup", "ifurlup", "ifurlextup", "pickselfweighted"];
/// Those whose faults are told when a zone is loaded; of the others PowerDNS has always said so to clients alone.
const STRICT: [&str; 2] = ["check", "ifup"];

/// What a script comes to.
pub(super) struct Plan {
    root: Root,
    /// Every value that can be returned, as RDATA.
    leaves: Vec<Box<[u8]>>,
    /// The empty text, which `view` returns when no rule fits: as RDATA, or why it is none.
    empty: Result<Box<[u8]>, String>,
    /// Every check that is asked for, in the order of the VM.
    checks: Vec<Check>,
    calls: usize,
    /// Whether it looks at the name that is asked for.
    asks_for_name: bool,
}

/// The outermost expression.
enum Root {
    /// One value, or a group of them.
    One(Node),
    /// Values side by side, those of groups among them.
    Many(Values),
    /// The targets that are up.
    Targets(Targets),
}

/// An expression that is one value, or a group of values.
enum Node {
    /// A constant, by its position among the leaves.
    Leaf(u32),
    /// A list among the values of a call.
    Group(Values),
    /// `pickrandom`.
    Random(Values),
    /// `pickrandomsample`.
    Sample(i64, Values),
    /// `pickhashed`.
    Hashed(Values),
    /// `pickwrandom`, `pickwhashed` and `picknamehashed`.
    Weighted(Weighted),
    /// `pickchashed`.
    Consistent(Consistent),
    /// `pickclosest`: the leaf of each candidate, and its address.
    Closest(Vec<(u32, IpAddr)>, Unknown),
    /// `view`.
    View(Vec<Rule>),
}

/// Expressions side by side, in the order in which they are evaluated.
struct Values {
    nodes: Vec<Node>,
    /// Whether all are constants, so that none need be evaluated but the one that is chosen.
    constant: bool,
}

/// Values with the ends of their shares, in the order in which they are walked.
struct Weighted {
    values: Values,
    shares: Vec<(u32, usize)>,
    sum: u32,
    by: By,
}

/// What decides in whose share a choice falls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Chance,
    Client,
    Name,
}

/// Constants, and what their points are made of. The points are kept by the worker, as those of the VM are.
struct Consistent {
    values: Values,
    entries: Vec<Entry>,
    fingerprint: u64,
}

/// Networks and what is answered to their clients.
struct Rule {
    /// `None` for one that matches nothing.
    networks: Vec<Option<IpNet>>,
    values: Values,
}

/// Targets in groups: the leaf and the address of each. Their checks are those of the plan, in the same order.
struct Targets {
    groups: Vec<Vec<Place>>,
    choice: Choice,
}

/// A target: its leaf, where it is, and the weight that the record gives it.
type Place = (u32, IpAddr, Option<u32>);

/// The leaves that a run comes to.
type Chosen = SmallVec<[u32; 4]>;
/// The RDATA that a run comes to, or why there is none.
pub(super) type Made<'p> = Result<SmallVec<[&'p [u8]; 4]>, &'p str>;

/// Stands for the empty text among leaves.
const EMPTY: u32 = u32::MAX;

impl Plan {
    /// Compiles an expression that answers for `covered`; `None` if it takes the VM.
    pub(super) fn compile(code: &[u8], covered: Rtype, policy: &Policy) -> Option<Self> {
        let literal = Literal::parse(code)?;
        let mut compiler = Compiler::new(covered, policy);
        let root = compiler.root(&literal)?;
        if root.records_max() > RECORDS_MAX {
            return None;
        }
        let Compiler { leaves, checks, calls, asks_for_name, .. } = compiler;
        let empty = one_to_rdata(b"", covered).map(Vec::into_boxed_slice).map_err(|error| error.to_string());
        Some(Self { root, leaves, empty, checks, calls, asks_for_name })
    }

    /// Every check it asks for.
    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether it looks at the name that is asked for.
    pub(super) fn asks_for_name(&self) -> bool {
        self.asks_for_name
    }

    /// Whether a run of the VM would stay within limits.
    pub(super) fn fits(&self, limits: &config::Lua) -> bool {
        let has_steps = limits.exec_limit == 0 || limits.exec_limit > STEPS_BESIDE_CALLS + self.calls;
        has_steps && self.root.records_max() <= limits.result_max
    }

    /// Runs it; `seats` are those of its checks.
    ///
    /// `None` if the VM is to tell what is wrong: only before anything was drawn, for the VM draws anew.
    pub(super) fn run(&self, context: &Context, seats: &[Seat]) -> Option<Made<'_>> {
        let chosen = match &self.root {
            Root::One(node) => node.evaluate(context),
            Root::Many(values) => values.evaluate(context),
            Root::Targets(targets) => targets.choose(context, seats)?,
        };
        Some(chosen.iter().map(|leaf| self.rdata(*leaf)).collect())
    }

    fn rdata(&self, leaf: u32) -> Result<&[u8], &str> {
        match leaf {
            EMPTY => self.empty.as_deref().map_err(String::as_str),
            leaf => Ok(&self.leaves[leaf as usize]),
        }
    }
}

/// A call in a script whose arguments are constants.
pub(super) struct ConstantCall {
    /// The octet of the code at which it stands.
    pub(super) at: usize,
    /// The checks it asks for; or what is wrong with it, where that is to be told.
    pub(super) checks: Result<Vec<Check>, String>,
}

/// Every call in a script that asks for checks and whose arguments are constants, whichever branch it stands in.
pub(super) fn constant_calls(code: &[u8], policy: &Policy) -> Vec<ConstantCall> {
    let names: Vec<&str> = CHECKING.iter().chain(&STRICT).copied().collect();
    let read = |(at, name, arguments): (usize, String, Vec<Literal>)| {
        if defines(code, &name) {
            return None;
        }
        let checks = match (&*name, &arguments[..]) {
            ("check", [table]) => read_options(std::slice::from_ref(table))
                .filter(|fields| fields.has("kind"))
                .map(|fields| read_check(&fields, policy, &mut |_| {}).map(|check| vec![check]))?,
            _ => targets_of(&name, &arguments, policy)?
                .map(|(choice, groups)| groups.into_iter().flatten().map(|target| choice.check(target.kind)).collect()),
        };
        let fault = |error| match error {
            CallError::Refused(why) if STRICT.contains(&&*name) => Some(format!("`{name}` {why}")),
            CallError::Refused(_) | CallError::Lua(_) => None,
        };
        let checks = match checks {
            Ok(checks) => Ok(checks),
            Err(error) => Err(fault(error)?),
        };
        Some(ConstantCall { at, checks })
    };
    calls_at(code, &names).into_iter().filter_map(read).collect()
}

impl Root {
    /// How many records it can come to.
    fn records_max(&self) -> usize {
        match self {
            Self::One(node) => node.records_max(),
            Self::Many(values) => values.nodes.iter().map(Node::records_max).sum(),
            Self::Targets(targets) => targets.groups.iter().map(Vec::len).max().unwrap_or(0),
        }
    }
}

impl Node {
    fn evaluate(&self, context: &Context) -> Chosen {
        match self {
            Self::Leaf(leaf) => SmallVec::from_elem(*leaf, 1),
            Self::Group(values) => values.evaluate(context),
            Self::Random(values) => values.choose(context, |context| draw(&mut *context.random(), values.nodes.len())),
            Self::Sample(count, values) => {
                values.choose_many(context, |context| draw_sample(&mut *context.random(), values.nodes.len(), *count))
            }
            Self::Hashed(values) => values.choose(context, |context| {
                // A plan has far fewer than 2^32 values.
                hash_address(context.client().ip()).checked_rem(values.nodes.len() as u32).map(|at| at as usize)
            }),
            Self::Weighted(weighted) => weighted.values.choose(context, |context| {
                let point = match weighted.by {
                    By::Chance => context.random().random_range(0..weighted.sum),
                    By::Client => hash_address(context.client().ip()) % weighted.sum,
                    By::Name => hash_name(context.qname().as_ref()) % weighted.sum,
                };
                let share = weighted.shares.partition_point(|(end, _)| *end <= point);
                weighted.shares.get(share).map(|(_, index)| *index)
            }),
            Self::Consistent(Consistent { values, entries, fingerprint }) => values.choose(context, |context| {
                let hash = hash_address(context.client().ip());
                context.rings().owner(*fingerprint, hash, || entries.clone())
            }),
            Self::Closest(candidates, unknown) => {
                let picked = pick_closest(context, candidates, |(_, address)| *address, *unknown);
                SmallVec::from_elem(picked.map_or(EMPTY, |(leaf, _)| leaf), 1)
            }
            Self::View(rules) => view(context, rules),
        }
    }

    /// Whether it is a value without a call in it.
    fn is_constant(&self) -> bool {
        match self {
            Self::Leaf(_) => true,
            Self::Group(values) => values.constant,
            Self::Random(_)
            | Self::Sample(..)
            | Self::Hashed(_)
            | Self::Weighted(_)
            | Self::Consistent(_)
            | Self::Closest(..)
            | Self::View(_) => false,
        }
    }

    /// Whether it is always one value. A group in a list that is returned as it stands is an error.
    fn is_single(&self) -> bool {
        let all_single = |values: &Values| values.nodes.iter().all(Self::is_single);
        match self {
            Self::Leaf(_) | Self::Closest(..) => true,
            Self::Group(_) | Self::Sample(..) => false,
            Self::Random(values) | Self::Hashed(values) => all_single(values),
            Self::Weighted(weighted) => all_single(&weighted.values),
            Self::Consistent(consistent) => all_single(&consistent.values),
            Self::View(rules) => rules.iter().all(|rule| all_single(&rule.values)),
        }
    }

    /// How many records it can come to.
    fn records_max(&self) -> usize {
        let most_of = |values: &Values| values.nodes.iter().map(Self::records_max).max().unwrap_or(1);
        match self {
            Self::Leaf(_) | Self::Closest(..) => 1,
            Self::Group(values) | Self::Sample(_, values) => values.nodes.len(),
            Self::Random(values) | Self::Hashed(values) => most_of(values),
            Self::Weighted(weighted) => most_of(&weighted.values),
            Self::Consistent(consistent) => most_of(&consistent.values),
            Self::View(rules) => rules.iter().map(|rule| most_of(&rule.values)).max().unwrap_or(1),
        }
    }
}

impl Values {
    /// Evaluates all, as a call evaluates its arguments; those of groups stand in their places.
    fn evaluate(&self, context: &Context) -> Chosen {
        self.nodes.iter().flat_map(|node| node.evaluate(context)).collect()
    }

    /// Evaluates each, as a call evaluates its arguments.
    fn evaluate_each(&self, context: &Context) -> Vec<Chosen> {
        self.nodes.iter().map(|node| node.evaluate(context)).collect()
    }

    /// Evaluates all, and then takes the one at the position that `choose` comes to.
    ///
    /// There always is one: a call with an empty list has no plan.
    fn choose(&self, context: &Context, choose: impl FnOnce(&Context) -> Option<usize>) -> Chosen {
        self.choose_many(context, choose)
    }

    /// Evaluates all, and then takes those at the positions that `choose` comes to.
    fn choose_many<P: IntoIterator<Item = usize>>(
        &self,
        context: &Context,
        choose: impl FnOnce(&Context) -> P,
    ) -> Chosen {
        if self.constant {
            let nodes = choose(context).into_iter().filter_map(|at| self.nodes.get(at));
            return nodes.flat_map(|node| node.evaluate(context)).collect();
        }
        let mut values = self.evaluate_each(context);
        // A position comes once at the most.
        choose(context).into_iter().filter_map(|at| values.get_mut(at).map(std::mem::take)).flatten().collect()
    }
}

/// Takes one value of the first rule whose networks hold the client; the empty text if none does.
fn view(context: &Context, rules: &[Rule]) -> Chosen {
    // The VM has evaluated every value of every rule before it looks at the first network.
    let constant = rules.iter().all(|rule| rule.values.constant);
    let mut evaluated: Vec<Vec<Chosen>> =
        if constant { Vec::new() } else { rules.iter().map(|rule| rule.values.evaluate_each(context)).collect() };
    let holds_client = |rule: &Rule| rule.networks.iter().flatten().any(|network| context.client_is_in(*network));
    let Some(at) = rules.iter().position(holds_client) else { return SmallVec::from_elem(EMPTY, 1) };
    let nodes = &rules[at].values.nodes;
    let Some(value) = draw(&mut *context.random(), nodes.len()) else { return SmallVec::from_elem(EMPTY, 1) };
    evaluated.get_mut(at).map_or_else(|| nodes[value].evaluate(context), |values| std::mem::take(&mut values[value]))
}

impl Targets {
    fn choose(&self, context: &Context, seats: &[Seat]) -> Option<Chosen> {
        let mut seats = seats.iter();
        let mut candidate = |(leaf, address, weight): &Place| {
            let seat = seats.next()?;
            seat.slot().touch();
            Some(Candidate::new(*leaf, *address, *weight, seat))
        };
        let mut candidates = |group: &Vec<_>| group.iter().map(&mut candidate).collect::<Option<Vec<_>>>();
        let groups: Vec<_> = self.groups.iter().map(&mut candidates).collect::<Option<_>>()?;
        self.choice.choose(context, &groups).ok()
    }
}

/// Literals on their way to a plan. Every step ends in `None` where the VM would have to tell an error.
struct Compiler<'p> {
    covered: Rtype,
    policy: &'p Policy,
    leaves: Vec<Box<[u8]>>,
    checks: Vec<Check>,
    calls: usize,
    asks_for_name: bool,
}

impl<'p> Compiler<'p> {
    fn new(covered: Rtype, policy: &'p Policy) -> Self {
        Self { covered, policy, leaves: Vec::new(), checks: Vec::new(), calls: 0, asks_for_name: false }
    }

    fn root(&mut self, literal: &Literal) -> Option<Root> {
        match literal {
            Literal::Table(items, named) if named.is_empty() => Some(Root::Many(self.singles(items)?)),
            Literal::Call(name, arguments) => match (&**name, &arguments[..]) {
                ("all", [Literal::Table(items, named)]) if named.is_empty() && !items.is_empty() => {
                    self.calls += 1;
                    Some(Root::Many(self.values(items)?))
                }
                (name, arguments) if CHECKING.contains(&name) => {
                    let asked = targets_of(name, arguments, self.policy)?.ok()?;
                    Some(Root::Targets(self.targets(asked)?))
                }
                _ => Some(Root::One(self.node(literal)?)),
            },
            Literal::Text(_) | Literal::Number(..) => Some(Root::One(self.node(literal)?)),
            Literal::Table(..) | Literal::Boolean(_) => None,
        }
    }

    /// Values that are no groups.
    fn singles(&mut self, items: &[Literal]) -> Option<Values> {
        self.values(items).filter(|values| values.nodes.iter().all(Node::is_single))
    }

    /// An item of a list: a value, or a group of values.
    fn item(&mut self, literal: &Literal) -> Option<Node> {
        match literal {
            Literal::Table(items, named) if named.is_empty() && !items.is_empty() => {
                Some(Node::Group(self.singles(items)?))
            }
            other => self.node(other),
        }
    }

    fn node(&mut self, literal: &Literal) -> Option<Node> {
        match literal {
            Literal::Text(text) | Literal::Number(_, text) => Some(Node::Leaf(self.leaf(text)?)),
            Literal::Boolean(_) | Literal::Table(..) => None,
            Literal::Call(name, arguments) => {
                self.calls += 1;
                match (&**name, &arguments[..]) {
                    ("pickrandom", [list]) => Some(Node::Random(self.list(list)?)),
                    ("pickhashed", [list]) => Some(Node::Hashed(self.list(list)?)),
                    ("pickrandomsample", [Literal::Number(count, _), list]) => {
                        let values = self.list(list).filter(|values| values.nodes.iter().all(Node::is_single))?;
                        // Lua cuts the fraction off.
                        Some(Node::Sample(*count as i64, values))
                    }
                    ("pickwrandom", [choices]) => self.weighted(choices, By::Chance),
                    ("pickwhashed", [choices]) => self.weighted(choices, By::Client),
                    ("picknamehashed", [choices]) => self.weighted(choices, By::Name),
                    ("pickchashed", [choices]) => self.consistent(choices),
                    ("pickclosest", [list, options @ ..]) => self.closest(list, options),
                    ("view", [Literal::Table(rules, named)]) if named.is_empty() => {
                        Some(Node::View(rules.iter().map(|rule| self.rule(rule)).collect::<Option<_>>()?))
                    }
                    _ => None,
                }
            }
        }
    }

    fn leaf(&mut self, text: &str) -> Option<u32> {
        if self.leaves.len() == LEAVES_MAX {
            return None;
        }
        self.leaves.push(one_to_rdata(text.as_bytes(), self.covered).ok()?.into_boxed_slice());
        u32::try_from(self.leaves.len() - 1).ok()
    }

    /// A table of values that is not empty.
    fn list(&mut self, literal: &Literal) -> Option<Values> {
        match literal {
            Literal::Table(items, named) if named.is_empty() && !items.is_empty() => self.values(items),
            _ => None,
        }
    }

    fn values(&mut self, items: &[Literal]) -> Option<Values> {
        let nodes: Vec<Node> = items.iter().map(|item| self.item(item)).collect::<Option<_>>()?;
        let constant = nodes.iter().all(Node::is_constant);
        Some(Values { nodes, constant })
    }

    fn weighted(&mut self, literal: &Literal, by: By) -> Option<Node> {
        let (weights, items) = read_choices(literal)?;
        let shares = shares(&weights)?;
        let sum = shares.last()?.0;
        self.asks_for_name |= by == By::Name;
        Some(Node::Weighted(Weighted { values: self.values(&items)?, shares, sum, by }))
    }

    /// A consistent choice among constants: what its values are known by must not come of another choice.
    fn consistent(&mut self, literal: &Literal) -> Option<Node> {
        let (weights, items) = read_choices(literal)?;
        let values = self.values(&items).filter(|values| values.constant && !items.is_empty())?;
        let texts = items.iter().map(first_text).collect::<Option<Vec<_>>>()?;
        let entry = |(weight, text): (u32, &str)| (weight, text.as_bytes().into());
        let entries: Vec<Entry> = weights.into_iter().zip(texts).map(entry).collect();
        let mut fingerprint = Fingerprint::new();
        entries.iter().for_each(|(weight, text)| fingerprint.add(*weight, text));
        Some(Node::Consistent(Consistent { values, entries, fingerprint: fingerprint.finish() }))
    }

    fn closest(&mut self, literal: &Literal, options: &[Literal]) -> Option<Node> {
        let unknown = Unknown::read(&read_options(options)?).ok()?;
        let Literal::Table(items, named) = literal else { return None };
        let candidate = |item: &Literal| {
            let Literal::Text(text) = item else { return None };
            let address = read_address(text)?.ip();
            Some((self.leaf(&address.to_string())?, address))
        };
        let candidates = items.iter().map(candidate).collect::<Option<Vec<_>>>()?;
        let is_plain = named.is_empty() && !candidates.is_empty();
        is_plain.then_some(Node::Closest(candidates, unknown))
    }

    fn rule(&mut self, literal: &Literal) -> Option<Rule> {
        let Literal::Table(parts, named) = literal else { return None };
        let [Literal::Table(networks, none), values] = &parts[..] else { return None };
        let read = |network: &Literal| match network {
            Literal::Text(text) => read_network(text),
            Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
        };
        let networks = networks.iter().map(read).collect::<Option<Vec<_>>>()?;
        let is_plain = named.is_empty() && none.is_empty();
        Some(Rule { networks, values: self.list(values).filter(|_| is_plain)? })
    }

    fn targets(&mut self, (choice, groups): (Choice, Groups)) -> Option<Targets> {
        self.calls += 1;
        let mut leaves = Vec::with_capacity(groups.len());
        for group in groups {
            let mut of_group = Vec::with_capacity(group.len());
            for target in group {
                of_group.push((self.leaf(&target.answer.to_string())?, target.place, target.weight));
                self.checks.push(choice.check(target.kind));
            }
            leaves.push(of_group);
        }
        let all_can_be_returned = leaves.iter().all(|group| group.len() <= RECORDS_MAX);
        all_can_be_returned.then_some(Targets { groups: leaves, choice })
    }
}

/// The weights and the values of a list of `{weight, value}`.
fn read_choices(literal: &Literal) -> Option<(Vec<u32>, Vec<Literal>)> {
    let Literal::Table(choices, named) = literal else { return None };
    let choice = |choice: &Literal| {
        let Literal::Table(pair, named) = choice else { return None };
        let [Literal::Number(_, weight), value] = &pair[..] else { return None };
        let weight = weight.parse::<u32>().ok().filter(|weight| *weight > 0 && named.is_empty())?;
        Some((weight, value.clone()))
    };
    choices.iter().map(choice).collect::<Option<_>>().filter(|_| named.is_empty())
}

/// The text of a constant, or of the first in a group.
fn first_text(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(text) | Literal::Number(_, text) => Some(text),
        Literal::Table(items, _) => items.first().and_then(first_text),
        Literal::Boolean(_) | Literal::Call(..) => None,
    }
}

/// Reads the arguments of a builtin that asks for checks: `None` if they are no constants, or none of their kind.
fn targets_of(name: &str, arguments: &[Literal], policy: &Policy) -> Option<Result<(Choice, Groups), CallError>> {
    let with = |call, options: &Options, groups| {
        Some(Choice::read(call, options, policy, &mut |_| {}).map(|choice| (choice, groups)))
    };
    match (name, arguments) {
        ("ifportup", [Literal::Number(port, _), targets, options @ ..]) => {
            let port = clamp_port(*port as i64);
            let groups = read_groups(targets, |target| port_check(target, port))?;
            with(Call::PortUp, &read_options(options)?, groups)
        }
        ("ifurlup", [Literal::Text(url), targets, options @ ..]) => {
            let options = read_options(options)?;
            let request = Arc::new(read_request(url.clone(), &options));
            with(Call::UrlUp, &options, read_groups(targets, |target| url_check(target, &request))?)
        }
        ("pickselfweighted", [Literal::Text(url), Literal::Table(items, named), options @ ..]) if named.is_empty() => {
            let options = read_options(options)?;
            let request = Arc::new(read_request(url.clone(), &options));
            let group = read_group(items, &|target| url_check(target, &request))?;
            with(Call::SelfWeighted, &options, vec![group])
        }
        ("ifurlextup", [Literal::Table(groups, named), options @ ..]) if named.is_empty() => {
            let options = read_options(options)?;
            let groups = groups.iter().map(|group| read_urls(group, &options)).collect::<Option<_>>()?;
            with(Call::UrlExtUp, &options, groups)
        }
        ("ifup", [kind @ Literal::Table(..), targets, options @ ..]) => {
            let kind = read_options(std::slice::from_ref(kind)).filter(|kind| kind.has("kind"))?;
            let (targets, options) = (read_items(targets)?, read_options(options)?);
            Some(read_up(&kind, &targets, &options, policy, &mut |_| {}))
        }
        _ => None,
    }
}

/// Reads a list of texts and tables of named values, as one group, or a list of such lists.
fn read_items(literal: &Literal) -> Option<Vec<Vec<Item>>> {
    let items = group_of(literal)?;
    let is_group = |item: &Literal| matches!(item, Literal::Table(_, named) if named.is_empty());
    let read = |item: &Literal| match item {
        Literal::Text(text) | Literal::Number(_, text) => Some(Item::Text(text.clone())),
        Literal::Table(items, named) if items.is_empty() && !named.is_empty() => {
            read_options(std::slice::from_ref(item)).map(Item::Fields)
        }
        Literal::Table(..) | Literal::Boolean(_) | Literal::Call(..) => None,
    };
    if !items.iter().any(is_group) {
        return Some(vec![items.iter().map(read).collect::<Option<_>>()?]);
    }
    items.iter().map(|group| group_of(group)?.iter().map(read).collect()).collect()
}

/// Reads a list of addresses, as one group, or a list of such lists.
fn read_groups(literal: &Literal, kind: impl Fn(SocketAddr) -> Kind) -> Option<Groups> {
    let items = group_of(literal)?;
    if items.iter().all(|item| matches!(item, Literal::Text(_))) {
        return Some(vec![read_group(items, &kind)?]);
    }
    items.iter().map(|group| read_group(group_of(group)?, &kind)).collect()
}

fn read_group(items: &[Literal], kind: &impl Fn(SocketAddr) -> Kind) -> Option<Vec<Target>> {
    let read = |item: &Literal| match item {
        Literal::Text(text) => read_target(text).ok().map(|target| Target::at(target.ip(), kind(target))),
        Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
    };
    items.iter().map(read).collect()
}

/// Reads a table from addresses to URLs.
fn read_urls(literal: &Literal, options: &Options) -> Option<Vec<Target>> {
    let Literal::Table(items, named) = literal else { return None };
    // Of two fields with one name the later holds.
    let urls: BTreeMap<&str, &Literal> = named.iter().map(|(address, url)| (&**address, url)).collect();
    let read = |(address, url): (&str, &Literal)| match url {
        Literal::Text(url) => {
            let request = read_request(url.clone(), options);
            Some(Target::at(read_target(address).ok()?.ip(), own_url_check(request)))
        }
        Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
    };
    if items.is_empty() { urls.into_iter().map(read).collect() } else { None }
}

/// The targets of one group.
fn group_of(literal: &Literal) -> Option<&[Literal]> {
    match literal {
        Literal::Table(items, named) if named.is_empty() => Some(items),
        _ => None,
    }
}

/// The options of a call: none, or one table of named literals.
fn read_options(arguments: &[Literal]) -> Option<Options> {
    let named = match arguments {
        [] => return Some(Options::default()),
        [Literal::Table(items, named)] if items.is_empty() => named,
        _ => return None,
    };
    let text_of = |literal: &Literal| match literal {
        Literal::Text(text) | Literal::Number(_, text) => Some(text.clone()),
        Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
    };
    let setting = |literal: &Literal| match literal {
        Literal::Text(text) => Some(Setting::Text(text.clone())),
        Literal::Number(number, text) => Some(Setting::Number(*number, text.clone())),
        Literal::Boolean(boolean) => Some(Setting::Boolean(*boolean)),
        Literal::Table(items, named) if items.is_empty() || named.is_empty() => {
            let listed = items.iter().zip(1..).map(|(value, at): (_, usize)| (at.to_string(), value));
            let named = named.iter().map(|(name, value)| (name.clone(), value));
            let texts = listed.chain(named).map(|(name, value)| Some((name, text_of(value)?)));
            Some(Setting::Texts(texts.collect::<Option<_>>()?))
        }
        Literal::Table(..) | Literal::Call(..) => None,
    };
    // Of two fields with one name the later holds.
    let settings = named.iter().rev().map(|(name, value)| Some((name.clone(), setting(value)?)));
    Some(Options::of(settings.collect::<Option<_>>()?))
}
