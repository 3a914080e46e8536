//! QUERY: finds the zone, looks up, follows CNAMEs, fills the three sections (RFC 1034 section 4.3.2).

use super::synthesize::{Refrain, Synthesizer};
use crate::config::Any;
use crate::dns::edns::ExtendedError;
use crate::dns::name::Folded;
use crate::dns::wire::{Entry, Owner, Request, Response, Section};
use crate::dns::{Class, NameRef, Rcode, Rrset, RrsetRef, Rtype, rdata};
use crate::script::Programs;
use crate::zone::lookup::{self, Place};
use crate::zone::{Node, Zone, ZoneSet};

/// How many CNAMEs and DNAMEs are followed before an answer is given up: what PowerDNS allows.
const REDIRECTIONS_MAX: usize = 10;
/// From how many RRsets in the additional section on nothing else is looked for, glue apart.
const ADDITIONAL_MAX: usize = 16;
/// How many CNAMEs the target of a SVCB or HTTPS may lead over and still bring its addresses.
const SERVICE_ALIASES_MAX: usize = 8;

/// How much is answered.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// To a query for ANY.
    pub(super) any: Any,
    /// Nothing in the additional section but what a referral needs.
    pub(super) minimal: bool,
}

/// The name being looked for: the QNAME, then the target of each CNAME.
struct Sought<'q, 'z> {
    name: NameRef<'z>,
    folded: &'q Folded,
    owner: Owner<'z>,
}

/// What a step along a chain of CNAMEs came to.
enum Step<'z> {
    /// The response is complete.
    Done,
    /// The answer goes on at another name.
    Redirect(NameRef<'z>),
}

/// Answers a query from `zones`.
pub(super) fn answer<'z>(
    zones: &'z ZoneSet<Programs>,
    request: &Request<'z>,
    extent: Extent,
    synthesizer: &mut Synthesizer<'_, 'z>,
) -> Response<'z> {
    let mut response = Response::new(Rcode::NOERROR);
    let mut redirected;
    let mut sought = Sought { name: request.qname, folded: &request.folded, owner: Owner::Question(0) };
    for step in 0..=REDIRECTIONS_MAX {
        let Some((zone, programs)) = zones.find(sought.folded, request.qtype) else {
            if step == 0 {
                response.rcode = Rcode::REFUSED;
                let text = "no zone for this name";
                response.extended_error = Some(ExtendedError { code: ExtendedError::NOT_AUTHORITATIVE, text });
            }
            break;
        };
        response.authoritative = is_authoritative(request);
        if request.qtype == Rtype::ANY && extent.any == Any::Truncate {
            response.truncated = true;
            break;
        }
        synthesizer.enter(zone, programs, sought.name);
        let led_here = response.entries.len();
        match look(zone, &sought, step, request, extent, synthesizer, &mut response) {
            Ok(Step::Done) => {
                if !extent.minimal {
                    add_leads(zone, request, &mut response);
                }
                response.scope = synthesizer.scope();
                return response;
            }
            Ok(Step::Redirect(target)) if step < REDIRECTIONS_MAX => {
                redirected = Folded::new(target);
                sought = Sought { name: target, folded: &redirected, owner: Owner::Name(target) };
            }
            Ok(Step::Redirect(_)) => return failed(request, synthesizer, "too many CNAMEs"),
            Err(Refrain::Failed(failure)) => {
                let text = synthesizer.report(request, &failure);
                return failed(request, synthesizer, text);
            }
            Err(Refrain::Denied(rcode, ttl)) => {
                response.entries.truncate(led_here);
                let soa = synthesizer.denying(zone.negative_soa(), ttl);
                return denied(response, request, synthesizer, rcode, (apex_of(zone, &sought), soa));
            }
        }
    }
    response.scope = synthesizer.scope();
    response
}

/// Whether an answer from a zone of ours has AA: not when any class was asked for, as we know of one only (RFC 1035
/// section 6.2).
fn is_authoritative(request: &Request<'_>) -> bool {
    request.qclass != Class::ANY
}

/// SERVFAIL with empty sections; AA stays, for it was our zone that failed.
fn failed<'z>(request: &Request<'_>, synthesizer: &Synthesizer<'_, 'z>, text: &'static str) -> Response<'z> {
    let mut response = Response::new(Rcode::SERVFAIL);
    response.authoritative = is_authoritative(request);
    response.scope = synthesizer.scope();
    response.extended_error = Some(ExtendedError { code: ExtendedError::OTHER, text });
    response
}

/// The answer a script wants instead of records: NXDOMAIN with the zone's SOA, or an RCODE with nothing.
///
/// CNAMEs that led here stay in front of a denial (RFC 6604 section 3).
fn denied<'z>(
    mut response: Response<'z>,
    request: &Request<'_>,
    synthesizer: &Synthesizer<'_, 'z>,
    rcode: Rcode,
    (owner, soa): (Owner<'z>, RrsetRef<'z>),
) -> Response<'z> {
    if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
        let authoritative = rcode == Rcode::SERVFAIL && is_authoritative(request);
        let refused = failed(request, synthesizer, "the record's script asked for this answer");
        return Response { rcode, authoritative, ..refused };
    }
    response.rcode = rcode;
    response.scope = synthesizer.scope();
    response.push(Section::Authority, owner, soa);
    response
}

/// Looks one name up in its zone and adds what is found.
fn look<'z>(
    zone: &'z Zone,
    sought: &Sought<'_, 'z>,
    step: usize,
    request: &Request<'z>,
    extent: Extent,
    synthesizer: &mut Synthesizer<'_, 'z>,
    response: &mut Response<'z>,
) -> Result<Step<'z>, Refrain> {
    match lookup::find(zone, sought.folded, request.qtype) {
        Place::Exact(node) | Place::Wildcard(node) if request.qtype == Rtype::ANY && extent.any == Any::Minimal => {
            one_of_any(zone, node, sought, response);
            Ok(Step::Done)
        }
        Place::Exact(node) | Place::Wildcard(node) => at_node(zone, node, sought, request.qtype, synthesizer, response),
        Place::Referral { name_servers, cut, skipped } => {
            // A referral is no authority's answer; after a CNAME of ours the AA bit still speaks of that.
            response.authoritative &= step > 0;
            let owner = above(sought, skipped, cut.owner().as_ref());
            response.push(Section::Authority, owner, name_servers.as_ref());
            add_glue(zone, cut, name_servers.as_ref(), response);
            Ok(Step::Done)
        }
        Place::Dname { rrset, skipped } => {
            Ok(below_dname(rrset.as_ref(), skipped, sought, request, synthesizer, response))
        }
        Place::NxDomain => {
            response.rcode = Rcode::NXDOMAIN;
            response.push(Section::Authority, apex_of(zone, sought), zone.negative_soa());
            Ok(Step::Done)
        }
    }
}

/// Answers below a DNAME: with that, and with a CNAME made of it (RFC 6672 section 3.1).
fn below_dname<'z>(
    dname: RrsetRef<'z>,
    skipped: usize,
    sought: &Sought<'_, 'z>,
    request: &Request<'z>,
    synthesizer: &Synthesizer<'_, 'z>,
    response: &mut Response<'z>,
) -> Step<'z> {
    let prefix = sought.folded.offset(skipped);
    let (owner, _) = NameRef::split_from(&sought.name.wire()[prefix..]).expect("a name cut at a label is a name");
    // A chain may come by it twice, and a set is in an answer once (RFC 2181 section 5.5).
    if !response.entries.iter().any(|entry| std::ptr::eq(entry.rrset.records, dname.records)) {
        response.push(Section::Answer, above(sought, skipped, owner), dname);
    }
    let target = dname.rdata().next().and_then(|rdata| NameRef::split_from(rdata).ok());
    let (target, _) = target.expect("a DNAME was checked to hold a name");
    let Ok(name) = target.prepend(&sought.name.wire()[..prefix]) else {
        response.rcode = Rcode::YXDOMAIN;
        return Step::Done;
    };
    let cname = synthesizer.hold(Rtype::CNAME, dname.ttl(), &[name.wire()]);
    response.push(Section::Answer, sought.owner, cname);
    // RFC 6672 section 3.2 goes on for this QTYPE as well, and nobody does: the CNAME is what was asked for.
    if request.qtype == Rtype::CNAME { Step::Done } else { redirect(cname) }
}

/// Answers from a node, or from a wildcard in its place.
fn at_node<'z>(
    zone: &'z Zone,
    node: &'z Node,
    sought: &Sought<'_, 'z>,
    qtype: Rtype,
    synthesizer: &mut Synthesizer<'_, 'z>,
    response: &mut Response<'z>,
) -> Result<Step<'z>, Refrain> {
    // A script's CNAME redirects every type, ANY included, and is as if absent when it returns nothing. At the apex
    // the SOA stays within reach: without it there would be no zone to transfer or to cache a denial for.
    let is_own = is_beside_cname(qtype, node);
    let scripted = !is_own && synthesizer.answers_for(node, Rtype::CNAME);
    let redirects = scripted || (!is_own && qtype != Rtype::ANY);
    if redirects && let Some(cname) = synthesizer.rrset(node, Rtype::CNAME)? {
        response.push(Section::Answer, sought.owner, cname);
        return Ok(redirect(cname));
    }
    let before = response.entries.len();
    if qtype == Rtype::ANY {
        // A script for CNAME has run by now and made nothing; another run could make something.
        for rtype in synthesizer.types_at(node).into_iter().filter(|rtype| !(scripted && *rtype == Rtype::CNAME)) {
            let rrset = match synthesizer.rrset(node, rtype) {
                // Of many types this one alone has no data.
                Err(Refrain::Denied(Rcode::NOERROR, _)) => None,
                outcome => outcome?,
            };
            if let Some(rrset) = rrset {
                response.push(Section::Answer, sought.owner, rrset);
            }
        }
    } else if let Some(rrset) = synthesizer.rrset(node, qtype)? {
        response.push(Section::Answer, sought.owner, rrset);
    }
    if response.entries.len() == before {
        response.push(Section::Authority, apex_of(zone, sought), synthesizer.denying(zone.negative_soa(), None));
    }
    Ok(Step::Done)
}

/// Whether a type stands beside a CNAME, so that a query for it is not redirected.
///
/// These are the CNAME's signature and the denial of other types, whether or not the zone has them (RFC 4035 section
/// 2.5), and a KEY (RFC 2535 section 2.3.5) or a SOA that there is.
fn is_beside_cname(qtype: Rtype, node: &Node) -> bool {
    match qtype {
        Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC => true,
        Rtype::KEY | Rtype::SOA => node.rrset(qtype).is_some(),
        _ => false,
    }
}

/// Answers ANY with one RRset of the node (RFC 8482 section 4.1): the smallest, and DNSSEC's own only if it has no other.
///
/// Where scripts would have to run the query is to come by TCP, where its sender is known to be its sender.
fn one_of_any<'z>(zone: &'z Zone, node: &'z Node, sought: &Sought<'_, 'z>, response: &mut Response<'z>) {
    if !node.scripts().is_empty() {
        response.truncated = true;
        return;
    }
    let rrsets = node.rrsets().iter().map(Rrset::as_ref);
    let of_dnssec = |rtype: Rtype| matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
    match rrsets.min_by_key(|rrset| (of_dnssec(rrset.rtype), rrset.records.len())) {
        Some(rrset) => response.push(Section::Answer, sought.owner, rrset),
        None => response.push(Section::Authority, apex_of(zone, sought), zone.negative_soa()),
    }
}

/// Where the answer goes on after a CNAME.
fn redirect(cname: RrsetRef<'_>) -> Step<'_> {
    let target = cname.rdata().next().and_then(|rdata| NameRef::split_from(rdata).ok());
    target.map_or(Step::Done, |(target, _)| Step::Redirect(target))
}

/// The owner that is left of the sought name when `skipped` labels are taken off.
fn above<'z>(sought: &Sought<'_, 'z>, skipped: usize, name: NameRef<'z>) -> Owner<'z> {
    match sought.owner {
        Owner::Question(_) => Owner::Question(skipped),
        Owner::Name(_) => Owner::Name(name),
    }
}

/// The apex as the owner of an SOA.
fn apex_of<'z>(zone: &'z Zone, sought: &Sought<'_, 'z>) -> Owner<'z> {
    let apex = zone.apex().as_ref();
    above(sought, sought.folded.label_count() - apex.label_count(), apex)
}

/// Adds the addresses of a referral's name servers that this zone knows.
///
/// Those below the cut cannot be had elsewhere, so a response without them is truncated (RFC 9471 section 3.1). They
/// come first: what may be left out is not to take their room.
fn add_glue<'z>(zone: &'z Zone, cut: &Node, name_servers: RrsetRef<'z>, response: &mut Response<'z>) {
    for required in [true, false] {
        let targets = name_servers.rdata().filter_map(|rdata| rdata::target(Rtype::NS, rdata));
        for target in targets.filter(|target| target.is_in(cut.owner().as_ref()) == required) {
            let Some(node) = node_of(zone, target, Rtype::NS) else { continue };
            for rtype in [Rtype::A, Rtype::AAAA] {
                if let Some(rrset) = zone.settled_rrset(node, rtype) {
                    response.push(Section::Additional, Owner::Name(target), rrset.as_ref());
                    response.entries.last_mut().expect("just pushed").required = required;
                }
            }
        }
    }
}

/// The node whose records stand for a name that a record of `rtype` leads to; `None` if this zone does not know it.
///
/// What is below a zone cut is the child's, but for the addresses of name servers: there it is glue.
fn node_of<'z>(zone: &'z Zone, name: NameRef<'_>, rtype: Rtype) -> Option<&'z Node> {
    if !name.is_in(zone.apex().as_ref()) {
        return None;
    }
    let folded = Folded::new(name);
    match lookup::find(zone, &folded, Rtype::A) {
        Place::Exact(node) | Place::Wildcard(node) => Some(node),
        Place::Referral { .. } if rtype == Rtype::NS => zone.node(folded.wire()),
        Place::Referral { .. } | Place::Dname { .. } | Place::NxDomain => None,
    }
}

/// Adds what a client would ask for next: addresses of name servers, mail exchanges and services, and the records on
/// the way to them.
///
/// Static records of the same zone only; scripts do not run for the additional section. What is added may lead on, as
/// NAPTR to SRV and that to addresses.
fn add_leads<'z>(zone: &'z Zone, request: &Request<'z>, response: &mut Response<'z>) {
    let answers = response.entries.len();
    let mut index = 0;
    while index < response.entries.len() && response.entries.len() - answers < ADDITIONAL_MAX {
        let entry = response.entries[index];
        index += 1;
        if entry.section == Section::Authority {
            continue;
        }
        for lead in entry.rrset.rdata().filter_map(|rdata| rdata::lead(entry.rrset.rtype, rdata)) {
            let owner = owner_name(request, entry.owner);
            let mut name = if lead.name.is_root() { owner } else { lead.name };
            if matches!(entry.rrset.rtype, Rtype::SVCB | Rtype::HTTPS) {
                name = add_aliases(zone, name, request, response);
            }
            let Some(node) = node_of(zone, name, entry.rrset.rtype) else { continue };
            for rtype in lead.rtypes {
                add_settled(zone, node, *rtype, name, request, response);
            }
            if response.entries.len() - answers >= ADDITIONAL_MAX {
                break;
            }
        }
    }
}

/// Adds the CNAMEs that a name leads over (RFC 9460 section 4.1), and returns the name at their end.
fn add_aliases<'z>(
    zone: &'z Zone,
    mut name: NameRef<'z>,
    request: &Request<'z>,
    response: &mut Response<'z>,
) -> NameRef<'z> {
    for _ in 0..SERVICE_ALIASES_MAX {
        let node = node_of(zone, name, Rtype::CNAME);
        let cname = node.and_then(|node| add_settled(zone, node, Rtype::CNAME, name, request, response));
        let Some(Step::Redirect(target)) = cname.map(redirect) else { break };
        name = target;
    }
    name
}

/// Adds what a node has of a type, unless the response has it already, and returns it.
fn add_settled<'z>(
    zone: &'z Zone,
    node: &'z Node,
    rtype: Rtype,
    name: NameRef<'z>,
    request: &Request<'z>,
    response: &mut Response<'z>,
) -> Option<RrsetRef<'z>> {
    let rrset = zone.settled_rrset(node, rtype)?.as_ref();
    // The same octets may stand for several names that a wildcard covers.
    let is_there = |there: &Entry<'_>| {
        std::ptr::eq(there.rrset.records, rrset.records) && owner_name(request, there.owner) == name
    };
    if !response.entries.iter().any(is_there) {
        response.push(Section::Additional, Owner::Name(name), rrset);
    }
    Some(rrset)
}

/// The owner of an RRset in the response to `request`.
fn owner_name<'z>(request: &Request<'z>, owner: Owner<'z>) -> NameRef<'z> {
    match owner {
        Owner::Question(skipped) => {
            let (name, _) = NameRef::split_from(&request.qname.wire()[request.folded.offset(skipped)..])
                .expect("a name cut at a label is a name");
            name
        }
        Owner::Name(name) => name,
    }
}
