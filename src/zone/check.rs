//! Is the zone sound: one SOA, NS at the apex, CNAME alone, records in zone, glue.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::findings::Findings;
use super::{Data, Record};
use crate::diagnostic::{Diagnostic, Severity};
use crate::dns::{Name, NameRef, Rtype, rdata};

/// Says what is wrong with the records of the zone at `apex`, the text having been read without error.
///
/// An error makes answers wrong; a warning is what a careful operator wants to know. What LUA records
/// answer is not known, so they get the benefit of the doubt. Takes time about linear in the records.
pub fn check(apex: &Name, records: &[Record]) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let nodes = Nodes::collect(apex.as_ref(), records, &mut findings);
    check_apex(&nodes, &mut findings);
    for node in &nodes.list {
        check_alias(&nodes, node, &mut findings);
        check_rrsets(&nodes, node, &mut findings);
        check_sizes(&nodes, node, &mut findings);
        check_wildcard(&nodes, node, &mut findings);
        check_visible(&nodes, node, &mut findings);
        check_targets(&nodes, node, &mut findings);
    }
    findings.sorted()
}

/// The owners of a zone, with their records.
struct Nodes<'r> {
    apex: NameRef<'r>,
    records: &'r [Record],
    list: Vec<Node<'r>>,
    /// Where in `list` an owner is.
    index: HashMap<NameRef<'r>, usize>,
    /// The records in the order of their nodes; nodes have ranges of it.
    order: Vec<u32>,
    /// Whether a name is delegated or has a DNAME, so that names below need a look.
    has_cuts: bool,
    /// Whether each node is named as a target by an NS record.
    is_name_server: Vec<bool>,
}

/// One owner and what its records are, by kind.
struct Node<'r> {
    owner: NameRef<'r>,
    start: usize,
    end: usize,
    kinds: Kinds,
}

/// Which kinds of records a name has, LUA records counted for themselves.
#[derive(Clone, Copy, Default)]
struct Kinds {
    ns: bool,
    cname: bool,
    dname: bool,
    address: bool,
    lua_ns: bool,
    lua_cname: bool,
    lua_address: bool,
}

/// What a name that a record points to has to offer.
enum Target {
    /// It is outside of the zone, or delegated: others know.
    Elsewhere,
    /// It has addresses, or something that may answer with some.
    Address,
    /// It is an alias.
    Alias,
    /// It exists without addresses.
    NoAddress,
    /// It does not exist.
    Missing,
}

impl<'r> Nodes<'r> {
    /// Groups the records by owner; tells of those outside the zone and leaves them out.
    fn collect(apex: NameRef<'r>, records: &'r [Record], findings: &mut Findings) -> Self {
        let mut index = HashMap::with_capacity(records.len() / 2);
        let mut list: Vec<Node<'r>> = Vec::new();
        // The node of each record, for those in the zone.
        let mut of_record: Vec<Option<usize>> = Vec::with_capacity(records.len());
        for record in records {
            let owner = record.owner.as_ref();
            // Records of one owner mostly stand together.
            let at = match list.last() {
                Some(last) if last.owner == owner => list.len() - 1,
                _ if !owner.is_in(apex) => {
                    findings.push_with(Severity::Error, || out_of_zone(record, apex));
                    of_record.push(None);
                    continue;
                }
                _ => *index.entry(owner).or_insert_with(|| {
                    list.push(Node { owner, start: 0, end: 0, kinds: Kinds::default() });
                    list.len() - 1
                }),
            };
            list[at].end += 1;
            list[at].kinds.add(record);
            of_record.push(Some(at));
        }
        let mut start = 0;
        for node in &mut list {
            let count = node.end;
            (node.start, node.end) = (start, start);
            start += count;
        }
        let mut order = vec![0; start];
        for (record, node) in of_record.iter().enumerate() {
            if let Some(node) = node {
                let node = &mut list[*node];
                order[node.end] = u32::try_from(record).expect("records of a zone are fewer than 2^32");
                node.end += 1;
            }
        }
        let has_cuts = list.iter().any(|node| node.kinds.dname || (node.kinds.ns && node.owner != apex));
        let mut is_name_server = vec![false; list.len()];
        for record in records.iter().filter(|record| record.rtype == Rtype::NS) {
            if let Some(&at) = target(record).and_then(|name| index.get(&name)) {
                is_name_server[at] = true;
            }
        }
        Self { apex, records, list, index, order, has_cuts, is_name_server }
    }

    /// The node of `name`, if it has records.
    fn get(&self, name: NameRef<'_>) -> Option<&Node<'r>> {
        self.index.get(&name).map(|&at| &self.list[at])
    }

    /// The records of `node` in the order of the text.
    fn records_of(&self, node: &Node<'r>) -> impl Iterator<Item = &'r Record> + Clone + use<'_, 'r> {
        self.order[node.start..node.end].iter().map(|&at| &self.records[at as usize])
    }

    /// The names above `name`, from its parent to the apex.
    fn ancestors<'n>(&self, name: NameRef<'n>) -> impl Iterator<Item = NameRef<'n>> + use<'_, 'n, 'r> {
        let mut below = name;
        std::iter::from_fn(move || {
            below = if below == self.apex { None } else { below.parent() }?;
            Some(below)
        })
    }

    /// The highest delegation at or above `name`, which hides what is below it.
    fn cut_above(&self, name: NameRef<'_>) -> Option<&Node<'r>> {
        if !self.has_cuts {
            return None;
        }
        let is_cut = |node: &&Node<'r>| node.kinds.ns && node.owner != self.apex;
        let highest = self.ancestors(name).filter_map(|above| self.get(above).filter(is_cut)).last();
        highest.or_else(|| self.get(name).filter(is_cut))
    }

    /// A name above `name` that has a DNAME.
    fn dname_above(&self, name: NameRef<'_>) -> Option<&Node<'r>> {
        if !self.has_cuts {
            return None;
        }
        self.ancestors(name).filter_map(|above| self.get(above)).find(|node| node.kinds.dname)
    }

    /// What `name` has to offer to a record that points to it.
    fn target(&self, name: NameRef<'_>) -> Target {
        if !name.is_in(self.apex) || self.cut_above(name).is_some() {
            return Target::Elsewhere;
        }
        if self.dname_above(name).is_some() {
            return Target::Alias;
        }
        if let Some(node) = self.get(name) {
            return node.kinds.target();
        }
        // A wildcard higher than the closest encloser would not count, but a warning too few does no harm.
        let wildcard = self.ancestors(name).find_map(|above| self.get(above.prepend(b"\x01*").ok()?.as_ref()));
        wildcard.map_or(Target::Missing, |node| node.kinds.target())
    }
}

impl Kinds {
    /// Counts a record in.
    fn add(&mut self, record: &Record) {
        match (record.rtype, answers(record)) {
            (Rtype::LUA, Rtype::NS) => self.lua_ns = true,
            (Rtype::LUA, Rtype::CNAME) => self.lua_cname = true,
            (Rtype::LUA, Rtype::A | Rtype::AAAA) => self.lua_address = true,
            (Rtype::NS, _) => self.ns = true,
            (Rtype::CNAME, _) => self.cname = true,
            (Rtype::DNAME, _) => self.dname = true,
            (Rtype::A | Rtype::AAAA, _) => self.address = true,
            _ => {}
        }
    }

    /// What a name of these kinds has to offer to a record that points to it.
    fn target(self) -> Target {
        if self.cname {
            Target::Alias
        } else if self.address || self.lua_address {
            Target::Address
        } else if self.lua_cname {
            Target::Alias
        } else {
            Target::NoAddress
        }
    }
}

/// The type a record is of to those who ask: for a LUA record, the one it answers for.
fn answers(record: &Record) -> Rtype {
    match &record.data {
        Data::Wire(_) => record.rtype,
        Data::Lua(data) => data.covered,
    }
}

/// The name a static record points to, if it is of a type that points to addresses.
fn target(record: &Record) -> Option<NameRef<'_>> {
    match &record.data {
        Data::Wire(wire) => rdata::target(record.rtype, wire),
        Data::Lua(_) => None,
    }
}

/// An error at a record, with advice.
fn error(record: &Record, message: String, help: impl Into<String>) -> Diagnostic {
    Diagnostic::error(record.position.clone(), message).help(help)
}

/// A warning at a record, with advice.
fn warning(record: &Record, message: String, help: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(record.position.clone(), message).help(help)
}

/// What to say of a record that is not of this zone.
fn out_of_zone(record: &Record, apex: NameRef<'_>) -> Diagnostic {
    error(
        record,
        format!("`{}` is not in the zone `{apex}`", record.owner),
        "remove the record, or correct the name or `$ORIGIN`; a name with a final dot is absolute",
    )
}

/// One SOA, and name servers (RFC 1034 section 4.2.1, RFC 2181 section 6.1).
fn check_apex(nodes: &Nodes<'_>, findings: &mut Findings) {
    let apex = nodes.apex;
    let at_apex = || nodes.get(apex).into_iter().flat_map(|node| nodes.records_of(node));
    let mut soas = at_apex().filter(|record| record.rtype == Rtype::SOA);
    match soas.next() {
        None => {
            findings.push(Diagnostic::error(None, format!("the zone `{apex}` has no SOA record")).help(format!(
                "begin it with `{apex} 3600 IN SOA ns1.{apex} hostmaster.{apex} 1 7200 3600 1209600 300`"
            )))
        }
        Some(first) => {
            // A SOA that stands twice the same, as in a saved transfer, is a duplicate like others.
            for other in soas.filter(|soa| !is_duplicate(first, soa)) {
                let message = format!("`{apex}` has a second SOA record; the first is at {}", first.position);
                findings.push(error(other, message, "keep one"));
            }
        }
    }
    for record in nodes.records.iter().filter(|record| record.rtype == Rtype::SOA) {
        let owner = record.owner.as_ref();
        if owner != apex && owner.is_in(apex) {
            let message = format!("`{owner}` has a SOA record and is not the apex `{apex}`");
            findings.push_with(Severity::Error, || {
                error(record, message, "remove it; a zone of its own goes into a file of its own, with NS records here")
            });
        }
    }
    if !nodes.get(apex).is_some_and(|node| node.kinds.ns || node.kinds.lua_ns) {
        findings.push(
            Diagnostic::error(None, format!("the zone `{apex}` has no NS record"))
                .help(format!("name its servers, as in `{apex} 3600 IN NS ns1.{apex}`")),
        );
    }
}

/// A CNAME stands alone, a DNAME is one (RFC 1034 section 3.6.2, RFC 6672 section 2.4).
fn check_alias(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    let owner = node.owner;
    if node.kinds.cname {
        let first = first_of(nodes, node, Rtype::CNAME);
        let beside = nodes.records_of(node).find(|record| !may_stand_beside_cname(record));
        if let Some(beside) = beside {
            let what = match beside.rtype {
                Rtype::LUA => format!("LUA records for {}", answers(beside)),
                rtype => format!("{rtype} records"),
            };
            let help = if beside.rtype == Rtype::LUA {
                "keep one of them; a `LUA CNAME` may stand beside others and answer nothing when they are to be used"
            } else if owner == nodes.apex {
                "an apex cannot be an alias; let a LUA record answer with the addresses of the target"
            } else {
                "keep the CNAME or the other records (RFC 1034 section 3.6.2)"
            };
            let message = format!("`{owner}` has a CNAME beside {what}, as at {}", beside.position);
            findings.push_with(Severity::Error, || error(first, message, help));
        }
    }
    for rtype in [Rtype::CNAME, Rtype::DNAME] {
        let has = if rtype == Rtype::CNAME { node.kinds.cname } else { node.kinds.dname };
        if !has {
            continue;
        }
        let first = first_of(nodes, node, rtype);
        let mut others = nodes.records_of(node).filter(|record| record.rtype == rtype).skip(1);
        if let Some(other) = others.find(|record| !is_duplicate(first, record)) {
            let message = format!("`{owner}` has more than one {rtype}; the first is at {}", first.position);
            findings.push_with(Severity::Error, || {
                error(other, message, "keep one; to choose between targets, let a `LUA CNAME` answer")
            });
        }
    }
    if node.kinds.dname && node.kinds.ns && owner != nodes.apex {
        let first = first_of(nodes, node, Rtype::DNAME);
        let message = format!("`{owner}` has a DNAME beside NS records");
        findings.push_with(Severity::Error, || {
            error(
                first,
                message,
                "keep one: the NS records delegate the name, the DNAME does not (RFC 6672 section 2.4)",
            )
        });
    }
}

/// The first record of a static type, which the node is known to have.
fn first_of<'r>(nodes: &Nodes<'r>, node: &Node<'r>, rtype: Rtype) -> &'r Record {
    nodes.records_of(node).find(|record| record.rtype == rtype).expect("the kinds of a node say what it has")
}

/// Whether a static CNAME and this record may be of one name; DNSSEC's own may (RFC 4034 section 3, RFC 2535).
fn may_stand_beside_cname(record: &Record) -> bool {
    match record.rtype {
        Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC | Rtype::KEY => true,
        // A configuration record answers nothing.
        Rtype::LUA => answers(record) == Rtype::LUA,
        _ => false,
    }
}

/// No record twice, one TTL for each RRset (RFC 2181 sections 5 and 5.2).
fn check_rrsets(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    if node.end - node.start < 2 {
        return;
    }
    let mut records: Vec<&Record> = nodes.records_of(node).collect();
    // Stable, so that of equal records the first in the text stays the first.
    records.sort_by_cached_key(|record| (answers(record), record.rtype, comparable(record)));
    for pair in records.windows(2) {
        if is_duplicate(pair[0], pair[1]) {
            findings.push_with(Severity::Warning, || {
                let (owner, rtype) = (node.owner, pair[1].rtype);
                let message = format!("`{owner}` has the same {rtype} record at {}", pair[0].position);
                warning(pair[1], message, "remove one; it is served once")
            });
        }
    }
    for rrset in records.chunk_by(|one, other| answers(one) == answers(other)) {
        // A signature has the TTL of what it signs (RFC 4034 section 3); configuration is in no answer.
        if matches!(answers(rrset[0]), Rtype::RRSIG | Rtype::LUA) {
            continue;
        }
        let lowest = rrset.iter().map(|record| record.ttl).min().expect("a chunk is not empty");
        if let Some(higher) = rrset.iter().find(|record| record.ttl > lowest) {
            findings.push_with(Severity::Warning, || {
                let (owner, shown, ttl) = (node.owner, answers(higher), higher.ttl);
                let message =
                    format!("the {shown} records of `{owner}` have different TTLs, {ttl} here and {lowest} elsewhere");
                warning(higher, message, format!("write one TTL for all; {lowest} is used (RFC 2181 section 5.2)"))
            });
        }
    }
}

/// No RRset that is too large for any message: TC is all the answer it could have.
fn check_sizes(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    // Type, class, TTL, length, and a pointer to the owner.
    const RECORD_OCTETS_MIN: usize = 12;
    const POINTER_OCTETS: usize = 2;
    const MESSAGE_OCTETS_MAX: usize = 65_535;
    let octets = |record: &Record| match &record.data {
        Data::Wire(wire) => RECORD_OCTETS_MIN + wire.len(),
        Data::Lua(_) => 0,
    };
    if nodes.records_of(node).map(octets).sum::<usize>() <= MESSAGE_OCTETS_MAX {
        return;
    }
    // Names may become pointers; what is left is the least that the record takes.
    let saved = |record: &Record| match &record.data {
        Data::Wire(wire) => {
            rdata::names_in(record.rtype, wire).map(|name| name.len().saturating_sub(POINTER_OCTETS)).sum()
        }
        Data::Lua(_) => 0,
    };
    let mut rtypes: Vec<Rtype> = nodes.records_of(node).map(|record| record.rtype).collect();
    rtypes.sort_unstable();
    rtypes.dedup();
    for rtype in rtypes {
        let of_type = nodes.records_of(node).filter(|record| record.rtype == rtype);
        let least: usize = of_type.map(|record| octets(record) - saved(record)).sum();
        if least > MESSAGE_OCTETS_MAX {
            findings.push_with(Severity::Warning, || {
                let owner = node.owner;
                let message = format!(
                    "the {rtype} records of `{owner}` take {least} octets, and a message holds {MESSAGE_OCTETS_MAX}"
                );
                warning(
                    first_of(nodes, node, rtype),
                    message,
                    "spread them over several names; they cannot be answered",
                )
            });
        }
    }
}

/// What two records must have in common to be the same one: RDATA but for the letter case of names, or the code.
fn comparable(record: &Record) -> Cow<'_, [u8]> {
    match &record.data {
        Data::Wire(wire) => rdata::folded(record.rtype, wire),
        Data::Lua(data) => data.to_wire().into(),
    }
}

/// Whether two records of one owner are the same one.
fn is_duplicate(one: &Record, other: &Record) -> bool {
    one.rtype == other.rtype && comparable(one) == comparable(other)
}

/// Wildcards that resolvers and servers disagree about (RFC 4592 sections 4.2 and 4.4).
fn check_wildcard(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    if !node.owner.is_wildcard() {
        return;
    }
    for (has, rtype) in [(node.kinds.ns, Rtype::NS), (node.kinds.dname, Rtype::DNAME)] {
        if has {
            let message = format!("the wildcard `{}` has {rtype} records", node.owner);
            let help =
                "write them out for each name: servers and resolvers disagree on their meaning (RFC 4592 section 4)";
            findings.push_with(Severity::Warning, || warning(first_of(nodes, node, rtype), message, help));
        }
    }
}

/// Records that no query reaches: below a delegation or a DNAME.
fn check_visible(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    if let Some(dname) = nodes.dname_above(node.owner) {
        for record in nodes.records_of(node) {
            findings.push_with(Severity::Warning, || {
                let message = format!("`{}` is below the DNAME of `{}` and is never answered", node.owner, dname.owner);
                warning(record, message, "remove the record or the DNAME (RFC 6672 section 2.4)")
            });
        }
        return;
    }
    let Some(cut) = nodes.cut_above(node.owner) else { return };
    let is_name_server = nodes.index.get(&node.owner).is_some_and(|&at| nodes.is_name_server[at]);
    for record in nodes.records_of(node) {
        let belongs = match record.rtype {
            Rtype::A | Rtype::AAAA => is_name_server,
            Rtype::NS | Rtype::DS | Rtype::NSEC | Rtype::RRSIG => node.owner == cut.owner,
            // That these stand beside NS records has been told as an error.
            Rtype::CNAME | Rtype::DNAME => node.owner == cut.owner,
            _ => false,
        };
        if !belongs {
            findings.push_with(Severity::Warning, || {
                let place = if node.owner == cut.owner { "at" } else { "below" };
                let message = format!(
                    "the {} record of `{}` is {place} the delegation of `{}` and is never answered",
                    record.rtype, node.owner, cut.owner
                );
                warning(record, message, "move it to the delegated zone, or remove the NS records")
            });
        }
    }
}

/// Name servers, mail exchanges and services that the zone itself knows have no address.
fn check_targets(nodes: &Nodes<'_>, node: &Node<'_>, findings: &mut Findings) {
    let delegates = node.kinds.ns && node.owner != nodes.apex;
    for record in nodes.records_of(node).filter(|record| matches!(record.rtype, Rtype::NS | Rtype::MX | Rtype::SRV)) {
        let Some(name) = target(record) else { continue };
        let (rtype, owner) = (record.rtype, node.owner);
        if delegates && rtype == Rtype::NS && name.is_in(owner) {
            check_glue(nodes, record, name, findings);
            continue;
        }
        let what = match nodes.target(name) {
            Target::Elsewhere | Target::Address => continue,
            Target::Alias => {
                findings.push_with(Severity::Warning, || {
                    let message = format!("the {rtype} record of `{owner}` points to `{name}`, which is an alias");
                    warning(record, message, "point to the name that has the addresses (RFC 2181 section 10.3)")
                });
                continue;
            }
            Target::NoAddress => "has no address",
            Target::Missing => "does not exist",
        };
        // Without it nobody finds the zone; the others are the matter of one name.
        let severity = if rtype == Rtype::NS && owner == nodes.apex { Severity::Error } else { Severity::Warning };
        findings.push_with(severity, || {
            let message = format!("the {rtype} record of `{owner}` points to `{name}`, which {what}");
            let help = if repeats(name, nodes.apex) {
                "end the name with a dot: without one the origin is appended".to_owned()
            } else {
                format!("give `{name}` an A or AAAA record, or correct the name")
            };
            Diagnostic { severity, position: Some(record.position.clone()), message, help: Some(help) }
        });
    }
}

/// A name server inside the zone it serves can be found only by addresses told here (RFC 9471).
fn check_glue(nodes: &Nodes<'_>, record: &Record, name: NameRef<'_>, findings: &mut Findings) {
    if nodes.get(name).is_some_and(|node| node.kinds.address) {
        return;
    }
    findings.push_with(Severity::Warning, || {
        let owner = &record.owner;
        let message = format!("the delegation of `{owner}` to `{name}` has no glue");
        let help = if repeats(name, nodes.apex) {
            "end the name with a dot: without one the origin is appended".to_owned()
        } else {
            format!("add the A or AAAA records of `{name}` here: the server is inside the zone it serves")
        };
        warning(record, message, help)
    });
}

/// Whether the apex stands twice at the end of `name`, as it does when a final dot was forgotten.
fn repeats(name: NameRef<'_>, apex: NameRef<'_>) -> bool {
    let before = name.suffix_at(apex).map(|at| &name.wire()[..at]);
    let labels = apex.wire().split_last().map(|(_, labels)| labels);
    match (before, labels) {
        (Some(before), Some(labels)) if !labels.is_empty() => {
            before.len() >= labels.len() && before[before.len() - labels.len()..].eq_ignore_ascii_case(labels)
        }
        _ => false,
    }
}
