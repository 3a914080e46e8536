//! The COOKIE option (RFC 7873 section 4), and the secret that server cookies are signed with.

/// The octets of a client cookie.
pub const CLIENT_OCTETS: usize = 8;
/// The octets of a server cookie as this server makes them (RFC 9018 section 4).
pub const SERVER_OCTETS: usize = 16;
/// How long a server cookie may be, whoever made it (RFC 7873 section 4).
const SERVER_LENGTHS: std::ops::RangeInclusive<usize> = 8..=32;

/// What the COOKIE option of a request holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// What the client knows its own requests by.
    pub client: [u8; CLIENT_OCTETS],
    /// What it has of a server.
    pub server: ServerPart,
}

/// The server cookie in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerPart {
    /// None: the client has met no server at this address yet.
    Absent,
    /// One of the length that ours have.
    Like([u8; SERVER_OCTETS]),
    /// One of another length, so that it cannot be ours.
    Foreign,
}

/// A COOKIE option as it goes into a response: the client's part and one that this server made.
pub type Given = [u8; CLIENT_OCTETS + SERVER_OCTETS];

impl Cookie {
    /// Reads the option's data; `None` if its length is none that it may have (RFC 7873 section 5.2.2).
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        let server = match server.len() {
            0 => ServerPart::Absent,
            length if SERVER_LENGTHS.contains(&length) => {
                server.try_into().map_or(ServerPart::Foreign, ServerPart::Like)
            }
            _ => return None,
        };
        Some(Self { client: *client, server })
    }

    /// The option with this server cookie.
    pub fn with(&self, server: [u8; SERVER_OCTETS]) -> Given {
        let mut given = [0; CLIENT_OCTETS + SERVER_OCTETS];
        given[..CLIENT_OCTETS].copy_from_slice(&self.client);
        given[CLIENT_OCTETS..].copy_from_slice(&server);
        given
    }
}

/// A key that server cookies are signed with: 128 bits, as SipHash takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret of these octets.
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// Reads 32 hexadecimal digits, in any letter case: the form that BIND, NSD and Knot have too.
    pub fn parse(text: &str) -> Option<Self> {
        let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        octets.try_into().ok().map(Self)
    }

    /// The key.
    pub fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Tells nothing: what is printed ends up in logs.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_8_and_16_to_40() {
        for length in 0..=64 {
            let data = vec![7; length];
            let read = Cookie::read(&data).map(|cookie| cookie.server);
            let expected = match length {
                8 => Some(ServerPart::Absent),
                24 => Some(ServerPart::Like([7; 16])),
                16..=40 => Some(ServerPart::Foreign),
                _ => None,
            };
            assert_eq!(read, expected, "{length} octets");
        }
    }

    #[test]
    fn secrets_have_32_digits_and_are_not_shown() {
        let secret = Secret::parse("000102030405060708090a0b0c0d0e0F").expect("a secret");
        assert_eq!(*secret.octets(), std::array::from_fn(|index| index as u8));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for wrong in ["", "00", "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0g"] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
    }
}
