//! ICMP and ICMPv6: an echo.
//!
//! Over a socket of its own for each probe, which is connected: the kernel then hands it what comes from the target
//! alone, and what routers say of the way there as errors.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::connect::Terms;
use super::{Prober, in_words, random};
use crate::health::Reason;
use crate::health::check::Host;

/// The octets of an echo before its data (RFC 792, RFC 4443 section 4.1).
const HEADER_OCTETS: usize = 8;
/// How many octets of data an echo has; by them the answer is known for ours.
const DATA_OCTETS: usize = 16;
/// How many octets of a packet are read: an IPv4 header with all its options, and the echo.
const PACKET_OCTETS_MAX: usize = 128;

impl Prober {
    /// Sends an echo request to the first address of a host and waits for the answer.
    pub(super) async fn echo(&self, host: &Host, terms: &Terms<'_>) -> Result<Option<u32>, Reason> {
        let open = |address: IpAddr| Ok((open(address, terms.source)?, address.is_ipv4()));
        let (socket, is_v4) = self.first_way(host, terms, open).await?;
        let echo = Echo { is_v4, identifier: random()? as u16, sequence: 1, data: data()? };
        let lost = |error: io::Error| Reason::NotConnected(in_words(&error));
        socket.send(&echo.request()).await.map_err(lost)?;
        let mut packet = [0; PACKET_OCTETS_MAX];
        loop {
            let length = socket.recv(&mut packet).await.map_err(lost)?;
            if echo.is_answered_by(&packet[..length]) {
                return Ok(None);
            }
        }
    }
}

/// Opens a socket for echoes to the target: one that any process may have, where the system lets it, or else a raw one.
fn open(target: IpAddr, source: Option<IpAddr>) -> Result<UdpSocket, Reason> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol));
    let socket = socket.or_else(|_| Socket::new(domain, Type::RAW, Some(protocol))).map_err(|error| refused(&error))?;
    if let Some(source) = source {
        let cannot = |error| Reason::Unusable(format!("cannot probe from `{source}`: {}", in_words(&error)));
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(cannot)?;
    }
    let connected = socket.connect(&SocketAddr::new(target, 0).into()).and_then(|()| socket.set_nonblocking(true));
    // To send and to receive on a connected socket is the same whatever it carries.
    let socket = connected.and_then(|()| UdpSocket::from_std(socket.into()));
    socket.map_err(|error| Reason::NotConnected(in_words(&error)))
}

/// Says why there is no socket for echoes.
fn refused(error: &io::Error) -> Reason {
    Reason::Unusable(match error.kind() {
        io::ErrorKind::PermissionDenied => "icmp is not allowed: let the group of perigee's process into the sysctl \
                                            `net.ipv4.ping_group_range`, or give it CAP_NET_RAW"
            .to_owned(),
        _ => format!("icmp has no socket: {}", in_words(error)),
    })
}

/// Octets that nobody else sends.
fn data() -> Result<[u8; DATA_OCTETS], Reason> {
    let mut data = [0; DATA_OCTETS];
    for half in data.chunks_exact_mut(8) {
        half.copy_from_slice(&random()?.to_be_bytes());
    }
    Ok(data)
}

/// One echo.
struct Echo {
    is_v4: bool,
    /// As sent: what the system gives a socket that any process may have takes its place.
    identifier: u16,
    sequence: u16,
    data: [u8; DATA_OCTETS],
}

impl Echo {
    /// The request, as the socket takes it.
    fn request(&self) -> Vec<u8> {
        const REQUEST_V4: u8 = 8;
        const REQUEST_V6: u8 = 128;
        let mut packet = vec![if self.is_v4 { REQUEST_V4 } else { REQUEST_V6 }, 0, 0, 0];
        packet.extend_from_slice(&self.identifier.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.data);
        if self.is_v4 {
            // That of ICMPv6 covers addresses too, and is the kernel's work.
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// Whether a packet is the answer.
    ///
    /// The identifier is not looked at, as it need not be ours; the data nobody else could know.
    fn is_answered_by(&self, packet: &[u8]) -> bool {
        const REPLY_V4: u8 = 0;
        const REPLY_V6: u8 = 129;
        let Some(message) = (if self.is_v4 { without_header(packet) } else { Some(packet) }) else { return false };
        let Some((header, data)) = message.split_at_checked(HEADER_OCTETS) else { return false };
        let reply = if self.is_v4 { REPLY_V4 } else { REPLY_V6 };
        header[..2] == [reply, 0] && header[6..] == self.sequence.to_be_bytes() && data == self.data
    }
}

/// An ICMP message without the IPv4 header, which comes before it from raw sockets, and on some systems from all.
fn without_header(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    // No kind of message begins as a header does, with its version.
    if first >> 4 == 4 { packet.get(usize::from(first & 0xf) * 4..) } else { Some(packet) }
}

/// The checksum of RFC 1071 over octets whose own checksum is still zero.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(is_v4: bool) -> Echo {
        Echo { is_v4, identifier: 0x1234, sequence: 1, data: *b"0123456789abcdef" }
    }

    /// What answers an echo, as the target sends it.
    fn reply(echo: &Echo) -> Vec<u8> {
        let mut packet = echo.request();
        packet[0] = if echo.is_v4 { 0 } else { 129 };
        packet
    }

    #[test]
    fn a_request_has_a_checksum_that_comes_out_even() {
        let request = echo(true).request();
        assert_eq!(request[..2], [8, 0]);
        assert_eq!(checksum(&request), 0);
        assert_eq!(checksum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), 0x220d);
    }

    #[test]
    fn only_the_answer_to_our_own_echo_counts() {
        let (v4, v6) = (echo(true), echo(false));
        let changed = |echo: &Echo, at: usize| {
            let mut packet = reply(echo);
            packet[at] ^= 1;
            packet
        };
        let with_header = |header: &[u8]| [header, &reply(&v4)].concat();
        let rows = [
            ("its own", &v4, reply(&v4), true),
            ("its own", &v6, reply(&v6), true),
            ("behind an IPv4 header", &v4, with_header(&[&[0x45][..], &[0; 19]].concat()), true),
            ("behind one with options", &v4, with_header(&[&[0x46][..], &[0; 23]].concat()), true),
            ("the identifier of the system's choice", &v4, changed(&v4, 4), true),
            ("another sequence", &v4, changed(&v4, 7), false),
            ("another's data", &v4, changed(&v4, 8), false),
            ("another code", &v6, changed(&v6, 1), false),
            ("our own request, heard on loopback", &v4, v4.request(), false),
            ("our own request, heard on loopback", &v6, v6.request(), false),
            ("data too short", &v4, reply(&v4)[..20].to_vec(), false),
            ("a header without an end", &v4, vec![0x4f; 10], false),
            ("nothing", &v4, vec![], false),
        ];
        for (what, echo, packet, expected) in rows {
            assert_eq!(echo.is_answered_by(&packet), expected, "{what}");
        }
    }

    #[test]
    fn who_may_not_send_echoes_is_told_what_to_do() {
        let reason = refused(&io::ErrorKind::PermissionDenied.into());
        assert!(reason.to_string().contains("`net.ipv4.ping_group_range`"), "{reason}");
        assert_eq!(reason.name(), "unusable");
    }
}
