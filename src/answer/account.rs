//! What became of a request, for those who keep a record of it.

use super::World;
use super::cookie::Standing;
use crate::config::QueryClass;
use crate::dns::edns::{Edns, ExtendedError};
use crate::dns::name::Folded;
use crate::dns::wire::{self, Header, Remains, Section};
use crate::dns::{Class, Client, NameRef, Now, Rcode, Response, Rtype};

/// Who is told of each request that has come to its end.
///
/// It is called by the worker between two requests, so it must neither wait nor take long.
pub type Observer = Box<dyn FnMut(&Account<'_>)>;

/// What became of a request.
pub struct Account<'a> {
    /// When it was answered.
    pub now: Now,
    /// Who asked, and where.
    pub client: &'a Client,
    /// The request as it came.
    pub request: &'a [u8],
    /// The reply as it goes out, without a length prefix; empty for none.
    pub reply: &'a [u8],
    /// What the stages say of it.
    pub remark: Remark,
    pub(super) world: &'a World,
}

/// What the stages say of a request that its octets do not.
#[derive(Clone, Copy, Debug)]
pub struct Remark {
    /// What is odd about how it ended.
    pub why: Option<Why>,
    /// The outcome, extended bits included.
    pub rcode: Rcode,
    /// Why the answer is what it is, whether the client could be told or not.
    pub extended_error: Option<ExtendedError>,
    /// How many bits of the client subnet decided the answer.
    pub scope: u8,
    /// What its cookie was worth.
    pub cookie: Standing,
    /// Whether it was sent to other name servers.
    pub is_referral: bool,
}

/// What is odd about how a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It was no query: too short, or itself a response.
    NoQuery,
    /// The worker was asked for too much, and the record's script was not run.
    Shed,
}

impl Why {
    /// The same in words that have no quotes.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoQuery => "no query",
            Self::Shed => "shed in an overload",
        }
    }
}

impl Default for Remark {
    fn default() -> Self {
        Self {
            why: None,
            rcode: Rcode::NOERROR,
            extended_error: None,
            scope: 0,
            cookie: Standing::Absent,
            is_referral: false,
        }
    }
}

impl Remark {
    /// Takes up what a response says.
    pub(super) fn read(&mut self, response: &Response<'_>) {
        let first = response.entries.first();
        self.is_referral =
            first.is_some_and(|entry| entry.section == Section::Authority && entry.rrset.rtype == Rtype::NS);
        (self.rcode, self.extended_error, self.scope) = (response.rcode, response.extended_error, response.scope);
    }
}

impl<'a> Account<'a> {
    /// The header of the request; `None` if it was too short to have one.
    pub fn header(&self) -> Option<Header> {
        Header::read(self.request)
    }

    /// The header of the reply; `None` if there is none.
    pub fn reply_header(&self) -> Option<Header> {
        Header::read(self.reply)
    }

    /// The question, if it can be read.
    pub fn question(&self) -> Option<(NameRef<'a>, Rtype, Class)> {
        wire::question(self.request)
    }

    /// What its OPT record says, if it can be found.
    pub fn edns(&self) -> Option<Edns> {
        Remains::of(self.request)?.edns
    }

    /// The apex of the zone that was asked; of several that a CNAME led through, the first.
    pub fn zone(&self) -> Option<NameRef<'a>> {
        let (qname, qtype, _) = self.question()?;
        let (zone, _) = self.world.surroundings.zones.find(&Folded::new(qname), qtype)?;
        Some(zone.apex().as_ref())
    }

    /// What kind of outcome it is.
    pub fn class(&self) -> QueryClass {
        let Some(reply) = self.reply_header() else { return QueryClass::Dropped };
        match self.remark.rcode {
            _ if reply.flags & 0x0200 != 0 => QueryClass::Truncated,
            Rcode::NOERROR if self.remark.is_referral => QueryClass::Referral,
            Rcode::NOERROR if reply.counts[1] > 0 => QueryClass::Answer,
            Rcode::NOERROR => QueryClass::NoData,
            Rcode::NXDOMAIN => QueryClass::NxDomain,
            Rcode::REFUSED => QueryClass::Refused,
            Rcode::SERVFAIL => QueryClass::ServFail,
            Rcode::FORMERR => QueryClass::FormErr,
            Rcode::NOTIMP => QueryClass::NotImp,
            _ => QueryClass::Other,
        }
    }
}
