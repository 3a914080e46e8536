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

/// Where the RRsets of one answer begin, so that over many answers each record comes first equally often.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rotation(
    /// As a part of an RRset's length, in 2^32ths.
    u32,
);

impl Rotation {
    /// How far it moves from one answer to the next: the golden section of a turn.
    ///
    /// To move on by one record would give equal shares as well, but not to a client whose queries are every second
    /// one, as those for A are where A and AAAA are asked for in turn. This gives equal shares to every n-th answer,
    /// whatever n.
    const STEP: u32 = 0x9e37_79b9;

    /// That of the next answer.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(Self::STEP))
    }

    /// The index of the record that comes first, of `count`.
    pub fn start(self, count: u16) -> usize {
        ((u64::from(self.0) * u64::from(count)) >> u32::BITS) as usize
    }
}

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

    /// As [`RrsetRef::iter`], beginning with the record at `start`; those before it come last.
    pub fn iter_from(self, start: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let at = self.iter().take(start).map(|(header, rdata)| header.len() + rdata.len()).sum();
        let (before, rest) = self.records.split_at(at);
        Self { records: rest, ..self }.iter().chain(Self { records: before, ..self }.iter())
    }

    /// The RDATA of each record.
    pub fn rdata(self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().map(|(_, rdata)| rdata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_first_equally_often_to_every_nth_answer() {
        const TURNS: usize = 100;
        for count in 1..=16u16 {
            for nth in 1..=12 {
                let mut firsts = vec![0; usize::from(count)];
                let mut rotation = Rotation::default();
                for _ in 0..TURNS * firsts.len() {
                    firsts[rotation.start(count)] += 1;
                    rotation = (0..nth).fold(rotation, |rotation, _| rotation.next());
                }
                let even = firsts.iter().all(|first| (TURNS - TURNS / 10..=TURNS + TURNS / 10).contains(first));
                assert!(even, "{count} records, every {nth}th answer: {firsts:?}");
            }
        }
    }

    #[test]
    fn an_rrset_that_begins_later_has_every_record_in_its_order() {
        let rdata: [&[u8]; 4] = [b"a", b"", b"ccc", b"dd"];
        let rrset = Rrset::new(Rtype::NULL, 60, &rdata);
        for start in 0..rdata.len() {
            let came: Vec<&[u8]> = rrset.as_ref().iter_from(start).map(|(_, rdata)| rdata).collect();
            assert_eq!(came, [&rdata[start..], &rdata[..start]].concat());
        }
    }
}
