//! The hash behind choices that stay the same for a client or a name: Bob Jenkins' lookup2 of 1996.
//!
//! A fleet that mixes servers, or moves from one to another, keeps its clients on their targets only if all
//! compute the same value, so the function is fixed.

use std::net::IpAddr;

use crate::dns::NameRef;

/// Hashes octets, from the start value 0.
pub(super) fn hash(octets: &[u8]) -> u32 {
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    let (mut a, mut b, mut c) = (GOLDEN_RATIO, GOLDEN_RATIO, 0u32);
    let (blocks, tail) = octets.as_chunks::<12>();
    for block in blocks {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        (a, b, c) = mix(a.wrapping_add(word(0)), b.wrapping_add(word(4)), c.wrapping_add(word(8)));
    }
    // The length counts only modulo 2^32, and its octet of `c` is left free by the tail.
    c = c.wrapping_add(octets.len() as u32);
    for (index, octet) in tail.iter().enumerate() {
        let octet = u32::from(*octet);
        match index {
            0..4 => a = a.wrapping_add(octet << (8 * index)),
            4..8 => b = b.wrapping_add(octet << (8 * (index - 4))),
            _ => c = c.wrapping_add(octet << (8 * (index - 7))),
        }
    }
    mix(a, b, c).2
}

/// Mixes three words so that each bit of each affects all.
fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (first, second, third) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> first);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << second);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> third);
    }
    (a, b, c)
}

/// Hashes the octets of an address; an IPv4 address in an IPv6 one counts as IPv6.
pub(in crate::script) fn hash_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// Hashes the wire form of a name in lower case.
pub(in crate::script) fn hash_name(name: NameRef<'_>) -> u32 {
    hash(&name.to_lowercase_wire())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_come_out() {
        let name = |text: &str| text.parse::<crate::dns::Name>().unwrap().as_ref().to_lowercase_wire();
        let cases: [(&[u8], u32); 7] = [
            (b"", 0xbd49_d10d),
            (&[1, 2, 3, 4], 0x8c35_3ddc),
            (&[10, 0, 0, 0], 0x97d4_b337),
            (&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets(), 0x063b_3afe),
            (b"192.0.2.1-0", 0x36c2_ee85),
            (&name("test.namehashed.example.org"), 1_903_138_504),
            (&name("test2.NameHashed.example.org"), 1_631_520_935),
        ];
        for (octets, expected) in cases {
            assert_eq!(hash(octets), expected, "{octets:?}");
        }
    }
}
