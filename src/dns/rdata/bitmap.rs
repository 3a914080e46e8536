//! Bitmaps of record types, as in NSEC, NSEC3 and CSYNC (RFC 4034 section 4.1.2).

use std::collections::BTreeSet;

use super::reader::Reader;
use super::writer::Writer;
use super::{RdataError, Rtype};

/// Octets of bits in the longest window block.
const BLOCK_OCTETS_MAX: usize = 32;

/// Reads mnemonics, also none, in any order.
pub(super) fn read(name: &str, reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let mut types = BTreeSet::new();
    while reader.has_more() {
        types.insert(reader.rtype(name)?.0.to_be_bytes());
    }
    let types: Vec<[u8; 2]> = types.into_iter().collect();
    for window in types.chunk_by(|a, b| a[0] == b[0]) {
        let mut bits = [0u8; BLOCK_OCTETS_MAX];
        for [_, low] in window {
            bits[usize::from(low / 8)] |= 0x80 >> (low % 8);
        }
        let [number, highest] = window[window.len() - 1];
        let length = highest / 8 + 1;
        reader.push(&[number, length]);
        reader.push(&bits[..length.into()]);
    }
    Ok(())
}

/// Writes mnemonics in ascending order of number.
///
/// Only the canonical form is well-formed: windows ascend, and a block ends with an octet that has a bit.
pub(super) fn write(writer: &mut Writer<'_>) -> Option<()> {
    let mut least_window = 0u16;
    while !writer.is_at_end() {
        let window = u16::from(writer.u8()?);
        let bits = writer.counted()?;
        if window < least_window || bits.len() > BLOCK_OCTETS_MAX || bits.last().is_none_or(|last| *last == 0) {
            return None;
        }
        for (at, low) in (0u16..).zip(0..bits.len() * 8) {
            if bits[low / 8] & (0x80 >> (low % 8)) != 0 {
                writer.word(Rtype(window << 8 | at));
            }
        }
        least_window = window + 1;
    }
    Some(())
}
