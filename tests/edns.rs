//! What the files in `tests/cases` cannot say of EDNS: octets that hickory does not read, and what a scope promises.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use perigee::answer::Transport;
use proptest::prelude::*;

use crate::support::authority::Authority;
use crate::support::case::{decode, record_text, subnet_option};

const ZONE: &str = r#"
$TTL 300
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns.example.net.
hashed LUA TXT "pickhashed({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
view LUA TXT (
  "view({ {{'10.0.0.0/9', '10.200.0.0/15', '2001:db8::/32'}, {'a'}}, {{'10.128.0.0/12', '128.0.0.0/2'}, {'b'}},"
  "{{'10.0.0.0/8', '2001:db8:8000::/33'}, {'c'}}, {{'0.0.0.0/1', '2001::/16'}, {'d'}} })" )
mixed LUA TXT "netmask({'10.0.0.0/8'}) and pickhashed({'a', 'b', 'c'}) or view({ {{'::/1', '0.0.0.0/0'}, {'d'}} })"
redirect LUA CNAME ";if netmask({'10.64.0.0/10', '2001:db8:4000::/34'}) then return 'view.example' end return {}"
redirect LUA TXT "netmask({'10.0.0.0/11'}) and 'a' or 'b'"
static TXT "everyone"
"#;

fn ask(authority: &mut Authority, name: &str, option: &[u8]) -> Vec<u8> {
    let mut octets = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.push(u8::try_from(name.len()).unwrap());
    octets.extend(name.as_bytes());
    octets.extend(b"\x07example\0\0\x10\0\x01\0\0\x29\x04\xd0\0\0\0\0\0");
    octets.push(u8::try_from(4 + option.len()).unwrap());
    octets.extend([0, 8, 0, u8::try_from(option.len()).unwrap()]);
    octets.extend(option);
    authority.respond(([127, 0, 0, 1], 5353).into(), Transport::Tcp, &octets).expect("a query is answered")
}

/// The answer that a network gets, and its scope.
fn answer(authority: &mut Authority, name: &str, address: IpAddr, length: u8) -> (Vec<String>, u8) {
    let reply = decode(&ask(authority, name, &subnet_option(address, length)));
    let Some(EdnsOption::Subnet(subnet)) = reply.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) else {
        panic!("the subnet is not echoed");
    };
    assert_eq!((subnet.addr(), subnet.source_prefix()), (address, length));
    (reply.answers.iter().map(record_text).collect(), subnet.scope_prefix())
}

/// An address with the first `shared` bits of one and the others of another, all zero behind `length`.
fn spliced(first: u128, other: u128, shared: u8, length: u8, bits: u8) -> IpAddr {
    let mask = |ones: u8| !u128::MAX.checked_shr(u32::from(ones)).unwrap_or(0);
    let address = (first & mask(shared) | other & !mask(shared)) & mask(length);
    if bits == 32 {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(address >> 96).expect("the high 32 bits")))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(address))
    }
}

/// Addresses near the networks that the scripts tell apart, from their highest bit on.
fn addresses(bits: u8) -> impl Strategy<Value = u128> {
    let known = if bits == 32 {
        vec![[10, 0, 0, 0], [10, 127, 255, 255], [10, 128, 0, 0], [10, 200, 1, 2], [128, 0, 0, 0], [192, 0, 2, 0]]
            .into_iter()
            .map(|octets| u128::from(Ipv4Addr::from(octets).to_bits()) << 96)
            .collect()
    } else {
        ["2001:db8::", "2001:db8:8000::", "2001:db8:4000::1", "2001::", "8000::"]
            .map(|text| text.parse::<Ipv6Addr>().expect("an address").to_bits())
            .to_vec()
    };
    // Known ones with a bit turned, so that neighbours meet; and any.
    let near = (proptest::sample::select(known), 0..u32::from(bits)).prop_map(|(known, bit)| known ^ 1 << (127 - bit));
    prop_oneof![3 => near, 1 => any::<u128>()]
}

fn families() -> impl Strategy<Value = (u8, u128, u128, u8)> {
    prop_oneof![Just(32u8), Just(128u8)].prop_flat_map(|bits| (Just(bits), addresses(bits), any::<u128>(), 1..=bits))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a scope promises (RFC 7871 section 7.3.1): every network with those first bits gets this answer.
    #[test]
    fn networks_within_a_scope_get_one_answer((bits, first, other, length) in families()) {
        let mut authority = Authority::new("", [("example", ZONE)]);
        for name in ["hashed", "view", "mixed", "redirect", "static"] {
            let client = spliced(first, first, 0, length, bits);
            let (answers, scope) = answer(&mut authority, name, client, length);
            // Longer than what was told it says that the client should tell more, and holds for nobody else.
            if scope <= length {
                let neighbour = spliced(first, other, scope, length, bits);
                let (same, _) = answer(&mut authority, name, neighbour, length);
                prop_assert_eq!(answers, same, "{} for {} and {}, scope {}", name, client, neighbour, scope);
            }
        }
    }
}

#[test]
fn a_subnet_of_no_family_is_the_wish_for_privacy_and_echoed() {
    let mut authority = Authority::new("", [("example", ZONE)]);
    let reply = ask(&mut authority, "hashed", &[0, 0, 0, 0]);
    assert!(reply.ends_with(&[0, 8, 0, 4, 0, 0, 0, 0]), "{reply:02x?}");
}
