//! Scripts of a stranger: each ends within its budget, in words that name it, and nothing of it is left behind.

use std::sync::Arc;
use std::time::Duration;

use perigee::config;
use perigee::dns::{Client, Name, Now, Transport};
use perigee::health::table::Table;
use perigee::script::{Failure, FailureKind, Output, Policy, Program, Programs, Query, Setup, Surroundings, Vm};
use perigee::zone::parser::{self, Input, Options};
use perigee::zone::{Scripts, Zone, ZoneSet};

/// The scripts, each with how it ends behind it.
const CORPUS: &str = include_str!("data/adversary.zone");

/// The time that the thread has had: how busy the machine is decides no test.
fn clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A zone whose scripts keep to limits.
struct Host {
    zone: Arc<Zone>,
    programs: Programs,
    vm: Vm,
}

impl Host {
    fn new(limits: &config::Lua, text: &str) -> Self {
        Self::with_clock(limits, text, clock)
    }

    fn with_clock(limits: &config::Lua, text: &str, clock: impl Fn() -> Duration + 'static) -> Self {
        let apex: Name = "invalid".parse().unwrap();
        let input = Input { file: "adversary.zone".into(), text: text.as_bytes() };
        let mut no_includes = |_: &str, _: &perigee::diagnostic::Position| Err(String::new());
        let parsed = parser::parse(&input, &Options::new(apex.clone()), &mut no_includes);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let zone = Arc::new(Zone::build(&apex, parsed.records, Scripts::Joined).expect("there is an SOA"));
        let policy = Arc::new(Policy::new(limits, None));
        let compile =
            |script| Program::compile(script, &policy).map(Arc::new).unwrap_or_else(|error| panic!("{error}"));
        let programs: Programs = zone.scripts().iter().map(compile).collect();
        let (table, library, limits) = (Arc::new(Table::new(64)), Arc::default(), limits.clone());
        let mut vm = Vm::new(Setup { limits, library, table, seed: 3, clock: Box::new(clock) }).unwrap();
        let zones = ZoneSet::new([(zone.clone(), programs.clone())]);
        vm.turn_to(&Arc::new(Surroundings { zones, ..Surroundings::default() }));
        Self { zone, programs, vm }
    }

    fn run(&mut self, index: usize, monotonic: Duration) -> Result<Output<'_>, Failure> {
        let address = ([198, 51, 100, 4], 5353).into();
        let client = Client { address, local: address, transport: Transport::Udp };
        let now = Now { unix_secs: 1_700_000_000, monotonic };
        let (qname, zone) = (self.zone.scripts()[index].owner.as_ref(), self.zone.apex().as_ref());
        self.vm.run(&self.programs[index], &Query { qname, zone, ..Query::plain(now, &client) })
    }

    /// The first label of a script's owner.
    fn name(&self, index: usize) -> String {
        let owner = self.zone.scripts()[index].owner.to_string();
        owner.split('.').next().unwrap_or_default().to_owned()
    }
}

/// How each script ends, by its name; those that others include end nowhere by themselves.
fn endings() -> Vec<(&'static str, &'static str)> {
    let records = CORPUS.lines().filter(|line| line.contains(" LUA TXT ") && line.contains(" ; "));
    records.map(|line| (line.split_once(' ').unwrap().0, line.rsplit_once(" ; ").unwrap().1)).collect()
}

/// How a run ended, in the words of the corpus.
fn ending(outcome: Result<Output<'_>, Failure>) -> String {
    let failure = match outcome {
        Ok(output) => {
            let texts: Vec<_> = output.rdata.iter().map(|rdata| String::from_utf8_lossy(&rdata[1..])).collect();
            return format!("answers {}", texts.join(" ")).trim_end().to_owned();
        }
        Err(failure) => failure,
    };
    let words = [
        ("steps", "`lua.exec-limit`"),
        ("steps", "`lua.time-limit`"),
        ("memory", "`lua.memory-limit`"),
        ("recursion", "recursion is too deep"),
        ("coroutines", "coroutines"),
        ("size", "it asked for"),
        ("result", "it returned"),
    ];
    match failure.kind {
        FailureKind::Budget => {
            let named = words.iter().find(|(_, words)| failure.message.contains(words));
            named.map_or_else(|| format!("budget? {}", failure.message), |(ending, _)| (*ending).to_owned())
        }
        FailureKind::Error if failure.message.is_empty() => "error without words".to_owned(),
        FailureKind::Error => "error".to_owned(),
        FailureKind::Value => "value".to_owned(),
        FailureKind::Await => "await".to_owned(),
        FailureKind::Denied => "denied".to_owned(),
        FailureKind::Resting => "resting".to_owned(),
        FailureKind::Shed => "shed".to_owned(),
    }
}

/// Limits as they come, but for the rest: each script here is asked for again at once.
fn limits() -> config::Lua {
    config::Lua { overrun_share: 1.0, ..config::Lua::default() }
}

#[test]
fn each_script_ends_as_it_is_told_and_the_next_query_is_answered() {
    let innocent = "innocent LUA TXT \";local t = {3, 1, 2} table.sort(t) x = (x or 0) + 1 return \
                    table.concat(t) .. string.rep('a', 2) .. qname:toString() .. x .. zone:toString() .. os.time() .. \
                    bit.tobit(1) .. type(pcall)\"";
    let mut host = Host::new(&limits(), &format!("{CORPUS}{innocent}\n"));
    let innocent = host.programs.len() - 1;
    let expected = ending(host.run(innocent, Duration::ZERO));
    assert_eq!(expected, "answers 123aainnocent.invalid.1invalid.17000000001function");
    let endings = endings();
    assert!(endings.len() >= 110, "{} scripts", endings.len());
    let mut wrong = String::new();
    for (name, told) in endings {
        let index = (0..innocent).find(|index| host.name(*index) == name).expect("the zone has it");
        let begun = clock();
        let came = host.run(index, Duration::ZERO);
        let words = came.as_ref().err().map(|failure| failure.message.clone());
        let took = clock() - begun;
        let came = ending(came);
        if !told.split(" or ").any(|told| told == came) && (told != "answers any" || !came.starts_with("answers ")) {
            wrong += &format!("\n{name}: {came} in place of {told} ({words:?})");
        }
        // In a debug build a library function may take a few times the limit before the next step.
        if took > Duration::from_millis(100) {
            wrong += &format!("\n{name}: took {took:?}");
        }
        assert_eq!(ending(host.run(innocent, Duration::ZERO)), expected, "after {name}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_thousand_rounds_of_them_leave_no_memory_behind() {
    // A small budget keeps it short: what is left behind shows in the count of rounds and not in the size of one.
    let limits = config::Lua { exec_limit: 30, memory_limit: 64 << 10, ..limits() };
    let mut host = Host::new(&limits, CORPUS);
    let round = |host: &mut Host| {
        for index in 0..host.programs.len() {
            drop(host.run(index, Duration::ZERO));
        }
    };
    // The first rounds compile, and fill what is kept on purpose.
    (0..3).for_each(|_| round(&mut host));
    let before = host.vm.collect();
    (0..1000).for_each(|_| round(&mut host));
    let after = host.vm.collect();
    // What the state keeps room in grows by a step now and then; two octets a run would be more than that.
    assert!(after < before + (400 << 10), "{before} octets before a thousand rounds, {after} after");
}

/// A zone of two records: one that never ends, and one that answers.
const TWO: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\nloop LUA TXT \";while true do end\"\n\
                   fine LUA TXT \"qname:toString()\"\n";

/// A host for which a millisecond passes each time the clock is read.
fn host_of_ticks(limits: &config::Lua, text: &str) -> Host {
    let ticks = std::cell::Cell::new(0);
    Host::with_clock(limits, text, move || {
        ticks.set(ticks.get() + 1);
        Duration::from_millis(ticks.get())
    })
}

#[test]
fn a_script_that_spent_its_budget_rests_and_the_others_do_not() {
    let secs = Duration::from_secs_f64;
    let mut host = host_of_ticks(&config::Lua::default(), TWO);
    let failure = host.run(0, secs(100.0)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Budget);
    assert_eq!(failure.message, "it ran for 10ms, as long as `lua.time-limit` allows; it rests for 5.988 s");
    for (at, kind) in [(100.0, FailureKind::Resting), (105.9, FailureKind::Resting), (106.0, FailureKind::Budget)] {
        let failure = host.run(0, secs(at)).unwrap_err();
        assert_eq!(failure.kind, kind, "{at}: {}", failure.message);
        assert!(failure.position.to_string().starts_with("adversary.zone:5:"), "{}", failure.position);
        assert_eq!(ending(host.run(1, secs(at))), "answers fine.invalid.", "{at}");
    }
}

#[test]
fn a_zone_that_is_read_anew_wakes_no_script() {
    let mut host = host_of_ticks(&config::Lua::default(), TWO);
    assert_eq!(host.run(0, Duration::ZERO).unwrap_err().kind, FailureKind::Budget);
    let policy = Arc::new(Policy::default());
    let compile = |script| Arc::new(Program::compile(script, &policy).unwrap_or_else(|error| panic!("{error}")));
    host.programs = host.zone.scripts().iter().map(compile).collect();
    assert_eq!(host.run(0, Duration::ZERO).unwrap_err().kind, FailureKind::Resting);
}

#[test]
fn what_fails_or_costs_nothing_does_not_rest() {
    let text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\nfails LUA TXT \"error('no')\"\nsize LUA TXT \"string.rep('x', 1e9)\"\n\
                value LUA TXT \"true\"\nwild LUA TXT \";if qname:countLabels() > 9 then while true do end end return 'x'\"\n";
    let mut host = Host::with_clock(&config::Lua::default(), text, || Duration::ZERO);
    for _ in 0..3 {
        let endings = [0, 1, 2, 3].map(|index| ending(host.run(index, Duration::ZERO)));
        assert_eq!(endings, ["error", "size", "value", "answers x"]);
    }
}

#[test]
fn each_zone_tells_the_key_that_it_was_stopped_by() {
    let zone =
        config::Zone { exec_limit: Some(50), result_max: Some(1), ..config::Zone::new("invalid".parse().unwrap()) };
    let text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\nloop LUA TXT \";while true do end\"\nmany LUA TXT \"{'a', 'b'}\"\n\
                memory LUA TXT \"string.rep('x', 1e6) .. 'y'\"\n";
    let mut host = Host::with_clock(&limits(), text, || Duration::ZERO);
    let told = |host: &mut Host| {
        let told = |index| host.run(index, Duration::ZERO).err().map(|failure| failure.message).unwrap_or_default();
        [0, 1, 2].map(told)
    };
    let policy = |limits: &config::Lua, zone| Arc::new(Policy::new(limits, zone));
    let limits = config::Lua { memory_limit: 64 << 10, result_max: 1, ..limits() };
    for (policy, expected) in [
        (
            policy(&limits, None),
            [
                "it took 20000 steps, all that `lua.exec-limit` allows",
                "it returned more than 1 records, all that `lua.result-max` allows",
                "it needs more memory than the 65536 octets of `lua.memory-limit`",
            ],
        ),
        (
            policy(&limits, Some(&zone)),
            [
                "it took 50 steps, all that `zone.exec-limit` allows",
                "it returned more than 1 records, all that `zone.result-max` allows",
                "it needs more memory than the 65536 octets of `lua.memory-limit`",
            ],
        ),
    ] {
        let compile = |script| Arc::new(Program::compile(script, &policy).unwrap_or_else(|error| panic!("{error}")));
        host.programs = host.zone.scripts().iter().map(compile).collect();
        assert_eq!(told(&mut host), expected);
    }
}

#[test]
fn names_are_looked_up_where_the_zone_may() {
    let limits = config::Lua { lookup_names: Some(vec!["example.net".parse().unwrap()]), ..limits() };
    let policy = Policy::new(&limits, None);
    let refuses = |name: &str| policy.refuses_lookup(name.parse::<Name>().unwrap().as_ref());
    assert_eq!(refuses("www.Example.net"), None);
    assert_eq!(refuses("example.net"), None);
    let why = "may not look up `example.org.` in this zone (`lua.lookup-names`)".to_owned();
    assert_eq!(refuses("example.org"), Some(why));
    assert_eq!(Policy::default().refuses_lookup("example.org".parse::<Name>().unwrap().as_ref()), None);
}

#[test]
fn globals_that_live_on_cannot_fill_the_memory() {
    let text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\ngrow LUA TXT \";all = all or {} all[#all + 1] = table.create(10000, #all) \
                return #all\"\ncount LUA TXT \";n = (n or 0) + 1 return n\"\n";
    let limits = config::Lua { shared_state: true, memory_limit: 1 << 20, ..limits() };
    let mut host = Host::with_clock(&limits, text, || Duration::ZERO);
    let before = host.vm.collect();
    for _ in 0..200 {
        drop(host.run(0, Duration::ZERO));
        assert!(host.vm.collect() < before + (10 << 20));
    }
}
