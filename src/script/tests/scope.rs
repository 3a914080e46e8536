//! The scope of an answer holds: every client inside it gets the same from the same draw.

use std::net::IpAddr;

use ipnet::IpNet;

use super::*;

/// Code that looks at the client by networks alone. A builtin that does so too is one more line.
fn by_network() -> impl Strategy<Value = String> {
    let values = prop::collection::vec(prop::sample::select(vec!["'a'", "'b'", "'c'", "'d'"]), 1..3);
    let values = values.prop_map(|values| values.join(", ")).boxed();
    let leaf = values.clone().prop_map(|values| format!("pickrandom({{{values}}})"));
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let rules = prop::collection::vec((networks(), inner.clone()), 1..4)
            .prop_map(|rules| rules.iter().map(|(nets, value)| format!("{{{{{nets}}}, {{{value}}}}}, ")).collect());
        prop_oneof![
            rules.prop_map(|rules: String| format!("view({{{rules}}})")),
            (networks(), inner.clone(), inner.clone())
                .prop_map(|(nets, yes, no)| format!("(netmask({{{nets}}}) and {yes} or {no})")),
            (networks(), networks(), inner.clone(), inner).prop_map(|(one, other, yes, no)| format!(
                "(function() if netmask({{{one}}}) ~= netmask({{{other}}}) then return {yes} end return {no} end)()"
            )),
        ]
    })
}

/// Code that looks at the client in any way. Hashes and objects look at all that the query tells of it.
fn by_client() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(vec![
        "pickhashed({'a', 'b', 'c'})",
        "pickwhashed({{1, 'a'}, {7, 'b'}, {3, 'c'}})",
        "bestwho:toString()",
        "bestwho:toStringWithPort()",
        "tostring(ecswho)",
        "(ecswho and ecswho:getBits() or 'none')",
        "who:toString()",
        "qname:toString()",
    ]);
    prop_oneof![
        by_network(),
        whole.clone().prop_map(str::to_owned),
        (networks(), whole.clone(), by_network())
            .prop_map(|(nets, yes, no)| format!("(netmask({{{nets}}}) and {yes} or {no})")),
        (networks(), whole, by_network())
            .prop_map(|(nets, yes, no)| format!(";if netmask({{{nets}}}) then return {yes} end return {no}")),
    ]
}

/// A list of networks that lie in each other and beside each other.
fn networks() -> impl Strategy<Value = String> {
    let near = prop::sample::select(vec!["10.1.2.3", "10.1.200.0", "10.77.0.0", "192.0.2.1"]);
    let four = (near, 0..=32u8).prop_map(|(address, bits)| format!("'{address}/{bits}'"));
    let near = prop::sample::select(vec!["2001:db8::1", "2001:db8:0:7700::", "fd00::1"]);
    let six = (near, 0..=128u8).prop_map(|(address, bits)| format!("'{address}/{bits}'"));
    prop::collection::vec(prop_oneof![3 => four, 1 => six], 0..3).prop_map(|networks| networks.join(", "))
}

/// A client subnet, often in or near one of the networks.
fn subnet() -> impl Strategy<Value = IpNet> {
    let four = prop::sample::select(vec![0x0a01_0203_u32, 0x0a01_c800, 0x0a4d_0000, 0xc000_0201]);
    let four = (four, 0..=32u32, any::<u32>(), 1..=32u8).prop_map(|(near, kept, other, bits)| {
        let address = near ^ other.checked_shr(kept).unwrap_or(0);
        IpNet::new(IpAddr::V4(address.into()), bits).unwrap().trunc()
    });
    let six = prop::sample::select(vec!["2001:db8::1", "2001:db8:0:7700::", "fd00::1"]);
    let six = (six, 0..=128u32, any::<u128>(), 1..=128u8).prop_map(|(near, kept, other, bits)| {
        let near: std::net::Ipv6Addr = near.parse().unwrap();
        let address = near.to_bits() ^ other.checked_shr(kept).unwrap_or(0);
        IpNet::new(IpAddr::V6(address.into()), bits).unwrap().trunc()
    });
    prop_oneof![2 => four, 1 => six]
}

/// Moves `other` into the first `scope` bits of `network`, and gives it `bits`; `None` if it is of another family.
fn inside(network: IpNet, scope: u8, other: IpNet, bits: u8) -> Option<IpNet> {
    let address = match (network.addr(), other.addr()) {
        (IpAddr::V4(inside), IpAddr::V4(other)) => {
            let host = u32::MAX.checked_shr(scope.into()).unwrap_or(0);
            IpAddr::V4((inside.to_bits() & !host | other.to_bits() & host).into())
        }
        (IpAddr::V6(inside), IpAddr::V6(other)) => {
            let host = u128::MAX.checked_shr(scope.into()).unwrap_or(0);
            IpAddr::V6((inside.to_bits() & !host | other.to_bits() & host).into())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    Some(IpNet::new(address, bits.min(network.max_prefix_len())).unwrap().trunc())
}

/// What a client in `subnet` is answered from this seed, and the scope.
fn asked(program: &Arc<Program>, seed: u64, subnet: IpNet) -> (Result<Vec<Vec<u8>>, String>, u8) {
    let (limits, table) = (config::Lua::default(), Arc::new(Table::new(16)));
    let library = Arc::default();
    let mut vm = Vm::new(Setup { limits, library, table, seed, clock: Box::new(|| Duration::ZERO) }).unwrap();
    let family = if subnet.addr().is_ipv4() { 1 } else { 2 };
    let subnet = ClientSubnet { family, source_length: subnet.prefix_len(), address: subnet.network() };
    match outcome(&mut vm, program, Some(subnet)) {
        Ok((rdata, scope)) => (Ok(rdata), scope),
        Err((_, message, scope)) => (Err(message), scope),
    }
}

/// Holds that `other`, moved into the scope of what `network` is answered, is answered the same.
fn hold(code: &str, seed: u64, network: IpNet, other: IpNet, bits: impl Fn(u8) -> u8) -> Result<(), TestCaseError> {
    let program = program(code, Rtype::TXT).unwrap();
    let (answer, scope) = asked(&program, seed, network);
    let neighbour = match inside(network, scope, other, bits(scope)) {
        Some(neighbour) => neighbour,
        // A scope of 0 is for all addresses, those of the other family too (RFC 7871 section 7.3.1).
        None if scope == 0 => other,
        None => return Ok(()),
    };
    let (other_answer, _) = asked(&program, seed, neighbour);
    prop_assert_eq!(answer, other_answer, "{} for {} with scope {} and for {}", code, network, scope, neighbour);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn clients_inside_a_scope_that_networks_decide_get_the_same(
        code in by_network(), seed: u64, network in subnet(), other in subnet(),
    ) {
        // Whatever another resolver tells of its client, as long as it is inside.
        hold(&code, seed, network, other, |scope| other.prefix_len().max(scope))?;
    }

    #[test]
    fn clients_inside_a_scope_get_the_same(
        code in by_client(), seed: u64, network in subnet(), other in subnet(),
    ) {
        // As much as this resolver tells of its clients: a hash is one of what it was told.
        hold(&code, seed, network, other, |_| network.prefix_len())?;
    }
}
