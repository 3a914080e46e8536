//! What each builtin costs in a record: one row for each, by the VM, and by its plan where it has one.
//!
//! `cargo bench --bench builtins`. A builtin that comes to be is a line in `ROWS`; the first row is what a run costs
//! without any. Everything is warm: the code is loaded, targets are known, points are made.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use perigee::config;
use perigee::dns::{Client, Name, Now, Transport};
use perigee::geo::{Database, Databases};
use perigee::health::table::Table;
use perigee::networks::{Map, Maps};
use perigee::script::{Modules, Patience, Policy, Program, Programs, Query, Setup, Surroundings, Vm};
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Scripts, Zone, ZoneSet};
use serde_json::json;

#[path = "../tests/support/mmdb.rs"]
mod mmdb;

fn main() {
    divan::main();
}

/// A builtin, the type of a record with it, and the code of that as an expression.
const ROWS: &[(&str, &str, &str)] = &[
    ("(none)", "TXT", "'a'"),
    ("pickrandom", "A", "pickrandom({'192.0.2.1', '192.0.2.2'})"),
    ("pickrandomsample", "A", "pickrandomsample(2, {'192.0.2.1', '192.0.2.2', '192.0.2.3'})"),
    ("pickwrandom", "A", "pickwrandom({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"),
    ("pickhashed", "A", "pickhashed({'192.0.2.1', '192.0.2.2'})"),
    ("pickwhashed", "A", "pickwhashed({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"),
    ("picknamehashed", "A", "picknamehashed({{1, '192.0.2.1'}, {2, '192.0.2.2'}})"),
    ("pickchashed", "A", "pickchashed({{1000, '192.0.2.1'}, {2000, '192.0.2.2'}})"),
    ("all", "A", "all({'192.0.2.1', '192.0.2.2'})"),
    ("view", "A", "view({{{'10.0.0.0/8'}, {'192.0.2.1'}}, {{'0.0.0.0/0'}, {'192.0.2.2'}}})"),
    ("netmask", "TXT", "netmask({'10.0.0.0/8', '127.0.0.0/8'}) and 'in' or 'out'"),
    ("ifportup", "A", "ifportup(443, {'192.0.2.1', '192.0.2.2'}, {backupSelector='all'})"),
    ("ifurlup", "A", "ifurlup('http://www.example.com/', {'192.0.2.1', '192.0.2.2'}, {backupSelector='all'})"),
    ("ifurlextup", "A", "ifurlextup({{['192.0.2.1']='http://a.example/'}})"),
    ("pickselfweighted", "A", "pickselfweighted('http://www.example.com/', {'192.0.2.1', '192.0.2.2'})"),
    (
        "ifup",
        "A",
        "ifup({kind='tcp', port=443}, {'192.0.2.1', {answer='192.0.2.2', probe='10.0.0.2'}}, {backupSelector='all'})",
    ),
    ("check", "TXT", "check{kind='tcp', target='192.0.2.1', port=443}:state()"),
    ("all_up", "TXT", "tostring(all_up{true, check{kind='icmp', target='192.0.2.1'}})"),
    ("all_up of a record", "TXT", "tostring(all_up{'db'})"),
    ("any_up", "TXT", "tostring(any_up{true, false})"),
    ("k_of_n", "TXT", "tostring(k_of_n(2, {true, false, true}))"),
    ("weight_of", "TXT", "weight_of(true)"),
    ("country", "TXT", "country({'de', 'at', 'ch'}) and 'in' or 'out'"),
    ("countryCode", "TXT", "countryCode()"),
    ("continent", "TXT", "continent('EU') and 'in' or 'out'"),
    ("continentCode", "TXT", "continentCode()"),
    ("region", "TXT", "region('by') and 'in' or 'out'"),
    ("regionCode", "TXT", "regionCode()"),
    ("asnum", "TXT", "asnum({64496, 64497}) and 'in' or 'out'"),
    ("geoiplookup", "TXT", "geoiplookup('10.0.0.1', GeoIPQueryAttribute.City)"),
    ("latlon", "TXT", "latlon()"),
    ("latlonloc", "LOC", "latlonloc()"),
    ("latlonMagic", "TXT", "latlonMagic()"),
    ("closestMagic", "A", "closestMagic()"),
    ("pickclosest", "A", "pickclosest({'10.0.0.1', '10.1.0.1'})"),
    ("distance", "TXT", "math.floor(distance('48.1 11.6'))"),
    ("map", "A", "map{['10.0.0.0/8'] = '192.0.2.1', ['0.0.0.0/0'] = '192.0.2.2'}"),
    ("map('sites')", "TXT", "map('sites')"),
    ("now", "TXT", "now('Europe/Berlin').hour"),
    ("during", "TXT", "during('Mon-Fri 09:00-17:30', 'Europe/Berlin') and 'open' or 'closed'"),
    ("resolve", "TXT", ";local _, why = resolve('www.example.net', 1) return why"),
    ("include", "TXT", ";include('conf') return 'a'"),
    ("require", "TXT", "require('sites').one"),
    ("createForward", "A", "createForward()"),
    ("createForward(template)", "A", "createForward('%5%')"),
    ("createForward6", "AAAA", "createForward6()"),
    ("createReverse", "TXT", "createReverse('%5%.example.com')"),
    ("createReverse6", "TXT", "createReverse6('%33%.example.com')"),
    ("filterForward", "A", "filterForward('192.0.2.1', newNMG({'192.0.2.0/24'}))"),
    ("nodata", "A", "nodata()"),
    ("nxdomain", "A", "nxdomain()"),
    ("lastgood", "A", "lastgood('192.0.2.1')"),
    ("dblookup", "TXT", "#dblookup('www.example.com', 1)"),
    ("newDN", "TXT", "newDN('www.example.com'):toString()"),
    ("newCA", "TXT", "newCA('192.0.2.1'):toString()"),
    ("newCAFromRaw", "TXT", "newCAFromRaw('abcd'):toString()"),
    ("newCAS", "TXT", "tostring(newCAS():check(who))"),
    ("newNetmask", "TXT", "newNetmask('192.0.2.0/24'):toString()"),
    ("newNMG", "TXT", "tostring(newNMG({'10.0.0.0/8', '!10.1.0.0/16'}):match(bestwho))"),
    ("newQType", "TXT", "newQType('AAAA'):getName()"),
    ("newDRR", "TXT", "newDRR(qname, 'A', 60, '192.0.2.1'):content()"),
    ("newDR", "TXT", "newDR(qname, 'A', 60, '192.0.2.1', 1):getContent()"),
    ("qname", "TXT", "qname:toString()"),
    ("bestwho", "TXT", "bestwho:toString()"),
    ("dh", "TXT", "dh:getID()"),
    ("pdnslog", "TXT", ";pdnslog('a line') return 'a'"),
    ("pdnsrandom", "TXT", "pdnsrandom(6)"),
];

/// A row of the table, known by its first word.
#[derive(Clone)]
struct Row {
    name: String,
    rtype: &'static str,
    code: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// Every row, and those whose lists are long.
fn rows() -> Vec<Row> {
    let row = |(name, rtype, code): &(&str, &'static str, &str)| Row {
        name: (*name).to_owned(),
        rtype,
        code: (*code).to_owned(),
    };
    let hundred: Vec<String> = (1..=100).map(|last| format!("{{100, '192.0.2.{last}'}}")).collect();
    let long = ["pickwhashed", "pickchashed"].map(|builtin| Row {
        name: format!("{builtin} of 100"),
        rtype: "A",
        code: format!("{builtin}({{{}}})", hundred.join(", ")),
    });
    ROWS.iter().map(row).chain(long).collect()
}

/// Rows that take no VM.
fn planned() -> Vec<Row> {
    let has_plan = |row: &Row| {
        row.name.starts_with("pick") || ["all", "view", "ifportup", "ifup", "ifurlup"].contains(&&*row.name)
    };
    rows().into_iter().filter(has_plan).collect()
}

#[divan::bench(args = rows())]
fn by_vm(bencher: Bencher<'_, '_>, row: &Row) {
    // Statements have no plan.
    let code = if row.code.starts_with(';') { row.code.clone() } else { format!(";return {}", row.code) };
    run(bencher, row, &code);
}

#[divan::bench(args = planned())]
fn by_plan(bencher: Bencher<'_, '_>, row: &Row) {
    run(bencher, row, &row.code);
}

/// A zone with this code in its first script, another that it may include, and a module that it may require.
fn zone(rtype: &str, code: &str) -> (Arc<Zone>, Programs) {
    // A piece has so many octets at the most when it is sent, and any number in a file.
    let text = format!(
        "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\n* LUA {rtype} \"{code}\"\nconf LUA LUA \"x = 1\"\ndb LUA A \"ifportup(1, {{'192.0.2.1'}})\"\n"
    );
    let apex: Name = "example.com".parse().expect("a name");
    let input = Input { file: "bench.zone".into(), text: text.as_bytes() };
    let parsed = parser::parse(&input, &Options::new(apex.clone()), &mut |_, _| Err("none".to_owned()));
    let zone = Zone::build(&apex, parsed.records, Scripts::Joined).expect("the zone has an SOA");
    let module = [("sites.lua".into(), "sites.lua".into(), b"return { one = 'a' }".to_vec())];
    let modules = Modules::compile(&module).unwrap_or_else(|_| panic!("the module does not compile"));
    let policy = Arc::new(Policy::new(&config::Lua::default(), None).with_modules(modules));
    let program = |script| match Program::compile(script, &policy) {
        Ok(program) => Arc::new(program),
        Err(problem) => panic!("{code}: {}", problem.message),
    };
    let programs = zone.scripts().iter().map(program).collect();
    (Arc::new(zone), programs)
}

/// What scripts may look up: the zone, a database that knows the client, and a map.
fn surroundings(zone: Arc<Zone>, programs: Programs) -> Arc<Surroundings> {
    let entry = json!({
        "autonomous_system_number": 64496,
        "city": { "names": { "en": "Munich" } },
        "continent": { "code": "EU" },
        "country": { "iso_code": "DE" },
        "location": { "accuracy_radius": 20, "latitude": 48.1, "longitude": 11.5 },
        "subdivisions": [{ "iso_code": "BY" }],
    });
    let entries = ["10.0.0.0/16", "10.1.0.0/16", "127.0.0.0/8", "1.2.3.4/32", "4.3.2.1/32"];
    let octets = mmdb::Mmdb::new("Bench-City", entries.map(|network| (network, entry.clone()))).octets();
    let database = Database::new(octets).expect("a database");
    let row = |value: &str| Box::from([Box::from(value)]);
    let sites = [("127.0.0.0/8", "here"), ("10.0.0.0/8", "there")];
    let sites = sites.map(|(network, site)| (network.parse().expect("a network"), row(site)));
    let sites = Map::build(row("value"), sites).unwrap_or_else(|_| panic!("no network is given twice"));
    Arc::new(Surroundings {
        zones: ZoneSet::new([(zone, programs)]),
        maps: Arc::new(Maps::from_iter([("sites".into(), Arc::new(sites))])),
        geo: Arc::new(Databases::new(vec![Arc::new(database)], "en", None)),
        ..Surroundings::default()
    })
}

/// A name with what a row reads out of it.
fn qname(row: &Row) -> Name {
    let label = match &*row.name {
        "createForward6" => "2001-db8--1".to_owned(),
        "createReverse" | "createReverse6" => ["1"; 32].join("."),
        _ => "1-2-3-4".to_owned(),
    };
    format!("{label}.example.com").parse().expect("a name")
}

fn run(bencher: Bencher<'_, '_>, row: &Row, code: &str) {
    let (zone, programs) = zone(row.rtype, code);
    let program = programs[0].clone();
    let (library, table) = (Arc::default(), Arc::new(Table::new(16)));
    let clock = Box::new(|| Duration::ZERO);
    let setup = Setup { limits: config::Lua::default(), library, table, seed: 7, clock };
    let mut vm = Vm::new(setup).expect("a VM");
    vm.turn_to(&surroundings(zone, programs));
    let address = SocketAddr::from(([127, 0, 0, 1], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let (qname, zone): (Name, Name) = (qname(row), "example.com".parse().expect("a name"));
    let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
    let (qname, zone) = (qname.as_ref(), zone.as_ref());
    let query = Query { qname, zone, wildcard: Some(2), patience: Patience::Spent, ..Query::plain(now, &client) };
    if let Err(failure) = vm.run(&program, &query) {
        panic!("{code}: {}", failure.message);
    }
    bencher.bench_local(|| vm.run(&program, &query).is_ok());
}
