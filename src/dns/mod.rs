//! The vocabulary of the protocol, and its two forms: octets on the wire and text in a zone file.
//!
//! Read `name.rs` and `rtype.rs` first: everything else speaks in them. `rdata.rs` is the one table of
//! record types, `rrset.rs` what records of one type are once they are ready to be sent. `wire.rs` and
//! `edns.rs` turn octets into a `Request` and a `Response` into octets. `probe.rs` asks a question of a server,
//! for the commands; it is the only file that names hickory-proto. There is no socket here, and no zone.

pub mod edns;
pub mod name;
pub mod probe;
pub mod rdata;
pub mod rrset;
pub mod rtype;
pub mod wire;

use std::net::SocketAddr;

pub use name::{Name, NameRef};
pub use rrset::{Rrset, RrsetRef};
pub use rtype::Rtype;
pub use wire::{Request, Response};

/// A class of records (RFC 1035 section 3.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaosnet, used to ask a server about itself.
    pub const CH: Self = Self(3);
    /// Hesiod.
    pub const HS: Self = Self(4);
    /// No class: only in updates (RFC 2136).
    pub const NONE: Self = Self(254);
    /// Any class: only in questions.
    pub const ANY: Self = Self(255);

    /// Reads a mnemonic or `CLASSnnn` (RFC 3597 section 5), in any letter case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        const MNEMONICS: [(&[u8], Class); 3] = [(b"IN", Class::IN), (b"CH", Class::CH), (b"HS", Class::HS)];
        if let Some((_, class)) = MNEMONICS.iter().find(|(mnemonic, _)| text.eq_ignore_ascii_case(mnemonic)) {
            return Some(*class);
        }
        let (prefix, digits) = text.split_at_checked(5)?;
        if !prefix.eq_ignore_ascii_case(b"CLASS") || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok().map(Self)
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::IN => f.write_str("IN"),
            Self::CH => f.write_str("CH"),
            Self::HS => f.write_str("HS"),
            Self(other) => write!(f, "CLASS{other}"),
        }
    }
}

/// A response code, extended bits included (RFC 6895 section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// The request could not be read.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The kind of request is not implemented.
    pub const NOTIMP: Self = Self(4);
    /// The server will not answer this.
    pub const REFUSED: Self = Self(5);
    /// A name exists that should not: a DNAME made a name too long (RFC 6672 section 2.2).
    pub const YXDOMAIN: Self = Self(6);
    /// An EDNS version the server does not speak (RFC 6891 section 6.1.3).
    pub const BADVERS: Self = Self(16);
    /// A server cookie that is none of the server's (RFC 7873 section 8).
    pub const BADCOOKIE: Self = Self(23);

    /// The mnemonics of the registry (RFC 6895 section 2.3), for those who read and write them as text.
    const MNEMONICS: [(Self, &'static str); 13] = [
        (Self(0), "NOERROR"),
        (Self(1), "FORMERR"),
        (Self(2), "SERVFAIL"),
        (Self(3), "NXDOMAIN"),
        (Self(4), "NOTIMP"),
        (Self(5), "REFUSED"),
        (Self(6), "YXDOMAIN"),
        (Self(7), "YXRRSET"),
        (Self(8), "NXRRSET"),
        (Self(9), "NOTAUTH"),
        (Self(10), "NOTZONE"),
        (Self(16), "BADVERS"),
        (Self(23), "BADCOOKIE"),
    ];

    /// Reads a mnemonic, in any letter case, or a number.
    pub fn parse(text: &str) -> Option<Self> {
        let known = Self::MNEMONICS.iter().find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text));
        known.map(|(rcode, _)| *rcode).or_else(|| text.parse().ok().map(Self))
    }
}

impl std::fmt::Display for Rcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::MNEMONICS.iter().find(|(rcode, _)| rcode == self) {
            Some((_, mnemonic)) => f.write_str(mnemonic),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a request asks to be done (RFC 6895 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A standard query.
    pub const QUERY: Self = Self(0);
}

/// When a query is answered: the one reading of the clocks that everything else is handed.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix_secs: u64,
    /// Time on a clock that never goes back, from an arbitrary start.
    pub monotonic: std::time::Duration,
}

/// How a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream with length prefixes.
    Tcp,
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The sender.
    pub address: SocketAddr,
    /// The address the request was sent to.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
}
