//! Every builtin and every method, called with what nobody should call them with: a value or a named error, no more.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::prelude::*;

use super::super::*;
use super::program_within;

/// What is passed, in Lua. One is made once and used by all calls.
const VALUES: &[&str] = &[
    "nil",
    "true",
    "0",
    "1",
    "-1",
    "1.5",
    "0/0",
    "1/0",
    "-1/0",
    "2^53",
    "-2^53",
    "1e300",
    "''",
    "'a'",
    "'1'",
    "'0x10'",
    "'192.0.2.1'",
    "'2001:db8::1'",
    "'10.0.0.0/8'",
    "'www.example.com'",
    "'http://www.example.com/'",
    "'%1%.%99%.%'",
    "'\\255\\254'",
    "'\\0'",
    "string.rep('a', 300)",
    "string.rep('a.', 200)",
    "string.rep('%1%', 10000)",
    "string.rep('9', 100000)",
    "{}",
    "{{}}",
    "{{{}}}",
    "{'192.0.2.1'}",
    "{1, 2, 3}",
    "{{1, '192.0.2.1'}}",
    "{{4294967295, '192.0.2.1'}, {4294967295, '192.0.2.2'}}",
    "{{1}}",
    "{{0, 'a'}}",
    "{{-1, 'a'}}",
    "{{2^53, 'a'}}",
    "{{'10.0.0.0/8'}, {'a'}}",
    "{{{'0.0.0.0/0'}, {'192.0.2.1'}}}",
    "{{{'0.0.0.0/0'}, {}}}",
    "{{{'0.0.0.0/0'}}}",
    "{a = 1}",
    "{['192.0.2.1'] = 'http://www.example.com/'}",
    "{selector = {}, timeout = 1/0, interval = -1, headers = {a = {}}}",
    "{[0.5] = 'x', [-1] = 'y'}",
    "{'a', nil, 'c'}",
    "{true, false}",
    "table.create(60000, 'a')",
    "table.create(60000, {1, 'a'})",
    "table.create(60000, {})",
    "cyclic",
    "nested",
    "liar",
    "{liar}",
    "function() end",
    "function() error('no') end",
    "function(...) return ... end",
    "coroutine.create(function() end)",
    "newDN('a')",
    "newDN('a'):makeRelative(newDN('b'))",
    "newCA('::1')",
    "newNetmask('10.0.0.0/8')",
    "newNMG()",
    "newCAS()",
    "nodata()",
    "{nodata()}",
    "{newDN('a')}",
    "{kind = 'tcp', port = 443, target = '192.0.2.1'}",
    "{kind = 'tcp', port = 65536, target = 'fe80::1%eth0'}",
    "{kind = 'exec', command = {'/bin/true', '%%ITEM%%'}}",
    "{kind = 'http', url = 'http://[::1', regex = '('}",
    "{{answer = 'a', probe = '192.0.2.1:0'}}",
    "{{answer = '192.0.2.1', probe = 'a.example:80', weight = 1e300}}",
    "{'fe80::1%eth0', '192.0.2.1:65536'}",
    "check{kind = 'fixed', state = 'up'}",
    "{check{kind = 'fixed', state = 'up'}, true, 'www', 'a..b', 'x/AAAA'}",
    "table.create(60000, '192.0.2.1')",
    "pdns",
    "pdns.A",
];

/// What the values are made with.
const HELPERS: &str = "
    local cyclic = {} cyclic[1] = cyclic cyclic[2] = {1, cyclic}
    local nested = {'a'} for _ = 1, 200 do nested = {nested, nested} end
    local function lie() error('a lie') end
    local liar = setmetatable({'a', {1, 'a'}}, {
      __index = lie, __newindex = lie, __len = function() return -1 end, __iter = lie, __pairs = lie, __call = lie,
      __tostring = function() return {} end, __eq = lie, __lt = lie, __concat = lie, __metatable = 'none',
    })
";

/// An object of each type of `lua/perigee.d.luau` that has methods.
const OBJECTS: &[(&str, &str)] = &[
    ("ComboAddress", "newCA('192.0.2.1')"),
    ("ComboAddressSet", "newCAS()"),
    ("DNSHeader", "dh"),
    ("DNSName", "newDN('www.example.com')"),
    ("DNSRecord", "newDR(newDN('a'), 'A', 60, '192.0.2.1', 1)"),
    ("DNSResourceRecord", "newDRR(newDN('a'), 'A', 60, '192.0.2.1')"),
    ("HealthCheck", "check{kind='icmp', target='192.0.2.1'}"),
    ("Netmask", "newNetmask('10.0.0.0/8')"),
    ("NetmaskGroup", "newNMG({'10.0.0.0/8', '!10.1.0.0/16'})"),
    ("QType", "newQType('A')"),
];

/// A VM whose shared state has the values in its global `bad`, and whose clock goes.
fn vm_with_values() -> Vm {
    let limits = config::Lua { exec_limit: 0, shared_state: true, ..config::Lua::default() };
    let (library, table, start) = (Arc::default(), Arc::new(Table::new(64)), Instant::now());
    let clock = Box::new(move || start.elapsed());
    let mut vm = Vm::new(Setup { limits: limits.clone(), library, table, seed: 7, clock }).expect("a VM");
    let values: Vec<String> =
        VALUES.iter().enumerate().map(|(at, value)| format!("bad[{}] = {value}\n", at + 1)).collect();
    let code = format!(";{HELPERS} bad = {{}}\n{} return 'made'", values.concat());
    let patient = config::Lua { time_limit: Duration::from_secs(60), ..limits };
    run_within(&mut vm, patient, &code).unwrap_or_else(|failure| panic!("{}", failure.message));
    vm
}

/// The builtins, and the functions of Lua's libraries.
fn functions(vm: &Vm) -> (Vec<String>, Vec<String>) {
    let (mut builtins, mut library) = (Vec::new(), Vec::new());
    for pair in vm.sandbox.base.pairs::<String, Value>() {
        match pair.unwrap() {
            (name, Value::Function(_)) if sandbox::GLOBALS.contains(&&*name) => library.push(name),
            (name, Value::Function(_)) => builtins.push(name),
            (name, Value::Table(table)) => library.extend(
                table
                    .pairs::<Value, Value>()
                    .map(Result::unwrap)
                    .filter(|(_, value)| value.is_function())
                    .filter_map(|(key, _)| Some(format!("{name}.{}", key.as_string()?.to_string_lossy()))),
            ),
            _ => {}
        }
    }
    (builtins, library)
}

/// The methods that `lua/perigee.d.luau` lists, each with its type.
fn methods() -> Vec<(&'static str, &'static str)> {
    let (mut class, mut methods) = ("", Vec::new());
    for line in include_str!("../../../lua/perigee.d.luau").lines() {
        if let Some(name) = line.strip_prefix("declare extern type ") {
            class = name.trim_end_matches(" with");
        } else if let Some((method, _)) = line.strip_prefix("\tfunction ").and_then(|rest| rest.split_once("(self")) {
            methods.push((class, method));
        }
    }
    methods
}

/// Runs code at a wildcard.
fn run_within(vm: &mut Vm, limits: config::Lua, code: &str) -> Result<(), Failure> {
    let address = std::net::SocketAddr::from(([192, 168, 3, 4], 5353));
    let client = Client { address, local: address, transport: Transport::Udp };
    let qname: crate::dns::Name = "1-2-3-4.example.com".parse().unwrap();
    let now = Now { unix_secs: 1_700_000_000, monotonic: Duration::ZERO };
    let zone = qname.as_ref().parent().unwrap();
    let query = Query { qname: qname.as_ref(), zone, wildcard: Some(2), ..Query::plain(now, &client) };
    let program =
        program_within(limits, code, Rtype::TXT).unwrap_or_else(|problem| panic!("{code}: {}", problem.message));
    vm.run(&program, &query).map(drop)
}

/// Makes a call, and holds what comes of it to be a value or a failure within bounds.
///
/// `name` is what the error of a builtin has to tell. Returns whether there is a value.
fn call(vm: &mut Vm, code: &str, name: Option<&str>) -> bool {
    let start = Instant::now();
    let outcome = run_within(vm, vm.limits.clone(), code);
    // The limit is 10 ms, and the call that is under way then goes on to its end.
    assert!(start.elapsed() < Duration::from_secs(2), "{code}: {:?}", start.elapsed());
    let is_value = outcome.is_ok();
    if let (Err(failure), Some(name)) = (outcome, name) {
        let is_named = failure.message.contains(&format!("`{name}`"));
        assert!(is_named || failure.kind != FailureKind::Error, "{code}: {}", failure.message);
    }
    is_value
}

#[test]
fn builtins_take_any_value_or_name_an_error() {
    let mut vm = vm_with_values();
    let (builtins, _) = functions(&vm);
    assert!(builtins.len() > 30, "{builtins:?}");
    let mut made = 0;
    for name in &builtins {
        call(&mut vm, &format!(";local it = {name}() return 'done'"), Some(name));
        for value in 1..=VALUES.len() {
            let code = format!(";local it = {name}(bad[{value}]) return 'done'");
            made += usize::from(call(&mut vm, &code, Some(name)));
        }
    }
    assert!(made > 300, "only {made} calls have a value");
}

#[test]
fn methods_take_any_value_or_name_an_error() {
    let classes: BTreeSet<&str> = methods().into_iter().map(|(class, _)| class).collect();
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), OBJECTS.iter().map(|(class, _)| *class).collect::<Vec<_>>());
    let mut vm = vm_with_values();
    for (class, method) in methods() {
        let object = OBJECTS.iter().find(|(known, _)| *known == class).unwrap().1;
        call(&mut vm, &format!(";local it = {object} assert(it.{method}) it:{method}() return 'done'"), Some(method));
        for value in 1..=VALUES.len() {
            call(&mut vm, &format!(";local it = {object} it:{method}(bad[{value}]) return 'done'"), Some(method));
            call(&mut vm, &format!(";local it = {object} it.{method}(bad[{value}]) return 'done'"), None);
        }
    }
}

#[test]
fn fields_take_any_value_or_are_an_error() {
    let mut vm = vm_with_values();
    let (_, object) = OBJECTS.iter().find(|(class, _)| *class == "DNSRecord").unwrap();
    for field in ["name", "type", "ttl", "place", "absent"] {
        for value in 1..=VALUES.len() {
            call(&mut vm, &format!(";local it = {object} it.{field} = bad[{value}] return 'done'"), None);
        }
    }
}

#[test]
fn results_of_any_kind_are_records_or_an_error() {
    let mut vm = vm_with_values();
    for value in 1..=VALUES.len() {
        call(&mut vm, &format!("bad[{value}]"), None);
        call(&mut vm, &format!("{{bad[{value}]}}"), None);
        for field in ["ttl", "rcode", "raw"] {
            call(&mut vm, &format!("{{'a', {field} = bad[{value}]}}"), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_moved_by_any_arguments(
        calls in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(1..=VALUES.len(), 0..6)), 60),
    ) {
        let mut vm = vm_with_values();
        let (builtins, library) = functions(&vm);
        let methods = methods().into_iter().map(|(class, method)| {
            format!("{}.{method}", OBJECTS.iter().find(|(known, _)| *known == class).unwrap().1)
        });
        let all: Vec<(String, Option<String>)> = builtins
            .into_iter()
            .map(|name| (name.clone(), Some(name)))
            .chain(library.into_iter().chain(methods).map(|name| (name, None)))
            .collect();
        for (function, arguments) in &calls {
            let (function, name) = function.get(&all);
            let arguments: Vec<String> = arguments.iter().map(|value| format!("bad[{value}]")).collect();
            let code = format!(";local it = ({function})({}) return 'done'", arguments.join(", "));
            call(&mut vm, &code, name.as_deref());
        }
    }
}
