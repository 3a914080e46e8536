//! Octets to a `Request`, a `Response` to octets: sections, name compression, size limits, truncation.

use smallvec::SmallVec;

use super::edns::cookie::Given;
use super::edns::{self, Edns, ExtendedError};
use super::name::{Folded, NameRef};
use super::rrset::Rotation;
use super::{Class, Opcode, Rcode, RrsetRef, Rtype, Transport};

/// The octets of a message's header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// The UDP payload every client takes (RFC 1035 section 4.2.1).
const UDP_PAYLOAD_MIN: u16 = 512;
/// The largest message a stream can carry.
const STREAM_MESSAGE_MAX: usize = 65_535;
/// A compression pointer holds 14 bits.
const POINTER_MAX: usize = 0x3fff;
/// How many names of a response are remembered to be pointed at; a bound on the work of compression.
const COMPRESSED_NAMES_MAX: usize = 24;

/// A request that can be answered: one question, and what the OPT record said.
pub struct Request<'m> {
    /// The message's header.
    pub header: Header,
    /// What is asked to be done.
    pub opcode: Opcode,
    /// The name asked for, in the client's letter case.
    pub qname: NameRef<'m>,
    /// The same in lower case.
    pub folded: Folded,
    /// The type asked for.
    pub qtype: Rtype,
    /// The class asked for.
    pub qclass: Class,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// The header of a message, as sent (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// The message's id.
    pub id: u16,
    /// The flags, the opcode and the RCODE: RD is echoed and never heeded, CD is echoed (RFC 4035 section 3.1.6).
    pub flags: u16,
    /// How many entries the four sections have.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header of a message; `None` if it is too short to have one.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = octets.first_chunk()?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Some(Self { id: field(0), flags: field(2), counts: [4, 6, 8, 10].map(field) })
    }
}

/// Why a message is not a request that can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Too short to have a header, or itself a response: answering could start a loop.
    Silence,
    /// Answered with this code and whatever of the question could be read.
    Rcode(Rcode),
    /// Nothing is asked for, and there is an OPT record: this may be the wish for a server cookie (RFC 7873 section 5.4).
    NoQuestion,
}

/// A section of a response that holds records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who is responsible: an SOA or the name servers of a referral.
    Authority,
    /// What the client would ask for next.
    Additional,
}

/// The owner of an RRset in a response.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'z> {
    /// The QNAME without this many labels at its front.
    Question(usize),
    /// Any other name.
    Name(NameRef<'z>),
}

/// An RRset in a response.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'z> {
    /// Where it goes.
    pub section: Section,
    /// Its owner.
    pub owner: Owner<'z>,
    /// Its records.
    pub rrset: RrsetRef<'z>,
    /// Whether the response is truncated rather than sent without it.
    pub required: bool,
}

/// An answer before it has its final form.
#[derive(Debug)]
pub struct Response<'z> {
    /// The outcome, extended bits included.
    pub rcode: Rcode,
    /// Whether this server is the authority for the first owner name of the answer.
    pub authoritative: bool,
    /// Whether the client is to ask again over a stream, whatever the size.
    pub truncated: bool,
    /// The RRsets, answer before authority before additional.
    pub entries: SmallVec<[Entry<'z>; 6]>,
    /// Where RRsets of the answer and additional sections begin.
    pub rotation: Rotation,
    /// How many bits of the client subnet decided the answer.
    pub scope: u8,
    /// Why it is what it is.
    pub extended_error: Option<ExtendedError>,
}

impl<'z> Response<'z> {
    /// A response without records.
    pub fn new(rcode: Rcode) -> Self {
        Self {
            rcode,
            authoritative: false,
            truncated: false,
            entries: SmallVec::new(),
            rotation: Rotation::default(),
            scope: 0,
            extended_error: None,
        }
    }

    /// Adds an RRset; sections must be filled in their order.
    pub fn push(&mut self, section: Section, owner: Owner<'z>, rrset: RrsetRef<'z>) {
        debug_assert!(self.entries.last().is_none_or(|last| last.section <= section));
        self.entries.push(Entry { section, owner, rrset, required: section != Section::Additional });
    }
}

/// Reads a request.
///
/// Never allocates, and never panics whatever the octets. Rules: one question (RFC 9619), no records in answer,
/// none in authority but the SOA of an incremental transfer (RFC 1995 section 3), at most one OPT and that in
/// additional (RFC 6891 section 6.1.1), nothing behind the last record.
pub fn decode(octets: &[u8]) -> Result<Request<'_>, Refusal> {
    const FORMERR: Refusal = Refusal::Rcode(Rcode::FORMERR);
    let header: &[u8; HEADER] = octets.first_chunk().ok_or(Refusal::Silence)?;
    let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = field(2);
    if flags & 0x8000 != 0 {
        return Err(Refusal::Silence);
    }
    let opcode = Opcode((flags >> 11 & 0xf) as u8);
    if opcode != Opcode::QUERY {
        return Err(Refusal::Rcode(Rcode::NOTIMP));
    }
    let (in_authority, in_additional) = (u32::from(field(8)), u32::from(field(10)));
    if (field(4), field(6), field(8), field(10)) == (0, 0, 0, 1) {
        return Err(if is_opt_alone(&octets[HEADER..]) { Refusal::NoQuestion } else { FORMERR });
    }
    if (field(4), field(6)) != (1, 0) {
        return Err(FORMERR);
    }
    let (qname, qtype, qclass, rest) = read_question(&octets[HEADER..]).ok_or(FORMERR)?;
    if in_authority > 0 && qtype != Rtype::IXFR {
        return Err(FORMERR);
    }
    let header = Header { id: field(0), flags, counts: [4, 6, 8, 10].map(field) };
    let mut request = Request { header, opcode, qname, folded: Folded::new(qname), qtype, qclass, edns: None };
    let mut rest = rest;
    for index in 0..in_authority + in_additional {
        let (record, after) = read_record(rest).ok_or(FORMERR)?;
        rest = after;
        if record.rtype == Rtype::OPT {
            let edns = Edns::read(record.class, record.ttl, record.rdata).map_err(|_| FORMERR)?;
            if !record.at_root || index < in_authority || request.edns.replace(edns).is_some() {
                return Err(FORMERR);
            }
        }
    }
    if !rest.is_empty() {
        return Err(FORMERR);
    }
    Ok(request)
}

/// The one question of a message, if it can be read, whatever is wrong with the rest.
pub fn question(octets: &[u8]) -> Option<(NameRef<'_>, Rtype, Class)> {
    if Header::read(octets)?.counts[0] != 1 {
        return None;
    }
    let (qname, qtype, qclass, _) = read_question(&octets[HEADER..])?;
    Some((qname, qtype, qclass))
}

/// Whether these octets are one OPT record.
fn is_opt_alone(octets: &[u8]) -> bool {
    read_record(octets).is_some_and(|(record, rest)| {
        let edns = || Edns::read(record.class, record.ttl, record.rdata);
        record.rtype == Rtype::OPT && record.at_root && rest.is_empty() && edns().is_ok()
    })
}

/// Splits a question from the octets behind the header.
fn read_question(octets: &[u8]) -> Option<(NameRef<'_>, Rtype, Class, &[u8])> {
    let (qname, rest) = NameRef::split_from(octets).ok()?;
    let (fixed, rest) = rest.split_first_chunk::<4>()?;
    let qtype = Rtype(u16::from_be_bytes([fixed[0], fixed[1]]));
    let qclass = Class(u16::from_be_bytes([fixed[2], fixed[3]]));
    Some((qname, qtype, qclass, rest))
}

/// A record of a request.
struct Record<'m> {
    at_root: bool,
    rtype: Rtype,
    class: u16,
    ttl: u32,
    rdata: &'m [u8],
}

/// Splits a record from `octets`; its owner may be compressed and is only passed over.
fn read_record(octets: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (fixed, rest) = skip_name(octets)?.split_first_chunk::<10>()?;
    let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([fixed[8], fixed[9]])))?;
    let record = Record {
        at_root: octets[0] == 0,
        rtype: Rtype(u16::from_be_bytes([fixed[0], fixed[1]])),
        class: u16::from_be_bytes([fixed[2], fixed[3]]),
        ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        rdata,
    };
    Some((record, rest))
}

/// Passes over a name, compressed or not.
fn skip_name(octets: &[u8]) -> Option<&[u8]> {
    let mut rest = octets;
    loop {
        let (&length, after) = rest.split_first()?;
        rest = match length {
            0 => return Some(after),
            1..=63 => after.get(usize::from(length)..)?,
            0xc0.. => return after.get(1..),
            64..0xc0 => return None,
        };
    }
}

/// What a server allows in its responses, and tells of itself.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most octets of UDP payload it sends and says it takes.
    pub udp_payload_max: u16,
    /// Whether client subnets are used and echoed.
    pub client_subnet: bool,
    /// Who it says it is (RFC 5001), in at most [`NSID_OCTETS_MAX`]; nothing if that is empty.
    pub nsid: Vec<u8>,
    /// How long it says a stream may be idle (RFC 7828), in tenths of a second.
    pub tcp_idle_tenths: u16,
}

/// The longest identity of a server.
///
/// Every option together then leaves room in 512 octets for the longest question: 271 octets of header and question, 11 of
/// the OPT record, 28 of a cookie, 24 of a client subnet, and 6 of an extended error without its text.
pub const NSID_OCTETS_MAX: usize = 128;

/// How a response travels, and what of it is the client's alone.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'l> {
    /// How the request came.
    pub transport: Transport,
    /// What the server allows everyone.
    pub limits: &'l Limits,
    /// The most octets that this client gets by UDP, if that is less.
    pub udp_payload_max: u16,
    /// The cookie for this client.
    pub cookie: Option<Given>,
}

impl<'l> Envelope<'l> {
    /// A response to someone of whom nothing is known.
    pub fn plain(transport: Transport, limits: &'l Limits) -> Self {
        Self { transport, limits, udp_payload_max: u16::MAX, cookie: None }
    }

    /// The most octets that a message to this client may have.
    fn size_max(&self, edns: Option<&Edns>) -> usize {
        let ours = self.limits.udp_payload_max.max(UDP_PAYLOAD_MIN);
        match (self.transport, edns) {
            (Transport::Tcp, _) => STREAM_MESSAGE_MAX,
            (Transport::Udp, None) => usize::from(UDP_PAYLOAD_MIN.min(self.udp_payload_max)),
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.udp_payload.clamp(UDP_PAYLOAD_MIN, ours).min(self.udp_payload_max))
            }
        }
    }

    /// The OPT record that answers one, without what is said of the answer.
    fn opt<'e>(&'e self, edns: &'e Edns, rcode: Rcode) -> edns::Reply<'e> {
        let limits = self.limits;
        let is_stream = self.transport == Transport::Tcp;
        edns::Reply {
            udp_payload: limits.udp_payload_max,
            rcode_high: (rcode.0 >> 4) as u8,
            dnssec_ok: edns.dnssec_ok,
            cookie: self.cookie.as_ref().filter(|_| edns.cookie.is_some()),
            client_subnet: None,
            keepalive: (edns.keepalive && is_stream).then_some(limits.tcp_idle_tenths),
            nsid: Some(limits.nsid.as_slice()).filter(|nsid| edns.nsid && !nsid.is_empty()),
            extended_error: None,
        }
    }
}

/// Appends a response to `out`, within what the client and the server both allow.
///
/// An RRset goes in whole or not at all. When a required one does not fit the response is left with its question
/// and the TC bit; others that do not fit are left out (RFC 2181 section 9).
pub fn encode(request: &Request<'_>, response: &Response<'_>, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    let edns = request.edns.as_ref();
    let subnet = edns.and_then(|edns| edns.client_subnet.as_ref()).filter(|_| envelope.limits.client_subnet);
    let opt = edns.map(|edns| edns::Reply {
        client_subnet: subnet.map(|subnet| (subnet, response.scope)),
        ..envelope.opt(edns, response.rcode)
    });
    let size_max = envelope.size_max(edns);
    let records_max = size_max.saturating_sub(opt.as_ref().map_or(0, edns::Reply::octets));

    let mut flags = 0x8000 | request.header.flags & 0x7910;
    flags |= u16::from(response.authoritative) << 10 | response.rcode.0 & 0xf;
    out.extend_from_slice(&request.header.id.to_be_bytes());
    out.extend_from_slice(&[0; HEADER - 2]);
    out.extend_from_slice(request.qname.wire());
    out.extend_from_slice(&request.qtype.0.to_be_bytes());
    out.extend_from_slice(&request.qclass.0.to_be_bytes());
    let records_begin = out.len();

    let end = begin + records_max;
    let mut writer = Writer { out, begin, end, names: SmallVec::new(), qname: request.qname };
    let mut counts = [0u16; 3];
    let mut truncated = response.truncated;
    if !truncated {
        for entry in &response.entries {
            let before = (writer.out.len(), writer.names.len());
            // Name servers of a referral keep their order: who asks them has its own.
            let rotates = entry.section != Section::Authority;
            let start = if rotates { response.rotation.start(entry.rrset.count) } else { 0 };
            writer.rrset(entry, start, &request.folded);
            if writer.out.len() <= end {
                counts[entry.section as usize] += entry.rrset.count;
                continue;
            }
            writer.out.truncate(before.0);
            writer.names.truncate(before.1);
            if entry.required {
                truncated = true;
                break;
            }
        }
    }
    if truncated {
        out.truncate(records_begin);
        counts = [0; 3];
    }
    if let Some(opt) = opt {
        truncated |= write_opt(opt, response.extended_error, begin + size_max, out);
        counts[Section::Additional as usize] += 1;
    }
    flags |= u16::from(truncated) << 9;
    out[begin + 2..begin + 4].copy_from_slice(&flags.to_be_bytes());
    out[begin + 4..begin + 6].copy_from_slice(&1u16.to_be_bytes());
    for (index, count) in counts.into_iter().enumerate() {
        out[begin + 6 + 2 * index..begin + 8 + 2 * index].copy_from_slice(&count.to_be_bytes());
    }
}

/// Appends the OPT record with as much of an extended error as ends before `end`; returns whether it had to be left out.
///
/// RFC 8914 section 3 has an extended error left out before anything else is, and TC set then. Its text is for people
/// and goes first, for which no client need ask again.
fn write_opt(opt: edns::Reply<'_>, error: Option<ExtendedError>, end: usize, out: &mut Vec<u8>) -> bool {
    let textless = error.map(|error| ExtendedError { text: "", ..error });
    for extended_error in [error, textless] {
        let opt = edns::Reply { extended_error, ..opt };
        if out.len() + opt.octets() <= end {
            opt.write(out);
            return false;
        }
    }
    opt.write(out);
    error.is_some()
}

/// What can be read of a message that [`decode`] refused with a code.
pub struct Remains<'m> {
    /// The header's id and flags.
    id: u16,
    flags: u16,
    /// The question as it came; empty if there is not one.
    question: &'m [u8],
    /// The OPT record; without its options if they cannot be read.
    pub edns: Option<Edns>,
}

impl<'m> Remains<'m> {
    /// Reads what there is; `None` if not even a header.
    pub fn of(octets: &'m [u8]) -> Option<Self> {
        let header = octets.first_chunk::<HEADER>()?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let question = (field(4) == 1).then(|| read_question(&octets[HEADER..])).flatten();
        let question = question.map(|(.., rest)| &octets[HEADER..octets.len() - rest.len()]).unwrap_or_default();
        let edns = find_opt(octets)
            .map(|opt| Edns::read(opt.class, opt.ttl, opt.rdata).unwrap_or_else(|_| Edns::bare(opt.class, opt.ttl)));
        Some(Self { id: field(0), flags: field(2), question, edns })
    }
}

/// Appends the response to a message of which only this remains.
///
/// The question is echoed if it can be read, and an OPT record is answered with one, for a refusal without it would say
/// that the server does not know EDNS (RFC 6891 section 7).
pub fn encode_refusal(
    remains: &Remains<'_>,
    (rcode, error): (Rcode, Option<ExtendedError>),
    envelope: &Envelope<'_>,
    out: &mut Vec<u8>,
) {
    let begin = out.len();
    let flags = 0x8000 | remains.flags & 0x7910 | rcode.0 & 0xf;
    out.extend_from_slice(&remains.id.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    let (questions, opts) = (u8::from(!remains.question.is_empty()), u8::from(remains.edns.is_some()));
    out.extend_from_slice(&[0, questions, 0, 0, 0, 0, 0, opts]);
    out.extend_from_slice(remains.question);
    if let Some(edns) = &remains.edns {
        let end = begin + envelope.size_max(Some(edns));
        if write_opt(envelope.opt(edns, rcode), error, end, out) {
            out[begin + 2] |= 0x02;
        }
    }
}

/// Finds the OPT record of a message, however odd the rest of it is.
fn find_opt(octets: &[u8]) -> Option<Record<'_>> {
    let (header, mut rest) = octets.split_first_chunk::<HEADER>()?;
    let [questions, answers, authorities, additionals] =
        [4, 6, 8, 10].map(|at| u32::from(u16::from_be_bytes([header[at], header[at + 1]])));
    for _ in 0..questions {
        rest = skip_name(rest)?.get(4..)?;
    }
    for index in 0..answers + authorities + additionals {
        let (record, after) = read_record(rest)?;
        if record.rtype == Rtype::OPT && index >= answers + authorities {
            return Some(record);
        }
        rest = after;
    }
    None
}

/// Writes records with compressed names behind one another.
struct Writer<'o, 'z> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in `out`.
    begin: usize,
    /// Where the records must end. An RRset that passes it is broken off, for the caller to take back.
    end: usize,
    /// Names that stand in the message, each with its offset and how many of its octets are spelled out there.
    names: SmallVec<[(u16, u8, NameRef<'z>); COMPRESSED_NAMES_MAX]>,
    qname: NameRef<'z>,
}

impl<'z> Writer<'_, 'z> {
    fn rrset(&mut self, entry: &Entry<'z>, start: usize, qname: &Folded) {
        let mut owner_at = None;
        for (header, rdata) in entry.rrset.iter_from(start) {
            match (owner_at, entry.owner) {
                (Some(at), _) => self.pointer(at),
                (None, Owner::Question(skipped)) if skipped < qname.label_count() => {
                    let at = HEADER + qname.offset(skipped);
                    self.pointer(at);
                    owner_at = Some(at);
                }
                (None, Owner::Question(_)) => self.out.push(0),
                (None, Owner::Name(owner)) => owner_at = self.name(owner),
            }
            let header_at = self.out.len();
            self.out.extend_from_slice(header);
            self.rdata(entry.rrset.rtype, rdata);
            let length = self.out.len() - header_at - header.len();
            if length != rdata.len() {
                let length = u16::try_from(length).expect("compression only makes RDATA shorter");
                self.out[header_at + 8..header_at + 10].copy_from_slice(&length.to_be_bytes());
            }
            if self.out.len() > self.end {
                return;
            }
        }
    }

    fn pointer(&mut self, at: usize) {
        let pointer = 0xc000 | u16::try_from(at).expect("callers stay below 2^14");
        self.out.extend_from_slice(&pointer.to_be_bytes());
    }

    /// Writes RDATA, compressing the names that RFC 3597 section 4 lets be compressed.
    fn rdata(&mut self, rtype: Rtype, rdata: &'z [u8]) {
        let Some((fixed, names)) = compressible(rtype) else {
            return self.out.extend_from_slice(rdata);
        };
        let (fixed, mut rest) = rdata.split_at(fixed.min(rdata.len()));
        self.out.extend_from_slice(fixed);
        for _ in 0..names {
            let Ok((name, after)) = NameRef::split_from(rest) else { break };
            self.name(name);
            rest = after;
        }
        self.out.extend_from_slice(rest);
    }

    /// Writes a name: as much of it as stands nowhere yet, then a pointer to the rest.
    ///
    /// Returns where the same name can be pointed at from now on; the root is shorter than a pointer to it.
    fn name(&mut self, name: NameRef<'z>) -> Option<usize> {
        let at = self.out.len() - self.begin;
        let in_question = (HEADER as u16, self.qname.wire().len() as u8, self.qname);
        let best = std::iter::once(&in_question)
            .chain(&self.names)
            .filter_map(|(known_at, spelled, known)| {
                let (own, theirs) = common_suffix(name, *known)?;
                let pointer = usize::from(*known_at) + theirs;
                (theirs < usize::from(*spelled) && pointer <= POINTER_MAX).then_some((own, pointer))
            })
            .min_by_key(|(own, _)| *own);
        let (spelled, pointer) = match best {
            Some((own, pointer)) => (own, Some(pointer)),
            None => (name.wire().len(), None),
        };
        self.out.extend_from_slice(&name.wire()[..spelled]);
        if let Some(pointer) = pointer {
            self.pointer(pointer);
        }
        if spelled > 0 && at <= POINTER_MAX && self.names.len() < COMPRESSED_NAMES_MAX {
            let known_at = u16::try_from(at).expect("checked to be below 2^14");
            self.names.push((known_at, u8::try_from(spelled).expect("a name has at most 255 octets"), name));
        }
        let known_at = if spelled == 0 { pointer } else { Some(at) };
        known_at.filter(|at| !name.is_root() && *at <= POINTER_MAX)
    }
}

/// The types whose RDATA may be compressed (RFC 3597 section 4): octets before the names, and how many names.
fn compressible(rtype: Rtype) -> Option<(usize, usize)> {
    match rtype {
        Rtype::NS | Rtype::CNAME | Rtype::PTR => Some((0, 1)),
        Rtype::SOA => Some((0, 2)),
        Rtype::MX => Some((2, 1)),
        _ => None,
    }
}

/// The longest common suffix of two names, below the root: its offset in each.
fn common_suffix(own: NameRef<'_>, known: NameRef<'_>) -> Option<(usize, usize)> {
    let mut suffix = own;
    while !suffix.is_root() {
        if let Some(at) = known.suffix_at(suffix) {
            return Some((own.wire().len() - suffix.wire().len(), at));
        }
        suffix = suffix.parent()?;
    }
    None
}
