//! What operators say of targets, in what records answer: by plan and by the VM alike.

use super::*;
use crate::health::Kind;

/// A record with all that is up of two groups, else all of the first.
const TIERS: &str =
    "ifportup(80, {{'192.0.2.1', '192.0.2.2'}, {'192.0.2.3', '192.0.2.4'}}, {selector='all', backupSelector='all'})";

/// Two records over the same checks, and a worker that answers for them.
struct Rig {
    vm: Vm,
    table: Arc<Table>,
    programs: Programs,
}

impl Rig {
    fn new(plans: bool) -> Self {
        let table = Arc::new(Table::new(16));
        let (limits, library) = (config::Lua::default(), Arc::default());
        let mut vm =
            Vm::new(Setup { limits, library, table: table.clone(), seed: 7, clock: Box::new(|| Duration::ZERO) })
                .unwrap();
        let programs = hosted(&mut vm, &[("www", Rtype::A, TIERS), ("api", Rtype::A, TIERS)]);
        vm.plans = plans;
        assert!(programs.iter().all(|program| program.plan.is_some()));
        Self { vm, table, programs }
    }

    /// Says what is known of the target whose address ends so.
    fn know(&self, last: u8, state: State) {
        let kind = Kind::tcp(([192, 0, 2, last], 80).into());
        let check = Check { reach: Arc::clone(Policy::default().reach()), ..Check::new(kind) };
        self.table.slot(&check).set(state.into());
    }

    /// Has operators say this and nothing else; of several lines each is followed by a semicolon.
    fn say(&self, lines: &str) {
        let said = lines.split(';').filter_map(|line| sentence::parse(line).unwrap());
        self.table.set_overrides(Arc::new(Overrides::new(said.collect())));
    }

    /// The last octets of the addresses that `www` and `api` answer.
    fn answers(&mut self) -> [String; 2] {
        let client = Client {
            address: ([192, 168, 3, 4], 53).into(),
            local: ([127, 0, 0, 1], 53).into(),
            transport: Transport::Udp,
        };
        let (now, zone) = (Now { unix_secs: 1, monotonic: Duration::ZERO }, "example.com".parse::<Name>().unwrap());
        let programs = [self.programs[0].clone(), self.programs[1].clone()];
        programs.map(|program| {
            let query =
                Query { qname: program.script().owner.as_ref(), zone: zone.as_ref(), ..Query::plain(now, &client) };
            let output = self.vm.run(&program, &query).unwrap_or_else(|failure| panic!("{}", failure.message));
            output.rdata.iter().map(|rdata| rdata[3].to_string()).collect::<Vec<_>>().join(" ")
        })
    }
}

#[test]
fn operators_have_the_last_word_on_targets_and_records_that_are_not_meant_go_on() {
    // What is up, what is said, and what `www` and `api` answer.
    let rows: &[(&[u8], &str, [&str; 2])] = &[
        (&[1, 2, 3, 4], "", ["1 2", "1 2"]),
        (&[1, 2, 3, 4], "target 192.0.2.1 => down", ["2", "2"]),
        (&[1, 2, 3, 4], "target 192.0.2.1:80 => down", ["2", "2"]),
        (&[1, 2, 3, 4], "target 192.0.2.1:81 => down", ["1 2", "1 2"]),
        (&[1, 2, 3, 4], "target 192.0.2.0/30 => down", ["4", "4"]),
        (&[1, 2, 3, 4], "target 192.0.2.0/30 => down; target 192.0.2.2 => up", ["2", "2"]),
        (&[1, 2, 3, 4], "target 192.0.2.2 => up; target 192.0.2.0/30 => down", ["4", "4"]),
        (&[1, 2, 3, 4], "check tcp *.2.2:80 => down", ["1", "1"]),
        (&[3], "check tcp * => up", ["1 2", "1 2"]),
        (&[3], "target 192.0.2.1 => up", ["1", "1"]),
        (&[], "zone example.com => up", ["1 2", "1 2"]),
        (&[3], "zone *.example.com => up", ["3", "3"]),
        (&[1, 2, 3, 4], "record www.example.com/A => down", ["1 2", "1 2"]),
        (&[1, 3], "record www.example.com/A => down; target 192.0.2.4 => up", ["4", "1"]),
        (&[1, 3], "record www.example.com => up", ["1 2", "1"]),
        (&[1, 3], "record www.example.com/AAAA => up", ["1", "1"]),
        (&[1, 3], "record ap?.example.com/* => up", ["1", "1 2"]),
        // Drained: chosen only when no target of any group is up that is not.
        (&[1, 2, 3, 4], "target 192.0.2.1 => drain", ["2", "2"]),
        (&[1, 3], "target 192.0.2.1 => drain", ["3", "3"]),
        (&[1, 3], "record www.example.com => drain; target 192.0.2.4 => drain", ["1", "1"]),
        (&[1, 3], "zone example.com => drain", ["1", "1"]),
        (&[3], "zone example.com => drain", ["3", "3"]),
        (&[1], "target 192.0.2.1 => drain", ["1", "1"]),
        (&[], "target 192.0.2.1 => drain", ["1 2", "1 2"]),
        // Paused: what was known stays.
        (&[1, 3], "zone example.com => pause", ["1", "1"]),
    ];
    for plans in [false, true] {
        // One worker hears it all, so that what it remembers of the row before would show.
        let mut rig = Rig::new(plans);
        rig.answers();
        for (up, lines, expected) in rows {
            (1..=4).for_each(|last| rig.know(last, if up.contains(&last) { State::Up } else { State::Down }));
            rig.say(lines);
            assert_eq!(rig.answers(), *expected, "{up:?} with {lines}, plans: {plans}");
            assert_eq!(rig.answers(), *expected, "{up:?} with {lines}, again, plans: {plans}");
        }
        rig.say("");
        (1..=4).for_each(|last| rig.know(last, State::Up));
        assert_eq!(rig.answers(), ["1 2", "1 2"]);
    }
}

#[test]
fn what_was_said_of_a_check_that_is_gone_is_not_said_of_the_next() {
    let mut rig = Rig::new(false);
    rig.say("target 192.0.2.1 => down");
    for round in 0u64..50 {
        rig.answers();
        // Nobody claims them, and nobody has asked for them for long: the slots go, and others take their place.
        for sweep in 3 * round..3 * (round + 1) {
            rig.table.sweep(Duration::from_secs(1000 * sweep), Duration::ZERO);
        }
        rig.answers();
        (1..=4).for_each(|last| rig.know(last, State::Up));
        assert_eq!(rig.answers(), ["2", "2"], "{round}");
    }
}
