//! What holds for every message whatever: properties of the whole way from octets to octets.

use std::cell::RefCell;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::opt::EdnsCode;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use perigee::answer::Transport;
use perigee::dns::edns::Malformed;
use perigee::dns::{Rtype, wire};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::authority::Authority;

/// A zone with something of everything.
const ZONE: &str = include_str!("data/example.zone");

thread_local! {
    static AUTHORITY: RefCell<Authority> = RefCell::new(Authority::new("", [("example", ZONE)]));
}

fn respond(transport: Transport, octets: &[u8]) -> Option<Vec<u8>> {
    let from = ([198, 51, 100, 7], 5353).into();
    AUTHORITY.with_borrow_mut(|authority| authority.respond(from, transport, octets))
}

/// No case can ask for this: hickory takes a record without data for one of an update.
#[test]
fn a_record_without_data_is_answered() {
    let zone = "@ 60 SOA ns hostmaster 1 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.53\nx 60 TYPE65280 \\# 0\n";
    let mut authority = Authority::new("", [("example", zone)]);
    let question = b"\x0d\x05\0\0\0\x01\0\0\0\0\0\0\x01x\x07example\0\xff\0\0\x01";
    let reply = authority.respond(([198, 51, 100, 7], 5353).into(), Transport::Udp, question).unwrap();
    assert_eq!(reply[6..12], [0, 1, 0, 0, 0, 0], "one answer and nothing else");
    assert_eq!(reply[question.len()..], b"\xc0\x0c\xff\0\0\x01\0\0\0\x3c\0\0"[..]);
}

/// Names in and around the zone.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        8 => proptest::sample::select(vec!["ns", "w", "*", "sub", "a", "b", "c", "d", "s", "v", "e", "l", "h", "t", "g", "x", "NS1"])
            .prop_map(|label| label.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..=63),
    ];
    let apex =
        prop_oneof![20 => Just(&b"\x07example\0"[..]), 1 => Just(&b"\x07eXample\x03com\0"[..]), 1 => Just(&b"\0"[..])];
    (vec(label, 0..4), apex).prop_map(|(labels, apex)| {
        let mut name: Vec<u8> =
            labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied())).collect();
        name.extend_from_slice(apex);
        name
    })
}

/// The OPT record of a well-formed query.
fn opt() -> impl Strategy<Value = Vec<u8>> {
    let subnet = prop_oneof![
        Just(vec![0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]),
        Just(vec![0, 8, 0, 4, 0, 2, 0, 0]),
        Just(vec![0, 8, 0, 11, 0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1]),
    ];
    let unknown = vec(any::<u8>(), 0..20).prop_map(|data| [&[0xfd, 0xe9, 0, data.len() as u8][..], &data].concat());
    let options = vec(prop_oneof![unknown, Just(Vec::new())], 0..3);
    (any::<u16>(), prop_oneof![9 => Just(0u8), 1 => any::<u8>()], any::<bool>(), options, proptest::option::of(subnet))
        .prop_map(|(payload, version, dnssec_ok, options, subnet)| {
            let options = [options.concat(), subnet.unwrap_or_default()].concat();
            let mut opt = vec![0, 0, 41];
            opt.extend(payload.to_be_bytes());
            opt.extend([0, version, u8::from(dnssec_ok) << 7, 0]);
            opt.extend((options.len() as u16).to_be_bytes());
            opt.extend(options);
            opt
        })
}

/// Well-formed queries: one question of any type and class, with an OPT record or without.
fn query() -> impl Strategy<Value = Vec<u8>> {
    let rtype = prop_oneof![
        9 => proptest::sample::select(vec![1u16, 2, 5, 6, 15, 16, 28, 33, 39, 43, 65, 255, 251, 252, 65402]),
        1 => any::<u16>(),
    ];
    let class = prop_oneof![9 => Just(1u16), 1 => any::<u16>()];
    let flags = prop_oneof![Just(0u16), Just(0x0100), Just(0x0130)];
    (any::<u16>(), flags, name(), rtype, class, proptest::option::of(opt())).prop_map(
        |(id, flags, name, rtype, class, opt)| {
            let mut octets: Vec<u8> = [id, flags, 1, 0, 0, u16::from(opt.is_some())].map(u16::to_be_bytes).concat();
            octets.extend(name);
            octets.extend(rtype.to_be_bytes());
            octets.extend(class.to_be_bytes());
            octets.extend(opt.unwrap_or_default());
            octets
        },
    )
}

/// Well-formed queries with a few octets changed, cut out or put in.
fn almost_a_query() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<proptest::sample::Index>(), any::<u8>(), 0..4u8);
    (query(), vec(edit, 1..4)).prop_map(|(mut octets, edits)| {
        for (at, octet, kind) in edits {
            let at = at.index(octets.len().max(1));
            match kind {
                _ if octets.is_empty() => octets.push(octet),
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 => octets.truncate(at),
                _ => octets[at] ^= 1 << (octet % 8),
            }
        }
        octets
    })
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)]
}

/// The most octets of a UDP response the sender of a query takes: 512 unless its one OPT record says more.
fn payload_max(query: &[u8]) -> usize {
    let edns = wire::decode(query).ok().and_then(|request| request.edns);
    edns.map_or(512, |edns| usize::from(edns.udp_payload.max(512)))
}

/// Hickory knows no client subnet without a family, which is well-formed all the same (RFC 7871 section 7.1.2).
fn has_subnet_of_no_family(message: &[u8]) -> bool {
    message.windows(8).any(|octets| octets == [0, 8, 0, 4, 0, 0, 0, 0])
}

/// Checks what every reply must be.
fn check(transport: Transport, request: &[u8]) -> Result<(), TestCaseError> {
    let Some(reply) = respond(transport, request) else {
        let due = request.len() >= 12 && request[2] & 0x80 == 0;
        prop_assert!(!due, "a request is not met with silence");
        return Ok(());
    };
    prop_assert!(request[2] & 0x80 == 0, "a response is not answered");
    prop_assert_eq!(&reply[..2], &request[..2], "the id is echoed");
    prop_assert_eq!(reply[2] & 0xf9, 0x80 | request[2] & 0x79, "QR is set, opcode and RD are copied");
    prop_assert_eq!(reply[3] & 0xf0, request[3] & 0x10, "of the other flags CD is copied and none is set");
    if transport == Transport::Udp {
        prop_assert!(reply.len() <= payload_max(request), "{} octets", reply.len());
    }
    if has_subnet_of_no_family(&reply) {
        return Ok(());
    }
    let mut decoder = BinDecoder::new(&reply);
    let message = Message::read(&mut decoder);
    prop_assert!(message.is_ok(), "{message:?} {reply:02x?}");
    prop_assert!(decoder.is_empty(), "nothing is behind the message");
    let message = message.unwrap();
    prop_assert_eq!(message.metadata.message_type, MessageType::Response);
    if let [question] = &message.queries[..] {
        let end = 12 + question.name().iter().map(|label| label.len() + 1).sum::<usize>() + 5;
        prop_assert_eq!(&reply[12..end], &request[12..end], "the question is echoed octet for octet");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_get_a_well_formed_reply_or_none(octets in vec(any::<u8>(), 0..300), transport in transport()) {
        check(transport, &octets)?;
    }

    #[test]
    fn what_is_almost_a_query_gets_a_well_formed_reply_or_none(octets in almost_a_query(), transport in transport()) {
        check(transport, &octets)?;
    }

    #[test]
    fn well_formed_queries_get_a_well_formed_reply(octets in query(), transport in transport()) {
        prop_assert!(wire::decode(&octets).is_ok());
        check(transport, &octets)?;
        let reply = respond(transport, &octets).expect("a query is answered");
        prop_assert_eq!(&reply[4..6], &[0, 1], "the question is echoed");
        let has_opt = octets[11] == 1;
        prop_assert!(!has_opt || reply[11] > 0, "an OPT record is answered with one");
    }

    /// A UDP reply without TC is the reply that TCP gets, but for additional records and for those of ANY.
    #[test]
    fn what_is_not_truncated_is_whole(octets in query()) {
        let [udp, tcp] = [Transport::Udp, Transport::Tcp].map(|transport| respond(transport, &octets).expect("answered"));
        prop_assert_eq!(tcp[2] & 2, 0, "nothing here is too large for TCP");
        if udp[2] & 2 == 0 {
            prop_assert_eq!(&udp[..6], &tcp[..6], "the header and the count of questions");
            let is_any = wire::decode(&octets).is_ok_and(|request| request.qtype == Rtype::ANY);
            let answers = [udp[7], tcp[7]];
            prop_assert!(answers[0] == answers[1] || is_any && (1..answers[1]).contains(&answers[0]), "{answers:?}");
            prop_assert_eq!(&udp[8..10], &tcp[8..10], "the count of authority");
        } else {
            prop_assert_eq!(&udp[6..10], &[0; 4], "what is truncated has no records");
        }
    }

    /// Hickory reads what we read, and we read what hickory reads and writes again octet for octet.
    #[test]
    fn hickory_agrees_on_what_is_a_query(octets in almost_a_query()) {
        let mut decoder = BinDecoder::new(&octets);
        let theirs = Message::read(&mut decoder);
        let ours = wire::decode(&octets);
        if let Ok(request) = &ours {
            // What we pass over without a look, hickory looks into.
            let additional = u16::from_be_bytes([octets[10], octets[11]]);
            let passes_over = match request.edns {
                Some(edns) => additional > 1 || edns.version > 0 || edns.malformed != Malformed::default(),
                None => additional > 0,
            };
            prop_assert!(passes_over || has_subnet_of_no_family(&octets) || theirs.is_ok(), "{theirs:?}");
        }
        if let Ok(theirs) = &theirs
            && is_a_query(theirs)
            && theirs.to_vec().is_ok_and(|written| written == octets)
        {
            prop_assert!(ours.is_ok(), "{octets:02x?}");
        }
    }
}

/// Not a case, as it would have to be rewritten for each version.
#[test]
fn the_version_is_told_by_default() {
    const QUERY: &[u8] = b"\x0d\x05\0\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03";
    let reply = respond(Transport::Udp, QUERY).expect("it is answered");
    let text = format!("perigee {}", env!("CARGO_PKG_VERSION"));
    assert!(reply.ends_with(text.as_bytes()), "{reply:02x?}");
}

/// Whether a message is a query with one question and nothing else but an OPT record.
///
/// One with a client subnet does not count: hickory knows few of its rules.
fn is_a_query(message: &Message) -> bool {
    message.metadata.message_type == MessageType::Query
        && u8::from(message.metadata.op_code) == 0
        && message.queries.len() == 1
        && message.answers.is_empty()
        && message.authorities.is_empty()
        && message.additionals.is_empty()
        && message.edns.as_ref().is_none_or(|edns| edns.option(EdnsCode::Subnet).is_none())
}
