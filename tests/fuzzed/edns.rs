//! Any octets as the OPT record of a query: the answer has one of ours, and no option that was not asked for.

use std::cell::RefCell;
use std::net::SocketAddr;

use perigee::answer::Transport;

use crate::support::authority::Authority;

const ZONE: &str = include_str!("../data/example.zone");
/// The options that answers may have: NSID, client subnet, cookie, keepalive and extended error.
const KNOWN: [u16; 5] = [3, 8, 10, 11, EXTENDED_ERROR];
/// The one that comes unasked.
const EXTENDED_ERROR: u16 = 15;
/// A query for `www.example` A up to its OPT record, whose owner and type are the last octets.
const QUERY: &[u8] = b"\x0d\x05\0\0\0\x01\0\0\0\0\0\x01\x03www\x07example\0\0\x01\0\x01\0\0\x29";

thread_local! {
    static AUTHORITY: RefCell<Authority> = RefCell::new(Authority::new(
        "[edns]\nclient-subnet = true\n",
        [("example", ZONE)],
    ));
}

/// Sends octets as class, TTL and data of an OPT record, and holds the answer's against them.
pub(crate) fn check(octets: &[u8]) {
    let Some((fixed, data)) = octets.split_first_chunk::<6>() else { return };
    let Ok(length) = u16::try_from(data.len()) else { return };
    let query = [QUERY, fixed, &length.to_be_bytes(), data].concat();
    for transport in [Transport::Udp, Transport::Tcp] {
        let from = SocketAddr::from(([198, 51, 100, 7], 5353));
        let reply = AUTHORITY.with_borrow_mut(|authority| authority.respond(from, transport, &query));
        let reply = reply.expect("a query is answered");
        let opt = reply[QUERY.len() - 3..].windows(3).position(|octets| octets == [0, 0, 41]);
        let opt = &reply[QUERY.len() + opt.expect("an OPT record is answered with one")..];
        assert_eq!(opt[3], 0, "our version is 0");
        assert_eq!((opt[4] & 0x7f, opt[5]), (0, 0), "flags without a meaning are clear");
        assert_eq!(opt[4] & 0x80, fixed[4] & 0x80, "the DO bit is copied");
        let asked: Vec<u16> = options(data).map(|(code, _)| code).collect();
        for (code, content) in options(&opt[8..]) {
            assert!(KNOWN.contains(&code), "option {code} is none of ours");
            assert!(code == EXTENDED_ERROR || asked.contains(&code), "option {code} was not asked for");
            let is_same = |(their_code, theirs): (u16, &[u8])| their_code == code && theirs[..3] == content[..3];
            assert!(code != 8 || options(data).any(is_same), "the client subnet is echoed");
        }
        let payload_max = u16::from_be_bytes([fixed[0], fixed[1]]).clamp(512, 1232);
        assert!(transport == Transport::Tcp || reply.len() <= usize::from(payload_max));
    }
}

/// The options in the data of an OPT record, up to the first that is not whole.
fn options(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = data.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        data = rest;
        Some((u16::from_be_bytes([head[0], head[1]]), content))
    })
}
