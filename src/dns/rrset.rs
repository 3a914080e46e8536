//! RRsets in wire form, ready to be copied into a response.

use super::{Class, Rtype};

/// The records of one owner and type, in wire form from the type on, ready to be copied behind an owner name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rrset {
    rtype: Rtype,
    ttl: u32,
    count: u16,
    records: Box<[u8]>,
}

/// A borrowed RRset: each record is type, class, TTL, length and RDATA.
#[derive(Clone, Copy, Debug)]
pub struct RrsetRef<'a> {
    /// The type of every record in it.
    pub rtype: Rtype,
    /// How many records there are.
    pub count: u16,
    /// The records, one behind the other.
    pub records: &'a [u8],
}

/// The octets of a record between its owner and its RDATA: type, class, TTL and length.
pub const RECORD_HEADER: usize = 10;

impl Rrset {
    /// Puts RDATA in wire form together; more than 65,535 records are cut off there.
    pub fn new(rtype: Rtype, ttl: u32, rdata: &[&[u8]]) -> Self {
        let mut records = Vec::with_capacity(rdata.iter().map(|rdata| RECORD_HEADER + rdata.len()).sum());
        let rdata = &rdata[..rdata.len().min(usize::from(u16::MAX))];
        for rdata in rdata {
            push_record(rtype, ttl, rdata, &mut records);
        }
        let count = u16::try_from(rdata.len()).expect("cut to 65,535 above");
        Self { rtype, ttl, count, records: records.into_boxed_slice() }
    }

    /// The type of every record in it.
    pub fn rtype(&self) -> Rtype {
        self.rtype
    }

    /// The TTL of every record in it.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Borrows the records.
    pub fn as_ref(&self) -> RrsetRef<'_> {
        RrsetRef { rtype: self.rtype, count: self.count, records: &self.records }
    }

    /// Gives every record this TTL.
    pub fn set_ttl(&mut self, ttl: u32) {
        self.ttl = ttl;
        let mut at = 0;
        while at < self.records.len() {
            self.records[at + 4..at + 8].copy_from_slice(&ttl.to_be_bytes());
            let length = u16::from_be_bytes([self.records[at + 8], self.records[at + 9]]);
            at += RECORD_HEADER + usize::from(length);
        }
    }
}

/// Appends type, class IN, TTL, length and RDATA: a record without its owner.
pub fn push_record(rtype: Rtype, ttl: u32, rdata: &[u8], records: &mut Vec<u8>) {
    records.extend_from_slice(&header(rtype, ttl, rdata));
    records.extend_from_slice(rdata);
}

/// What stands before `rdata`: type, class IN, TTL and length.
pub fn header(rtype: Rtype, ttl: u32, rdata: &[u8]) -> [u8; RECORD_HEADER] {
    let [type_high, type_low] = rtype.0.to_be_bytes();
    let [class_high, class_low] = Class::IN.0.to_be_bytes();
    let [a, b, c, d] = ttl.to_be_bytes();
    let length = u16::try_from(rdata.len()).expect("RDATA in wire form has at most 65,535 octets");
    let [length_high, length_low] = length.to_be_bytes();
    [type_high, type_low, class_high, class_low, a, b, c, d, length_high, length_low]
}

impl<'a> RrsetRef<'a> {
    /// The TTL of its records; 0 if there are none.
    pub fn ttl(self) -> u32 {
        let octets = self.records.get(4..8).and_then(|octets| octets.try_into().ok());
        octets.map_or(0, u32::from_be_bytes)
    }

    /// Each record from its type on, with the RDATA apart.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let (header, after) = rest.split_at_checked(RECORD_HEADER)?;
            let (rdata, after) = after.split_at(usize::from(u16::from_be_bytes([header[8], header[9]])));
            rest = after;
            Some((header, rdata))
        })
    }

    /// The RDATA of each record.
    pub fn rdata(self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().map(|(_, rdata)| rdata)
    }
}
