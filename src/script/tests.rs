//! Scripts as records have them: forms, limits, isolation, positions of errors, and plans beside the VM.

mod bad_input;
mod choices;
mod health;
mod nested;
mod notes;
mod overrides;
mod scope;

use std::net::SocketAddr;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::diagnostic::Position;
use crate::dns::edns::ClientSubnet;
use crate::dns::{Class, Name};
use crate::geo::{Database, Databases};
use crate::health::overrides::{Action, Override, Overrides};
use crate::health::table::Reading;
use crate::health::{State, sentence};
use crate::zone::{Data, LuaData, Piece, Record, Scripts, Zone};

#[path = "../../tests/support/mmdb.rs"]
mod mmdb;

/// The program of a LUA TXT record at `www.example.com`, whose code stands in line 7 of a zone file.
fn program(code: &str, covered: Rtype) -> Result<Arc<Program>, Diagnostic> {
    program_within(config::Lua::default(), code, covered)
}

/// The same, within other limits.
fn program_within(limits: config::Lua, code: &str, covered: Rtype) -> Result<Arc<Program>, Diagnostic> {
    let apex: Name = "example.com".parse().unwrap();
    let record = |owner: &str, rtype, data| Record {
        owner: owner.parse().unwrap(),
        class: Class::IN,
        ttl: 60,
        rtype,
        data,
        position: Position::new("a.zone", 7, 1),
    };
    let piece = Piece { text: code.as_bytes().into(), position: Position::new("a.zone", 7, 20) };
    let lua = Data::Lua(LuaData { covered, pieces: vec![piece] });
    let soa = Data::Wire(Box::new([0; 22]));
    let records = vec![record("example.com", Rtype::SOA, soa), record("www.example.com", Rtype::LUA, lua)];
    let zone = Zone::build(&apex, records, Scripts::Joined).expect("the zone has an SOA");
    Program::compile(&zone.scripts()[0], &Arc::new(Policy::new(&limits, None))).map(Arc::new)
}

/// A VM for which no time passes, so that nothing hangs on how fast the machine is.
fn vm(limits: config::Lua) -> Vm {
    vm_with_clock(limits, || Duration::ZERO)
}

fn vm_with_clock(limits: config::Lua, clock: impl Fn() -> Duration + 'static) -> Vm {
    let (library, table) = (Arc::new(Library::default()), Arc::new(Table::new(16)));
    Vm::new(Setup { limits, library, table, seed: 7, clock: Box::new(clock) }).expect("there is memory for a VM")
}

fn run(vm: &mut Vm, code: &str) -> Result<Vec<String>, (FailureKind, String)> {
    let address = SocketAddr::from(([192, 168, 3, 4], 5353));
    let client = Client { address, local: ([127, 0, 0, 1], 53).into(), transport: Transport::Udp };
    let (qname, zone): (Name, Name) = ("wWw.example.com".parse().unwrap(), "example.com".parse().unwrap());
    let now = Now { unix_secs: 1_700_000_000, monotonic: Duration::ZERO };
    let query = Query { qname: qname.as_ref(), zone: zone.as_ref(), ..Query::plain(now, &client) };
    let program =
        program_within(vm.limits.clone(), code, Rtype::TXT).map_err(|error| (FailureKind::Error, error.to_string()))?;
    let output = vm.run(&program, &query).map_err(|failure| (failure.kind, failure.message))?;
    let texts = output.rdata.iter().map(|rdata| String::from_utf8_lossy(&rdata[1..]).into_owned());
    Ok(texts.collect())
}

#[test]
fn scripts_are_expressions_or_statements() {
    let mut vm = vm(config::Lua::default());
    let cases: [(&str, &[&str]); 14] = [
        ("'a'", &["a"]),
        ("{'a', 'b'}", &["a", "b"]),
        ("{}", &[]),
        (";local x = 'a' return x .. 'b'", &["ab"]),
        (";return 10/2", &["5"]),
        ("'a', 'ignored'", &["a"]),
        ("qname:toString() .. zone:toStringNoDot()", &["wWw.example.com.example.com"]),
        ("who:toStringWithPort()", &["192.168.3.4:5353"]),
        ("tostring(tcp) .. tostring(ecswho) .. localwho:toString()", &["falsenil127.0.0.1"]),
        ("netmask({'192.168.0.0/16'}) and 'in' or 'out'", &["in"]),
        (";qname:chopOff() return qname:toString()", &["example.com."]),
        ("os.date('!%Y') .. string.split('a,b')[2] .. #string.split('xy', '')", &["2023b2"]),
        ("math.random(3, 3) .. math.random(1)", &["31"]),
        ("bit.band(0xff, bit.lshift(1, 3)) .. os.time()", &["81700000000"]),
    ];
    for (code, expected) in cases {
        assert_eq!(run(&mut vm, code), Ok(expected.iter().map(ToString::to_string).collect()), "{code}");
    }
}

/// The programs of LUA records in one zone, each an owner, a type and a code; the first stands in line 1.
fn hosted(vm: &mut Vm, records: &[(&str, Rtype, &str)]) -> Programs {
    let apex: Name = "example.com".parse().unwrap();
    let records = records.iter().zip(1..).map(|((owner, covered, code), line)| {
        let piece = Piece { text: code.as_bytes().into(), position: Position::new("a.zone", line, 20) };
        let data = Data::Lua(LuaData { covered: *covered, pieces: vec![piece] });
        let owner = format!("{owner}.example.com").parse().unwrap();
        Record { owner, class: Class::IN, ttl: 60, rtype: Rtype::LUA, data, position: Position::new("a.zone", line, 1) }
    });
    let soa = Data::Wire(Box::new([0; 22]));
    let position = Position::new("a.zone", 99, 1);
    let soa = Record { owner: apex.clone(), class: Class::IN, ttl: 60, rtype: Rtype::SOA, data: soa, position };
    let zone = Zone::build(&apex, records.chain([soa]).collect(), Scripts::Joined).expect("the zone has an SOA");
    let policy = Arc::new(Policy::new(&vm.limits, None));
    let compile = |script| Arc::new(Program::compile(script, &policy).unwrap_or_else(|error| panic!("{error}")));
    let programs: Programs = zone.scripts().iter().map(compile).collect();
    let zones = crate::zone::ZoneSet::new([(Arc::new(zone), programs.clone())]);
    vm.turn_to(&Arc::new(Surroundings { zones, ..Surroundings::default() }));
    programs
}

#[test]
fn an_error_in_included_code_is_told_where_it_stands() {
    let mut vm = vm(config::Lua { exec_limit: 1000, ..config::Lua::default() });
    let library =
        ("conf", Rtype::LUA, "function fails()\n  error('of conf')\nend\nfunction turns()\n while true do end\nend");
    let cases = [
        (";include('conf') return fails()", "of conf", "a.zone:2:3"),
        (";include('conf')\n return pickrandom({})", "`pickrandom`", "a.zone:3:2"),
        (";include('conf') return turns()", "1000 steps", "a.zone:5:2"),
        (";include('conf') local ok, why = pcall(fails)\n error(why, 0)", "of conf", "a.zone:2:3"),
    ];
    for (code, message, position) in cases {
        let programs = hosted(&mut vm, &[library, ("www", Rtype::TXT, code)]);
        let client = Client {
            address: ([192, 0, 2, 1], 53).into(),
            local: ([127, 0, 0, 1], 53).into(),
            transport: Transport::Udp,
        };
        let (qname, zone): (Name, Name) = ("www.example.com".parse().unwrap(), "example.com".parse().unwrap());
        let now = Now { unix_secs: 1, monotonic: Duration::ZERO };
        let query = Query { qname: qname.as_ref(), zone: zone.as_ref(), ..Query::plain(now, &client) };
        let failure = vm.run(&programs[1], &query).unwrap_err();
        assert!(failure.message.contains(message), "{code}: {}", failure.message);
        let (line, column) = (failure.position.line, failure.position.column);
        assert_eq!(format!("{}:{line}:{column}", failure.position.file), position, "{code}");
    }
}

#[test]
fn a_trial_tells_of_includes_that_do_nothing_and_of_names_nothing() {
    let mut vm = vm(config::Lua::default());
    let programs = hosted(
        &mut vm,
        &[
            ("a", Rtype::TXT, ";include('statements') include('absent') include('a..b') return 'a'"),
            ("statements", Rtype::TXT, ";return 'b'"),
            ("c", Rtype::TXT, ";include('fails') return 'c'"),
            ("fails", Rtype::LUA, "x = 1\n  error('as it wants')"),
            ("d", Rtype::TXT, "resolve('www.example.net', 1)[1]:toString()"),
            ("e", Rtype::TXT, "resolve('WWW.example.net', 1)[1]:toString()"),
            ("f", Rtype::TXT, ";if tcp then return #resolve('branch.example.net', '28') end return 'f'"),
            ("g", Rtype::LUA, "function address() return resolve('function.example.net.', 1)[1]:toString() end"),
            ("h", Rtype::TXT, ";return tostring(pcall(resolve, 'a..b', 1)) -- resolve('comment.example.net', 1)"),
        ],
    );
    let zone: Name = "example.com".parse().unwrap();
    let discovery = vm.discover(&programs, zone.as_ref(), Now { unix_secs: 1, monotonic: Duration::ZERO });
    let told: Vec<String> = discovery.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        ("a.zone:1:20", "`include('statements')` failed:", "(a.zone:2:20)"),
        ("a.zone:1:20", "`include('absent')` does nothing: there is no LUA record at `absent.example.com.`", ""),
        ("a.zone:1:20", "`include('a..b')` does nothing:", ""),
        ("a.zone:3:20", "`include('fails')` failed: as it wants", "(a.zone:5:3)"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (position, what, place)) in told.iter().zip(expected) {
        assert!(told.starts_with(position) && told.contains(what) && told.contains(place), "{told}");
    }
    assert_eq!(
        discovery.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["www.example.net. A", "branch.example.net. AAAA", "function.example.net. A"]
    );
}

#[test]
fn nothing_is_left_between_runs() {
    let mut vm = vm(config::Lua::default());
    assert_eq!(run(&mut vm, ";x = (x or 0) + 1 return x"), Ok(vec!["1".to_owned()]));
    assert_eq!(run(&mut vm, ";x = (x or 0) + 1 return x"), Ok(vec!["1".to_owned()]));
    assert_eq!(run(&mut vm, ";_G.y = 1 qname = 'changed' return 'a'"), Ok(vec!["a".to_owned()]));
    assert_eq!(run(&mut vm, "tostring(y) .. type(qname)"), Ok(vec!["niluserdata".to_owned()]));
}

#[test]
fn shared_state_keeps_globals() {
    let mut vm = vm(config::Lua { shared_state: true, ..config::Lua::default() });
    for expected in ["1", "2", "3"] {
        assert_eq!(run(&mut vm, ";x = (x or 0) + 1 return x"), Ok(vec![expected.to_owned()]));
    }
}

#[test]
fn each_zone_with_shared_state_gets_the_library_on_a_budget_of_its_own() {
    let library = [("a.lua".to_owned(), b"total = 0 for i = 1, 900 do total = total + i end".to_vec())];
    let library = Arc::new(Library::compile(&library).ok().unwrap());
    let limits = config::Lua { shared_state: true, exec_limit: 1_000, ..config::Lua::default() };
    let (table, clock) = (Arc::new(Table::new(1)), Box::new(|| Duration::ZERO));
    let mut vm = Vm::new(Setup { limits, library, table, seed: 1, clock }).unwrap();
    for _ in 0..3 {
        // All but the last steps of one run are no debt of the next.
        assert_eq!(run(&mut vm, ";for i = 1, 900 do end return total"), Ok(vec!["405450".to_owned()]));
    }
}

#[test]
fn what_takes_too_much_is_stopped_and_the_next_run_is_not() {
    let mut vm = vm(config::Lua::default());
    let scripts = [
        ";while true do end",
        ";while true do pcall(function() while true do end end) end",
        ";pcall(function() while true do end end) return 'survived'",
        ";xpcall(function() while true do end end, function() while true do end end) return 'survived'",
        ";coroutine.wrap(function() while true do end end)() return 'survived'",
        ";local c = coroutine.create(function() while true do end end) coroutine.resume(c) return 'survived'",
        "string.rep('x', 1e9)",
        "('x'):rep(1e9)",
        ";pcall(string.rep, 'x', 1e9) return 'survived'",
        ";while true do pcall(string.rep, 'x', 1e9) end",
        ";local t = {} while true do t[#t + 1] = string.rep('x', 100000) end",
        ";local s = 'x' while true do s = s .. s end",
        ";local s = 'x' pcall(function() while true do s = s .. s end end) return 'survived'",
        ";return string.find(string.rep('a', 60000), string.rep('a-', 200) .. 'b')",
        ";return string.find(string.rep('a', 5000), '.-.-.-.-.-.-.-.-b')",
        ";return (string.rep('a', 1000000)):find(string.rep('a', 1000) .. 'b', 1, true)",
        ";local function f() return f() + 1 end return f()",
        ";local t = table.create(1e8, 1) return #t",
        "os.date(string.rep('%c', 100000))",
        "string.split(string.rep('a,', 100000), ',')[1]",
        ";local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
    ];
    for code in scripts {
        let outcome = run(&mut vm, code);
        assert!(matches!(outcome, Err((FailureKind::Budget | FailureKind::Error, _))), "{code}: {outcome:?}");
        assert_eq!(run(&mut vm, "'next'"), Ok(vec!["next".to_owned()]), "after {code}");
    }
}

#[test]
fn a_script_is_stopped_when_its_time_is_up() {
    let readings = std::cell::Cell::new(0);
    let clock = move || {
        readings.set(readings.get() + 1);
        Duration::from_millis(readings.get())
    };
    let mut vm = vm_with_clock(config::Lua::default(), clock);
    let error = "it ran for 10ms, as long as `lua.time-limit` allows; it rests for 5.988 s".to_owned();
    assert_eq!(run(&mut vm, ";while true do end"), Err((FailureKind::Budget, error)));
    assert_eq!(run(&mut vm, "'next'"), Ok(vec!["next".to_owned()]));
}

#[test]
fn a_limit_of_one_stops_any_script_and_none_stops_none() {
    let limited = |exec_limit| vm(config::Lua { exec_limit, ..config::Lua::default() });
    assert!(run(&mut limited(1), "'192.0.2.1'").is_err());
    assert_eq!(run(&mut limited(0), ";for i = 1, 1e5 do end return 'done'"), Ok(vec!["done".to_owned()]));
}

#[test]
fn nothing_outside_the_allow_list_can_be_reached() {
    let mut vm = vm(config::Lua::default());
    let absent = [
        "loadstring",
        "load",
        "loadfile",
        "dofile",
        "getfenv",
        "setfenv",
        "collectgarbage",
        "newproxy",
        "gcinfo",
        "io",
        "debug",
        "package",
        "print",
        "os.execute",
        "os.exit",
        "os.getenv",
        "os.remove",
        "string.dump",
        "buffer",
        "vector",
        "host",
    ];
    for name in absent {
        assert_eq!(run(&mut vm, &format!("type({name})")), Ok(vec!["nil".to_owned()]), "{name}");
    }
    let refused = [
        ";string.rep = nil return 'written'",
        ";getmetatable('').__index = nil return 'written'",
        ";getmetatable(qname).__index = nil return 'written'",
        ";setmetatable(_G, {}) return 'written'",
        ";rawset(string, 'x', 1) return 'written'",
        ";rawset(os, 'x', 1) return 'written'",
    ];
    for code in refused {
        assert!(run(&mut vm, code).is_err(), "{code}");
    }
}

#[test]
fn errors_point_into_the_zone_file() {
    let error = program("pickrandom({'a'", Rtype::TXT).err().unwrap();
    assert_eq!(error.position, Some(Position::new("a.zone", 7, 20)));
    assert_eq!(error.message, "the script does not compile: Expected '}' (to close '{'), got <eof>");
    // Code, then the line and column of the failure, and what is said of it.
    let cases = [
        (";local a = 1\n  local b = nil\n  return b.c", 9, 3, "attempt to index nil with 'c'"),
        ("\n\nerror('boom')", 9, 1, "boom"),
        (";local a\nreturn pickrandom({})", 8, 1, "`pickrandom` got an empty list; give at least one entry"),
        (";\nreturn ('a'):rep('x')", 8, 1, "invalid argument #2 to 'rep' (number expected, got string)"),
        (";local s = 1\n\nwhile true do end", 9, 1, "it took 20000 steps, all that `lua.exec-limit` allows"),
        ("true", 7, 20, "it returned a boolean, not a string, a number or a list of them"),
        ("nil + 1", 7, 20, "attempt to perform arithmetic (add) on nil and number"),
    ];
    for (code, line, column, message) in cases {
        let failure = fail(code);
        assert_eq!(failure.message, message, "{code}");
        assert_eq!(failure.position, Position::new("a.zone", line, column), "{code}");
    }
}

#[test]
fn what_is_neither_an_expression_nor_statements_behind_a_semicolon_does_not_compile() {
    let refused = [
        // A semicolon is the first character or none that counts.
        " ;return 'x'",
        "return 'x'",
        "local a = 1 return a",
        ";return 'x' 'y' z",
        "'a' 'b'",
        "'a",
        ";goto out ::out:: return 'x'",
        "1 & 3",
        // Words that met where pieces did.
        ";locala b return b",
        "\u{1b}Lua",
    ];
    for code in refused {
        let error = program(code, Rtype::TXT).err().unwrap_or_else(|| panic!("{code} compiles"));
        assert!(error.message.starts_with("the script does not compile: "), "{code}: {}", error.message);
    }
}

/// The failure of a script that fails.
fn fail(code: &str) -> Failure {
    let program = program(code, Rtype::TXT).unwrap();
    let address = SocketAddr::from(([192, 168, 3, 4], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
    let query = Query::plain(now, &client);
    vm(config::Lua::default()).run(&program, &query).expect_err("the script fails")
}

/// What a run comes to, for comparison: RDATA and scope, or the failure's kind, words and scope.
type Outcome = Result<(Vec<Vec<u8>>, u8), (FailureKind, String, u8)>;

fn outcome(vm: &mut Vm, program: &Arc<Program>, subnet: Option<ClientSubnet>) -> Outcome {
    let address = SocketAddr::from(([198, 51, 100, 4], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let now = Now { unix_secs: 0, monotonic: Duration::ZERO };
    let qname: Name = "www.example.com".parse().unwrap();
    let query = Query { subnet, qname: qname.as_ref(), ..Query::plain(now, &client) };
    match vm.run(program, &query) {
        Ok(Output { rdata, scope, .. }) => Ok((rdata.into_iter().map(Cow::into_owned).collect(), scope)),
        Err(Failure { kind, message, scope, .. }) => Err((kind, message, scope)),
    }
}

/// Code of one value: an address, or a call that picks among such code.
fn value_code() -> impl Strategy<Value = String> {
    let leaf = (1..=9u8).prop_map(|last| format!("'192.0.2.{last}'"));
    leaf.prop_recursive(3, 24, 4, |inner| {
        let weight = prop_oneof![60 => 1..50u32, 1 => 30_000..40_000u32];
        let constant = (1..=9u8).prop_map(|last| format!("'192.0.2.{last}'"));
        let constants = prop::collection::vec((weight, constant), 1..20).prop_map(|choices| {
            choices.iter().map(|(weight, value)| format!("{{{weight}, {value}}}")).collect::<Vec<_>>().join(", ")
        });
        let values = prop::collection::vec(inner.clone(), 1..4);
        let list = values.clone().prop_map(|values| values.join(", "));
        let weighted = prop::collection::vec((1..50u32, inner.clone()), 1..20).prop_map(|choices| {
            choices.iter().map(|(weight, value)| format!("{{{weight}, {value}}}")).collect::<Vec<_>>().join(", ")
        });
        let network = prop::sample::select(vec![
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "198.51.100.0/24",
            "2001:db8::/32",
            "10.1.2.3",
            "10.0.0.0/33",
        ]);
        let networks =
            prop::collection::vec(network, 0..3).prop_map(|networks| format!("{{{:?}}}", networks.join("', '")));
        let networks = networks.prop_map(|text| text.replace('"', "'").replace("{''}", "{}"));
        let rule =
            (networks, values).prop_map(|(networks, values)| format!("{{{networks}, {{{}}}}}", values.join(", ")));
        prop_oneof![
            list.clone().prop_map(|list| format!("pickrandom({{{list}}})")),
            list.prop_map(|list| format!("pickhashed {{ {list} }}")),
            weighted.clone().prop_map(|choices| format!("pickwrandom({{{choices}}})")),
            weighted.clone().prop_map(|choices| format!("pickwhashed({{{choices}}})")),
            weighted.prop_map(|choices| format!("picknamehashed({{{choices}}})")),
            constants.prop_map(|choices| format!("pickchashed({{{choices}}})")),
            closest_code(),
            prop::collection::vec(rule, 1..4).prop_map(|rules| format!("view({{{}}})", rules.join(", "))),
        ]
    })
}

/// Code of a value that may be a group.
fn group_code() -> impl Strategy<Value = String> {
    let list = || prop::collection::vec(value_code(), 1..4).prop_map(|values| values.join(", "));
    let item = || prop_oneof![list().prop_map(|list| format!("{{{list}}}")), value_code()];
    let items = || prop::collection::vec(item(), 1..4);
    let weighted = || {
        prop::collection::vec((1..50u32, item()), 1..5).prop_map(|choices| {
            choices.iter().map(|(weight, value)| format!("{{{weight}, {value}}}")).collect::<Vec<_>>().join(", ")
        })
    };
    let group = (1..=9u8, 1..=9u8).prop_map(|(one, other)| format!("{{'192.0.2.{one}', '192.0.2.{other}'}}"));
    prop_oneof![
        (0..5u8, list()).prop_map(|(count, list)| format!("pickrandomsample({count}, {{{list}}})")),
        items().prop_map(|items| format!("pickrandom({{{}}})", items.join(", "))),
        items().prop_map(|items| format!("pickhashed({{{}}})", items.join(", "))),
        items().prop_map(|items| format!("all({{{}}})", items.join(", "))),
        items().prop_map(|items| format!("view({{{{{{'0.0.0.0/0'}}, {{{}}}}}}})", items.join(", "))),
        weighted().prop_map(|choices| format!("pickwrandom({{{choices}}})")),
        weighted().prop_map(|choices| format!("picknamehashed({{{choices}}})")),
        prop::collection::vec((1..50u32, group), 1..5).prop_map(|choices| {
            let choices: Vec<_> = choices.iter().map(|(weight, group)| format!("{{{weight}, {group}}}")).collect();
            format!("pickchashed({{{}}})", choices.join(", "))
        }),
    ]
}

/// Code that picks the closest of some addresses.
fn closest_code() -> impl Strategy<Value = String> {
    let address = (1..=6u8).prop_map(|last| format!("'192.0.2.{last}'"));
    let options = prop::sample::select(vec!["", ", {unknown='first'}", ", {unknown='random'}", ", {unknown='40 -70'}"]);
    (prop::collection::vec(address, 1..4), options)
        .prop_map(|(addresses, options)| format!("pickclosest({{{}}}{options})", addresses.join(", ")))
}

/// Surroundings in which some of the addresses above have places, two of them the same.
fn surroundings() -> Arc<Surroundings> {
    let place = |latitude: f64, longitude: f64| json!({ "location": { "latitude": latitude, "longitude": longitude } });
    let database = mmdb::Mmdb::new(
        "Test-City",
        [
            ("10.1.0.0/17", place(50.5, 10.0)),
            ("203.0.113.0/24", place(-30.0, 150.0)),
            ("192.0.2.1/32", place(50.0, 8.5)),
            ("192.0.2.2/32", place(50.0, 8.5)),
            ("192.0.2.3/32", place(-33.5, 151.0)),
        ],
    );
    let database = Arc::new(Database::new(database.octets()).unwrap());
    Arc::new(Surroundings { geo: Arc::new(Databases::new(vec![database], "en", None)), ..Surroundings::default() })
}

/// Code of a whole record.
fn record_code() -> impl Strategy<Value = String> {
    let list = prop::collection::vec(value_code(), 1..4).prop_map(|values| values.join(", ")).boxed();
    let targets = prop::collection::vec(prop::collection::vec(1..=6u8, 1..4), 1..3).prop_map(|groups| {
        let group =
            |group: &Vec<u8>| group.iter().map(|last| format!("'192.0.2.{last}'")).collect::<Vec<_>>().join(", ");
        groups.iter().map(|targets| format!("{{{}}}", group(targets))).collect::<Vec<_>>().join(", ")
    });
    let selector = prop::sample::select(vec!["random", "all", "hashed", "empty", "pickclosest", "weighted"]);
    let backup = prop::sample::select(vec![
        "random",
        "all",
        "hashed",
        "empty",
        "pickclosest",
        "weighted",
        "lastgood",
        "servfail",
        "nxdomain",
    ]);
    let selectors = prop_oneof![
        Just(String::new()),
        (selector, backup).prop_map(|(selector, backup)| format!("selector='{selector}', backupSelector='{backup}', ")),
    ]
    .boxed();
    let timeout = prop::sample::select(vec!["0.5", "{}", "'x'"]);
    let more = prop::collection::vec(
        prop::sample::select(vec![
            "minimumFailures=3, ",
            "minimumSuccesses='2', ",
            "minimumSuccesses={}, ",
            "forgiveAfter=10, ",
            "method='HEAD', ",
            "httpcode='200,204,300-399', ",
            "httpcode={200, '300-399'}, ",
            "httpcode={}, ",
            "regex='^ok', ",
            "weight='weight=([0-9]+)', ",
            "keepalive=true, ",
            "servername='a.example', ",
            "expiry=14, ",
            "expiry='soon', ",
            "source='192.0.2.9', ",
        ]),
        0..4,
    );
    let options = (selectors.clone(), any::<bool>(), timeout, more).prop_map(|(selectors, fail, timeout, more)| {
        let more = more.concat();
        format!("{{{selectors}{more}failOnIncompleteCheck={fail}, interval=7, ['timeout']={timeout}}}")
    });
    let options = options.boxed();
    // Addresses whose texts are not in the order of their numbers, and some twice.
    let urls = prop::collection::vec(prop::collection::vec((8..=11u8, 1..3u8), 0..4), 1..3).prop_map(|groups| {
        let url = |(last, host): &(u8, u8)| format!("['192.0.2.{last}'] = 'http://{host}.example/'");
        let group = |group: &Vec<_>| format!("{{{}}}", group.iter().map(url).collect::<Vec<_>>().join(", "));
        groups.iter().map(group).collect::<Vec<_>>().join(", ")
    });
    let kind = prop::sample::select(vec![
        "{kind='tcp', port=443}",
        "{kind='tcp', port=25, expect='^220', send='QUIT'}",
        "{kind='tls', expiry=7, verify=true}",
        "{kind='https', path='/ready', httpcode={200, 204}, headers={a='b'}}",
        "{kind='http', url='http://www.example.com:81/', regex='ok'}",
        "{kind='icmp'}",
        "{kind='dns', qname='example.com', rcode='NXDOMAIN'}",
        "{kind='grpc', port=50051, service='x'}",
        "{kind='extfile', file='states'}",
        "{kind='fixed', state='up', weight=3}",
    ]);
    let item = (1..=6u8, 0..5u8).prop_map(|(last, shape)| match shape {
        0 | 1 => format!("'192.0.2.{last}'"),
        2 => format!("'192.0.2.{last}:8080'"),
        3 => format!("{{answer='192.0.2.{last}', probe='a{last}.example.net:80', weight={last}}}"),
        _ => format!("{{answer='192.0.2.{last}', probe='10.0.0.{last}', weight=0}}"),
    });
    let items = prop::collection::vec(prop::collection::vec(item, 1..4), 1..3).prop_map(|groups| match &groups[..] {
        [one] => one.join(", "),
        groups => groups.iter().map(|group| format!("{{{}}}", group.join(", "))).collect::<Vec<_>>().join(", "),
    });
    let strict = (selectors, any::<bool>())
        .prop_map(|(selectors, fail)| format!("{{{selectors}failOnIncompleteCheck={fail}, forgiveAfter=2}}"));
    let url = "'https://www.example.com/'";
    let flat = prop::collection::vec(1..=6u8, 1..6)
        .prop_map(|targets| targets.iter().map(|last| format!("'192.0.2.{last}'")).collect::<Vec<_>>().join(", "));
    prop_oneof![
        4 => value_code(),
        4 => group_code(),
        1 => list.clone().prop_map(|list| format!("all({{{list}}})")),
        1 => list.prop_map(|list| format!("{{{list}}}")),
        3 => (targets.clone(), options.clone()).prop_map(|(targets, options)| format!("ifportup(80, {{{targets}}}, {options})")),
        1 => (targets, options.clone()).prop_map(move |(targets, options)| format!("ifurlup({url}, {{{targets}}}, {options})")),
        4 => (kind, items, strict).prop_map(|(kind, items, options)| format!("ifup({kind}, {{{items}}}, {options})")),
        2 => (urls, options.clone()).prop_map(|(groups, options)| format!("ifurlextup({{{groups}}}, {options})")),
        3 => (flat, options).prop_map(move |(targets, options)| format!("pickselfweighted({url}, {{{targets}}}, {options})")),
    ]
}

/// What may be known of a target.
fn reading() -> impl Strategy<Value = Reading> {
    let state = prop::sample::select(vec![State::Up, State::Up, State::Down, State::Unknown]);
    let weight = prop::sample::select(vec![None, Some(0), Some(1), Some(7), Some(0x7fff_ffff)]);
    let until = prop::option::of((1..100u64).prop_map(Duration::from_secs));
    (state, weight, until).prop_map(|(state, weight, until)| Reading { weight, until, ..state.into() })
}

/// Something an operator says.
fn said() -> impl Strategy<Value = Override> {
    let subjects = ["target 192.0.2.1", "target 0.0.0.0/0", "check *", "zone example.com", "record www.example.com/A"];
    let words = (prop::sample::select(subjects.to_vec()), prop::sample::select(Action::ALL.to_vec()));
    words.prop_map(|(subject, action)| sentence::parse(&format!("{subject} => {action}")).unwrap().unwrap())
}

proptest! {
    #[test]
    fn a_plan_answers_as_the_vm_does(
        code in record_code(),
        seed: u64,
        subnet in prop::option::of((prop::sample::select(vec!["10.1.2.0", "10.1.0.0", "10.9.0.0", "203.0.113.0"]), 16..=24u8)),
        readings in prop::collection::vec(reading(), 6),
        said in prop::collection::vec(said(), 0..4),
    ) {
        let program = program(&code, Rtype::A).unwrap();
        prop_assert!(program.plan.is_some(), "{code}");
        let subnet = subnet.map(|(address, bits)| {
            let network = ipnet::IpNet::new(address.parse().unwrap(), bits).unwrap().trunc();
            ClientSubnet { family: 1, source_length: bits, address: network.network() }
        });
        let (table, surroundings) = (Arc::new(Table::new(64)), surroundings());
        let make = |plans| {
            let (limits, library, table) = (config::Lua::default(), Arc::default(), table.clone());
            let mut vm = Vm::new(Setup { limits, library, table, seed, clock: Box::new(|| Duration::ZERO) }).unwrap();
            vm.plans = plans;
            vm.turn_to(&surroundings);
            vm
        };
        let (mut by_plan, mut by_vm) = (make(true), make(false));
        let checks = program.plan.iter().flat_map(|plan| plan.checks());
        let checks: Vec<_> = checks.collect();
        for turn in 0..4 {
            // What was good last is from a turn before.
            for (check, reading) in checks.iter().zip(readings.iter().cycle().skip(turn)) {
                table.slot(check).set(if turn == 3 { State::Down.into() } else { *reading });
            }
            // Operators speak up and fall silent while the worker goes on.
            let said = if turn % 2 == 0 { Overrides::new(said.clone()) } else { Overrides::default() };
            table.set_overrides(Arc::new(said));
            let (plan, vm) = (outcome(&mut by_plan, &program, subnet), outcome(&mut by_vm, &program, subnet));
            prop_assert_eq!(&plan, &vm, "{}", code);
            prop_assert_eq!(by_plan.context.until(), by_vm.context.until(), "{}", code);
        }
    }
}

#[test]
fn no_plan_stands_in_where_it_would_answer_otherwise() {
    let program = program("pickrandom({'a'})", Rtype::TXT).unwrap();
    assert!(program.plan.is_some());
    // A library that gives the builtin another meaning, globals that live on, and a limit that the VM would meet.
    let library = [("a.lua".to_owned(), b"function pickrandom() return 'mine' end".to_vec())];
    let library = Arc::new(Library::compile(&library).ok().unwrap());
    let run = |limits: config::Lua, library: &Arc<Library>| {
        let program = program_within(limits.clone(), "pickrandom({'a'})", Rtype::TXT).unwrap();
        let (library, table) = (library.clone(), Arc::new(Table::new(1)));
        let clock = Box::new(|| Duration::ZERO);
        outcome(&mut Vm::new(Setup { limits, library, table, seed: 1, clock }).unwrap(), &program, None)
    };
    assert_eq!(run(config::Lua::default(), &library), Ok((vec![b"\x04mine".to_vec()], 0)));
    let limits = config::Lua { exec_limit: 3, ..config::Lua::default() };
    assert!(matches!(run(limits, &Arc::default()), Err((FailureKind::Budget, ..))));
}

#[test]
fn the_records_of_the_founding_story_have_plans() {
    let codes = [
        "pickwrandom({ {1, '1.2.3.4'}, {2, '4.3.2.1'} })",
        "view({{{'192.168.0.0/16'}, {'192.168.1.54'}}, {{'0.0.0.0/0'}, {'192.0.2.1'}}})",
        "view({{{'192.168.0.0/16'}, {pickwrandom({{1, '1.2.3.4'}, {1, '1.2.3.5'}})}}, { {'0.0.0.0/0'}, { pickwrandom({ {1, '4.3.2.1'}, {1, '4.3.2.2'}})}}})",
        "ifurlup('https://www.example.com/', {{'192.0.2.20'}, {'203.0.113.4'}})",
        "ifportup(443, {'192.0.2.1', '192.0.2.2'}, {selector='all', headers={a='b'}})",
        "pickclosest({'192.0.2.1', '192.0.2.2'}, {unknown='first'})",
        "ifurlextup({{['192.0.2.1']='http://a.example/'}, {['192.0.2.2']='http://b.example/'}})",
        "pickselfweighted('http://www.example.com/weight', {'192.0.2.1', '192.0.2.2'})",
        "ifup({kind='tcp', port=443}, {{'192.0.2.1'}, {{answer='192.0.2.2', probe='10.0.0.2'}}})",
    ];
    for code in codes {
        assert!(program(code, Rtype::A).unwrap().plan.is_some(), "{code}");
    }
}

#[test]
fn a_list_too_long_to_answer_is_told_by_the_vm() {
    let list = |length: usize| format!("all({{{}}})", "'192.0.2.1',".repeat(length));
    assert!(program(&list(1024), Rtype::A).unwrap().plan.is_some());
    let program = program(&list(1025), Rtype::A).unwrap();
    let message = "it returned more than 1024 records, all that `lua.result-max` allows".to_owned();
    assert_eq!(outcome(&mut vm(config::Lua::default()), &program, None), Err((FailureKind::Budget, message, 0)));
}

#[test]
fn a_call_that_cannot_be_read_asks_for_no_check() {
    let policy = Policy::default();
    let checks = |code: &str| {
        let calls = plan::constant_calls(code.as_bytes(), &policy);
        calls.into_iter().flat_map(|call| call.checks.unwrap_or_default()).count()
    };
    assert_eq!(checks(";if tcp then return ifportup(80, {'192.0.2.1', '192.0.2.2'}) end return 'x'"), 2);
    assert_eq!(checks(";if tcp then return ifportup(80, {'192.0.2.1', 'nonsense'}) end return 'x'"), 0);
    assert_eq!(checks(";if tcp then return ifurlextup({{['192.0.2.1']='http://a.example/'}}) end return 'x'"), 1);
    assert_eq!(checks(";if tcp then return pickselfweighted('http://a.example/', {'192.0.2.1'}) end return 'x'"), 1);
}

#[test]
fn what_is_told_of_a_failure_is_bounded() {
    let mut vm = vm(config::Lua::default());
    for code in ["error(string.rep('x', 100000))", "{[string.rep('x', 100000)] = 'a'}"] {
        let (_, message) = run(&mut vm, code).unwrap_err();
        assert!(message.chars().count() <= 301 && message.ends_with('…'), "{}", message.len());
    }
}

/// Runs an expression for a client with a map file of each name beside it; the text it makes, and the scope.
fn look_up(code: &str, subnet: &str) -> Result<(Vec<String>, u8), String> {
    let row = |values: &[&str]| values.iter().map(|value| Box::from(*value)).collect::<crate::networks::Row>();
    let map = |columns: &[&str], rows: &[(&str, &[&str])]| {
        let rows = rows.iter().map(|(network, values)| (network.parse().unwrap(), row(values)));
        Arc::new(crate::networks::Map::build(row(columns), rows).unwrap())
    };
    let sites = map(&["site"], &[("10.0.0.0/8", &["kr"]), ("10.1.0.0/16", &["jp"]), ("2001:db8::/32", &["six"])]);
    let pops = map(&["pop", "weight"], &[("10.0.0.0/8", &["icn", "3"])]);
    let maps = Arc::new([("sites".into(), sites), ("pops".into(), pops)].into_iter().collect());
    let mut vm = vm(config::Lua::default());
    vm.turn_to(&Arc::new(Surroundings { maps, ..Surroundings::default() }));
    let program = program(code, Rtype::TXT).map_err(|error| error.to_string())?;
    let subnet: ipnet::IpNet = subnet.parse().unwrap();
    let subnet = ClientSubnet { family: 1, source_length: subnet.prefix_len(), address: subnet.addr() };
    let address = SocketAddr::from(([127, 0, 0, 1], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let now = Now { unix_secs: 1_700_000_000, monotonic: Duration::ZERO };
    let query = Query { subnet: Some(subnet), ..Query::plain(now, &client) };
    let output = vm.run(&program, &query).map_err(|failure| failure.message)?;
    let texts = output.rdata.iter().map(|rdata| String::from_utf8_lossy(&rdata[1..]).into_owned());
    Ok((texts.collect(), output.scope))
}

#[test]
fn a_map_gives_the_value_of_the_most_specific_network_and_the_scope_that_is_right_for_it() {
    const TABLE: &str =
        "{['10.0.0.0/8']='a', ['10.1.0.0/16']={'b', 'c'}, ['10.1.2.0/33']='never', ['2001:db8::/32']='six'}";
    let cases: &[(&str, &str, &[&str], u8)] = &[
        ("map TABLE", "10.2.3.0/24", &["a"], 15),
        ("map TABLE", "10.1.3.0/24", &["b", "c"], 16),
        ("tostring(map TABLE)", "192.0.2.0/24", &["nil"], 1),
        ("tostring(select(2, map TABLE))", "10.1.3.0/24", &["10.1.0.0/16"], 16),
        ("map(TABLE, '10.1.0.1')", "192.0.2.0/24", &["b", "c"], 0),
        ("map(TABLE, newCA('2001:db8::1'))", "192.0.2.0/24", &["six"], 0),
        ("map(TABLE, bestwho)", "10.2.3.0/24", &["a"], 24),
        ("map('sites')", "10.2.3.0/24", &["kr"], 15),
        ("map('sites')", "10.1.3.0/24", &["jp"], 16),
        ("tostring(map('sites'))", "192.0.2.0/24", &["nil"], 1),
        ("select(2, map('sites'))", "10.1.3.0/24", &["10.1.0.0/16"], 16),
        ("map('sites', '2001:db8::1')", "10.1.3.0/24", &["six"], 0),
        (
            ";local row, network = map('pops') return row.pop .. row.weight .. network",
            "10.1.3.0/24",
            &["icn310.0.0.0/8"],
            8,
        ),
    ];
    for (code, subnet, texts, scope) in cases {
        let expected = texts.iter().map(ToString::to_string).collect();
        assert_eq!(look_up(&code.replace("TABLE", TABLE), subnet), Ok((expected, *scope)), "{code} {subnet}");
    }
    let errors = [
        ("map{['x']='a'}", "`map` got `x`, which is no network; write `address/bits`"),
        ("map{'a'}", "`map` got a number for a network; write `['10.0.0.0/8'] = value`"),
        ("map{['10.0.0.0/8']='a', ['10.9.9.9/8']='b'}", "`map` got the network `10.0.0.0/8` twice; give it once"),
        ("map(5)", "`map` needs a table of networks or the name of a map, and got a number"),
        ("map('sites', 'x')", "`map` got `x`, which is no address"),
        ("map('sites', 5)", "`map` needs an address as argument 2, and got a number"),
        ("map('x')", "`map` got `x`, which is no map: there are `pops`, `sites`; a map is `NAME.csv` in `lua.map-dir`"),
    ];
    for (code, message) in errors {
        assert_eq!(look_up(code, "10.1.3.0/24"), Err(message.to_owned()), "{code}");
    }
}

#[test]
fn the_time_is_that_of_the_query_in_any_zone() {
    // 1,700,000,000 is a Tuesday: 2023-11-14 22:13:20 UTC.
    let cases = [
        (
            ";local t = now() return t.year..'-'..t.month..'-'..t.day..' '..t.hour..':'..t.minute..':'..t.second",
            "2023-11-14 22:13:20",
        ),
        (
            ";local t = now('asia/seoul') return t.day..' '..t.hour..' '..t.weekday..' '..t.offset..' '..t.zone",
            "15 7 3 32400 Asia/Seoul",
        ),
        (";local t = now() return t.weekday..' '..t.yearday..' '..t.unix..' '..t.zone", "2 318 1700000000 UTC"),
        ("tostring(during('Tue 22:00-23:00'))", "true"),
        ("tostring(during('Tue 22:00-23:00', 'Asia/Seoul'))", "false"),
        ("tostring(during({'Mon', '07:00-08:00'}, 'Asia/Seoul'))", "true"),
        ("tostring(during({}))", "false"),
    ];
    for (code, expected) in cases {
        assert_eq!(look_up(code, "10.1.3.0/24"), Ok((vec![expected.to_owned()], 0)), "{code}");
    }
    let errors = [
        (
            "now('Mars/Olympus')",
            "`now` got the time zone `Mars/Olympus`, which does not exist; write one as `Europe/Berlin`",
        ),
        ("during(true)", "`during` needs a string or a list of strings as argument 1, and got a boolean"),
    ];
    for (code, message) in errors {
        assert_eq!(look_up(code, "10.1.3.0/24"), Err(message.to_owned()), "{code}");
    }
    let message = look_up("during('Foo')", "10.1.3.0/24").unwrap_err();
    assert!(
        message.starts_with("`during` got the window `Foo`: `Foo` is no day of the week; write windows as"),
        "{message}"
    );
}
