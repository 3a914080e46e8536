//! The OPT record of a response.

use super::cookie::Given;
use super::{CLIENT_SUBNET, COOKIE, ClientSubnet, EXTENDED_ERROR, ExtendedError, NSID, TCP_KEEPALIVE};

/// The octets of an OPT record without options: root owner, type, size, TTL field and length.
const OPT_OCTETS: usize = 11;
/// The octets of an option's code and length.
const OPTION_HEADER: usize = 4;

/// What goes into the OPT record of a response.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'e> {
    /// The most octets of UDP payload this server takes.
    pub udp_payload: u16,
    /// The upper eight bits of the RCODE.
    pub rcode_high: u8,
    /// The request's DO bit, which is copied (RFC 3225 section 3).
    pub dnssec_ok: bool,
    /// The cookie that the client is to bring along.
    pub cookie: Option<&'e Given>,
    /// The client subnet to echo, and its scope.
    pub client_subnet: Option<(&'e ClientSubnet, u8)>,
    /// How long a stream may be idle, in tenths of a second.
    pub keepalive: Option<u16>,
    /// Who answers.
    pub nsid: Option<&'e [u8]>,
    /// Why the answer is what it is.
    pub extended_error: Option<ExtendedError>,
}

impl Reply<'_> {
    /// How many octets [`Reply::write`] will append.
    pub fn octets(&self) -> usize {
        let option = |data: Option<usize>| data.map_or(0, |octets| OPTION_HEADER + octets);
        OPT_OCTETS
            + option(self.cookie.map(|cookie| cookie.len()))
            + option(self.client_subnet.map(|(subnet, _)| subnet.octets()))
            + option(self.keepalive.map(|_| 2))
            + option(self.nsid.map(<[u8]>::len))
            + option(self.extended_error.map(|error| 2 + error.text.len()))
    }

    /// Appends the OPT record.
    pub fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0, 0, 41]);
        out.extend_from_slice(&self.udp_payload.to_be_bytes());
        out.extend_from_slice(&[self.rcode_high, 0, u8::from(self.dnssec_ok) << 7, 0]);
        out.extend_from_slice(&[0, 0]);
        if let Some(cookie) = self.cookie {
            begin_option(COOKIE, cookie.len(), out);
            out.extend_from_slice(cookie);
        }
        if let Some((subnet, scope)) = self.client_subnet {
            begin_option(CLIENT_SUBNET, subnet.octets(), out);
            subnet.write(scope, out);
        }
        if let Some(tenths) = self.keepalive {
            begin_option(TCP_KEEPALIVE, 2, out);
            out.extend_from_slice(&tenths.to_be_bytes());
        }
        if let Some(nsid) = self.nsid {
            begin_option(NSID, nsid.len(), out);
            out.extend_from_slice(nsid);
        }
        if let Some(error) = self.extended_error {
            begin_option(EXTENDED_ERROR, 2 + error.text.len(), out);
            out.extend_from_slice(&error.code.to_be_bytes());
            out.extend_from_slice(error.text.as_bytes());
        }
        let options = out.len() - begin - OPT_OCTETS;
        let options = u16::try_from(options).expect("options of ours are far below 65,535 octets");
        out[begin + OPT_OCTETS - 2..begin + OPT_OCTETS].copy_from_slice(&options.to_be_bytes());
    }
}

/// Appends the code and the length of an option.
fn begin_option(code: u16, length: usize, out: &mut Vec<u8>) {
    let length = u16::try_from(length).expect("options of ours are far below 65,535 octets");
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Reply<'_> = Reply {
        udp_payload: 1232,
        rcode_high: 0,
        dnssec_ok: false,
        cookie: None,
        client_subnet: None,
        keepalive: None,
        nsid: None,
        extended_error: None,
    };

    #[test]
    fn every_option_is_written_and_counted() {
        let cookie: Given = std::array::from_fn(|index| index as u8);
        let subnet = ClientSubnet { family: 1, source_length: 24, address: [192, 168, 1, 0].into() };
        let rows: [(Reply<'_>, &[u8]); 6] = [
            (BARE, &[]),
            (Reply { client_subnet: Some((&subnet, 16)), ..BARE }, &[0, 8, 0, 7, 0, 1, 24, 16, 192, 168, 1]),
            (Reply { keepalive: Some(300), ..BARE }, &[0, 11, 0, 2, 1, 44]),
            (Reply { nsid: Some(b"x1"), ..BARE }, &[0, 3, 0, 2, b'x', b'1']),
            (Reply { extended_error: Some(ExtendedError::new(18, "no")), ..BARE }, &[0, 15, 0, 4, 0, 18, b'n', b'o']),
            (
                Reply { cookie: Some(&cookie), nsid: Some(b""), ..BARE },
                &[
                    0, 10, 0, 24, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                    0, 3, 0, 0,
                ],
            ),
        ];
        for (reply, options) in rows {
            let mut out = vec![9];
            reply.write(&mut out);
            let expected = [&[9, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, options.len() as u8], options].concat();
            assert_eq!(out, expected);
            assert_eq!(out.len(), 1 + reply.octets());
        }
    }

    #[test]
    fn the_fields_of_the_record_are_where_they_belong() {
        let mut out = Vec::new();
        Reply { udp_payload: 512, rcode_high: 1, dnssec_ok: true, ..BARE }.write(&mut out);
        assert_eq!(out, [0, 0, 41, 2, 0, 1, 0, 0x80, 0, 0, 0]);
    }
}
