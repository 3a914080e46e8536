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

use super::api::arguments::{Options, Setting, read_address, read_network};
use super::api::geo::{Unknown, pick_closest};
use super::api::hash::hash_address;
use super::api::health::{Call, Candidate, Choice, clamp_port, own_url_check, port_check, read_request, url_check};
use super::api::pick::{draw, shares};
use super::context::Context;
use super::literal::{Literal, calls};
use super::value::one_to_rdata;
use crate::config::{self, RECORDS_MAX};
use crate::dns::Rtype;
use crate::health::table::Slot;
use crate::health::{Check, Kind};

/// The most values a plan may hold; a longer list is left to the VM and its budget.
const LEAVES_MAX: usize = 4096;
/// Steps that every run takes beside its calls: the first, and the return.
const STEPS_BESIDE_CALLS: usize = 2;

/// The builtins that plans stand in for. Where a library gives one of these names another meaning there are no plans.
pub(super) const BUILTINS: [&str; 11] = [
    "all",
    "ifportup",
    "ifurlextup",
    "ifurlup",
    "pickclosest",
    "pickhashed",
    "pickrandom",
    "pickselfweighted",
    "pickwhashed",
    "pickwrandom",
    "view",
];

/// Those of them that ask for checks.
const CHECKING: [&str; 4] = ["ifportup", "ifurlup", "ifurlextup", "pickselfweighted"];

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
}

/// The outermost expression.
enum Root {
    /// One value.
    One(Node),
    /// A list of values.
    Many(Values),
    /// The targets that are up.
    Targets(Targets),
}

/// An expression that is one value.
enum Node {
    /// A constant, by its position among the leaves.
    Leaf(u32),
    /// `pickrandom`.
    Random(Values),
    /// `pickhashed`.
    Hashed(Values),
    /// `pickwrandom` and `pickwhashed`.
    Weighted(Weighted),
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
    hashed: bool,
}

/// Networks and what is answered to their clients.
struct Rule {
    /// `None` for one that matches nothing.
    networks: Vec<Option<IpNet>>,
    values: Values,
}

/// Targets in groups: the leaf and the address of each. Their checks are those of the plan, in the same order.
struct Targets {
    groups: Vec<Vec<(u32, IpAddr)>>,
    choice: Choice,
}

/// The leaves that a run comes to.
type Chosen = SmallVec<[u32; 4]>;
/// The RDATA that a run comes to, or why there is none.
pub(super) type Made<'p> = Result<SmallVec<[&'p [u8]; 4]>, &'p str>;

/// Stands for the empty text among leaves.
const EMPTY: u32 = u32::MAX;

impl Plan {
    /// Compiles an expression that answers for `covered`; `None` if it takes the VM.
    pub(super) fn compile(code: &[u8], covered: Rtype) -> Option<Self> {
        let literal = Literal::parse(code)?;
        let mut compiler = Compiler { covered, leaves: Vec::new(), checks: Vec::new(), calls: 0 };
        let root = compiler.root(&literal)?;
        let Compiler { leaves, checks, calls, .. } = compiler;
        let empty = one_to_rdata(b"", covered).map(Vec::into_boxed_slice).map_err(|error| error.to_string());
        Some(Self { root, leaves, empty, checks, calls })
    }

    /// Every check it asks for.
    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether a run of the VM would stay within limits.
    pub(super) fn fits(&self, limits: &config::Lua) -> bool {
        let has_steps = limits.exec_limit == 0 || limits.exec_limit > STEPS_BESIDE_CALLS + self.calls;
        has_steps && self.root.records_max() <= limits.result_max
    }

    /// Runs it; `slots` are those of its checks.
    ///
    /// `None` if the VM is to tell what is wrong: only before anything was drawn, for the VM draws anew.
    pub(super) fn run(&self, context: &Context, slots: &[Arc<Slot>]) -> Option<Made<'_>> {
        let chosen = match &self.root {
            Root::One(node) => SmallVec::from_elem(node.evaluate(context), 1),
            Root::Many(values) => values.evaluate(context),
            Root::Targets(targets) => targets.choose(context, slots)?,
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

/// The checks of every call in a script whose arguments are constants, whichever branch it stands in.
pub(super) fn constant_checks(code: &[u8]) -> Vec<Check> {
    // Any text is a TXT, so that only targets and options can keep a call from being read.
    let mut compiler = Compiler { covered: Rtype::TXT, leaves: Vec::new(), checks: Vec::new(), calls: 0 };
    for call in calls(code, &CHECKING) {
        let before = compiler.checks.len();
        if compiler.root(&call).is_none() {
            // A call that fails asks for no check, however many of its targets are sound.
            compiler.checks.truncate(before);
        }
        compiler.leaves.clear();
    }
    compiler.checks
}

impl Root {
    /// How many records it can come to.
    fn records_max(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(values) => values.nodes.len(),
            Self::Targets(targets) => targets.groups.iter().map(Vec::len).max().unwrap_or(0),
        }
    }
}

impl Node {
    fn evaluate(&self, context: &Context) -> u32 {
        match self {
            Self::Leaf(leaf) => *leaf,
            Self::Random(values) => values.choose(context, |context| draw(&mut *context.random(), values.nodes.len())),
            Self::Hashed(values) => values.choose(context, |context| {
                // A plan has far fewer than 2^32 values.
                hash_address(context.client().ip()).checked_rem(values.nodes.len() as u32).map(|at| at as usize)
            }),
            Self::Weighted(weighted) => weighted.values.choose(context, |context| {
                let point = if weighted.hashed {
                    hash_address(context.client().ip()) % weighted.sum
                } else {
                    context.random().random_range(0..weighted.sum)
                };
                let share = weighted.shares.partition_point(|(end, _)| *end <= point);
                weighted.shares.get(share).map(|(_, index)| *index)
            }),
            Self::Closest(candidates, unknown) => {
                pick_closest(context, candidates, |(_, address)| *address, *unknown).map_or(EMPTY, |(leaf, _)| leaf)
            }
            Self::View(rules) => view(context, rules),
        }
    }
}

impl Values {
    /// Evaluates all, as a call evaluates its arguments.
    fn evaluate(&self, context: &Context) -> Chosen {
        self.nodes.iter().map(|node| node.evaluate(context)).collect()
    }

    /// Evaluates all, and then takes the one at the position that `choose` comes to.
    ///
    /// There always is one: a call with an empty list has no plan.
    fn choose(&self, context: &Context, choose: impl FnOnce(&Context) -> Option<usize>) -> u32 {
        if self.constant {
            let node = choose(context).and_then(|at| self.nodes.get(at));
            return node.map_or(EMPTY, |node| node.evaluate(context));
        }
        let values = self.evaluate(context);
        choose(context).and_then(|at| values.get(at).copied()).unwrap_or(EMPTY)
    }
}

/// Takes one value of the first rule whose networks hold the client; the empty text if none does.
fn view(context: &Context, rules: &[Rule]) -> u32 {
    // The VM has evaluated every value of every rule before it looks at the first network.
    let constant = rules.iter().all(|rule| rule.values.constant);
    let evaluated: Vec<Chosen> =
        if constant { Vec::new() } else { rules.iter().map(|rule| rule.values.evaluate(context)).collect() };
    let holds_client = |rule: &Rule| rule.networks.iter().flatten().any(|network| context.client_is_in(*network));
    let Some(at) = rules.iter().position(holds_client) else { return EMPTY };
    let nodes = &rules[at].values.nodes;
    let Some(value) = draw(&mut *context.random(), nodes.len()) else { return EMPTY };
    evaluated.get(at).map_or_else(|| nodes[value].evaluate(context), |values| values[value])
}

impl Targets {
    fn choose(&self, context: &Context, slots: &[Arc<Slot>]) -> Option<Chosen> {
        let mut slots = slots.iter();
        let mut candidate = |(leaf, address): &(u32, IpAddr)| {
            let slot = slots.next()?;
            slot.touch();
            Some(Candidate::new(*leaf, *address, slot))
        };
        let mut candidates = |group: &Vec<_>| group.iter().map(&mut candidate).collect::<Option<Vec<_>>>();
        let groups: Vec<_> = self.groups.iter().map(&mut candidates).collect::<Option<_>>()?;
        self.choice.choose(context, &groups).ok()
    }
}

/// Literals on their way to a plan. Every step ends in `None` where the VM would have to tell an error.
struct Compiler {
    covered: Rtype,
    leaves: Vec<Box<[u8]>>,
    checks: Vec<Check>,
    calls: usize,
}

impl Compiler {
    fn root(&mut self, literal: &Literal) -> Option<Root> {
        match literal {
            Literal::Table(items, named) if named.is_empty() => Some(Root::Many(self.records(items)?)),
            Literal::Call(name, arguments) => match (&**name, &arguments[..]) {
                ("all", [Literal::Table(items, named)]) if named.is_empty() && !items.is_empty() => {
                    self.calls += 1;
                    Some(Root::Many(self.records(items)?))
                }
                (name, arguments) if CHECKING.contains(&name) => {
                    Some(Root::Targets(self.targets(targets_of(name, arguments)?)?))
                }
                _ => Some(Root::One(self.node(literal)?)),
            },
            Literal::Text(_) | Literal::Number(..) => Some(Root::One(self.node(literal)?)),
            Literal::Table(..) | Literal::Boolean(_) => None,
        }
    }

    /// Values that are all returned; the VM tells it when they are too many.
    fn records(&mut self, items: &[Literal]) -> Option<Values> {
        if items.len() > RECORDS_MAX { None } else { self.values(items) }
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
                    ("pickwrandom", [choices]) => self.weighted(choices, false),
                    ("pickwhashed", [choices]) => self.weighted(choices, true),
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
        let nodes: Vec<Node> = items.iter().map(|item| self.node(item)).collect::<Option<_>>()?;
        let constant = nodes.iter().all(|node| matches!(node, Node::Leaf(_)));
        Some(Values { nodes, constant })
    }

    fn weighted(&mut self, literal: &Literal, hashed: bool) -> Option<Node> {
        let Literal::Table(choices, named) = literal else { return None };
        let (mut weights, mut items) = (Vec::new(), Vec::new());
        for choice in choices {
            let Literal::Table(pair, named) = choice else { return None };
            let [Literal::Number(_, weight), value] = &pair[..] else { return None };
            weights.push(weight.parse::<u32>().ok().filter(|weight| *weight > 0 && named.is_empty())?);
            items.push(value.clone());
        }
        let shares = shares(&weights).filter(|_| named.is_empty())?;
        let sum = shares.last()?.0;
        Some(Node::Weighted(Weighted { values: self.values(&items)?, shares, sum, hashed }))
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
            for (target, kind) in group {
                of_group.push((self.leaf(&target.ip().to_string())?, target.ip()));
                self.checks.push(choice.check(kind));
            }
            leaves.push(of_group);
        }
        let all_can_be_returned = leaves.iter().all(|group| group.len() <= RECORDS_MAX);
        all_can_be_returned.then_some(Targets { groups: leaves, choice })
    }
}

/// The targets of a call, in groups, with what is asked of each.
type Groups = Vec<Vec<(SocketAddr, Kind)>>;

/// Reads the arguments of a builtin that asks for checks.
fn targets_of(name: &str, arguments: &[Literal]) -> Option<(Choice, Groups)> {
    let choice = |call, options: &Options| Choice::read(call, options, &mut |_| {}).ok();
    match (name, arguments) {
        ("ifportup", [Literal::Number(port, _), targets, options @ ..]) => {
            let port = clamp_port(*port as i64);
            let choice = choice(Call::PortUp, &read_options(options)?)?;
            Some((choice, read_groups(targets, |target| port_check(target, port))?))
        }
        ("ifurlup", [Literal::Text(url), targets, options @ ..]) => {
            let options = read_options(options)?;
            let request = Arc::new(read_request(url.clone(), &options));
            Some((choice(Call::UrlUp, &options)?, read_groups(targets, |target| url_check(target, &request))?))
        }
        ("pickselfweighted", [Literal::Text(url), Literal::Table(items, named), options @ ..]) if named.is_empty() => {
            let options = read_options(options)?;
            let request = Arc::new(read_request(url.clone(), &options));
            let group = read_group(items, &|target| url_check(target, &request))?;
            Some((choice(Call::SelfWeighted, &options)?, vec![group]))
        }
        ("ifurlextup", [Literal::Table(groups, named), options @ ..]) if named.is_empty() => {
            let options = read_options(options)?;
            let groups = groups.iter().map(|group| read_urls(group, &options)).collect::<Option<_>>()?;
            Some((choice(Call::UrlExtUp, &options)?, groups))
        }
        _ => None,
    }
}

/// Reads a list of addresses, as one group, or a list of such lists.
fn read_groups(literal: &Literal, kind: impl Fn(SocketAddr) -> Kind) -> Option<Groups> {
    let items = group_of(literal)?;
    if items.iter().all(|item| matches!(item, Literal::Text(_))) {
        return Some(vec![read_group(items, &kind)?]);
    }
    items.iter().map(|group| read_group(group_of(group)?, &kind)).collect()
}

fn read_group(items: &[Literal], kind: &impl Fn(SocketAddr) -> Kind) -> Option<Vec<(SocketAddr, Kind)>> {
    let read = |item: &Literal| match item {
        Literal::Text(text) => read_address(text).map(|target| (target, kind(target))),
        Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) | Literal::Call(..) => None,
    };
    items.iter().map(read).collect()
}

/// Reads a table from addresses to URLs.
fn read_urls(literal: &Literal, options: &Options) -> Option<Vec<(SocketAddr, Kind)>> {
    let Literal::Table(items, named) = literal else { return None };
    // Of two fields with one name the later holds.
    let urls: BTreeMap<&str, &Literal> = named.iter().map(|(address, url)| (&**address, url)).collect();
    let read = |(address, url): (&str, &Literal)| match url {
        Literal::Text(url) => Some((read_address(address)?, own_url_check(url.clone(), options))),
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
        Literal::Table(items, named) if items.is_empty() => {
            let texts = named.iter().map(|(name, value)| Some((name.clone(), text_of(value)?)));
            Some(Setting::Texts(texts.collect::<Option<_>>()?))
        }
        Literal::Table(..) | Literal::Call(..) => None,
    };
    // Of two fields with one name the later holds.
    let settings = named.iter().rev().map(|(name, value)| Some((name.clone(), setting(value)?)));
    Some(Options::of(settings.collect::<Option<_>>()?))
}
