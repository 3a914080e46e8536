//! Answers live no longer than the state of their targets is sure to.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::Message;
use perigee::answer::{Now, Transport};
use perigee::health::checker::{Checker, Outcome, Parts, Settings};
use perigee::health::overrides::{Action, Override, Overrides, Subject};
use perigee::health::table::{Slot, Table};
use perigee::health::{Reason, Verdict};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use crate::support::authority::Authority;
use crate::support::case::decode;
use crate::support::process::Question;

/// How often targets are probed.
const INTERVAL: Duration = Duration::from_secs(5);

/// Names that hang on one target, and others. What is not said otherwise has a TTL of 300, denials too.
const ZONE: &str = "\
$TTL 300
@ SOA ns hostmaster 1 3600 900 604800 300
@ NS ns
ns A 192.0.2.53
up     LUA A     \"ifportup(80, {'192.0.2.1'}, {minimumFailures=3, backupSelector='empty'})\"
vm     LUA A     \";local up = ifportup(80, {'192.0.2.1'}, {minimumFailures=3, backupSelector='empty'}) return up\"
own    LUA A     \";return {ttl = 200, ifportup(80, {'192.0.2.1'}, {minimumFailures=3})[1]}\"
short  2 LUA A   \"ifportup(80, {'192.0.2.1'}, {minimumFailures=3})\"
tiers  LUA A     \"ifportup(80, {{'192.0.2.1'}, {'192.0.2.2'}}, {minimumFailures=3})\"
second LUA A     \"ifportup(80, {{'192.0.2.2'}, {'192.0.2.1'}}, {minimumFailures=3})\"
no     LUA A     \";if ifportup(80, {'192.0.2.1'}, {minimumFailures=3})[1] then return nodata() end\"
never  LUA A     \";if ifportup(80, {'192.0.2.1'}, {minimumFailures=3})[1] then return nxdomain() end\"
say    LUA A     \";ifportup(80, {'192.0.2.1'}, {minimumFailures=3}) return {ttl = 100, rcode = pdns.NXDOMAIN}\"
none   LUA A     \";ifportup(80, {'192.0.2.1'}, {minimumFailures=3}) return {}\"
beside LUA A     \";ifportup(80, {'192.0.2.1'}, {minimumFailures=3}) return {}\"
beside A 192.0.2.9
alias  LUA CNAME \";ifportup(80, {'192.0.2.1'}, {minimumFailures=3}) return {}\"
alias  A 192.0.2.9
alias  TXT text
to     LUA CNAME \";ifportup(80, {'192.0.2.1'}, {minimumFailures=3}) return 'ns.example.org'\"
last   LUA A     \"lastgood(ifportup(80, {'192.0.2.1'}, {minimumFailures=3, backupSelector='empty'}))\"
code   LUA LUA   \"up = ifportup(80, {'192.0.2.1'}, {minimumFailures=3})\"
with   LUA A     \";include('code') return up\"
other  LUA A     \"ifportup(80, {'192.0.2.2'}, {minimumFailures=3})\"
plain  LUA A     \"'192.0.2.9'\"
";

/// The target that a test tells what to do; any other passes.
const TARGET: [u8; 4] = [192, 0, 2, 1];

/// An authority, and a checker of its targets under a clock that nobody waits for.
struct Rig {
    authority: Authority,
    table: Arc<Table>,
    /// Whether the target passes.
    passes: Arc<AtomicBool>,
    /// The targets of verdicts.
    verdicts: mpsc::UnboundedReceiver<Option<IpAddr>>,
    start: Instant,
    _checker: Checker,
}

impl Rig {
    /// Starts with a target that passes its first probe, or never ends it.
    async fn start(config: &str, jitter: f64, answers: bool) -> Self {
        let (table, passes, start) = (Arc::new(Table::new(16)), Arc::new(AtomicBool::new(true)), Instant::now());
        let (told, verdicts) = mpsc::unbounded_channel();
        let target = passes.clone();
        let probe = move |slot: Arc<Slot>| {
            let target = target.clone();
            async move {
                let is_target = slot.check().target() == Some(TARGET.into());
                if is_target && !answers {
                    time::sleep(Duration::from_secs(3600)).await;
                }
                let passes = !is_target || target.load(Ordering::Relaxed);
                if passes { Verdict::Pass { weight: None } } else { Verdict::Fail(Reason::Refused) }
            }
        };
        let told = Mutex::new(told);
        let observe = move |outcome: &Outcome| {
            told.lock().unwrap().send(outcome.slot.check().target()).expect("the test listens");
        };
        let clock = move || Now { unix_secs: 0, monotonic: start.elapsed() };
        let settings = Settings { interval: INTERVAL, jitter, forget: INTERVAL * 100, concurrency: 10 };
        let parts = Parts { probe, clock, observe, counters: Arc::default() };
        let checker = Checker::spawn(table.clone(), settings, parts, std::future::pending());
        let authority = Authority::with_table(config, &[], &[], &table, [("example.org", ZONE)]);
        let mut rig = Self { authority, table, passes, verdicts, start, _checker: checker };
        rig.ask("up", "A");
        if answers {
            rig.verdict(true).await;
        }
        rig
    }

    /// Waits until the target was probed once more, with this outcome.
    async fn verdict(&mut self, passes: bool) {
        self.passes.store(passes, Ordering::Relaxed);
        while self.verdicts.recv().await.expect("the checker runs") != Some(TARGET.into()) {}
    }

    /// Asks now.
    fn ask(&mut self, name: &str, rtype: &str) -> Message {
        let now = Now { unix_secs: 0, monotonic: self.start.elapsed() };
        let question = Question::of_type(&format!("{name}.example.org."), rtype);
        let octets = question.octets();
        let from = SocketAddr::from(([127, 0, 0, 1], 5353));
        decode(&self.authority.respond_at(now, from, Transport::Tcp, &octets).expect("a reply"))
    }

    /// The TTL of the answer, or that of the SOA if there is none.
    fn ttl(&mut self, name: &str, rtype: &str) -> u32 {
        let reply = self.ask(name, rtype);
        reply.answers.iter().chain(&reply.authorities).next().expect("an answer or a denial").ttl
    }
}

#[tokio::test(start_paused = true)]
async fn a_ttl_ends_no_later_than_a_wobbling_state_may() {
    let mut rig = Rig::start("", 0.0, true).await;
    let steady = [300, 300, 200, 2, 300, 300, 300, 300, 100, 300, 300, 300, 300, 300, 300, 300];
    // A second is cut off where the state was reached between two.
    let ask = |rig: &mut Rig| {
        [
            ("up", "A"),
            ("vm", "A"),
            ("own", "A"),
            ("short", "A"),
            ("tiers", "A"),
            ("no", "A"),
            ("never", "A"),
            ("none", "A"),
            ("say", "A"),
            ("beside", "A"),
            ("alias", "A"),
            ("alias", "TXT"),
            ("to", "CNAME"),
            ("to", "A"),
            ("last", "A"),
            ("with", "A"),
        ]
        .map(|(name, rtype)| rig.ttl(name, rtype))
    };
    let assert_capped = |ttls: [u32; 16], most: u32| {
        let least = most - 1;
        for (index, ttl) in ttls.into_iter().enumerate() {
            let is_capped = (least..=most).contains(&ttl) || (index == 3 && ttl == 2);
            assert!(is_capped, "{ttl} at {index}: {ttls:?} of at most {most}");
        }
    };
    // `second` never comes to the target that wobbles.
    rig.ask("second", "A");
    rig.ask("other", "A");
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask(&mut rig), steady, "steady");
    rig.verdict(false).await;
    assert_capped(ask(&mut rig), 10);
    for name in ["second", "other", "plain"] {
        assert_eq!(rig.ttl(name, "A"), 300, "{name}");
    }
    time::sleep(Duration::from_secs(3)).await;
    assert_capped(ask(&mut rig), 7);
    rig.verdict(false).await;
    assert_capped(ask(&mut rig), 5);
    rig.verdict(true).await;
    assert_eq!(ask(&mut rig), steady, "steady again");
    for _ in 0..3 {
        rig.verdict(false).await;
    }
    assert_eq!(ask(&mut rig), steady, "down");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_comes_early_finds_no_answer_that_outlives_it() {
    let mut rig = Rig::start("", 0.5, true).await;
    rig.verdict(false).await;
    let ttl = rig.ttl("up", "A");
    let asked = Instant::now();
    rig.verdict(false).await;
    rig.verdict(false).await;
    assert!(Instant::now() >= asked + Duration::from_secs(ttl.into()), "{ttl}");
}

#[tokio::test(start_paused = true)]
async fn a_target_without_a_verdict_may_have_one_at_any_moment() {
    let mut rig = Rig::start("", 0.0, false).await;
    time::sleep(Duration::from_secs(100)).await;
    for name in ["up", "vm", "no", "tiers"] {
        assert_eq!(rig.ttl(name, "A"), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_ttl_goes_below_the_floor_and_none_is_raised_to_it() {
    let mut rig = Rig::start("health.ttl-min = \"7s\"", 0.0, true).await;
    rig.verdict(false).await;
    rig.verdict(false).await;
    assert_eq!(["up", "no", "short"].map(|name| rig.ttl(name, "A")), [7, 7, 2]);
}

#[tokio::test(start_paused = true)]
async fn states_leave_ttls_alone_where_that_is_wanted() {
    let mut rig = Rig::start("health.ttl-from-state = false", 0.0, true).await;
    rig.verdict(false).await;
    assert_eq!(["up", "no", "none", "say"].map(|name| rig.ttl(name, "A")), [300, 300, 300, 100]);
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_settles_does_not_wobble() {
    let mut rig = Rig::start("", 0.0, true).await;
    rig.verdict(false).await;
    for action in [Action::Up, Action::Down, Action::Pause] {
        let subject = Subject::Network("192.0.2.1/32".parse().expect("a network"));
        let said = Override { subject, action, until: None, author: None, reason: None };
        rig.table.set_overrides(Arc::new(Overrides::new(vec![said])));
        assert_eq!(["up", "no"].map(|name| rig.ttl(name, "A")), [300, 300], "{action:?}");
    }
    rig.table.set_overrides(Arc::default());
    assert!(rig.ttl("up", "A") <= 10);
}
