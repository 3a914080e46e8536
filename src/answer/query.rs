//! QUERY: finds the zone, looks up, follows CNAMEs, fills the three sections (RFC 1034 section 4.3.2).

use super::synthesize::{Refrain, Synthesizer};
use crate::dns::edns::ExtendedError;
use crate::dns::name::Folded;
use crate::dns::wire::{Entry, Owner, Request, Response, Section};
use crate::dns::{Class, NameRef, Rcode, RrsetRef, Rtype, rdata};
use crate::script::Programs;
use crate::zone::lookup::{self, Place};
use crate::zone::{Node, Zone, ZoneSet};

/// How many CNAMEs and DNAMEs are followed before an answer is given up: what PowerDNS allows.
const REDIRECTIONS_MAX: usize = 10;
/// How many RRsets of addresses go into the additional section of an answer, glue apart.
const ADDITIONAL_MAX: usize = 16;

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
    any_to_tcp: bool,
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
        if request.qtype == Rtype::ANY && any_to_tcp {
            response.truncated = true;
            break;
        }
        synthesizer.enter(zone, programs, sought.name);
        let led_here = response.entries.len();
        match look(zone, &sought, step, request, synthesizer, &mut response) {
            Ok(Step::Done) => {
                add_addresses(zone, request, &mut response);
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
    synthesizer: &mut Synthesizer<'_, 'z>,
    response: &mut Response<'z>,
) -> Result<Step<'z>, Refrain> {
    match lookup::find(zone, sought.folded, request.qtype) {
        Place::Exact(node) => at_node(zone, node, sought, request.qtype, synthesizer, response),
        Place::Wildcard(node) => {
            if step == 0 {
                let above = node.owner().as_ref().label_count() - 1;
                response.wildcard = Some(sought.folded.label_count() - above);
            }
            at_node(zone, node, sought, request.qtype, synthesizer, response)
        }
        Place::Referral { name_servers, cut, skipped } => {
            // A referral is no authority's answer; after a CNAME of ours the AA bit still speaks of that.
            response.authoritative &= step > 0;
            let owner = above(sought, skipped, cut.owner().as_ref());
            response.push(Section::Authority, owner, name_servers.as_ref());
            add_glue(zone, cut, name_servers.as_ref(), response);
            Ok(Step::Done)
        }
        Place::Dname { rrset, skipped } => {
            let (owner, _) = NameRef::split_from(&sought.name.wire()[sought.folded.offset(skipped)..])
                .expect("a name cut at a label is a name");
            response.push(Section::Answer, above(sought, skipped, owner), rrset.as_ref());
            let target = rrset.as_ref().rdata().next().and_then(|rdata| NameRef::split_from(rdata).ok());
            let (target, _) = target.expect("a DNAME was checked to hold a name");
            let prefix = &sought.name.wire()[..sought.folded.offset(skipped)];
            let Ok(name) = target.prepend(prefix) else {
                response.rcode = Rcode::YXDOMAIN;
                return Ok(Step::Done);
            };
            let cname = synthesizer.hold(Rtype::CNAME, rrset.ttl(), &[name.wire()]);
            response.push(Section::Answer, sought.owner, cname);
            Ok(after_cname(request.qtype, cname))
        }
        Place::NxDomain => {
            response.rcode = Rcode::NXDOMAIN;
            response.push(Section::Authority, apex_of(zone, sought), zone.negative_soa());
            Ok(Step::Done)
        }
    }
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
    let is_own = qtype == Rtype::CNAME || (qtype == Rtype::SOA && node.rrset(Rtype::SOA).is_some());
    let scripted = !is_own && synthesizer.answers_for(node, Rtype::CNAME);
    let redirects = scripted || (!is_own && qtype != Rtype::ANY);
    if redirects && let Some(cname) = synthesizer.rrset(node, Rtype::CNAME)? {
        response.push(Section::Answer, sought.owner, cname);
        return Ok(after_cname(qtype, cname));
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

/// Where the answer goes on after a CNAME: nowhere if it was a CNAME that was asked for.
fn after_cname(qtype: Rtype, cname: RrsetRef<'_>) -> Step<'_> {
    if qtype == Rtype::CNAME {
        return Step::Done;
    }
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
/// Those below the cut cannot be had elsewhere, so a response without them is truncated (RFC 9471 section 3.1).
fn add_glue<'z>(zone: &'z Zone, cut: &Node, name_servers: RrsetRef<'z>, response: &mut Response<'z>) {
    for target in name_servers.rdata().filter_map(|rdata| rdata::target(Rtype::NS, rdata)) {
        let Some(node) = target.is_in(zone.apex().as_ref()).then(|| zone.node(Folded::new(target).wire())).flatten()
        else {
            continue;
        };
        let below = target.is_in(cut.owner().as_ref());
        for rtype in [Rtype::A, Rtype::AAAA] {
            if let Some(rrset) = zone.settled_rrset(node, rtype) {
                response.push(Section::Additional, Owner::Name(target), rrset.as_ref());
                response.entries.last_mut().expect("just pushed").required = below;
            }
        }
    }
}

/// Adds the addresses that a client would ask for next: those of name servers, mail exchanges and services.
///
/// Static addresses of the same zone only; scripts do not run for the additional section.
fn add_addresses<'z>(zone: &'z Zone, request: &Request<'z>, response: &mut Response<'z>) {
    let mut added = 0;
    for index in 0..response.entries.len() {
        let entry = response.entries[index];
        if entry.section != Section::Answer {
            continue;
        }
        for target in entry.rrset.rdata().filter_map(|rdata| rdata::target(entry.rrset.rtype, rdata)) {
            // The root as the target of a service is the owner (RFC 9460 section 2.5.2), and nobody's mail exchange.
            let target = if target.is_root() { owner_name(request, entry.owner) } else { target };
            let known = target.is_in(zone.apex().as_ref());
            let place = known.then(|| lookup::find(zone, &Folded::new(target), Rtype::A));
            let Some(Place::Exact(node) | Place::Wildcard(node)) = place else { continue };
            for rtype in [Rtype::A, Rtype::AAAA] {
                let Some(rrset) = zone.settled_rrset(node, rtype).filter(|_| added < ADDITIONAL_MAX) else { continue };
                let rrset = rrset.as_ref();
                // The same octets may stand for several names that a wildcard covers.
                let is_there = |there: &Entry<'_>| {
                    std::ptr::eq(there.rrset.records, rrset.records) && owner_name(request, there.owner) == target
                };
                if !response.entries.iter().any(is_there) {
                    added += 1;
                    response.push(Section::Additional, Owner::Name(target), rrset);
                }
            }
        }
    }
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
