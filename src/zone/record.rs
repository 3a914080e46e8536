//! One record as a zone file states it, and its text.

use std::fmt;

use crate::diagnostic::Position;
use crate::dns::{Class, Name, Rtype, rdata};

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
