//! The text of a LUA record, joined, with the way back to the zone file.

use std::ops::Range;
use std::sync::Arc;

use super::Scripts;
use super::record::{LuaData, Piece, Record};
use crate::diagnostic::Position;
use crate::dns::{Name, Rtype};

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
    /// Where each piece is in `code`, and where it stands in the zone file.
    places: Vec<(Range<usize>, Position)>,
}

impl Script {
    /// Joins the pieces as PowerDNS does.
    ///
    /// It splits the presentation form at its quotation marks, which makes a piece of each blank between two
    /// strings. Without whitespace a piece of one space is left out and the rest follow one another; with it
    /// every piece, those blanks included, is written with one space behind it.
    pub(super) fn join(record: &Record, lua: &LuaData, joined: Scripts) -> Self {
        let insert_whitespace = joined == Scripts::JoinedWithBlanks;
        let mut code = Vec::new();
        let mut places = Vec::with_capacity(lua.pieces.len());
        for (index, piece) in lua.pieces.iter().enumerate() {
            if insert_whitespace && index > 0 {
                code.extend_from_slice(b"  ");
            }
            if piece.text.is_empty() || (!insert_whitespace && *piece.text == *b" ") {
                continue;
            }
            places.push((code.len()..code.len() + piece.text.len(), piece.position.clone()));
            code.extend_from_slice(&piece.text);
            if insert_whitespace {
                code.push(b' ');
            }
        }
        if places.is_empty() {
            places.push((0..0, record.position.clone()));
        }
        Self { owner: record.owner.clone(), covered: lua.covered, ttl: record.ttl, code: code.into(), places }
    }

    /// Where the octet of `code` at `offset` stands in the zone file.
    pub fn position_at(&self, offset: usize) -> Position {
        let index = self.places.partition_point(|(piece, _)| piece.start <= offset).saturating_sub(1);
        let (piece, place) = &self.places[index];
        let before = &self.code[piece.start.min(self.code.len())..offset.min(self.code.len())];
        let mut position = place.clone();
        for octet in before {
            match octet {
                b'\n' => (position.line, position.column) = (position.line + 1, 1),
                _ => position.column += 1,
            }
        }
        position
    }

    /// Where its pieces but the first begin in `code`.
    pub fn seams(&self) -> impl Iterator<Item = usize> {
        self.places.iter().skip(1).map(|(piece, _)| piece.start)
    }

    /// The record's data in presentation form, less what joining leaves out.
    pub fn presentation(&self) -> String {
        let pieces = self
            .places
            .iter()
            .map(|(piece, position)| Piece { text: self.code[piece.clone()].into(), position: position.clone() });
        LuaData { covered: self.covered, pieces: pieces.collect() }.to_string()
    }

    /// Where the script begins in the zone file.
    pub fn position(&self) -> Position {
        self.position_at(0)
    }
}
