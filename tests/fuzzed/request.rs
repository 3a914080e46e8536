//! Any octets as a message, over both transports: nothing panics, and a reply is one and fits.

use std::cell::RefCell;
use std::net::SocketAddr;

use perigee::answer::Transport;
use perigee::dns::wire::decode;

use crate::support::authority::Authority;

const ZONE: &str = include_str!("../data/example.zone");

thread_local! {
    static AUTHORITY: RefCell<Authority> = RefCell::new(Authority::new("", [("example", ZONE)]));
}

/// Holds the reply to a message against what every reply must be.
pub(crate) fn check(octets: &[u8]) {
    let from = SocketAddr::from(([198, 51, 100, 7], 5353));
    for transport in [Transport::Udp, Transport::Tcp] {
        let reply = AUTHORITY.with_borrow_mut(|authority| authority.respond(from, transport, octets));
        let is_request = octets.len() >= 12 && octets[2] & 0x80 == 0;
        assert_eq!(reply.is_some(), is_request);
        let Some(reply) = reply else { return };
        assert_eq!(reply[..2], octets[..2], "the id is echoed");
        assert_eq!(reply[2] & 0xf8, 0x80 | octets[2] & 0x78, "QR is set, and the opcode echoed");
        assert_eq!(reply[3] & 0xc0, 0, "RA and Z are clear");
        let edns = decode(octets).ok().and_then(|request| request.edns);
        let payload_max = edns.map_or(512, |edns| edns.udp_payload.clamp(512, 1232));
        assert!(transport == Transport::Tcp || reply.len() <= usize::from(payload_max));
    }
}
