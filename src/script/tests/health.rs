//! Answers by health: which targets are chosen by what is known of them, and which checks calls ask for.

use super::*;
use crate::health::Kind;

const UP: Reading = Reading { state: State::Up, weight: None, until: None, drained: false };
const DOWN: Reading = Reading { state: State::Down, weight: None, until: None, drained: false };

fn weighing(weight: u32) -> Reading {
    Reading { weight: Some(weight), ..UP }
}

/// What code comes to, for one client, when this is known: of each check whose words hold the text, the reading.
struct Run {
    outcome: Result<Vec<String>, String>,
    checks: Vec<String>,
    lints: Vec<String>,
}

/// Runs code in the VM, and holds its plan, if it has one, to the same.
fn answered(code: &str, known: &[(&str, Reading)]) -> Run {
    let by_vm = answered_by(code, known, false);
    let by_plan = answered_by(code, known, true);
    assert_eq!((&by_plan.outcome, &by_plan.checks), (&by_vm.outcome, &by_vm.checks), "{code}");
    by_vm
}

fn answered_by(code: &str, known: &[(&str, Reading)], plans: bool) -> Run {
    let mut vm = vm(config::Lua::default());
    vm.plans = plans;
    vm.context.discover();
    // The first run makes the slots.
    run(&mut vm, code).ok();
    let lints = vm.context.lints();
    let mut checks = vm.context.discovered();
    // A plan that cannot tell leaves it to the VM, which asks again.
    let mut seen = HashSet::new();
    checks.retain(|check| seen.insert(check.clone()));
    for (text, reading) in known {
        for check in checks.iter().filter(|check| check.to_string().contains(text)) {
            vm.context.slot(check).slot().set(*reading);
        }
    }
    let outcome = run(&mut vm, code).map_err(|(_, message)| message);
    Run { outcome, checks: checks.iter().map(ToString::to_string).collect(), lints }
}

/// Code, what is known of the checks whose words hold a text, and what the code comes to.
type Row<'r> = (&'r str, &'r [(&'r str, Reading)], &'r str);

/// Holds the answer of each row against what it is to be; values are joined with blanks.
fn hold(rows: &[Row<'_>]) {
    for (code, known, expected) in rows {
        let came = answered(code, known).outcome.map_or_else(|error| error, |values| values.join(" "));
        assert_eq!(came, *expected, "{code}");
    }
}

#[test]
fn groups_are_tried_in_order() {
    let tiers = "ifportup(80, {{'192.0.2.1', '192.0.2.2'}, {'192.0.2.3', '192.0.2.4'}}, {selector='all', backupSelector='all'})";
    let gaps = "ifportup(80, {{}, {'192.0.2.1', '192.0.2.2'}, {'192.0.2.3'}}, {selector='all', backupSelector='all'})";
    hold(&[
        (tiers, &[("192.0.2", UP)], "192.0.2.1 192.0.2.2"),
        (tiers, &[("192.0.2", UP), ("2.1:", DOWN)], "192.0.2.2"),
        (tiers, &[("192.0.2", DOWN), ("2.4:", UP)], "192.0.2.4"),
        (tiers, &[("192.0.2", DOWN)], "192.0.2.1 192.0.2.2"),
        (tiers, &[], "192.0.2.1 192.0.2.2"),
        // Nothing is up: all targets of the first group that has any.
        (gaps, &[("192.0.2", DOWN)], "192.0.2.1 192.0.2.2"),
        (gaps, &[("192.0.2", DOWN), ("2.3:", UP)], "192.0.2.3"),
    ]);
}

#[test]
fn every_target_of_every_group_is_asked_for() {
    let code = "ifportup(80, {{'192.0.2.1'}, {'192.0.2.2'}, {'192.0.2.3'}})";
    let run = answered(code, &[("192.0.2", UP)]);
    assert_eq!(run.checks, ["tcp 192.0.2.1:80", "tcp 192.0.2.2:80", "tcp 192.0.2.3:80"]);
}

#[test]
fn without_a_target_or_with_none_checked_a_call_may_fail() {
    let none = "`ifportup` got no target; give at least one address";
    let incomplete = "`ifportup` has no target whose first check has ended, and `failOnIncompleteCheck` is set";
    hold(&[
        ("ifportup(80, {})", &[], none),
        ("ifportup(80, {{}})", &[], none),
        ("ifportup(80, {{}, {}}, {backupSelector='empty'})", &[], none),
        ("ifurlextup({})", &[], "`ifurlextup` got no target; give at least one address"),
        ("ifurlextup({{}})", &[], "`ifurlextup` got no target; give at least one address"),
        (
            "pickselfweighted('http://a.example/', {})",
            &[],
            "`pickselfweighted` got no target; give at least one address",
        ),
        ("ifportup(80, {'192.0.2.1'}, {failOnIncompleteCheck='true'})", &[], incomplete),
        ("ifportup(80, {'192.0.2.1'}, {failOnIncompleteCheck=true})", &[], incomplete),
        ("ifportup(80, {'192.0.2.1'}, {failOnIncompleteCheck='yes'})", &[], "192.0.2.1"),
        ("ifportup(80, {'192.0.2.1'}, {failOnIncompleteCheck=false})", &[], "192.0.2.1"),
        // One that has ended is enough, whatever it said.
        ("ifportup(80, {{'192.0.2.1'}, {'192.0.2.2'}}, {failOnIncompleteCheck=true})", &[("2.2:", DOWN)], "192.0.2.1"),
        ("ifportup(80, {'192.0.2.1'}, {backupSelector='empty'})", &[], ""),
        ("ifportup(80, {'192.0.2.1'}, {selector='empty'})", &[("192.0.2", UP)], ""),
    ]);
}

#[test]
fn ports_are_clamped_and_those_of_targets_win_for_ifportup_alone() {
    let rows = [
        ("ifportup(99999, {'192.0.2.1'})", "tcp 192.0.2.1:65535"),
        ("ifportup(-5, {'192.0.2.1'})", "tcp 192.0.2.1:0"),
        ("ifportup('8080', {'192.0.2.1'})", "tcp 192.0.2.1:8080"),
        ("ifportup(80.9, {'192.0.2.1'})", "tcp 192.0.2.1:80"),
        ("ifportup(80, {'192.0.2.1:443'})", "tcp 192.0.2.1:443"),
        ("ifportup(80, {'[2001:db8::1]:443'})", "tcp [2001:db8::1]:443"),
        ("ifportup(80, {'2001:db8::1'})", "tcp [2001:db8::1]:80"),
        ("ifurlup('http://a.example:81/', {'192.0.2.1:443'})", "http://a.example:81/ at 192.0.2.1"),
        ("pickselfweighted('http://a.example/', {'192.0.2.1:443'})", "http://a.example/ at 192.0.2.1"),
        ("ifurlextup({{['192.0.2.1']='http://a.example/'}})", "http://a.example/"),
    ];
    for (code, check) in rows {
        let run = answered(code, &[]);
        assert_eq!(run.checks, [check], "{code}");
        assert!(!run.outcome.unwrap()[0].contains("443"), "{code}: the answer has no port");
    }
}

#[test]
fn families_may_be_mixed_and_the_wrong_one_is_no_record() {
    let code = "ifportup(80, {'192.0.2.1', '2001:db8::1'}, {selector='all'})";
    let program = program(code, Rtype::A).unwrap();
    let mut vm = vm(config::Lua::default());
    let known = |vm: &mut Vm, four, six| {
        vm.context.discover();
        outcome(vm, &program, None).ok();
        for check in vm.context.discovered() {
            vm.context.slot(&check).slot().set(if check.target().unwrap().is_ipv4() { four } else { six });
        }
        outcome(vm, &program, None).map(|(rdata, _)| rdata).map_err(|(kind, ..)| kind)
    };
    assert_eq!(known(&mut vm, UP, DOWN), Ok(vec![vec![192, 0, 2, 1]]));
    assert_eq!(known(&mut vm, DOWN, UP), Err(FailureKind::Value));
}

#[test]
fn an_address_with_a_url_of_its_own_is_answered_when_that_url_is_up() {
    let code = "ifurlextup({{['192.0.2.9']='http://a.example/', ['192.0.2.10']='http://b.example/', \
                ['192.0.2.8']='http://c.example/'}, {['192.0.2.7']='http://d.example/'}}, \
                {selector='all', backupSelector='all'})";
    // In the order of the addresses' texts.
    hold(&[
        (code, &[("http", UP)], "192.0.2.10 192.0.2.8 192.0.2.9"),
        (code, &[("http", UP), ("c.ex", DOWN)], "192.0.2.10 192.0.2.9"),
        (code, &[("http", DOWN), ("d.ex", UP)], "192.0.2.7"),
        (code, &[], "192.0.2.10 192.0.2.8 192.0.2.9"),
        (
            "ifurlextup({['192.0.2.1']='http://a.example/'})",
            &[],
            "`ifurlextup` needs a list of tables from addresses to URLs as argument 1, and got a table",
        ),
        ("ifurlextup({{'http://a.example/'}})", &[], "`ifurlextup` got the target `1`, which is no address"),
        (
            "ifurlextup({{['192.0.2.1']={}}})",
            &[],
            "`ifurlextup` needs a list of tables from addresses to URLs as argument 1, and got a table",
        ),
    ]);
    let run = answered(code, &[]);
    assert_eq!(run.checks, ["http://b.example/", "http://c.example/", "http://a.example/", "http://d.example/"]);
}

/// The share of each of these answers among a thousand.
fn shares(code: &str, known: &[(&str, Reading)]) -> Vec<(String, u32)> {
    let mut vm = vm(config::Lua::default());
    vm.context.discover();
    run(&mut vm, code).ok();
    for check in vm.context.discovered() {
        let reading = known.iter().find(|(text, _)| check.to_string().contains(text));
        vm.context.slot(&check).slot().set(reading.map_or(DOWN, |(_, reading)| *reading));
    }
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        *counts.entry(run(&mut vm, code).unwrap().join(" ")).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[test]
fn targets_that_weigh_themselves_are_chosen_by_it() {
    let url = "http://a.example/', {'192.0.2.1', '192.0.2.2', '192.0.2.3'}";
    let by_chance = format!("pickselfweighted('{url}, {{selector='random'}})");
    let three = [("2.1", weighing(1)), ("2.2", weighing(0)), ("2.3", weighing(4))];
    let shares_of = |known| shares(&by_chance, known);
    let [(first, light), (third, heavy)] = &shares_of(&three)[..] else { panic!("{:?}", shares_of(&three)) };
    assert_eq!((&**first, &**third), ("192.0.2.1", "192.0.2.3"));
    assert!((150..250).contains(light) && light + heavy == 1000, "{light} and {heavy}");

    let hash = api::hash::hash_address([192, 168, 3, 4].into());
    assert_eq!((hash % 5, hash % 3), (2, 1));
    let hashed = format!("pickselfweighted('{url})");
    let all = format!("pickselfweighted('{url}, {{selector='all'}})");
    let none = format!("pickselfweighted('{url}, {{selector='empty'}})");
    let zero = [("2.1", weighing(0)), ("2.2", weighing(0))];
    hold(&[
        (&hashed, &three, "192.0.2.3"),
        (&hashed, &[("2.1", UP), ("2.2", UP), ("2.3", UP)], "192.0.2.2"),
        (&hashed, &[("2.2", UP), ("2.3", weighing(0))], "192.0.2.2"),
        // What is drained serves when nothing else is there.
        (&hashed, &[("2.3", weighing(0))], "192.0.2.3"),
        (&all, &three, "192.0.2.1 192.0.2.3"),
        (&all, &zero, "192.0.2.1 192.0.2.2"),
        (&none, &three, ""),
    ]);
}

#[test]
fn when_no_target_that_weighs_itself_is_up_any_is_chosen() {
    let code = "pickselfweighted('http://a.example/', {'192.0.2.1', '192.0.2.2'})";
    let shares = shares(code, &[]);
    assert_eq!(shares.len(), 2);
    assert!(shares.iter().all(|(_, count)| (400..600).contains(count)), "{shares:?}");
    let option = |option: &str| code.replace("'})", &format!("'}}, {{{option}}})"));
    hold(&[
        (&option("backupSelector='all'"), &[], "192.0.2.1 192.0.2.2"),
        (&option("backupSelector='empty'"), &[], ""),
        (
            &option("failOnIncompleteCheck=true"),
            &[],
            "`pickselfweighted` has no target whose first check has ended, and `failOnIncompleteCheck` is set",
        ),
    ]);
}

#[test]
fn one_target_is_a_text_and_more_are_a_list() {
    let rows = [
        ("type(pickselfweighted('http://a.example/', {'192.0.2.1'}))", "string"),
        ("type(pickselfweighted('http://a.example/', {'192.0.2.1'}, {backupSelector='empty'}))", "table"),
        ("type(ifportup(80, {'192.0.2.1'}))", "table"),
        ("type(ifurlextup({{['192.0.2.1']='http://a.example/'}}))", "table"),
    ];
    rows.iter().for_each(|(code, expected)| hold(&[(code, &[], expected)]));
}

#[test]
fn an_option_that_only_probes_read_fails_no_query() {
    let rows = [
        ("ifportup(80, {'192.0.2.1'}, {timeout={}})", "the option `timeout` needs a number and got a table"),
        ("ifportup(80, {'192.0.2.1'}, {interval=true})", "the option `interval` needs a number and got a boolean"),
        (
            "ifportup(80, {'192.0.2.1'}, {minimumFailures={1}})",
            "the option `minimumFailures` needs a number and got a table",
        ),
        (
            "ifurlup('http://a.example/', {'192.0.2.1'}, {headers='x'})",
            "the option `headers` needs a table of strings and got a string",
        ),
        (
            "ifurlextup({{['192.0.2.1']='http://a.example/'}}, {stringmatch={}})",
            "the option `stringmatch` needs a string and got a table",
        ),
        (
            "pickselfweighted('http://a.example/', {'192.0.2.1'}, {useragent=print or {}})",
            "the option `useragent` needs a string and got a table",
        ),
        (
            "ifurlup('http://a.example/', {'192.0.2.1'}, {httpcode={}})",
            "the option `httpcode` needs a number and got a table",
        ),
        (
            "ifurlup('http://a.example/', {'192.0.2.1'}, {byteslimit=qname})",
            "the option `byteslimit` needs a number and got an object; use its `toString`",
        ),
    ];
    for (code, fault) in rows {
        let run = answered(code, &[]);
        assert_eq!(run.outcome, Ok(vec!["192.0.2.1".to_owned()]), "{code}");
        assert_eq!(run.checks, [fault], "{code}");
    }
    // A check of a port has no use for what a URL is asked with.
    assert_eq!(answered("ifportup(80, {'192.0.2.1'}, {headers='x'})", &[]).checks, ["tcp 192.0.2.1:80"]);
}

#[test]
fn odd_options_are_told_and_wrong_ones_refused() {
    let mut lints = answered("ifportup(80, {'192.0.2.1'}, {selector='nearest', backupSelector=7})", &[]);
    lints.lints.sort();
    let odd = |option: &str, value: &str| {
        format!(
            "`{option}` is `{value}`, which is no selector and counts as `random`; there are `random`, `all`, \
             `hashed`, `pickclosest` and `empty`"
        )
    };
    assert_eq!(lints.lints, [odd("backupSelector", "7"), odd("selector", "nearest")]);
    hold(&[
        ("ifportup(80, {'192.0.2.1'}, {source='bad'})", &[], "`ifportup` got the source `bad`, which is no address"),
        (
            "ifportup(80, {'192.0.2.1'}, {selector={}})",
            &[],
            "`ifportup` needs a string for the option `selector`, and got a table",
        ),
        (
            "ifportup(80, {'192.0.2.1'}, 'all')",
            &[],
            "`ifportup` needs a table of options as argument 3, and got a string",
        ),
        (
            "ifportup(80, {'192.0.2.1', {'192.0.2.2'}})",
            &[],
            "`ifportup` needs a list of addresses or a list of such lists as argument 2, and got a table",
        ),
        (
            "pickselfweighted('http://a.example/', {{'192.0.2.1'}})",
            &[],
            "`pickselfweighted` needs a list of strings as argument 2, and got a table",
        ),
        (
            "ifurlup('http://a.example/', {'a.example'})",
            &[],
            "`ifurlup` got the target `a.example`, which is no address",
        ),
    ]);
}

#[test]
fn records_that_differ_in_how_they_choose_share_their_checks() {
    let mut vm = vm(config::Lua::default());
    vm.context.discover();
    for options in ["", ", {selector='all'}", ", {backupSelector='empty', failOnIncompleteCheck=true}", ", {timeout=2}"]
    {
        run(&mut vm, &format!("ifurlup('http://a.example/', {{'192.0.2.1'}}{options})")).ok();
        run(&mut vm, &format!("pickselfweighted('http://a.example/', {{'192.0.2.1'}}{options})")).ok();
    }
    let checks: HashSet<_> = vm.context.discovered().into_iter().collect();
    assert_eq!(checks.len(), 1);
}

#[test]
fn what_cannot_be_read_as_a_number_counts_as_powerdns_counts_it_or_as_down() {
    let check = |options: &str| {
        let mut vm = vm(config::Lua::default());
        vm.context.discover();
        run(&mut vm, &format!("ifurlup('http://a.example/', {{'192.0.2.1'}}, {{{options}}})")).unwrap();
        vm.context.discovered().remove(0)
    };
    let seconds = Duration::from_secs_f64;
    assert_eq!(check("").timeout, seconds(2.0));
    assert_eq!(check("timeout='1.5'").timeout, seconds(1.5));
    // No time at all, and so down: a probe without end would be no check.
    assert_eq!(check("timeout='soon'").timeout, seconds(0.0));
    assert_eq!(check("timeout=-1").timeout, seconds(0.0));
    assert_eq!(check("timeout=1e300").timeout, seconds(86_400.0));
    assert_eq!(check("interval=7").interval, Some(seconds(7.0)));
    assert_eq!(check("interval=0").interval, None);
    assert_eq!(check("interval='soon'").interval, None);
    assert_eq!(check("minimumFailures='3'").thresholds.fall, 3);
    assert_eq!(check("minimumFailures=0").thresholds.fall, 1);
    assert_eq!(check("minimumFailures='many'").thresholds.fall, 1);
    let http = |options: &str| match check(options).kind {
        Kind::Http { request, .. } => Arc::unwrap_or_clone(request),
        kind => panic!("{kind:?}"),
    };
    assert_eq!(http("").statuses, [200..=200]);
    assert_eq!(http("httpcode='302'").statuses, [302..=302]);
    assert_eq!(http("httpcode='teapot'").statuses, []);
    assert_eq!(http("byteslimit='17'").byteslimit, 17);
    assert_eq!(http("byteslimit=-1").byteslimit, 0);
    assert_eq!(http("stringmatch=7").stringmatch.as_deref(), Some("7"));
    assert_eq!(http("useragent=true").useragent.as_deref(), Some("true"));
    assert_eq!(http("headers={X_A=1}").headers["X_A"], "1");
    assert_eq!(http("verify=true").handshake.tls, crate::health::Tls::Verify);
}
