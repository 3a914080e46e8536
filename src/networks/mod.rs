//! The value of the most specific network that holds an address, and how far around it that value holds.
//!
//! `map.rs` has values in columns, as a file of networks has them.
//!
//! Built once from all networks and never changed. Networks that lie in each other are cut into ranges that do not, so
//! that a look-up is one search among sorted numbers. A range tells what a tree of prefixes does not: up to where every
//! neighbour gets the same answer, which is the scope of a client subnet (RFC 7871 section 7.2.1).

mod map;

use std::net::IpAddr;

use ipnet::IpNet;

pub use map::{Map, Maps, Row};

/// Networks of both families, each with a value.
#[derive(Debug)]
pub struct Networks<V> {
    entries: Box<[(IpNet, V)]>,
    v4: Ranges,
    v6: Ranges,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'n, V> {
    /// The most specific network that holds the address, with its value.
    pub entry: Option<&'n (IpNet, V)>,
    /// How many leading bits of the address decide it: every address that shares them gets the same entry.
    pub scope: u8,
}

/// Two networks that are the same one; host bits do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The position of the first among those given.
    pub first: usize,
    /// The position of the other.
    pub second: usize,
}

impl<V> Networks<V> {
    /// Builds the table of fewer than 2^32 networks, each given once.
    pub fn build(entries: Vec<(IpNet, V)>) -> Result<Self, Duplicate> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (position, (network, _)) in entries.iter().enumerate() {
            let spans = if network.addr().is_ipv4() { &mut v4 } else { &mut v6 };
            spans.push(Span::of(*network, position));
        }
        Ok(Self { entries: entries.into(), v4: Ranges::build(v4)?, v6: Ranges::build(v6)? })
    }

    /// Finds the most specific network that holds `address`.
    ///
    /// An IPv4 address is in no IPv6 network, and the other way about. Never allocates.
    pub fn lookup(&self, address: IpAddr) -> Found<'_, V> {
        let ranges = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let (owner, scope) = ranges.lookup(aligned(address));
        Found { entry: self.entries.get(owner as usize), scope }
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Reads a network: `address/bits`, of which the host bits are cleared, or a bare address in full length.
pub fn read(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(network) => Some(network.trunc()),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

/// An address as a number whose first bit is the highest, whatever the family.
///
/// The families share one code so; behind an IPv4 address are 96 bits that no boundary of a range ever uses.
fn aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The owner of a range that is in no network: a position past the end of any list of entries.
const NOBODY: u32 = u32::MAX;

/// A network on its way into the ranges.
struct Span {
    first: u128,
    /// What comes right after it; `None` at the end of all addresses.
    after: Option<u128>,
    bits: u8,
    owner: u32,
}

impl Span {
    fn of(network: IpNet, position: usize) -> Self {
        let (first, bits) = (aligned(network.network()), network.prefix_len());
        let after = 1u128.checked_shl(128 - u32::from(bits)).and_then(|size| first.checked_add(size));
        Self { first, after, bits, owner: u32::try_from(position).unwrap_or(NOBODY) }
    }

    fn ends_before(&self, address: u128) -> bool {
        self.after.is_some_and(|after| after <= address)
    }
}

/// Every address of a family, cut into ranges with one owner each; neighbours have different ones.
#[derive(Debug, Default)]
struct Ranges {
    /// The upper halves of the addresses at which ranges start, sorted; the first starts at zero.
    ///
    /// Halves, because most searches need no other: that is twice as many in a line of the processor's cache.
    heads: Box<[u64]>,
    /// The lower halves; empty if all are zero.
    tails: Box<[u64]>,
    /// The position of the entry that owns each range, or [`NOBODY`].
    owners: Box<[u32]>,
}

impl Ranges {
    fn build(mut spans: Vec<Span>) -> Result<Self, Duplicate> {
        // A network comes before those inside it.
        spans.sort_unstable_by_key(|span| (span.first, span.bits, span.owner));
        let mut starts = vec![(0, NOBODY)];
        // The networks around the point that has been reached, the innermost last: at most one for each length.
        let mut around: Vec<Span> = Vec::new();
        for span in spans {
            while let Some(inner) = around.pop_if(|inner| inner.ends_before(span.first)) {
                leave(&mut starts, &inner, &around);
            }
            if let Some(same) = around.last().filter(|outer| (outer.first, outer.bits) == (span.first, span.bits)) {
                return Err(Duplicate { first: same.owner as usize, second: span.owner as usize });
            }
            enter(&mut starts, span.first, span.owner);
            around.push(span);
        }
        while let Some(inner) = around.pop() {
            leave(&mut starts, &inner, &around);
        }
        let heads = starts.iter().map(|(start, _)| head(*start)).collect();
        let has_tails = starts.iter().any(|(start, _)| tail(*start) != 0);
        let tails = starts.iter().filter(|_| has_tails).map(|(start, _)| tail(*start)).collect();
        Ok(Self { heads, tails, owners: starts.into_iter().map(|(_, owner)| owner).collect() })
    }

    /// The owner of the range that `address` falls in, and how many of its bits keep it there.
    fn lookup(&self, address: u128) -> (u32, u8) {
        let next = self.first_after(address);
        let below = self.start(next - 1).and_then(|start| start.checked_sub(1));
        let above = self.start(next);
        // A block of addresses that share so many bits stays clear of a neighbour that differs in one of them.
        let bits = |beyond: u128| (address ^ beyond).leading_zeros() as u8 + 1;
        let scope = below.map_or(0, bits).max(above.map_or(0, bits));
        (self.owners[next - 1], scope)
    }

    /// The position of the first range that starts after `address`; never 0, for the first starts at zero.
    fn first_after(&self, address: u128) -> usize {
        let next = self.heads.partition_point(|start| *start <= head(address));
        if self.tails.get(next - 1).is_none_or(|start| *start <= tail(address) || self.heads[next - 1] < head(address))
        {
            return next;
        }
        // Several start in the same upper half, and some of them after the address.
        let same = self.heads[..next].partition_point(|start| *start < head(address));
        same + self.tails[same..next].partition_point(|start| *start <= tail(address))
    }

    fn start(&self, at: usize) -> Option<u128> {
        let head = self.heads.get(at)?;
        Some(u128::from(*head) << 64 | self.tails.get(at).map_or(0, |tail| u128::from(*tail)))
    }
}

fn head(address: u128) -> u64 {
    (address >> 64) as u64
}

fn tail(address: u128) -> u64 {
    address as u64
}

/// Starts a range; one that would start at the same address is none.
fn enter(starts: &mut Vec<(u128, u32)>, at: u128, owner: u32) {
    starts.pop_if(|(start, _)| *start == at);
    starts.push((at, owner));
}

/// Ends a network: what follows is of the one around it.
fn leave(starts: &mut Vec<(u128, u32)>, inner: &Span, around: &[Span]) {
    if let Some(after) = inner.after {
        enter(starts, after, around.last().map_or(NOBODY, |outer| outer.owner));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(networks: &[&str]) -> Networks<usize> {
        let entries = networks.iter().enumerate().map(|(index, network)| (network.parse().unwrap(), index));
        Networks::build(entries.collect()).unwrap()
    }

    #[test]
    fn the_most_specific_network_wins_and_the_scope_avoids_the_others() {
        let networks = table(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48", "2001:db8::1/128"]);
        let cases: [(&str, Option<usize>, u8); 11] = [
            ("10.1.2.3", Some(1), 16),
            ("10.2.3.4", Some(0), 15),
            ("10.0.0.1", Some(0), 16),
            ("10.128.0.1", Some(0), 9),
            ("11.0.0.1", None, 8),
            ("192.0.2.1", None, 1),
            ("2001:db8:1::5", Some(3), 48),
            ("2001:db8:8000::", Some(2), 33),
            ("2001:db8::1", Some(4), 128),
            ("2001:db8::", Some(2), 128),
            ("::1", None, 3),
        ];
        for (address, value, scope) in cases {
            let found = networks.lookup(address.parse().unwrap());
            assert_eq!((found.entry.map(|(_, value)| *value), found.scope), (value, scope), "{address}");
        }
    }

    #[test]
    fn one_network_for_all_needs_no_bit_of_the_client() {
        let networks = table(&["0.0.0.0/0", "::/0"]);
        for (address, value) in [("192.0.2.1", 0), ("255.255.255.255", 0), ("2001:db8::1", 1)] {
            let found = networks.lookup(address.parse().unwrap());
            assert_eq!((found.entry.unwrap().1, found.scope), (value, 0), "{address}");
        }
        let nothing = table(&[]).lookup("192.0.2.1".parse().unwrap()).scope;
        assert_eq!(nothing, 0);
    }

    #[test]
    fn a_network_is_read_with_and_without_its_length() {
        let cases = [("10.9.9.9/8", Some("10.0.0.0/8")), ("10.9.9.9", Some("10.9.9.9/32")), ("::1", Some("::1/128"))];
        let refused = [("10.9.9.9/33", None), ("10.9.9", None), ("", None), ("10.0.0.0/", None), (" ::/0", None)];
        for (text, expected) in cases.into_iter().chain(refused) {
            assert_eq!(read(text), expected.map(|network| network.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_network_given_twice_is_refused() {
        let entries = ["10.0.0.0/8", "10.0.0.0/16", "10.9.9.9/8"].map(|network| (network.parse().unwrap(), ()));
        assert_eq!(Networks::build(entries.to_vec()).unwrap_err(), Duplicate { first: 0, second: 2 });
    }

    /// Addresses that fall into each other's neighbourhood often: few bits are set, and at few places.
    fn address() -> impl Strategy<Value = IpAddr> {
        let bits =
            prop::collection::vec(prop::sample::select(vec![0u32, 1, 2, 3, 30, 31, 62, 63, 64, 65, 126, 127]), 0..5);
        (bits, any::<bool>()).prop_map(|(bits, is_v4)| {
            let number = bits.iter().fold(0u128, |number, bit| number | 1 << bit);
            if is_v4 { IpAddr::V4(((number >> 96) as u32 | number as u32).into()) } else { IpAddr::V6(number.into()) }
        })
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), 0..=128u8).prop_map(|(address, bits)| {
            let bits = if address.is_ipv4() { bits % 33 } else { bits };
            IpNet::new(address, bits).unwrap().trunc()
        })
    }

    /// The position of the longest network that holds an address, found by looking at each.
    fn naive(networks: &[IpNet], address: IpAddr) -> Option<usize> {
        let holding = networks.iter().enumerate().filter(|(_, network)| network.contains(&address));
        holding.max_by_key(|(_, network)| network.prefix_len()).map(|(index, _)| index)
    }

    /// Whether every address that shares `bits` bits with `address` has the same answer, told by the networks alone.
    fn is_uniform(networks: &[IpNet], address: IpAddr, bits: u8) -> bool {
        let block = IpNet::new(address, bits).unwrap().trunc();
        let of_address = naive(networks, address);
        let inside = networks.iter().enumerate().filter(|(_, network)| block.contains(*network));
        // A network within the block that is not covered by longer ones shows at one of its borders or past them.
        let mut points = vec![block.network(), block.broadcast()];
        for (_, network) in inside {
            let step = |address: IpAddr, up: bool| -> Option<IpAddr> {
                match address {
                    IpAddr::V4(address) => {
                        let bits = address.to_bits();
                        let next = if up { bits.checked_add(1) } else { bits.checked_sub(1) };
                        next.map(|bits| IpAddr::V4(bits.into()))
                    }
                    IpAddr::V6(address) => {
                        let bits = address.to_bits();
                        let next = if up { bits.checked_add(1) } else { bits.checked_sub(1) };
                        next.map(|bits| IpAddr::V6(bits.into()))
                    }
                }
            };
            points.extend([network.network(), network.broadcast()]);
            points.extend(step(network.network(), false));
            points.extend(step(network.broadcast(), true));
        }
        points.iter().filter(|point| block.contains(*point)).all(|point| naive(networks, *point) == of_address)
    }

    proptest! {
        #[test]
        fn a_look_up_is_right_and_its_scope_safe_and_as_wide_as_can_be(
            networks in prop::collection::hash_set(network(), 0..12),
            addresses in prop::collection::vec(address(), 1..8),
        ) {
            let networks: Vec<IpNet> = networks.into_iter().collect();
            let entries = networks.iter().enumerate().map(|(index, network)| (*network, index)).collect();
            let table = Networks::build(entries).unwrap();
            let borders = networks.iter().flat_map(|network| [network.network(), network.broadcast()]);
            for address in addresses.into_iter().chain(borders) {
                let found = table.lookup(address);
                prop_assert_eq!(found.entry.map(|(_, index)| *index), naive(&networks, address), "{}", address);
                prop_assert!(is_uniform(&networks, address, found.scope), "{} /{} is too wide", address, found.scope);
                if let Some(wider) = found.scope.checked_sub(1) {
                    prop_assert!(!is_uniform(&networks, address, wider), "{} /{} is too long", address, found.scope);
                }
            }
        }
    }
}
