//! The scope of an answer holds: every client inside it gets the same from the same draw.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

use super::*;
use crate::networks::Map;

/// Code that looks at the client by networks alone. A builtin that does so too is one more line.
fn by_network() -> impl Strategy<Value = String> {
    let values = prop::collection::vec(prop::sample::select(vec!["'a'", "'b'", "'c'", "'d'"]), 1..3);
    let values = values.prop_map(|values| values.join(", ")).boxed();
    let leaf = prop_oneof![
        3 => values.clone().prop_map(|values| format!("pickrandom({{{values}}})")),
        1 => by_place(),
        1 => by_map(),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let rules = prop::collection::vec((networks(), inner.clone()), 1..4)
            .prop_map(|rules| rules.iter().map(|(nets, value)| format!("{{{{{nets}}}, {{{value}}}}}, ")).collect());
        let map = prop::collection::vec((networks(), inner.clone()), 0..4)
            .prop_map(|entries| entries.iter().map(|(nets, value)| entries_of_table(nets, value)).collect());
        prop_oneof![
            rules.prop_map(|rules: String| format!("view({{{rules}}})")),
            map.prop_map(|entries: String| format!("(map{{{entries}}} or 'nowhere')")),
            (networks(), inner.clone(), inner.clone())
                .prop_map(|(nets, yes, no)| format!("(netmask({{{nets}}}) and {yes} or {no})")),
            (where_clients_are(), inner.clone(), inner.clone())
                .prop_map(|(is_there, yes, no)| format!("({is_there} and {yes} or {no})")),
            (networks(), networks(), inner.clone(), inner).prop_map(|(one, other, yes, no)| format!(
                "(function() if netmask({{{one}}}) ~= netmask({{{other}}}) then return {yes} end return {no} end)()"
            )),
        ]
    })
}

/// Networks as the keys of a table. One may be there twice, which is an error for those inside it alone.
fn entries_of_table(networks: &str, value: &str) -> String {
    let keys = networks.split(", ").filter(|key| !key.is_empty());
    keys.map(|key| format!("[{key}] = {value}, ")).collect()
}

/// Whether a client is in a place.
fn where_clients_are() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "country('de')",
        "country({'kr', 'unknown'})",
        "country({})",
        "continent('eu')",
        "region('be')",
        "asnum(64496)",
        "asnum({'64497', 'unknown'})",
        "(distance('48.1 11.6') or 0) < 500",
        "(distance('192.0.2.1') or 0) < 500",
        "(distance('203.0.113.1') or 0) < 500",
    ])
}

/// Code that looks the client up in the databases of places.
fn by_place() -> impl Strategy<Value = String> {
    let codes =
        prop::sample::select(vec!["countryCode()", "continentCode()", "regionCode()", "latlon()", "latlonloc()"]);
    let candidate = prop::sample::select(vec!["'192.0.2.1'", "'192.0.2.129'", "'203.0.113.1'", "'2001:db8::1'"]);
    let candidates = prop::collection::vec(candidate, 1..4).prop_map(|candidates| candidates.join(", "));
    let unknown = prop::sample::select(vec!["", "unknown='first'", "unknown='40 -70'"]);
    let closest = (candidates, unknown).prop_flat_map(|(candidates, unknown)| {
        prop::sample::select(vec![
            format!("pickclosest({{{candidates}}}, {{{unknown}}})"),
            format!("ifportup(80, {{{candidates}}}, {{backupSelector='pickclosest', {unknown}}})[1]"),
        ])
    });
    prop_oneof![codes.prop_map(str::to_owned), closest]
}

/// Code that looks the client up in a map file.
fn by_map() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["sites", "everyone", "four", "six", "nobody"]);
    names.prop_flat_map(|name| {
        prop::sample::select(vec![
            format!("(map('{name}') or 'nowhere')"),
            format!("(select(2, map('{name}')) or 'nowhere')"),
        ])
    })
}

/// Code that looks at the client in any way. Hashes and objects look at all that the query tells of it.
fn by_client() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(vec![
        "pickhashed({'a', 'b', 'c'})",
        "pickwhashed({{1, 'a'}, {7, 'b'}, {3, 'c'}})",
        "pickchashed({{10, 'a'}, {70, 'b'}, {30, 'c'}})",
        "ifportup(80, {'192.0.2.1', '192.0.2.2', '192.0.2.3'}, {backupSelector='hashed'})[1]",
        "sticky({'a', 'b', 'c'})[1]",
        "(newNMG({'10.0.0.0/8', '!10.1.0.0/16', '10.1.2.0/24', '2001:db8::/32'}):match(bestwho) and 'in' or 'out')",
        "(map({['10.0.0.0/8'] = 'a', ['2001:db8::/32'] = 'b'}, bestwho) or 'nowhere')",
        "geoiplookup(bestwho:toString(), GeoIPQueryAttribute.Country)",
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

/// What there is to look up: databases of both families and of one, in different orders, with maps beside them.
static WORLDS: LazyLock<Vec<Arc<Surroundings>>> = LazyLock::new(|| {
    let place = |country: &str, continent: &str, latitude: f64, longitude: f64| {
        json!({
            "country": { "iso_code": country }, "continent": { "code": continent },
            "location": { "latitude": latitude, "longitude": longitude },
        })
    };
    let (berlin, seoul) = (place("DE", "EU", 52.5, 13.4), place("KR", "AS", 37.5, 127.0));
    let in_berlin = json!({ "subdivisions": [{ "iso_code": "BE" }] });
    let cities = [
        ("10.1.0.0/17", berlin.clone()),
        ("10.1.128.0/18", seoul.clone()),
        ("10.77.0.0/16", in_berlin.clone()),
        ("192.0.2.0/25", seoul.clone()),
        ("192.0.2.128/25", berlin.clone()),
        ("2001:db8::/34", berlin.clone()),
        ("2001:db8:4000::/36", seoul.clone()),
        ("fd00::/9", in_berlin),
    ];
    let system = |number: u32| json!({ "autonomous_system_number": number });
    let systems = [("10.0.0.0/12", system(64496)), ("10.1.2.0/23", system(64497)), ("192.0.2.1/32", system(64498))];
    let all_of_four = mmdb::Mmdb::new("Test-City", [("0.0.0.0/0", berlin)]);
    let all_of_six = mmdb::Mmdb::new("Test-City", [("8000::/1", seoul.clone()), ("::1:0:0:0/80", seoul)]);
    let systems_of_four = mmdb::Mmdb { ip_version: 4, ..mmdb::Mmdb::new("Test-ASN", systems.clone()) };
    let (cities, systems) = (mmdb::Mmdb::new("Test-City", cities), mmdb::Mmdb::new("Test-ASN", systems));
    let worlds: [(&[&mmdb::Mmdb], Option<&str>); 7] = [
        (&[], None),
        (&[&cities], None),
        (&[&systems, &cities], Some("50 8")),
        (&[&systems_of_four, &cities], None),
        (&[&systems_of_four], Some("50 8")),
        (&[&all_of_four], None),
        (&[&all_of_six, &all_of_four], None),
    ];
    worlds.iter().map(|(files, unknown)| world(files, *unknown)).collect()
});

fn world(files: &[&mmdb::Mmdb], unknown: Option<&str>) -> Arc<Surroundings> {
    let databases = files.iter().map(|file| Arc::new(Database::new(file.octets()).unwrap())).collect();
    let geo = Arc::new(Databases::new(databases, "en", unknown.map(|place| place.parse().unwrap())));
    let map = |rows: &[(&str, &str)]| {
        let rows = rows.iter().map(|(network, value)| (network.parse().unwrap(), [Box::from(*value)].into()));
        Arc::new(Map::build([Box::from("value")].into(), rows).unwrap())
    };
    let sites = [("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"), ("10.1.200.0/24", "c"), ("2001:db8::/33", "d")];
    let maps = [
        ("sites", map(&sites)),
        ("everyone", map(&[("0.0.0.0/0", "four"), ("::/0", "six")])),
        ("four", map(&[("0.0.0.0/0", "four")])),
        ("six", map(&[("2001:db8::/32", "six")])),
        ("nobody", map(&[])),
    ];
    let maps = Arc::new(maps.into_iter().map(|(name, map)| (name.into(), map)).collect());
    Arc::new(Surroundings { geo, maps, ..Surroundings::default() })
}

/// `sticky` and what else comes with perigee.
static LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| {
    let sticky = include_bytes!("../../../lua/lib/sticky.lua").to_vec();
    Arc::new(Library::compile(&[("sticky.lua".to_owned(), sticky)]).unwrap())
});

/// What a client in `subnet` is answered from this seed, and the scope.
fn asked(program: &Arc<Program>, world: usize, seed: u64, subnet: IpNet) -> (Result<Vec<Vec<u8>>, String>, u8) {
    let (limits, table) = (config::Lua::default(), Arc::new(Table::new(16)));
    let library = Arc::clone(&LIBRARY);
    let mut vm = Vm::new(Setup { limits, library, table, seed, clock: Box::new(|| Duration::ZERO) }).unwrap();
    vm.turn_to(&WORLDS[world]);
    let family = if subnet.addr().is_ipv4() { 1 } else { 2 };
    let subnet = ClientSubnet { family, source_length: subnet.prefix_len(), address: subnet.network() };
    match outcome(&mut vm, program, Some(subnet)) {
        Ok((rdata, scope)) => (Ok(rdata), scope),
        Err((_, message, scope)) => (Err(message), scope),
    }
}

/// Holds that `other`, moved into the scope of what `network` is answered, is answered the same.
fn hold(
    code: &str,
    (world, seed): (usize, u64),
    network: IpNet,
    other: IpNet,
    bits: impl Fn(u8) -> u8,
) -> Result<(), TestCaseError> {
    let program = program(code, Rtype::TXT).unwrap();
    let (answer, scope) = asked(&program, world, seed, network);
    let neighbour = match inside(network, scope, other, bits(scope)) {
        Some(neighbour) => neighbour,
        // A scope of 0 is for all addresses, those of the other family too (RFC 7871 section 7.3.1).
        None if scope == 0 => other,
        None => return Ok(()),
    };
    let (other_answer, _) = asked(&program, world, seed, neighbour);
    prop_assert_eq!(
        answer,
        other_answer,
        "{} for {} with scope {} and for {} in world {}",
        code,
        network,
        scope,
        neighbour,
        world
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn clients_inside_a_scope_that_networks_decide_get_the_same(
        code in by_network(), world in 0..WORLDS.len(), seed: u64, network in subnet(), other in subnet(),
    ) {
        // Whatever another resolver tells of its client, as long as it is inside.
        hold(&code, (world, seed), network, other, |scope| other.prefix_len().max(scope))?;
    }

    #[test]
    fn clients_inside_a_scope_get_the_same(
        code in by_client(), world in 0..WORLDS.len(), seed: u64, network in subnet(), other in subnet(),
    ) {
        // As much as this resolver tells of its clients: a hash is one of what it was told.
        hold(&code, (world, seed), network, other, |_| network.prefix_len())?;
    }
}
