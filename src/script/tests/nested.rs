//! What hangs on several checks and on other records, and on itself.

use super::*;
use crate::health::check::Reach;

const UP: Reading = Reading { state: State::Up, weight: None, until: None, drained: false };
const DOWN: Reading = Reading { state: State::Down, weight: None, until: None, drained: false };

/// A zone of records, each an owner, a type and a code, over targets of which something is known.
struct Bench {
    vm: Vm,
    programs: Programs,
}

/// What a record came to: its texts or addresses as octets, the scope, and until when.
type Outcome = Result<(Vec<Vec<u8>>, u8, Option<Duration>), String>;

impl Bench {
    fn new(records: &[(&str, Rtype, &str)]) -> Self {
        let mut vm = vm(config::Lua::default());
        let programs = hosted(&mut vm, records);
        Self { vm, programs }
    }

    /// Sets what is known of every check whose words hold a text; also of those that are asked for by it.
    fn know(&mut self, known: &[(&str, Reading)]) {
        for _ in 0..2 {
            self.vm.context.discover();
            for at in 0..self.programs.len() {
                self.ask(at).ok();
            }
            let of_nested = self.vm.context.discovered_within().into_iter().map(|(check, _)| check);
            let checks: Vec<_> = self.vm.context.discovered().into_iter().chain(of_nested).collect();
            self.vm.context.end_discovery();
            for (text, reading) in known {
                for check in checks.iter().filter(|check| check.to_string().contains(text)) {
                    self.vm.context.slot(check).slot().set(*reading);
                }
            }
        }
    }

    fn ask(&mut self, at: usize) -> Outcome {
        let client = Client {
            address: ([192, 0, 2, 1], 53).into(),
            local: ([127, 0, 0, 1], 53).into(),
            transport: Transport::Udp,
        };
        let subnet = ClientSubnet { family: 1, source_length: 24, address: [10, 1, 2, 0].into() };
        let zone: Name = "example.com".parse().unwrap();
        let owner = self.programs[at].script().owner.clone();
        let now = Now { unix_secs: 1, monotonic: Duration::ZERO };
        let query =
            Query { qname: owner.as_ref(), zone: zone.as_ref(), subnet: Some(subnet), ..Query::plain(now, &client) };
        let output = self.vm.run(&self.programs[at], &query).map_err(|failure| failure.message)?;
        Ok((output.rdata.iter().map(|rdata| rdata.to_vec()).collect(), output.scope, output.until))
    }

    /// The text that the last record comes to.
    fn text(&mut self) -> String {
        match self.ask(self.programs.len() - 1) {
            Ok((rdata, ..)) => rdata.iter().map(|rdata| String::from_utf8_lossy(&rdata[1..]).into_owned()).collect(),
            Err(message) => message,
        }
    }

    fn told(&mut self) -> Vec<String> {
        let zone: Name = "example.com".parse().unwrap();
        let now = Now { unix_secs: 1, monotonic: Duration::ZERO };
        let discovery = self.vm.discover(&self.programs.clone(), zone.as_ref(), now);
        discovery.warnings.iter().map(|told| told.to_string().lines().next().unwrap_or_default().to_owned()).collect()
    }
}

/// What an expression comes to beside some records, when this is known.
fn comes_to(records: &[(&str, Rtype, &str)], code: &str, known: &[(&str, Reading)]) -> String {
    let code = format!("tostring({code})");
    let all: Vec<_> = records.iter().copied().chain([("www", Rtype::TXT, &*code)]).collect();
    let mut bench = Bench::new(&all);
    bench.know(known);
    bench.text()
}

const RECORDS: &[(&str, Rtype, &str)] = &[
    ("db", Rtype::A, "ifportup(5432, {'192.0.2.1', '192.0.2.2'})"),
    ("app", Rtype::A, ";if all_up{'db'} then return ifportup(80, {'192.0.2.3'}) end return {}"),
    ("both", Rtype::A, "ifportup(1, {'192.0.2.4'})"),
    ("both", Rtype::AAAA, "ifportup(2, {'2001:db8::4'})"),
    ("fails", Rtype::A, "error('no')"),
    ("none", Rtype::A, "{}"),
    ("gone", Rtype::A, "nxdomain()"),
    ("plain", Rtype::A, "'192.0.2.7'"),
    ("empty", Rtype::A, "ifportup(3, {'192.0.2.5'}, {backupSelector='empty'})"),
];

/// An expression, what is known of the checks whose words hold a text, and what it comes to.
type Row = (&'static str, &'static [(&'static str, Reading)], &'static str);

#[test]
fn truths_checks_and_records_are_composed() {
    let check = "check{kind='tcp', target='192.0.2.9', port=9}";
    let rows: &[Row] = &[
        ("all_up{true, true}", &[], "true"),
        ("all_up{true, false}", &[], "false"),
        ("any_up{false, true}", &[], "true"),
        ("any_up{false}", &[], "false"),
        ("k_of_n(2, {true, false, true})", &[], "true"),
        ("k_of_n(2, {true, false, false})", &[], "false"),
        ("any_up{all_up{true, false}, k_of_n(1, {true})}", &[], "true"),
        ("all_up{CHECK}", &[], "false"),
        ("all_up{CHECK}", &[("2.9", UP)], "true"),
        ("CHECK:up()", &[("2.9", UP)], "true"),
        ("CHECK:state()", &[], "unknown"),
        ("CHECK", &[], "tcp 192.0.2.9:9"),
        ("weight_of(CHECK)", &[("2.9", UP)], "1"),
        ("weight_of(CHECK)", &[("2.9", Reading { weight: Some(7), ..UP })], "7"),
        ("CHECK:weight()", &[("2.9", Reading { weight: Some(7), ..DOWN })], "0"),
        ("weight_of(true) .. weight_of(false) .. weight_of('plain')", &[], "101"),
        ("all_up{check{kind='fixed', state='up'}}", &[("fixed", UP)], "true"),
        // A record is up while it answers with targets that are.
        ("all_up{'db'}", &[("tcp", DOWN)], "false"),
        ("all_up{'db'}", &[], "false"),
        ("all_up{'db'}", &[("2.2:", UP)], "true"),
        ("all_up{'db.example.com.'}", &[("2.2:", UP)], "true"),
        ("all_up{'app'}", &[("2.3:", UP)], "false"),
        ("all_up{'app', 'db'}", &[("2.3:", UP), ("2.1:", UP)], "true"),
        ("all_up{'both/AAAA'}", &[("db8::4", UP)], "true"),
        ("all_up{'both/A'}", &[("db8::4", UP)], "false"),
        ("any_up{'fails', 'none', 'gone'}", &[], "false"),
        ("any_up{'empty'}", &[("2.5:", DOWN)], "false"),
        ("all_up{'plain'}", &[], "true"),
    ];
    for (code, known, expected) in rows {
        assert_eq!(comes_to(RECORDS, &code.replace("CHECK", check), known), *expected, "{code}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_an_error() {
    let rows = [
        ("all_up{}", "`all_up` got 0 things to ask for; give 1 to 4096"),
        (
            "all_up('db')",
            "`all_up` needs a list of checks, truths and names of records as argument 1, and got a string",
        ),
        ("all_up{7}", "`all_up` needs checks, truths and names of records, and got a number"),
        ("weight_of{}", "`weight_of` needs checks, truths and names of records, and got a table"),
        ("k_of_n(0, {true})", "`k_of_n` wants 0 of 1; ask for 1 to 1 of them"),
        ("k_of_n(2, {true})", "`k_of_n` wants 2 of 1; ask for 1 to 1 of them"),
        ("all_up{'absent'}", "`all_up` got `absent`: there is no LUA record at `absent.example.com.`"),
        ("all_up{'db/MX'}", "`all_up` got `db/MX`: there is no LUA record for MX at `db.example.com.`"),
        ("all_up{'db.example.net.'}", "`all_up` got `db.example.net.`: `db.example.net.` is outside of the zone"),
        (
            "all_up{'both'}",
            "`all_up` got `both`: `both.example.com.` has LUA records for several types; put one behind the name: `both/A`",
        ),
        ("check{kind='tcp', port=9}", "`check` needs a field `target`"),
        (
            "check{kind='tcp', target='192.0.2.1', port=9, selector='all'}",
            "`check` got `selector`, which is no field of the kind `tcp`: there are `port`, `send`, `expect`, `tls`, \
             `servername`, `verify`, `expiry`, `timeout`, `interval`, `minimumFailures`, `minimumSuccesses`, \
             `forgiveAfter`, `target`, `source`, `kind`",
        ),
    ];
    for (code, message) in rows {
        assert_eq!(comes_to(RECORDS, code, &[]), message, "{code}");
    }
}

#[test]
fn a_run_within_a_run_leaves_nothing_but_its_scope_and_its_time() {
    let inner = ";x = 'of inner' qname:chopOff() zone = 'gone' _G.y = 1 include('conf') return netmask({'10.1.0.0/16'}) \
                 and ifportup(1, {'192.0.2.1'}) or {}";
    let conf = ("conf", Rtype::LUA, "z = (z or 0) + 1");
    let outer = ";x = 'of outer' include('conf') local before = qname:toString() local up = all_up{'inner'} \
                 include('conf') return table.concat({tostring(up), x, before, qname:toString(), zone:toString(), \
                 tostring(y), z, lastgood('mine')[1]}, ' ')";
    let mut bench = Bench::new(&[conf, ("inner", Rtype::A, inner), ("www", Rtype::TXT, outer)]);
    let until = Some(Duration::from_secs(7));
    bench.know(&[("tcp", Reading { until, ..UP })]);
    let (rdata, scope, capped) = bench.ask(2).unwrap();
    let text = String::from_utf8_lossy(&rdata[0][1..]).into_owned();
    assert_eq!(text, "true of outer www.example.com. www.example.com. example.com. nil 2 mine");
    assert_eq!((scope, capped), (16, until));
    // It is asked for under its own name, and gets variables of its own.
    let inner = ("inner", Rtype::TXT, "qname:toString() == 'inner.example.com.' and 'own' or {}");
    assert_eq!(
        comes_to(&[inner], "qname:toString() .. tostring(all_up{'inner'}) .. qname:toString()", &[]),
        "www.example.com.truewww.example.com."
    );
}

#[test]
fn each_record_is_run_once_however_often_it_is_named() {
    // Without that, each of these would double what the next costs.
    let names: Vec<(String, String)> = (0..8)
        .map(|at| {
            (
                format!("r{at}"),
                format!(
                    ";local a, b = all_up{{'r{}'}}, all_up{{'r{}'}} return a and b and 'x' or {{}}",
                    at + 1,
                    at + 1
                ),
            )
        })
        .collect();
    let mut records: Vec<_> = names.iter().map(|(owner, code)| (&**owner, Rtype::TXT, &**code)).collect();
    records.push(("r8", Rtype::TXT, "'x'"));
    let mut bench = Bench::new(&records);
    assert_eq!(bench.ask(0).unwrap().0.len(), 1);
    let deep: Vec<(String, String)> =
        (0..9).map(|at| (format!("r{at}"), format!("all_up{{'r{}'}} and 'x' or error('deep')", at + 1))).collect();
    let mut records: Vec<_> = deep.iter().map(|(owner, code)| (&**owner, Rtype::TXT, &**code)).collect();
    records.push(("r9", Rtype::TXT, "'x'"));
    let mut bench = Bench::new(&records);
    assert_eq!(bench.ask(0).unwrap_err(), "deep");
    assert!(bench.ask(1).is_ok());
}

#[test]
fn a_budget_that_a_record_spends_is_that_of_the_run() {
    let records = [
        ("turns", Rtype::A, ";while true do end"),
        ("www", Rtype::TXT, ";local ok = pcall(all_up, {'turns'}) return tostring(ok)"),
    ];
    let mut bench = Bench::new(&records);
    let message = bench.ask(1).unwrap_err();
    assert!(message.contains("steps"), "{message}");
}

#[test]
fn circles_are_told_with_the_places_of_all_that_are_in_them() {
    let mut bench = Bench::new(&[
        ("a", Rtype::A, ";if tcp then return all_up{'b'} and '192.0.2.1' or {} end return '192.0.2.1'"),
        ("b", Rtype::A, "all_up{true, 'a'} and '192.0.2.2' or {}"),
        ("c", Rtype::A, ";return any_up{'c'} and '192.0.2.3' or {}"),
        ("d", Rtype::A, ";local name = 'e' return all_up{name} and '192.0.2.4' or {}"),
        ("e", Rtype::A, "weight_of('d') > 0 and '192.0.2.5' or {}"),
        ("f", Rtype::A, "all_up{'absent', 'b.example.net.'} and '192.0.2.6' or {}"),
        ("g", Rtype::A, ";local function all_up(x) return x end return all_up{'absent'} and '192.0.2.7'"),
    ]);
    let told = bench.told();
    let circle = |position: &str, steps: &str| format!("{position}: error: records hang on themselves: {steps}");
    let (a, b, c) = ("`a.example.com/A`", "`b.example.com/A`", "`c.example.com/A`");
    let (d, e) = ("`d.example.com/A`", "`e.example.com/A`");
    let expected = [
        "a.zone:6:28: error: the script hangs on `absent`: there is no LUA record at `absent.example.com.`".to_owned(),
        "a.zone:6:38: error: the script hangs on `b.example.net.`: `b.example.net.` is outside of the zone".to_owned(),
        circle("a.zone:1:48", &format!("{a} hangs on {b} (a.zone:1:48), {b} hangs on {a} (a.zone:2:34)")),
        circle("a.zone:3:36", &format!("{c} hangs on {c} (a.zone:3:36)")),
        circle("a.zone:4:20", &format!("{d} hangs on {e} (a.zone:4:20), {e} hangs on {d} (a.zone:5:31)")),
    ];
    assert_eq!(told, expected, "{told:#?}");
}

#[test]
fn a_circle_that_only_a_query_shows_is_an_error_that_names_all() {
    let mut bench = Bench::new(&[
        ("a", Rtype::A, ";local name = 'b' return all_up{name} and '192.0.2.1' or {}"),
        ("b", Rtype::A, ";local name = 'a' local ok, up = pcall(all_up, {name}) return '192.0.2.2'"),
    ]);
    let message = bench.ask(0).unwrap_err();
    assert_eq!(
        message,
        "`all_up` got `b`, which hangs on itself: `a.example.com/A` (a.zone:1:20) hangs on `b.example.com/A` \
         (a.zone:2:20) hangs on `a.example.com/A` (a.zone:1:20)"
    );
}

#[test]
fn checks_of_every_branch_are_found_with_the_record_that_names_them() {
    let mut bench = Bench::new(&[
        ("a", Rtype::A, ";if tcp then return ifup({kind='icmp'}, {'192.0.2.1'}) end return '192.0.2.9'"),
        (
            "b",
            Rtype::A,
            ";if tcp and all_up{check{kind='tcp', target='192.0.2.2', port=2}, 'a'} then return {} end return '192.0.2.9'",
        ),
        ("c", Rtype::A, ";local port = 3 return any_up{'d', false} and '192.0.2.9' or {}"),
        ("d", Rtype::A, ";local port = 3 return ifportup(port, {'192.0.2.3'})"),
    ]);
    let zone: Name = "example.com".parse().unwrap();
    let now = Now { unix_secs: 1, monotonic: Duration::ZERO };
    let found = bench.vm.discover(&bench.programs.clone(), zone.as_ref(), now);
    let mut named: Vec<String> = found
        .checks
        .iter()
        .map(|named| {
            let records: Vec<_> = named.records.iter().map(|record| &*record.name).collect();
            format!("{} of {}", named.check, records.join(" "))
        })
        .collect();
    named.sort();
    assert_eq!(
        named,
        [
            "icmp 192.0.2.1 of a.example.com/A",
            "tcp 192.0.2.2:2 of b.example.com/A",
            "tcp 192.0.2.3:3 of d.example.com/A"
        ]
    );
    let reach: HashSet<*const Reach> = found.checks.iter().map(|named| Arc::as_ptr(&named.check.reach)).collect();
    assert_eq!(reach.len(), 1, "a zone's checks share where they may go");
}

#[test]
fn faults_of_constant_calls_are_errors_with_their_places() {
    let mut bench = Bench::new(&[
        ("a", Rtype::A, ";if tcp then return ifup({kind='htp'}, {'192.0.2.1'}) end return '192.0.2.9'"),
        ("b", Rtype::A, "ifurlup('http://a.example/', {'192.0.2.1'}, {regex='('})"),
        ("c", Rtype::A, "all_up{check{kind='icmp', target='fe80::1%eth0'}} and '192.0.2.9' or {}"),
        ("d", Rtype::A, ";if tcp then return ifup({kind='tcp', port=1, expect='[a'}, {'192.0.2.1'}) end return {}"),
        ("e", Rtype::A, "ifportup(80, {'169.254.169.254'})"),
        ("f", Rtype::A, ";if tcp then return ifurlextup({{['192.0.2.1']='http://[fd00:ec2::254]/'}}) end return {}"),
        (
            "g",
            Rtype::A,
            ";if tcp then return ifup({kind='icmp'}, {{answer='192.0.2.1', probe='0.0.0.0'}}) end return {}",
        ),
        ("h", Rtype::A, "ifup({kind='icmp'}, {{answer='192.0.2.1', probe='metadata.example.net'}})"),
        ("i", Rtype::A, ";function check(t) return t.kind end return check{kind='mine'} and '192.0.2.1'"),
        ("j", Rtype::A, "ifportup(80, {'fe80::1%eth0'})"),
    ]);
    let mut told = bench.told();
    told.sort();
    let refused = "in this zone (`lua.probe-networks-refused`)";
    let expected = [
        "a.zone:10:20: warning: the script failed in a trial run: `ifportup` got the target `fe80::1%eth0`, which has a scope: what is on one link alone is not probed".to_owned(),
        "a.zone:1:40: error: `ifup` got `htp`, which is no kind: did you mean `http`?".to_owned(),
        "a.zone:2:72: error: the regular expression `(` does not compile: unclosed group".to_owned(),
        "a.zone:3:27: error: `check` got the target `fe80::1%eth0`, which has a scope: what is on one link alone is not probed".to_owned(),
        "a.zone:4:74: error: the regular expression `[a` does not compile: unclosed character class".to_owned(),
        format!("a.zone:5:20: error: `ifportup` may not have `169.254.169.254` probed {refused}"),
        format!("a.zone:6:76: error: the script may not have `fd00:ec2::254` probed {refused}"),
        format!("a.zone:7:89: error: the script may not have `0.0.0.0` probed {refused}"),
    ];
    assert_eq!(told, expected, "{told:#?}");
}
