//! A zone as an immutable value.
//!
//! Text becomes tokens (`lexer.rs`), tokens become records (`record.rs`) by `parser.rs`, with `directive.rs` and
//! `generate.rs` for what starts with a dollar sign and `lua.rs` for records of type LUA. The records are judged
//! (`check.rs`) and, if they are sound, folded into a `Zone` here, with LUA records as `script.rs` joins them; then
//! `lookup.rs` searches it. What is wrong on the way is gathered in `findings.rs`.
//!
//! A zone once built never changes. There is no file and no clock here: the text of an `$INCLUDE` is asked of the
//! caller, and whether a script compiles is asked of the script room by whoever loads the zone.

pub mod check;
pub mod findings;
pub mod lexer;
pub mod lookup;
pub mod parser;

mod directive;
mod generate;
mod lua;
mod record;
mod script;

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

pub use record::{Data, LuaData, Piece, Record};
pub use script::Script;

use crate::dns::name::Folded;
use crate::dns::{Name, NameRef, Rrset, RrsetRef, Rtype, rdata};

/// A zone: the records of a name and what is below it down to the zone cuts, ready to be searched.
pub struct Zone {
    apex: Name,
    nodes: Vec<Node>,
    by_owner: HashTable<u32>,
    hasher: DefaultHashBuilder,
    scripts: Vec<Script>,
    negative_soa: Rrset,
    record_count: usize,
}

/// An owner name and what it holds.
pub struct Node {
    owner: Name,
    rrsets: Box<[Rrset]>,
    scripts: Box<[u32]>,
    /// The child named `*`, if there is one.
    wildcard: Option<u32>,
    /// The zone cut at or above this node, or the DNAME above it.
    hidden_by: Option<u32>,
}

/// What becomes of the LUA records of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scripts {
    /// They are as if absent: a name that has nothing else does not exist, but those above it do.
    LeftOut,
    /// Their pieces are joined with nothing in between.
    Joined,
    /// Their pieces are joined with blanks, as by PowerDNS before 5.0: `lua.insert-whitespace`.
    JoinedWithBlanks,
}

impl Zone {
    /// Builds a zone from records that [`check::check`] found sound.
    ///
    /// Duplicates and records that are not in the zone are dropped; an RRset whose TTLs differ takes the lowest
    /// (RFC 2181 section 5.2), and so do scripts and records that answer for the same type.
    ///
    /// Returns `None` when there is no SOA at `apex`.
    pub fn build(apex: &Name, records: Vec<Record>, scripts: Scripts) -> Option<Self> {
        let mut zone = Self {
            apex: apex.clone(),
            nodes: Vec::new(),
            by_owner: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            scripts: Vec::new(),
            negative_soa: Rrset::new(Rtype::SOA, 0, &[]),
            record_count: 0,
        };
        zone.node_or_insert(apex.as_ref());
        let mut held: Vec<(u32, Record)> = Vec::with_capacity(records.len());
        for record in records {
            let is_out_of_zone = !record.owner.as_ref().is_in(apex.as_ref());
            if is_out_of_zone {
                continue;
            }
            if scripts == Scripts::LeftOut && matches!(record.data, Data::Lua(_)) {
                zone.insert_above(record.owner.as_ref());
                continue;
            }
            let node = zone.node_or_insert(record.owner.as_ref());
            held.push((node, record));
        }
        // A stable sort keeps the order of the file inside each RRset: hashes walk it in that order.
        held.sort_by_key(|(node, record)| (*node, record.rtype));
        for group in held.chunk_by(|(a, _), (b, _)| a == b) {
            zone.fill_node(group, scripts);
        }
        zone.link();
        zone.negative_soa = as_negative(zone.nodes[0].rrset(Rtype::SOA)?);
        Some(zone)
    }

    /// The name at the top of the zone.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The SOA's serial.
    pub fn serial(&self) -> u32 {
        // The five timers are the last 20 octets of an SOA's RDATA (RFC 1035 section 3.3.13).
        let rdata = self.negative_soa.as_ref().rdata().next().unwrap_or_default();
        let timers = rdata.last_chunk::<20>().expect("an SOA was checked to hold five timers");
        u32::from_be_bytes([timers[0], timers[1], timers[2], timers[3]])
    }

    /// How many records the zone holds, LUA records included.
    pub fn record_count(&self) -> usize {
        self.record_count
    }

    /// The SOA that goes with a negative answer: its TTL is the lesser of its own and MINIMUM (RFC 2308 section 5).
    pub fn negative_soa(&self) -> RrsetRef<'_> {
        self.negative_soa.as_ref()
    }

    /// The LUA records, in the order that [`Node::scripts`] counts.
    pub fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    /// Every owner and what it holds, empty non-terminals included.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node whose owner is `lower`, a name in lower-case wire form.
    pub fn node(&self, lower: &[u8]) -> Option<&Node> {
        self.index_of(lower).map(|index| &self.nodes[index as usize])
    }

    /// The RRset of `rtype` at a node, unless a script may add to it or redirect it: what holds for every client.
    pub fn settled_rrset<'z>(&self, node: &'z Node, rtype: Rtype) -> Option<&'z Rrset> {
        let unsettles = |script: &Script| script.covered == rtype || script.covered == Rtype::CNAME;
        let settled = !node.scripts.iter().any(|index| unsettles(&self.scripts[*index as usize]));
        node.rrset(rtype).filter(|_| settled)
    }

    fn index_of(&self, lower: &[u8]) -> Option<u32> {
        let found = |index: &u32| is_folded_to(self.nodes[*index as usize].owner.wire(), lower);
        self.by_owner.find(self.hasher.hash_one(lower), found).copied()
    }

    /// Finds the node of `owner`, or makes it and the empty non-terminals between it and the apex.
    fn node_or_insert(&mut self, owner: NameRef<'_>) -> u32 {
        let lower = owner.to_lowercase_wire();
        if let Some(index) = self.index_of(&lower) {
            return index;
        }
        let index = u32::try_from(self.nodes.len()).expect("a zone has fewer than 2^32 names");
        self.nodes.push(Node {
            owner: owner.to_owned(),
            rrsets: Box::new([]),
            scripts: Box::new([]),
            wildcard: None,
            hidden_by: None,
        });
        let Self { by_owner, nodes, hasher, .. } = self;
        by_owner.insert_unique(hasher.hash_one(&*lower), index, |index| {
            hasher.hash_one(&*nodes[*index as usize].owner.as_ref().to_lowercase_wire())
        });
        if let Some(parent) = owner.parent().filter(|parent| index > 0 && parent.is_in(self.apex.as_ref())) {
            let parent = self.node_or_insert(parent);
            if owner.is_wildcard() {
                self.nodes[parent as usize].wildcard = Some(index);
            }
        }
        index
    }

    /// Makes the empty non-terminals between `owner` and the apex: a name that is left out leaves those, as in PowerDNS.
    fn insert_above(&mut self, owner: NameRef<'_>) {
        if let Some(parent) = owner.parent().filter(|parent| parent.is_in(self.apex.as_ref())) {
            self.node_or_insert(parent);
        }
    }

    /// Gives a node its RRsets and scripts: `group` is all of its records, sorted by type.
    fn fill_node(&mut self, group: &[(u32, Record)], joined: Scripts) {
        let node = group[0].0 as usize;
        let mut rrsets = Vec::new();
        let mut scripts = Vec::new();
        for records in group.chunk_by(|(_, a), (_, b)| a.rtype == b.rtype) {
            let rtype = records[0].1.rtype;
            let mut static_rdata: Vec<&[u8]> = Vec::with_capacity(records.len());
            for (_, record) in records {
                match &record.data {
                    Data::Wire(rdata) => static_rdata.push(rdata),
                    Data::Lua(lua) => scripts.push(Script::join(record, lua, joined)),
                }
            }
            drop_duplicates(rtype, &mut static_rdata);
            if !static_rdata.is_empty() {
                let ttl = records.iter().map(|(_, record)| record.ttl).min().expect("a chunk is never empty");
                rrsets.push(Rrset::new(rtype, ttl, &static_rdata));
            }
        }
        // One answer carries one TTL for a type, whichever of a script and a record it came from.
        for rrset in &mut rrsets {
            let lowest = scripts.iter().filter(|script| script.covered == rrset.rtype()).map(|script| script.ttl).min();
            if let Some(ttl) = lowest.filter(|ttl| *ttl < rrset.ttl()) {
                rrset.set_ttl(ttl);
            }
        }
        let lowest_for = |covered: Rtype, scripts: &[Script]| {
            let of_scripts = scripts.iter().filter(|script| script.covered == covered).map(|script| script.ttl);
            let of_rrsets = rrsets.iter().filter(|rrset| rrset.rtype() == covered).map(Rrset::ttl);
            of_scripts.chain(of_rrsets).min()
        };
        for index in 0..scripts.len() {
            if let Some(ttl) = lowest_for(scripts[index].covered, &scripts) {
                scripts[index].ttl = ttl;
            }
        }
        self.record_count +=
            rrsets.iter().map(|rrset| usize::from(rrset.as_ref().count)).sum::<usize>() + scripts.len();
        let first = u32::try_from(self.scripts.len()).expect("a zone has fewer than 2^32 scripts");
        self.nodes[node].scripts = (first..).take(scripts.len()).collect();
        self.scripts.append(&mut scripts);
        self.nodes[node].rrsets = rrsets.into_boxed_slice();
    }

    /// Finds out which nodes a zone cut or a DNAME hides.
    fn link(&mut self) {
        let mut order: Vec<u32> = (0..).take(self.nodes.len()).collect();
        order.sort_by_key(|index| self.nodes[*index as usize].owner.as_ref().label_count());
        for index in order.into_iter().filter(|index| *index != 0) {
            let owner = self.nodes[index as usize].owner.as_ref();
            let parent = owner.parent().expect("only the root has no parent, and it can only be an apex");
            let parent = self.index_of(&parent.to_lowercase_wire()).expect("every node but the apex has its parent");
            let above = &self.nodes[parent as usize];
            let own_cut =
                (self.nodes[index as usize].rrset(Rtype::NS).is_some() && !owner.is_wildcard()).then_some(index);
            let dname = above.rrset(Rtype::DNAME).is_some().then_some(parent);
            self.nodes[index as usize].hidden_by = above.hidden_by.or(dname).or(own_cut);
        }
    }
}

/// The SOA as it goes with a negative answer.
fn as_negative(soa: &Rrset) -> Rrset {
    let rdata = soa.as_ref().rdata().next().unwrap_or_default();
    let minimum = rdata.last_chunk().map_or(0, |octets| u32::from_be_bytes(*octets));
    let mut negative = soa.clone();
    negative.set_ttl(soa.ttl().min(minimum));
    negative
}

/// Keeps the first of equal RDATA, in order; names that differ by letter case alone are equal.
fn drop_duplicates(rtype: Rtype, wires: &mut Vec<&[u8]>) {
    if wires.len() > 1 {
        let mut seen = HashSet::with_capacity(wires.len());
        wires.retain(|wire| seen.insert(rdata::folded(rtype, wire)));
    }
}

impl Node {
    /// The owner, in the letter case of the zone file.
    pub fn owner(&self) -> &Name {
        &self.owner
    }

    /// The static RRsets, sorted by type.
    pub fn rrsets(&self) -> &[Rrset] {
        &self.rrsets
    }

    /// The static RRset of `rtype`.
    pub fn rrset(&self, rtype: Rtype) -> Option<&Rrset> {
        self.rrsets.iter().find(|rrset| rrset.rtype() == rtype)
    }

    /// The LUA records, as indexes into [`Zone::scripts`].
    pub fn scripts(&self) -> &[u32] {
        &self.scripts
    }
}

/// Whether a name is `lower` in lower case; most are written so, and need no folding to be compared.
fn is_folded_to(wire: &[u8], lower: &[u8]) -> bool {
    wire == lower || wire.eq_ignore_ascii_case(lower)
}

/// The zones a server holds, found by the closest enclosing apex.
///
/// `T` is what the server keeps with each zone; the script room's programs, in practice.
pub struct ZoneSet<T> {
    zones: Vec<(Arc<Zone>, T)>,
    by_apex: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The most labels an apex has: nothing longer need be looked for.
    labels_max: usize,
}

impl<T> Default for ZoneSet<T> {
    /// No zones.
    fn default() -> Self {
        Self::new([])
    }
}

impl<T> ZoneSet<T> {
    /// Gathers zones; of two with one apex the later is kept.
    pub fn new(zones: impl IntoIterator<Item = (Arc<Zone>, T)>) -> Self {
        let mut set =
            Self { zones: Vec::new(), by_apex: HashTable::new(), hasher: DefaultHashBuilder::default(), labels_max: 0 };
        for (zone, with) in zones {
            let lower = zone.apex.as_ref().to_lowercase_wire();
            set.labels_max = set.labels_max.max(zone.apex.as_ref().label_count());
            if let Some(index) = set.index_of(&lower) {
                set.zones[index as usize] = (zone, with);
                continue;
            }
            let index = u32::try_from(set.zones.len()).expect("a server holds fewer than 2^32 zones");
            let hash = set.hasher.hash_one(&*lower);
            set.zones.push((zone, with));
            let Self { zones, by_apex, hasher, .. } = &mut set;
            by_apex.insert_unique(hash, index, |index| {
                hasher.hash_one(&*zones[*index as usize].0.apex.as_ref().to_lowercase_wire())
            });
        }
        set
    }

    fn index_of(&self, lower: &[u8]) -> Option<u32> {
        let found = |index: &u32| is_folded_to(self.zones[*index as usize].0.apex.wire(), lower);
        self.by_apex.find(self.hasher.hash_one(lower), found).copied()
    }

    /// Finds the zone that answers for `qname`: the one with the longest apex at or above it.
    ///
    /// A DS at a zone cut belongs to the parent (RFC 4035 section 3.1.4.1): for `qtype` DS a zone whose
    /// apex is `qname` itself is passed over when one above it is held.
    pub fn find(&self, qname: &Folded, qtype: Rtype) -> Option<(&Arc<Zone>, &T)> {
        let labels = qname.label_count();
        let mut found = None;
        for skipped in labels.saturating_sub(self.labels_max)..=labels {
            if let Some(index) = self.index_of(qname.suffix(skipped)) {
                let (zone, with) = &self.zones[index as usize];
                if qtype != Rtype::DS || skipped > 0 {
                    return Some((zone, with));
                }
                found = Some((zone, with));
            }
        }
        found
    }

    /// Every zone and what is kept with it.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Zone>, &T)> {
        self.zones.iter().map(|(zone, with)| (zone, with))
    }
}
