//! EDNS (RFC 6891): what the OPT record of a request says, and the one that goes into a response.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Option code of the client subnet (RFC 7871 section 6).
const CLIENT_SUBNET: u16 = 8;
/// Option code of an extended error (RFC 8914 section 2).
const EXTENDED_ERROR: u16 = 15;
/// The octets of an OPT record without options: root owner, type, size, TTL field and length.
const OPT_OCTETS: usize = 11;

/// What the OPT record of a request says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edns {
    /// The most octets of UDP payload the client takes; below 512 counts as 512 (RFC 6891 section 6.2.3).
    pub udp_payload: u16,
    /// The version asked for; only 0 exists.
    pub version: u8,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// The client subnet.
    pub client_subnet: Option<ClientSubnet>,
}

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

/// Why an OPT record is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed OPT record")]
pub struct EdnsError;

/// An extended error that tells why a response is what it is (RFC 8914).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedError {
    /// The INFO-CODE.
    pub code: u16,
    /// The EXTRA-TEXT, for people.
    pub text: &'static str,
}

impl ExtendedError {
    /// A failure with no code of its own.
    pub const OTHER: u16 = 0;
    /// The server is not configured to answer this client.
    pub const PROHIBITED: u16 = 18;
    /// The server has no zone for this name.
    pub const NOT_AUTHORITATIVE: u16 = 20;
}

impl Edns {
    /// Reads the fields of an OPT record: its class, its TTL field and its RDATA.
    ///
    /// Unknown options are passed over, and all those of a version that is not ours, which may have another form.
    /// Errors on options that do not fill the RDATA, a second client subnet and a malformed one.
    pub fn read(class: u16, ttl: u32, mut options: &[u8]) -> Result<Self, EdnsError> {
        let [_, version, flags, _] = ttl.to_be_bytes();
        let mut edns = Self { udp_payload: class, version, dnssec_ok: flags & 0x80 != 0, client_subnet: None };
        while version == 0 && !options.is_empty() {
            let (header, rest) = options.split_first_chunk::<4>().ok_or(EdnsError)?;
            let code = u16::from_be_bytes([header[0], header[1]]);
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let (data, rest) = rest.split_at_checked(length).ok_or(EdnsError)?;
            options = rest;
            if code == CLIENT_SUBNET {
                let subnet = ClientSubnet::read(data).ok_or(EdnsError)?;
                if edns.client_subnet.replace(subnet).is_some() {
                    return Err(EdnsError);
                }
            }
        }
        Ok(edns)
    }
}

impl ClientSubnet {
    /// Reads the option's data; `None` if it breaks a rule of RFC 7871 section 6.
    ///
    /// The address has just the octets the source length needs, with zero bits past it, and the scope of
    /// a request is 0. A source length of 0 is the wish for privacy of section 7.1.2, in any family.
    fn read(data: &[u8]) -> Option<Self> {
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
}

/// What goes into the OPT record of a response.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'e> {
    /// The most octets of UDP payload this server takes.
    pub udp_payload: u16,
    /// The upper eight bits of the RCODE.
    pub rcode_high: u8,
    /// The request's DO bit, which is copied (RFC 3225 section 3).
    pub dnssec_ok: bool,
    /// The client subnet to echo, and its scope.
    pub client_subnet: Option<(&'e ClientSubnet, u8)>,
    /// Why the answer is what it is.
    pub extended_error: Option<ExtendedError>,
}

impl Reply<'_> {
    /// How many octets [`Reply::write`] will append.
    pub fn octets(&self) -> usize {
        let subnet = self.client_subnet.map_or(0, |(subnet, _)| 8 + usize::from(subnet.source_length).div_ceil(8));
        let error = self.extended_error.map_or(0, |error| 6 + error.text.len());
        OPT_OCTETS + subnet + error
    }

    /// Appends the OPT record.
    pub fn write(&self, out: &mut Vec<u8>) {
        let options = u16::try_from(self.octets() - OPT_OCTETS).expect("options of ours are far below 65,535 octets");
        out.extend_from_slice(&[0, 0, 41]);
        out.extend_from_slice(&self.udp_payload.to_be_bytes());
        out.extend_from_slice(&[self.rcode_high, 0, u8::from(self.dnssec_ok) << 7, 0]);
        out.extend_from_slice(&options.to_be_bytes());
        if let Some((subnet, scope)) = self.client_subnet {
            let used = usize::from(subnet.source_length).div_ceil(8);
            out.extend_from_slice(&CLIENT_SUBNET.to_be_bytes());
            out.extend_from_slice(&[0, 4 + u8::try_from(used).expect("an address has at most 16 octets")]);
            out.extend_from_slice(&subnet.family.to_be_bytes());
            out.extend_from_slice(&[subnet.source_length, scope]);
            match subnet.address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()[..used]),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()[..used]),
            }
        }
        if let Some(error) = self.extended_error {
            out.extend_from_slice(&EXTENDED_ERROR.to_be_bytes());
            let length = u16::try_from(2 + error.text.len()).expect("texts of ours are short");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&error.code.to_be_bytes());
            out.extend_from_slice(error.text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(family: u16, source_length: u8, scope: u8, address: &[u8]) -> Result<Option<ClientSubnet>, EdnsError> {
        let mut option = vec![0, 8, 0, u8::try_from(4 + address.len()).unwrap(), 0];
        option.extend_from_slice(&[u8::try_from(family).unwrap(), source_length, scope]);
        option.extend_from_slice(address);
        Edns::read(1232, 0, &option).map(|edns| edns.client_subnet)
    }

    #[test]
    fn a_client_subnet_is_read_and_echoed() {
        let read = subnet(1, 24, 0, &[192, 168, 1]).unwrap().unwrap();
        assert_eq!(read.address, "192.168.1.0".parse::<IpAddr>().unwrap());
        let reply = Reply {
            udp_payload: 1232,
            rcode_high: 0,
            dnssec_ok: true,
            client_subnet: Some((&read, 16)),
            extended_error: None,
        };
        let mut out = Vec::new();
        reply.write(&mut out);
        assert_eq!(out, [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 16, 192, 168, 1]);
        assert_eq!(out.len(), reply.octets());
    }

    #[test]
    fn malformed_client_subnets_are_refused() {
        let cases: [(u16, u8, u8, &[u8]); 7] = [
            (1, 24, 0, &[192, 168]),          // too short for its length
            (1, 24, 0, &[192, 168, 1, 0]),    // too long for its length
            (1, 33, 0, &[192, 168, 1, 1, 0]), // more bits than the family has
            (1, 20, 0, &[192, 168, 0x1f]),    // bits past the length
            (1, 24, 24, &[192, 168, 1]),      // a scope in a request
            (3, 8, 0, &[1]),                  // no such family
            (2, 129, 0, &[0; 17]),            // more bits than the family has
        ];
        for (family, length, scope, address) in cases {
            assert_eq!(subnet(family, length, scope, address), Err(EdnsError), "{family} {length} {address:?}");
        }
    }

    #[test]
    fn a_source_length_of_zero_is_taken_in_every_family() {
        for family in [0, 1, 2] {
            assert_eq!(subnet(family, 0, 0, &[]).unwrap().map(|subnet| subnet.source_length), Some(0));
        }
    }
}
