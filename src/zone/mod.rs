//! A zone as an immutable value.
//!
//! Text becomes tokens (`lexer.rs`), tokens become records (`parser.rs`, with `directive.rs` and `generate.rs`
//! for what starts with a dollar sign and `lua.rs` for records of type LUA), the records are judged (`check.rs`)
//! and, if they are sound, folded into a `Zone` here, which `lookup.rs` searches. What is wrong on the way is
//! gathered in `findings.rs`. A zone once built never changes. There is no file and no clock here: the text of
//! an `$INCLUDE` is asked of the caller, and whether a script compiles is asked of the script room by whoever
//! loads the zone.

pub mod check;
pub mod findings;
pub mod lexer;
pub mod lookup;
pub mod parser;

mod directive;
mod generate;
mod lua;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

use crate::diagnostic::Position;
use crate::dns::name::Folded;
use crate::dns::{Class, Name, NameRef, Rrset, RrsetRef, Rtype, rdata};

/// One record as a zone file states it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The owner.
    pub owner: Name,
    /// The class.
    pub class: Class,
    /// The TTL in seconds.
    pub ttl: u32,
    /// The type.
    pub rtype: Rtype,
    /// The data.
    pub data: Data,
    /// Where the record begins.
    pub position: Position,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// RDATA in uncompressed wire form.
    Wire(Box<[u8]>),
    /// A script (type LUA).
    Lua(LuaData),
}

/// The RDATA of a LUA record, with the places its pieces came from.
#[derive(Clone, Debug)]
pub struct LuaData {
    /// The type it answers for.
    pub covered: Rtype,
    /// The pieces of text in their order, escapes not decoded but `\"`.
    pub pieces: Vec<Piece>,
}

/// One piece of a script's text.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The octets between the quotes, or of the word.
    pub text: Box<[u8]>,
    /// Where its first octet (after the quote) stands.
    pub position: Position,
}

impl fmt::Display for Record {
    /// Writes an entry of a zone file, every name absolute and nothing omitted.
    ///
    /// It is one line, unless the code of a LUA record has several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} ", self.owner, self.ttl, self.class, self.rtype)?;
        match &self.data {
            Data::Wire(wire) => f.write_str(&rdata::write(self.rtype, wire)),
            Data::Lua(data) => data.fmt(f),
        }
    }
}

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

/// A LUA record, ready to be compiled.
#[derive(Clone, Debug)]
pub struct Script {
    /// The owner it stands at; a wildcard owner begins with `*`.
    pub owner: Name,
    /// The type it answers for.
    pub covered: Rtype,
    /// The TTL of what it produces.
    pub ttl: u32,
    /// The text of its pieces, joined.
    pub code: Arc<[u8]>,
    /// Where each piece begins in `code`, and where it stands in the zone file.
    places: Vec<(usize, Position)>,
}

impl Zone {
    /// Builds a zone from records that [`check::check`] found sound.
    ///
    /// Duplicates and records that are not in the zone are dropped; an RRset whose TTLs differ takes the lowest (RFC 2181 section 5.2), and so do
    /// scripts and records that answer for the same type. LUA records are left out when `lua` is false: a
    /// name that has nothing else does not exist. `insert_whitespace` is `lua.insert-whitespace`.
    ///
    /// Returns `None` when there is no SOA at `apex`.
    pub fn build(apex: &Name, records: Vec<Record>, lua: bool, insert_whitespace: bool) -> Option<Self> {
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
            if is_out_of_zone || !lua && matches!(record.data, Data::Lua(_)) {
                continue;
            }
            let node = zone.node_or_insert(record.owner.as_ref());
            held.push((node, record));
        }
        // A stable sort keeps the order of the file inside each RRset: hashes walk it in that order.
        held.sort_by_key(|(node, record)| (*node, record.rtype));
        for group in held.chunk_by(|(a, _), (b, _)| a == b) {
            zone.fill_node(group, insert_whitespace);
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

    /// Gives a node its RRsets and scripts: `group` is all of its records, sorted by type.
    fn fill_node(&mut self, group: &[(u32, Record)], insert_whitespace: bool) {
        let node = group[0].0 as usize;
        let mut rrsets = Vec::new();
        let mut scripts = Vec::new();
        for records in group.chunk_by(|(_, a), (_, b)| a.rtype == b.rtype) {
            let rtype = records[0].1.rtype;
            let mut static_rdata: Vec<&[u8]> = Vec::with_capacity(records.len());
            for (_, record) in records {
                match &record.data {
                    Data::Wire(rdata) => static_rdata.push(rdata),
                    Data::Lua(lua) => scripts.push(Script::join(record, lua, insert_whitespace)),
                }
            }
            drop_duplicates(&mut static_rdata);
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

/// Keeps the first of equal RDATA, in order.
fn drop_duplicates(rdata: &mut Vec<&[u8]>) {
    if rdata.len() > 1 {
        let mut seen = HashSet::with_capacity(rdata.len());
        rdata.retain(|rdata| seen.insert(*rdata));
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

impl Script {
    /// Joins the pieces as PowerDNS does.
    ///
    /// It splits the presentation form at its quotation marks, which makes a piece of each blank between two
    /// strings. Without whitespace a piece of one space is left out and the rest follow one another; with it
    /// every piece, those blanks included, is written with one space behind it.
    fn join(record: &Record, lua: &LuaData, insert_whitespace: bool) -> Self {
        let mut code = Vec::new();
        let mut places = Vec::with_capacity(lua.pieces.len());
        for (index, piece) in lua.pieces.iter().enumerate() {
            if insert_whitespace && index > 0 {
                code.extend_from_slice(b"  ");
            }
            if piece.text.is_empty() || (!insert_whitespace && *piece.text == *b" ") {
                continue;
            }
            places.push((code.len(), piece.position.clone()));
            code.extend_from_slice(&piece.text);
            if insert_whitespace {
                code.push(b' ');
            }
        }
        if places.is_empty() {
            places.push((0, record.position.clone()));
        }
        Self { owner: record.owner.clone(), covered: lua.covered, ttl: record.ttl, code: code.into(), places }
    }

    /// Where the octet of `code` at `offset` stands in the zone file.
    pub fn position_at(&self, offset: usize) -> Position {
        let index = self.places.partition_point(|(begin, _)| *begin <= offset).saturating_sub(1);
        let (begin, place) = &self.places[index];
        let before = &self.code[(*begin).min(self.code.len())..offset.min(self.code.len())];
        let mut position = place.clone();
        for octet in before {
            match octet {
                b'\n' => (position.line, position.column) = (position.line + 1, 1),
                _ => position.column += 1,
            }
        }
        position
    }

    /// Where the script begins in the zone file.
    pub fn position(&self) -> Position {
        self.position_at(0)
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
