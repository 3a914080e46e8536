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
        let apex: Name = "invalid".parse().unwrap();
        let input = Input { file: "adversary.zone".into(), text: text.as_bytes() };
        let mut no_includes = |_: &str, _: &perigee::diagnostic::Position| Err(String::new());
        let parsed = parser::parse(&input, &Options::new(apex.clone()), &mut no_includes);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let zone = Arc::new(Zone::build(&apex, parsed.records, Scripts::Joined).expect("there is an SOA"));
        let policy = Arc::new(Policy::new(limits, None));
        let compile = |script| Program::compile(script, &policy).map(Arc::new).unwrap_or_else(|error| panic!("{error}"));
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

/// How each script ends, by its name.
fn endings() -> Vec<(&'static str, &'static str)> {
    let records = CORPUS.lines().filter(|line| line.contains(" LUA TXT "));
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
        FailureKind::Denied => "denied".to_owned(),
        FailureKind::Resting => "resting".to_owned(),
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
    assert!(endings.len() >= 110 && endings.len() == innocent, "{} scripts", endings.len());
    let mut wrong = String::new();
    for (index, (name, told)) in endings.into_iter().enumerate() {
        assert_eq!(host.name(index), name);
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
    let limits = config::Lua { exec_limit: 60, memory_limit: 64 << 10, ..limits() };
    let mut host = Host::new(&limits, CORPUS);
    let mut round = |host: &mut Host| {
        (0..host.programs.len()).for_each(|index| drop(host.run(index, Duration::ZERO)));
        host.vm.collect()
    };
    // The first rounds compile, and fill what is kept on purpose.
    (0..3).for_each(|_| drop(round(&mut host)));
    let before = round(&mut host);
    (0..999).for_each(|_| drop(round(&mut host)));
    let after = round(&mut host);
    assert!(after < before + (64 << 10), "{before} octets before a thousand rounds, {after} after");
}
