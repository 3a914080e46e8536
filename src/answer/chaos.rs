//! What the server says of itself in class CH: its version, and which of many it is (RFC 4892).

use crate::dns::name::Folded;
use crate::dns::rrset::RECORD_HEADER;
use crate::dns::wire::{Owner, Section};
use crate::dns::{Class, Rcode, Request, Response, RrsetRef, Rtype};

/// What is said of the server; made once, as it never changes.
#[derive(Clone, Debug)]
pub struct Chaos {
    version: Option<Text>,
    identity: Option<Text>,
}

/// A TXT record of class CH, from its type on.
#[derive(Clone, Debug)]
pub(super) struct Text(Box<[u8]>);

/// The names that are asked for, in lower case, and which text is theirs.
const NAMES: [(&[u8], Telling); 4] = [
    (b"\x07version\x04bind\0", |chaos| chaos.version.as_ref()),
    (b"\x07version\x06server\0", |chaos| chaos.version.as_ref()),
    (b"\x08hostname\x04bind\0", |chaos| chaos.identity.as_ref()),
    (b"\x02id\x06server\0", |chaos| chaos.identity.as_ref()),
];

/// Which of its texts a name tells.
type Telling = fn(&Chaos) -> Option<&Text>;

impl Chaos {
    /// Tells these two texts; one that is empty is not told.
    pub fn new(version: &str, identity: &str) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| Text::new(text.as_bytes()));
        Self { version: text(version), identity: text(identity) }
    }

    /// The text that is told at a name; `None` if there is none.
    pub(super) fn at(&self, qname: &Folded) -> Option<&Text> {
        NAMES.iter().find(|(name, _)| *name == qname.wire()).and_then(|(_, text)| text(self))
    }
}

impl Text {
    /// The record that holds `text`, in as many character-strings as it takes.
    ///
    /// Its TTL is 0: what a server is asked about itself is to come from that server, and not from a cache.
    fn new(text: &[u8]) -> Self {
        const STRING_OCTETS_MAX: usize = 255;
        let mut rdata = Vec::with_capacity(text.len() + 1);
        for string in text.chunks(STRING_OCTETS_MAX) {
            rdata.push(u8::try_from(string.len()).expect("a chunk has at most 255 octets"));
            rdata.extend_from_slice(string);
        }
        let mut record = Vec::with_capacity(RECORD_HEADER + rdata.len());
        record.extend_from_slice(&Rtype::TXT.0.to_be_bytes());
        record.extend_from_slice(&Class::CH.0.to_be_bytes());
        record.extend_from_slice(&0u32.to_be_bytes());
        record.extend_from_slice(&u16::try_from(rdata.len()).expect("texts are short").to_be_bytes());
        record.extend_from_slice(&rdata);
        Self(record.into_boxed_slice())
    }

    fn as_rrset(&self) -> RrsetRef<'_> {
        RrsetRef { rtype: Rtype::TXT, count: 1, records: &self.0 }
    }
}

/// Answers a query of class CH at the name of a text: type TXT or ANY with it, other types with no data.
pub(super) fn answer<'z>(text: &'z Text, request: &Request<'_>) -> Response<'z> {
    let mut response = Response::new(Rcode::NOERROR);
    response.authoritative = true;
    if matches!(request.qtype, Rtype::TXT | Rtype::ANY) {
        response.push(Section::Answer, Owner::Question(0), text.as_rrset());
    }
    response
}
