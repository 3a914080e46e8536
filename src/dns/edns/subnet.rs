//! The client subnet option (RFC 7871).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of the client behind a resolver (RFC 7871).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientSubnet {
    /// The address family as sent: 1, 2, or 0 with a source length of 0.
    pub family: u16,
    /// How many bits of the address are given.
    pub source_length: u8,
    /// The address, with every bit past the source length zero.
    pub address: IpAddr,
}

impl ClientSubnet {
    /// Reads the option's data; `None` if it breaks a rule of RFC 7871 section 6.
    ///
    /// The address has just the octets the source length needs, with zero bits past it, and the scope of
    /// a request is 0. A source length of 0 is the wish for privacy of section 7.1.2, in any family.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let (&[family_high, family_low, source_length, scope], address) = data.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([family_high, family_low]);
        if scope != 0 || address.len() != usize::from(source_length).div_ceil(8) {
            return None;
        }
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        let address = match family {
            0 if source_length == 0 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            1 if source_length <= 32 => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
            2 if source_length <= 128 => IpAddr::V6(Ipv6Addr::from(octets)),
            _ => return None,
        };
        let padding = u128::from_be_bytes(octets).checked_shl(u32::from(source_length)).unwrap_or(0);
        (padding == 0).then_some(Self { family, source_length, address })
    }

    /// How many octets of the address are sent.
    fn octets_used(&self) -> usize {
        usize::from(self.source_length).div_ceil(8)
    }

    /// How many octets the option's data has.
    pub(super) fn octets(&self) -> usize {
        4 + self.octets_used()
    }

    /// Appends the option's data, with a scope.
    pub(super) fn write(&self, scope: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.family.to_be_bytes());
        out.extend_from_slice(&[self.source_length, scope]);
        match self.address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()[..self.octets_used()]),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()[..self.octets_used()]),
        }
    }
}
