//! Any octets as a request, over both transports: nothing panics, and a reply is one and fits.
//!
//! Run it with `cargo fuzz run request -- -detect_leaks=0`: mlua counts references by pointers one past the end of an
//! allocation, which the leak detector takes for lost.

#![no_main]

#[path = "../../tests/support/authority.rs"]
mod authority;
#[expect(dead_code, reason = "no target looks places up")]
#[path = "../../tests/support/mmdb.rs"]
mod mmdb;

use std::cell::RefCell;
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use perigee::answer::Transport;
use perigee::dns::wire::decode;

use authority::Authority;

const ZONE: &str = include_str!("../../tests/data/example.zone");

thread_local! {
    static AUTHORITY: RefCell<Authority> = RefCell::new(Authority::new("", [("example", ZONE)]));
}

fuzz_target!(|octets: &[u8]| {
    let from = SocketAddr::from(([198, 51, 100, 7], 5353));
    for transport in [Transport::Udp, Transport::Tcp] {
        let reply = AUTHORITY.with_borrow_mut(|authority| authority.respond(from, transport, octets));
        let is_request = octets.len() >= 12 && octets[2] & 0x80 == 0;
        assert_eq!(reply.is_some(), is_request);
        let Some(reply) = reply else { return };
        assert_eq!(reply[..2], octets[..2], "the id is echoed");
        assert_eq!(reply[2] & 0x80, 0x80, "QR is set");
        let edns = decode(octets).ok().and_then(|request| request.edns);
        let payload_max = edns.map_or(512, |edns| edns.udp_payload.clamp(512, 1232));
        assert!(transport == Transport::Tcp || reply.len() <= usize::from(payload_max));
    }
});
