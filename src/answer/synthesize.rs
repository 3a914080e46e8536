//! A LUA RRset to an ordinary RRset, by running its scripts.

use std::borrow::Cow;
use std::time::Duration;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use smallvec::SmallVec;

use super::{Occasion, World};
use crate::dns::edns::{ClientSubnet, Edns};
use crate::dns::rrset::{RECORD_HEADER, header};
use crate::dns::wire::Header;
use crate::dns::{Client, NameRef, Now, Rcode, Request, RrsetRef, Rtype};
use crate::script::{Failure, FailureKind, Level, Note, Program, Programs, Query, Vm};
use crate::zone::{Node, Zone};

/// Answers for nodes: with what they hold, and what their scripts return for this query.
pub(super) struct Synthesizer<'s, 'z> {
    vm: &'s mut Vm,
    arena: &'z Bump,
    now: Now,
    occasion: Occasion,
    client: &'s Client,
    subnet: Option<ClientSubnet>,
    header: Header,
    edns: Option<Edns>,
    ttl_min_of_state: Option<Duration>,
    /// The zone looked into now, its programs, and the name looked for in it.
    place: Option<(&'z Zone, &'z Programs, NameRef<'z>)>,
    /// When what scripts for that name have read of targets, and made no records of, could change at the earliest.
    until: Option<Duration>,
    scope: u8,
    /// Whether a script was not run, as the worker is asked for too much.
    has_shed: bool,
}

/// Why a node has no records to give.
pub(super) enum Refrain {
    /// A script failed.
    Failed(Failure),
    /// A script wants this answered instead; the TTL is the one it asks for, of the SOA.
    Denied(Rcode, Option<u32>),
}

impl<'s, 'z> Synthesizer<'s, 'z> {
    pub(super) fn new(
        vm: &'s mut Vm,
        arena: &'z Bump,
        (now, occasion): (Now, Occasion),
        client: &'s Client,
        request: &Request<'_>,
        world: &World,
    ) -> Self {
        let subnet = request.edns.and_then(|edns| edns.client_subnet).filter(|_| world.settings.limits.client_subnet);
        let (header, edns, ttl_min_of_state) = (request.header, request.edns, world.settings.ttl_min_of_state);
        let (place, until, scope, has_shed) = (None, None, 0, false);
        Self { vm, arena, now, occasion, client, subnet, header, edns, ttl_min_of_state, place, until, scope, has_shed }
    }

    /// Turns to a zone, in which `name` is looked for.
    pub(super) fn enter(&mut self, zone: &'z Zone, programs: &'z Programs, name: NameRef<'z>) {
        (self.place, self.until) = (Some((zone, programs, name)), None);
    }

    /// How many bits of the client subnet all scripts so far have looked at.
    pub(super) fn scope(&self) -> u8 {
        self.scope
    }

    /// Whether a script was not run, as the worker is asked for too much.
    pub(super) fn has_shed(&self) -> bool {
        self.has_shed
    }

    /// Whether the node has a script for `rtype`.
    pub(super) fn answers_for(&self, node: &Node, rtype: Rtype) -> bool {
        self.programs_for(node, rtype).next().is_some()
    }

    /// The indexes of the node's scripts for `rtype`; none for type LUA, whose text is nobody's business.
    fn programs_for(&self, node: &Node, rtype: Rtype) -> impl Iterator<Item = usize> + use<'z> {
        let scripts: SmallVec<[usize; 4]> = match self.place {
            Some((zone, ..)) if rtype != Rtype::LUA => {
                let indexes = node.scripts().iter().map(|index| *index as usize);
                indexes.filter(|index| zone.scripts()[*index].covered == rtype).collect()
            }
            _ => SmallVec::new(),
        };
        scripts.into_iter()
    }

    /// The types a node has something for, scripts included; but for those of RRSIG, which ANY does not run.
    pub(super) fn types_at(&self, node: &Node) -> SmallVec<[Rtype; 8]> {
        let mut types: SmallVec<[Rtype; 8]> = node.rrsets().iter().map(|rrset| rrset.rtype()).collect();
        if let Some((zone, ..)) = self.place {
            let covered = node.scripts().iter().map(|index| zone.scripts()[*index as usize].covered);
            types.extend(covered.filter(|covered| *covered != Rtype::RRSIG));
        }
        types.sort_unstable();
        types.dedup();
        types
    }

    /// The records of one type at a node: its own, and what its scripts return; `None` when there are none.
    ///
    /// The first script that fails ends it, and so does one that wants something else answered.
    pub(super) fn rrset(&mut self, node: &'z Node, rtype: Rtype) -> Result<Option<RrsetRef<'z>>, Refrain> {
        let own = node.rrset(rtype).map(|rrset| rrset.as_ref());
        if node.scripts().is_empty() {
            return Ok(own);
        }
        let Some((zone, programs, name)) = self.place else { return Ok(own) };
        let (mut ttl, mut until) = (u32::MAX, None);
        let mut rdata: SmallVec<[Cow<'z, [u8]>; 4]> = SmallVec::new();
        for index in self.programs_for(node, rtype) {
            let query = Query {
                now: self.now,
                patience: self.occasion.patience,
                load: self.occasion.load,
                client: self.client,
                subnet: self.subnet,
                qname: name,
                zone: zone.apex().as_ref(),
                wildcard: covering_wildcard(node, name),
                header: self.header,
                edns: self.edns,
            };
            let outcome = self.vm.run(&programs[index], &query);
            self.has_shed |= matches!(&outcome, Err(failure) if failure.kind == FailureKind::Shed);
            log_notes(&self.vm.notes(), &programs[index], &query);
            self.scope = self.scope.max(outcome.as_ref().map_or_else(|failure| failure.scope, |output| output.scope));
            let output = outcome.map_err(Refrain::Failed)?;
            until = earlier(until, output.until);
            if let Some(rcode) = output.denial {
                self.until = earlier(self.until, until);
                return Err(Refrain::Denied(rcode, output.ttl));
            }
            ttl = ttl.min(output.ttl.unwrap_or_else(|| zone.scripts()[index].ttl));
            for made in output.rdata {
                let known = rdata.contains(&made) || own.is_some_and(|own| own.rdata().any(|rdata| *rdata == *made));
                if !known {
                    rdata.push(made);
                }
            }
        }
        if rdata.is_empty() {
            self.until = earlier(self.until, until);
            return Ok(own.map(|own| self.capped(own, self.until)));
        }
        let made = rdata.iter().map(|rdata| &**rdata);
        let mut all: SmallVec<[&[u8]; 8]> = own.iter().flat_map(|own| own.rdata()).chain(made).collect();
        if rtype == Rtype::CNAME {
            // A name has one CNAME (RFC 2181 section 10.1), whatever a script returns.
            all.truncate(1);
        }
        let ttl = self.capped_ttl(ttl, earlier(self.until, until));
        Ok(Some(self.hold(rtype, ttl, &all)))
    }

    /// The SOA of a denial, with the TTL that a script asks for; what scripts for this name have read may shorten it.
    pub(super) fn denying(&self, soa: RrsetRef<'z>, ttl: Option<u32>) -> RrsetRef<'z> {
        let soa = ttl.map_or(soa, |ttl| self.with_ttl(soa, ttl));
        self.capped(soa, self.until)
    }

    /// The same records, that do not outlast the state of targets.
    fn capped(&self, rrset: RrsetRef<'z>, until: Option<Duration>) -> RrsetRef<'z> {
        match self.capped_ttl(rrset.ttl(), until) {
            ttl if ttl == rrset.ttl() => rrset,
            ttl => self.with_ttl(rrset, ttl),
        }
    }

    /// A TTL no longer than until the state of targets could change, nor shorter by that than the floor.
    fn capped_ttl(&self, ttl: u32, until: Option<Duration>) -> u32 {
        let (Some(until), Some(least)) = (until, self.ttl_min_of_state) else { return ttl };
        let left = until.saturating_sub(self.now.monotonic).max(least);
        ttl.min(u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
    }

    /// The same records with another TTL.
    fn with_ttl(&self, rrset: RrsetRef<'z>, ttl: u32) -> RrsetRef<'z> {
        let rdata: SmallVec<[&[u8]; 1]> = rrset.rdata().collect();
        self.hold(rrset.rtype, ttl, &rdata)
    }

    /// Keeps an RRset for as long as the answer needs it.
    pub(super) fn hold(&self, rtype: Rtype, ttl: u32, rdata: &[&[u8]]) -> RrsetRef<'z> {
        let octets = rdata.iter().map(|rdata| RECORD_HEADER + rdata.len()).sum();
        let mut records = ArenaVec::with_capacity_in(octets, self.arena);
        for rdata in rdata {
            records.extend_from_slice_copy(&header(rtype, ttl, rdata));
            records.extend_from_slice_copy(rdata);
        }
        let count = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
        RrsetRef { rtype, count, records: records.into_bump_slice() }
    }

    /// Logs a script's failure, once a second for each script, and says it in a few words for the client.
    pub(super) fn report(&self, request: &Request<'_>, failure: &Failure) -> &'static str {
        // That it rests or is shed was told when it began to, and to wait is no failure.
        let is_news = !matches!(failure.kind, FailureKind::Await | FailureKind::Resting | FailureKind::Shed);
        if is_news && failure.program.may_log(self.now.unix_secs) {
            tracing::warn!(
                position = %failure.position,
                qname = %request.qname,
                covered = %failure.program.script().covered,
                client = %self.client.address,
                error = %failure.message,
                "script failed, answered SERVFAIL"
            );
        }
        match failure.kind {
            FailureKind::Budget => "the record's script used up its budget",
            FailureKind::Error => "the record's script failed",
            FailureKind::Await => "the record's script waits for a look-up",
            FailureKind::Value => "the record's script returned no usable value",
            FailureKind::Denied => "the record's script asked for what its zone may not do",
            FailureKind::Resting => "the record's script rests after it used up its budget",
            FailureKind::Shed => "too much is asked now to run the record's script",
        }
    }
}

/// The earlier of two moments, if there is one.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

/// Logs what a run wrote to the log; of each script once a second.
fn log_notes(notes: &[Note], program: &Program, query: &Query<'_>) {
    if notes.is_empty() || !program.may_note(query.now.unix_secs) {
        return;
    }
    let (position, qname, zone) = (program.script().position(), query.qname, query.zone);
    for Note { level, text } in notes {
        match level {
            Level::Error => tracing::error!(%position, %qname, %zone, "script: {text}"),
            Level::Warning => tracing::warn!(%position, %qname, %zone, "script: {text}"),
            Level::Info => tracing::info!(%position, %qname, %zone, "script: {text}"),
            Level::Debug => tracing::debug!(%position, %qname, %zone, "script: {text}"),
        }
    }
}

/// How many labels stand behind the `*` of a wildcard that answers for `name`; `None` if the node has that name itself.
fn covering_wildcard(node: &Node, name: NameRef<'_>) -> Option<usize> {
    let owner = node.owner().as_ref();
    (owner.is_wildcard() && owner != name).then(|| owner.label_count() - 1)
}
