//! Octets to a `Request`, a `Response` to octets: sections, name compression, size limits, truncation.

use smallvec::SmallVec;

use super::edns::{self, Edns, ExtendedError};
use super::name::{Folded, NameRef};
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

/// Why a message is not a request that can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Too short to have a header, or itself a response: answering could start a loop.
    Silence,
    /// Answered with this code and whatever of the question could be read.
    Rcode(Rcode),
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
    /// If a wildcard stood in for the QNAME, how many of its labels stand before the name that the wildcard is below.
    pub wildcard: Option<usize>,
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
            wildcard: None,
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

/// What a server allows in its responses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most octets of UDP payload it sends and says it takes.
    pub udp_payload_max: u16,
    /// Whether client subnets are used and echoed.
    pub client_subnet: bool,
}

/// Appends a response to `out`, within what the client and the server both allow.
///
/// An RRset goes in whole or not at all. When a required one does not fit the response is left with its question
/// and the TC bit; others that do not fit are left out (RFC 2181 section 9).
pub fn encode(request: &Request<'_>, response: &Response<'_>, transport: Transport, limits: Limits, out: &mut Vec<u8>) {
    let begin = out.len();
    let opt = request.edns.as_ref().map(|edns| edns::Reply {
        udp_payload: limits.udp_payload_max,
        rcode_high: (response.rcode.0 >> 4) as u8,
        dnssec_ok: edns.dnssec_ok,
        client_subnet: edns
            .client_subnet
            .as_ref()
            .filter(|_| limits.client_subnet)
            .map(|subnet| (subnet, response.scope)),
        extended_error: response.extended_error,
    });
    let size_max = match (transport, &request.edns) {
        (Transport::Tcp, _) => STREAM_MESSAGE_MAX,
        (Transport::Udp, None) => usize::from(UDP_PAYLOAD_MIN),
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.udp_payload.clamp(UDP_PAYLOAD_MIN, limits.udp_payload_max.max(UDP_PAYLOAD_MIN)))
        }
    };
    let records_max = size_max - opt.as_ref().map_or(0, edns::Reply::octets);

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
            writer.rrset(entry, &request.folded);
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
        flags |= 0x0200;
    }
    if let Some(opt) = opt {
        opt.write(out);
        counts[Section::Additional as usize] += 1;
    }
    out[begin + 2..begin + 4].copy_from_slice(&flags.to_be_bytes());
    out[begin + 4..begin + 6].copy_from_slice(&1u16.to_be_bytes());
    for (index, count) in counts.into_iter().enumerate() {
        out[begin + 6 + 2 * index..begin + 8 + 2 * index].copy_from_slice(&count.to_be_bytes());
    }
}

/// Appends the response to a message that [`decode`] refused with a code.
///
/// The question is echoed if it can be read, and an OPT record is answered with one, for a refusal without it would say
/// that the server does not know EDNS (RFC 6891 section 7). `octets` must have a header, as any that earns a code has.
pub fn encode_refusal(octets: &[u8], rcode: Rcode, limits: Limits, out: &mut Vec<u8>) {
    let Some(header) = octets.first_chunk::<HEADER>() else { return };
    let flags = u16::from_be_bytes([header[2], header[3]]);
    let question = (u16::from_be_bytes([header[4], header[5]]) == 1)
        .then(|| read_question(&octets[HEADER..]))
        .flatten()
        .map(|(.., rest)| &octets[HEADER..octets.len() - rest.len()])
        .unwrap_or_default();
    out.extend_from_slice(&header[..2]);
    out.extend_from_slice(&(0x8000 | flags & 0x7910 | rcode.0 & 0xf).to_be_bytes());
    let opt = find_opt(octets);
    out.extend_from_slice(&[0, u8::from(!question.is_empty()), 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
    out.extend_from_slice(question);
    if let Some(opt) = opt {
        let dnssec_ok = opt.ttl & 0x8000 != 0;
        let udp_payload = limits.udp_payload_max;
        edns::Reply { udp_payload, rcode_high: 0, dnssec_ok, client_subnet: None, extended_error: None }.write(out);
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
    fn rrset(&mut self, entry: &Entry<'z>, qname: &Folded) {
        let mut owner_at = None;
        for (header, rdata) in entry.rrset.iter() {
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
