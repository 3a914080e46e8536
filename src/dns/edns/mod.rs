//! EDNS (RFC 6891): what the OPT record of a request says, and the one that goes into a response.
//!
//! This file reads, `reply.rs` writes. `subnet.rs`, `cookie.rs` and `error.rs` are the options that have more to them than
//! a few octets. Whether an option is heeded is up to others: what is wrong with one is noted, and not yet a refusal.

pub mod cookie;
mod error;
mod reply;
mod subnet;

pub use cookie::Cookie;
pub use error::ExtendedError;
pub use reply::Reply;
pub use subnet::ClientSubnet;

/// Option code of the server's identity (RFC 5001 section 2.3).
const NSID: u16 = 3;
/// Option code of the client subnet (RFC 7871 section 6).
const CLIENT_SUBNET: u16 = 8;
/// Option code of cookies (RFC 7873 section 4).
const COOKIE: u16 = 10;
/// Option code of the idle timeout of streams (RFC 7828 section 3.1).
const TCP_KEEPALIVE: u16 = 11;
/// Option code of an extended error (RFC 8914 section 2).
const EXTENDED_ERROR: u16 = 15;

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
    /// The cookie. Of several the first counts (RFC 7873 section 5).
    pub cookie: Option<Cookie>,
    /// Whether the server is asked who it is. What a client puts in is passed over (RFC 5001 section 2.1).
    pub nsid: bool,
    /// Whether the client asks for how long a stream may be idle.
    pub keepalive: bool,
    /// Which of the options break their rules.
    pub malformed: Malformed,
}

/// The options of a request that break their rules.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Malformed {
    /// The client subnet, or there is a second one.
    pub client_subnet: bool,
    /// The cookie.
    pub cookie: bool,
    /// The idle timeout, which is the server's to say.
    pub keepalive: bool,
}

/// Why an OPT record is not one: its options do not fill its RDATA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed OPT record")]
pub struct EdnsError;

impl Edns {
    /// Reads the fields of an OPT record: its class, its TTL field and its RDATA.
    ///
    /// Unknown options and flags are passed over, and all options of a version that is not ours, which may have another
    /// form.
    pub fn read(class: u16, ttl: u32, mut options: &[u8]) -> Result<Self, EdnsError> {
        let mut edns = Self::bare(class, ttl);
        while edns.version == 0 && !options.is_empty() {
            let (header, rest) = options.split_first_chunk::<4>().ok_or(EdnsError)?;
            let code = u16::from_be_bytes([header[0], header[1]]);
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let (data, rest) = rest.split_at_checked(length).ok_or(EdnsError)?;
            options = rest;
            edns.take(code, data);
        }
        Ok(edns)
    }

    /// What an OPT record says beside its options.
    pub fn bare(class: u16, ttl: u32) -> Self {
        let [_, version, flags, _] = ttl.to_be_bytes();
        Self {
            udp_payload: class,
            version,
            dnssec_ok: flags & 0x80 != 0,
            client_subnet: None,
            cookie: None,
            nsid: false,
            keepalive: false,
            malformed: Malformed::default(),
        }
    }

    fn take(&mut self, code: u16, data: &[u8]) {
        match code {
            NSID => self.nsid = true,
            CLIENT_SUBNET => {
                let subnet = ClientSubnet::read(data);
                self.malformed.client_subnet |= subnet.is_none() || self.client_subnet.is_some();
                self.client_subnet = subnet.filter(|_| !self.malformed.client_subnet);
            }
            COOKIE if self.cookie.is_none() && !self.malformed.cookie => {
                self.cookie = Cookie::read(data);
                self.malformed.cookie = self.cookie.is_none();
            }
            TCP_KEEPALIVE => {
                self.keepalive = true;
                self.malformed.keepalive |= !data.is_empty();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(code: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&code.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
    }

    fn subnet(family: u16, source_length: u8, scope: u8, address: &[u8]) -> Edns {
        let fixed = [0, u8::try_from(family).unwrap(), source_length, scope];
        Edns::read(1232, 0, &option(CLIENT_SUBNET, &[&fixed, address].concat())).unwrap()
    }

    #[test]
    fn options_are_read() {
        let options = [
            option(65001, &[1, 2, 3]),
            option(NSID, b"passed over"),
            option(COOKIE, &[1; 8]),
            option(COOKIE, &[2; 7]),
            option(TCP_KEEPALIVE, &[]),
        ];
        let edns = Edns::read(4096, 0x0000_8000, &options.concat()).unwrap();
        let cookie = Some(Cookie { client: [1; 8], server: cookie::ServerPart::Absent });
        assert_eq!(edns, Edns { cookie, nsid: true, keepalive: true, ..Edns::bare(4096, 0x0000_8000) });
        assert!(edns.dnssec_ok);
    }

    #[test]
    fn options_that_do_not_fill_the_record_make_it_none() {
        for options in [&[0][..], &[0, 3, 0], &[0, 3, 0, 1], &[0, 3, 0, 0, 0]] {
            assert_eq!(Edns::read(1232, 0, options), Err(EdnsError), "{options:?}");
            // In another version they may be anything.
            assert_eq!(Edns::read(1232, 0x0001_0000, options), Ok(Edns::bare(1232, 0x0001_0000)), "{options:?}");
        }
    }

    #[test]
    fn malformed_client_subnets_are_noted() {
        let cases: [(u16, u8, u8, &[u8]); 8] = [
            (1, 24, 0, &[192, 168]),          // too short for its length
            (1, 24, 0, &[192, 168, 1, 0]),    // too long for its length
            (1, 33, 0, &[192, 168, 1, 1, 0]), // more bits than the family has
            (1, 20, 0, &[192, 168, 0x1f]),    // bits past the length
            (1, 24, 24, &[192, 168, 1]),      // a scope in a request
            (3, 8, 0, &[1]),                  // no such family
            (0, 8, 0, &[1]),                  // no family, and an address
            (2, 129, 0, &[0; 17]),            // more bits than the family has
        ];
        for (family, length, scope, address) in cases {
            let edns = subnet(family, length, scope, address);
            assert!(edns.malformed.client_subnet && edns.client_subnet.is_none(), "{family} {length} {address:?}");
        }
    }

    #[test]
    fn a_source_length_of_zero_is_taken_in_every_family() {
        for family in [0, 1, 2] {
            let edns = subnet(family, 0, 0, &[]);
            assert_eq!(
                (edns.client_subnet.map(|subnet| subnet.source_length), edns.malformed.client_subnet),
                (Some(0), false)
            );
        }
    }

    #[test]
    fn a_timeout_that_a_client_asks_for_is_noted() {
        let edns = Edns::read(1232, 0, &option(TCP_KEEPALIVE, &[0, 100])).unwrap();
        assert!(edns.keepalive && edns.malformed.keepalive);
    }
}
