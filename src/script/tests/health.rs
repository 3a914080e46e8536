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
    vm.context.end_trial();
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
    let odd = |option: &str, value: &str, more: &str| {
        format!(
            "`{option}` is `{value}`, which is no selector and counts as `random`; there are `random`, `all`, \
             `hashed`, `pickclosest`, `weighted`{more}"
        )
    };
    let of_backup = ", `empty`, `lastgood`, `servfail` and `nxdomain`";
    assert_eq!(lints.lints, [odd("backupSelector", "7", of_backup), odd("selector", "nearest", " and `empty`")]);
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

#[test]
fn thresholds_and_what_is_asked_of_a_page_are_options_of_every_call() {
    let check = |code: &str| {
        let mut vm = vm(config::Lua::default());
        vm.context.discover();
        run(&mut vm, code).unwrap();
        vm.context.discovered().remove(0)
    };
    let thresholds = |options: &str| check(&format!("ifportup(80, {{'192.0.2.1'}}, {{{options}}})")).thresholds;
    let expected = |fall, rise, forgive| crate::health::hysteresis::Thresholds { fall, rise, forgive };
    assert_eq!(thresholds("minimumFailures=3, minimumSuccesses='2', forgiveAfter=10"), expected(3, 2, 10));
    assert_eq!(thresholds("minimumSuccesses=0, forgiveAfter=-1"), expected(1, 1, 1));
    assert_eq!(thresholds("minimumSuccesses=1e9"), expected(1, u16::MAX, 1));
    let http = |options: &str| {
        let code = format!("ifurlup('https://a.example/', {{'192.0.2.1'}}, {{{options}}})");
        match check(&code).kind {
            Kind::Http { request, .. } => Arc::unwrap_or_clone(request),
            kind => panic!("{kind:?}"),
        }
    };
    let plain = http("");
    assert_eq!((&*plain.method, plain.redirects, plain.keepalive, &plain.regex), ("GET", 10, false, &None));
    assert_eq!(http("method='HEAD'").method, "HEAD");
    assert_eq!(http("httpcode='200,204,300-399'").statuses, [200..=200, 204..=204, 300..=399]);
    assert_eq!(http("httpcode={204, '300-399', 200}").statuses, [200..=200, 204..=204, 300..=399]);
    assert_eq!(http("httpcode='200,x'").statuses, []);
    let pattern = |text: &str| Some(Pattern(text.into()));
    assert_eq!(http("regex='^ok$'").regex, pattern("^ok$"));
    assert_eq!(http("weight='w=([0-9]+)'").weight, pattern("w=([0-9]+)"));
    assert!(http("keepalive=true").keepalive);
    assert_eq!(http("servername='b.example'").handshake.server_name.as_deref(), Some("b.example"));
    assert_eq!(http("expiry=14").handshake.expiry_min, Some(Duration::from_secs(14 * 86_400)));
    assert_eq!(http("expiry='0.5'").handshake.expiry_min, Some(Duration::from_secs(43_200)));
    assert_eq!(http("expiry=1e300").handshake.expiry_min, Some(Duration::from_secs(36_500 * 86_400)));
    // Safe side: a certificate of which nobody knows how long it should be valid is none.
    let soon = check("ifurlup('https://a.example/', {'192.0.2.1'}, {expiry='soon'})");
    assert_eq!(soon.to_string(), "the option `expiry` needs a number and got a string");
}

#[test]
fn a_timeout_that_is_no_shorter_than_its_interval_is_told() {
    let told = |options: &str| answered(&format!("ifportup(80, {{'192.0.2.1'}}, {{{options}}})"), &[]).lints;
    for fine in ["", "timeout=4.9", "timeout=1, interval=2", "timeout=9, interval=10", "interval=0"] {
        assert_eq!(told(fine), [""; 0], "{fine}");
    }
    for (long, timeout, interval) in [
        ("timeout=5", "5", "5"),
        ("interval=2", "2", "2"),
        ("interval=1.5", "2", "1.5"),
        ("timeout=7, interval=6", "7", "6"),
    ] {
        let expected = format!("`timeout` is {timeout} s, and not shorter than the interval of {interval} s: ");
        let told = told(long);
        assert!(told.len() == 1 && told[0].starts_with(&expected), "{long}: {told:?}");
    }
}

#[test]
fn what_lets_no_target_ever_be_up_is_told() {
    let told = |code: &str| answered(code, &[]).lints;
    for (options, why) in [
        ("timeout=0", "`timeout` leaves no time"),
        ("timeout='soon'", "`timeout` leaves no time"),
        ("timeout=-1", "`timeout` leaves no time"),
        ("httpcode='2xx'", "`httpcode` is no status; write `200`, or `'200,204,300-399'`"),
        ("method='GE T'", "the method `GE T` is none that can be sent"),
        ("method='CONNECT'", "the method `CONNECT` is none that can be sent"),
    ] {
        let told = told(&format!("ifurlup('http://a.example/', {{'192.0.2.1'}}, {{{options}}})"));
        assert_eq!(told, [format!("{why}: its targets always count as down")], "{options}");
    }
    let ftp = ["`ftp` URLs are not probed, only http and https: its targets always count as down"];
    assert_eq!(told("ifurlup('ftp://a.example/', {'192.0.2.1'})"), ftp);
    assert_eq!(told("ifurlextup({{['192.0.2.1']='ftp://a.example/'}})"), ftp);
    assert_eq!(told("pickselfweighted('ftp://a.example/', {'192.0.2.1'})"), ftp);
    let relative = ["`a.example` is not a URL: relative URL without a base: its targets always count as down"];
    assert_eq!(told("ifurlup('a.example', {'192.0.2.1'})"), relative);
}

#[test]
fn an_option_that_is_none_is_told() {
    let told = |options: &str| answered(&format!("ifportup(80, {{'192.0.2.1'}}, {{{options}}})"), &[]).lints;
    let slip = ["`minimumFailure` is no option, and nothing comes of it: did you mean `minimumFailures`?"];
    assert_eq!(told("minimumFailure=3"), slip);
    assert_eq!(told("minimumFailures=3, stringmatch='ok', unknown='all'"), [""; 0]);
}

#[test]
fn a_trial_run_does_not_fail_for_want_of_probes() {
    let mut vm = vm(config::Lua::default());
    let code = "ifportup(80, {'192.0.2.1'}, {failOnIncompleteCheck=true})";
    for plans in [false, true] {
        vm.plans = plans;
        vm.context.discover();
        assert_eq!(run(&mut vm, code), Ok(vec!["192.0.2.1".to_owned()]), "{plans}");
    }
}

#[test]
fn when_nothing_is_up_a_backup_may_be_what_was_good_or_a_denial() {
    let mut vm = vm(config::Lua::default());
    let code = "ifportup(80, {'192.0.2.1', '192.0.2.2', '192.0.2.3'}, {selector='all', backupSelector='lastgood'})";
    for plans in [false, true] {
        vm.plans = plans;
        vm.context.discover();
        run(&mut vm, code).ok();
        let checks = vm.context.discovered();
        let mut is_up = |up: [bool; 3]| {
            for (check, up) in checks.iter().zip(up) {
                vm.context.slot(check).slot().set(if up { UP } else { DOWN });
            }
            run(&mut vm, code).unwrap().join(" ")
        };
        if !plans {
            // Nothing was good yet.
            assert_eq!(is_up([false; 3]), "192.0.2.1 192.0.2.2 192.0.2.3");
        }
        assert_eq!(is_up([true, false, true]), "192.0.2.1 192.0.2.3");
        assert_eq!(is_up([false; 3]), "192.0.2.1 192.0.2.3");
        assert_eq!(is_up([false, true, false]), "192.0.2.2");
        assert_eq!(is_up([false; 3]), "192.0.2.2");
    }
    for (backup, rcode) in [("servfail", Rcode::SERVFAIL), ("nxdomain", Rcode::NXDOMAIN)] {
        for call in ["ifportup(80, {'192.0.2.1'}", "pickselfweighted('http://a.example/', {'192.0.2.1'}"] {
            let program = program(&format!("{call}, {{backupSelector='{backup}'}})"), Rtype::A).unwrap();
            let client = Client {
                address: ([192, 0, 2, 1], 53).into(),
                local: ([127, 0, 0, 1], 53).into(),
                transport: Transport::Udp,
            };
            let query = Query::plain(Now { unix_secs: 1, monotonic: Duration::ZERO }, &client);
            let output = vm.run(&program, &query).unwrap_or_else(|failure| panic!("{}", failure.message));
            assert_eq!((output.denial, output.rdata.len()), (Some(rcode), 0), "{call} {backup}");
        }
    }
    // As a selector of targets that are up they make no sense.
    let odd = answered("ifportup(80, {'192.0.2.1'}, {selector='nxdomain'})", &[("192.0.2", UP)]);
    assert_eq!(odd.outcome, Ok(vec!["192.0.2.1".to_owned()]));
    assert_eq!(odd.lints.len(), 1, "{:?}", odd.lints);
}

#[test]
fn any_kind_of_check_can_be_asked_for() {
    let rows = [
        ("{kind='tcp', port=443}", "tcp 192.0.2.1:443"),
        ("{kind='tcp', port='25', send='QUIT', expect='^220'}", "tcp 192.0.2.1:25"),
        ("{kind='tls'}", "tls 192.0.2.1:443"),
        ("{kind='http'}", "http://192.0.2.1/ at 192.0.2.1"),
        ("{kind='https', path='ready', port=8443, verify=true}", "https://192.0.2.1:8443/ready at 192.0.2.1"),
        ("{kind='https', host='a.example', path='/x?y'}", "https://a.example/x?y at 192.0.2.1"),
        ("{kind='http', url='http://a.example/'}", "http://a.example/ at 192.0.2.1"),
        ("{kind='icmp'}", "icmp 192.0.2.1"),
        ("{kind='dns', qname='a.example', qtype='SOA'}", "dns 192.0.2.1:53 a.example. SOA"),
        ("{kind='grpc', port=50051, service='x'}", "grpc 192.0.2.1:50051 x"),
        ("{kind='extfile', file='states'}", "file states 192.0.2.1"),
        ("{kind='extfile', file='states', entry='db'}", "file states db"),
        ("{kind='fixed', state='down'}", "fixed down"),
    ];
    for (kind, check) in rows {
        let run = answered(&format!("ifup({kind}, {{'192.0.2.1'}})"), &[]);
        assert_eq!(run.outcome, Ok(vec!["192.0.2.1".to_owned()]), "{kind}");
        assert_eq!(run.checks, [check], "{kind}");
    }
    let command = "ifup({kind='exec', command={'/bin/up', '-a', 'at=%%ITEM%%'}}, {'192.0.2.1'})";
    let refusal = "`ifup` may not have `/bin/up` run in this zone (`lua.exec-programs`)";
    hold(&[(command, &[], refusal)]);
    let mut vm = vm(config::Lua { exec_programs: vec!["/bin/up".to_owned()], ..config::Lua::default() });
    vm.context.discover();
    assert_eq!(run(&mut vm, command), Ok(vec!["192.0.2.1".to_owned()]));
    assert_eq!(vm.context.discovered()[0].to_string(), "exec /bin/up -a at=192.0.2.1");
}

#[test]
fn a_check_has_no_more_text_than_the_table_can_hold() {
    let refusal = |call: &str| format!("`{call}` may not make a check whose texts have more than 8192 octets together");
    let rows = [
        ("ifurlup", "ifurlup('http://a.example/' .. ('x'):rep(10000), {{'192.0.2.1'}})"),
        ("ifurlup", "ifurlup('http://a.example/', {{'192.0.2.1'}}, {stringmatch=('x'):rep(10000)})"),
        ("ifup", "ifup({kind='http', url='http://a.example/', headers={X=('x'):rep(10000)}}, {'192.0.2.1'})"),
        ("ifup", "ifup({kind='tcp', port=1, expect=('x'):rep(10000)}, {'192.0.2.1'})"),
        ("ifup", "ifup({kind='extfile', file='a', entry=('x'):rep(10000)}, {'192.0.2.1'})"),
    ];
    for (builtin, call) in rows {
        hold(&[(call, &[], &refusal(builtin))]);
    }
    let run = answered("ifurlup('http://a.example/' .. ('x'):rep(8000), {{'192.0.2.1'}})", &[]);
    assert_eq!(run.outcome, Ok(vec!["192.0.2.1".to_owned()]));
}

#[test]
fn what_is_probed_may_be_another_than_what_is_answered() {
    let rows = [
        ("'192.0.2.1:8080'", "tcp 192.0.2.1:8080", "192.0.2.1"),
        ("'[2001:db8::1]:8080'", "tcp [2001:db8::1]:8080", "2001:db8::1"),
        ("{answer='192.0.2.1'}", "tcp 192.0.2.1:80", "192.0.2.1"),
        ("{probe='192.0.2.1:81'}", "tcp 192.0.2.1:81", "192.0.2.1"),
        ("{answer='203.0.113.5', probe='10.0.0.5:8080'}", "tcp 10.0.0.5:8080", "203.0.113.5"),
        ("{answer='10 5 443 a.example.', probe='192.0.2.1'}", "tcp 192.0.2.1:80", "10 5 443 a.example."),
        ("{answer='a.example.', probe='b.example:8080'}", "tcp b.example:8080", "a.example."),
    ];
    for (target, check, answer) in rows {
        let run = answered(&format!("ifup({{kind='tcp', port=80}}, {{{target}}})"), &[]);
        assert_eq!((run.outcome, &*run.checks), (Ok(vec![answer.to_owned()]), &[check.to_owned()][..]), "{target}");
    }
    // A port of its own takes the place of the URL's.
    for (kind, check) in [
        ("{kind='http', url='http://a.example:81/x'}", "http://a.example:8080/x at 192.0.2.1"),
        ("{kind='http', port=81, path='/x'}", "http://192.0.2.1:8080/x at 192.0.2.1"),
    ] {
        assert_eq!(answered(&format!("ifup({kind}, {{'192.0.2.1:8080'}})"), &[]).checks, [check], "{kind}");
    }
    let groups =
        "ifup({kind='icmp'}, {{'192.0.2.1', {answer='a', probe='192.0.2.2'}}, {'192.0.2.3'}}, {selector='all'})";
    hold(&[(groups, &[("192.0.2", UP)], "192.0.2.1 a"), (groups, &[("2.3", UP), ("2.1", DOWN)], "192.0.2.3")]);
}

#[test]
fn targets_are_chosen_by_the_weights_that_records_give_them() {
    let code = "ifup({kind='icmp'}, {{answer='192.0.2.1', weight=1}, {answer='192.0.2.2', weight=0}, \
                {answer='192.0.2.3', weight=4}}, {selector='weighted'})";
    let three = [("2.1", UP), ("2.2", UP), ("2.3", UP)];
    let by_weight = shares(code, &three);
    let [(first, light), (third, heavy)] = &by_weight[..] else { panic!("{by_weight:?}") };
    assert_eq!((&**first, &**third), ("192.0.2.1", "192.0.2.3"));
    assert!((150..250).contains(light) && light + heavy == 1000, "{light} and {heavy}");
    hold(&[(code, &[("2.2", UP)], "192.0.2.2")]);
    let said = "ifurlup('http://a.example/', {'192.0.2.1', '192.0.2.2'}, {selector='weighted'})";
    let by_what_is_said = shares(said, &[("2.1", weighing(9)), ("2.2", weighing(1))]);
    assert!((850..950).contains(&by_what_is_said[0].1), "{by_what_is_said:?}");
}

#[test]
fn the_general_form_refuses_what_it_does_not_know() {
    let of_kind = |kind: &str| format!("ifup({kind}, {{'192.0.2.1'}})");
    let of_target = |target: &str| format!("ifup({{kind='tcp', port=80}}, {{{target}}})");
    let rows = [
        (
            of_kind("{}"),
            "needs a field `kind`; there are `tcp`, `tls`, `http`, `https`, `icmp`, `dns`, `grpc`, `extfile`, `exec`, `fixed`",
        ),
        (of_kind("{kind='htp'}"), "got `htp`, which is no kind: did you mean `http`?"),
        (
            of_kind("{kind='smtp', port=25}"),
            "got `smtp`, which is no kind: there are `tcp`, `tls`, `http`, `https`, `icmp`, `dns`, `grpc`, `extfile`, `exec`, `fixed`",
        ),
        (of_kind("{kind='tcp', prot=25}"), "got `prot`, which is no field of the kind `tcp`: did you mean `port`?"),
        (of_kind("{kind='icmp', port=25}"), "got `port`, which is no field of the kind `icmp`: there are `kind`"),
        (of_kind("{kind='tcp'}"), "has no port for the target `192.0.2.1`; give the kind a `port`"),
        (of_kind("{kind='tcp', port=0}"), "got the port `0`, which is none; ports go from 1 to 65535"),
        (of_kind("{kind='tcp', port=65536}"), "got the port `65536`, which is none; ports go from 1 to 65535"),
        (of_kind("{kind='tcp', port={}}"), "cannot probe: the field `port` needs a number and got a table"),
        (
            of_kind("{kind='http', url='https://a.example/'}"),
            "got the URL `https://a.example/`, which is none of the kind `http`",
        ),
        (
            of_kind("{kind='http', url='a.example'}"),
            "got the URL `a.example`, which is none: relative URL without a base",
        ),
        (of_kind("{kind='http', url='http://a.example/', port=81}"), "got a `url` and parts of one; give either"),
        (
            of_kind("{kind='http', httpcode='2xx'}"),
            "cannot probe: `httpcode` is no status; write `200`, or `'200,204,300-399'`",
        ),
        (of_kind("{kind='dns'}"), "needs a field `qname` for the kind `dns`"),
        (of_kind("{kind='dns', qname='a', rcode='FINE'}"), "got the rcode `FINE`, which is no RCODE"),
        (of_kind("{kind='extfile', file='../passwd'}"), "got the file `../passwd`, which is no plain name of a file"),
        (of_kind("{kind='exec', command={}}"), "needs a `command` of 1 to 64 texts, the program first"),
        (of_kind("{kind='exec', command={'%%ITEM%%'}}"), "got a `command` whose program has `%%ITEM%%` in it"),
        (of_kind("{kind='fixed', state='maybe'}"), "got the state `maybe`, which is neither `up` nor `down`"),
        (
            of_target("'www.example.net'"),
            "got the target `www.example.net`, which is no address; what is answered can be given beside it: `{answer=…, probe=…}`",
        ),
        (
            of_target("'fe80::1%eth0'"),
            "got the target `fe80::1%eth0`, which has a scope: what is on one link alone is not probed",
        ),
        (of_target("'192.0.2.1:0'"), "got the target `192.0.2.1:0`, which has the port `0`; ports go from 1 to 65535"),
        (
            of_target("{addr='192.0.2.1'}"),
            "got `addr`, which is no field of a target: there are `answer`, `probe`, `weight`",
        ),
        (of_target("{weight=1}"), "got a target without `answer` and `probe`"),
        (
            of_target("{answer='192.0.2.1', weight=-1}"),
            "got a target whose weight is no whole number from 0 to 2147483647",
        ),
        (
            of_target("{'192.0.2.1', answer='x'}"),
            "needs a list of targets or a list of such lists as argument 2, and got a table",
        ),
        (
            "ifup({kind='icmp'}, {'192.0.2.1'}, {intervall=3})".to_owned(),
            "got `intervall`, which is no option: did you mean `interval`?",
        ),
        (
            "ifup({kind='icmp'}, {'192.0.2.1'}, {timeout={}})".to_owned(),
            "cannot probe: the option `timeout` needs a number and got a table",
        ),
        (
            "ifup('tcp', {'192.0.2.1'})".to_owned(),
            "needs a table such as `{kind='tcp', port=443}` as argument 1, and got a string",
        ),
        ("ifup({kind='icmp'}, {})".to_owned(), "got no target; give at least one address"),
        (
            ";local list = {} for i = 1, 5000 do list[i] = '192.0.2.1' end return ifup({kind='icmp'}, list)".to_owned(),
            "got more than 4096 targets",
        ),
    ];
    for (code, why) in rows {
        assert_eq!(answered(&code, &[]).outcome, Err(format!("`ifup` {why}")), "{code}");
    }
}
