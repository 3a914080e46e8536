//! What outlives the process: states of targets and what operators say, over stops and kills at any moment.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use perigee::config;
use perigee::daemon::keeper::{self, Keeper};
use perigee::daemon::overrides;
use perigee::daemon::replace::clean_up;
use perigee::health::State;
use perigee::health::hysteresis::Run;
use perigee::health::sentence;
use perigee::health::state::{self, Kept, Remembered};
use perigee::health::table::Table;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::PATIENCE;
use crate::support::backend::{Backend, Reply};
use crate::support::process::{Perigee, Question, say};

/// A zone whose `www` hangs on two web servers; when none is up, all are answered.
fn zone(port: u16) -> String {
    format!(
        "\
@ 1 IN SOA ns hostmaster 1 3600 900 604800 1
@ 1 IN NS ns
ns 1 IN A 192.0.2.53
www 1 LUA A ( \"ifurlup('http://www.example.net:{port}/', {{'127.0.0.1', '127.0.0.2'}}, \"
              \"{{interval=0.1, timeout=200, selector='all', backupSelector='all'}})\" )
"
    )
}

/// Two web servers on one port of two addresses.
fn backends() -> (Backend, Backend) {
    let first = Backend::start();
    let second = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), first.address.port()).into());
    (first, second)
}

/// The names of the files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// What a state file holds, which must be whole.
fn remembered(file: &Path) -> Remembered {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let text = fs::read(file).expect("it is there");
    let remembered = state::parse(&text, now, Duration::from_secs(600), 1000).expect("it is whole");
    assert_eq!(remembered.broken, 0);
    remembered
}

#[test]
fn no_answer_after_a_restart_names_a_target_known_to_be_down() {
    let (first, second) = backends();
    second.reply(Reply::status(503));
    let zone = zone(first.address.port());
    let config = |warmup: &str| format!("[health]\nstate-file = \"state\"\nwarmup = \"{warmup}\"\n");
    let files = [("zones/example.net.zone", &*zone), ("perigee.toml", &config("3s"))];
    let perigee = Perigee::start(&files);
    let www = Question::a("www.example.net");
    assert_eq!(perigee.answers(&www), ["127.0.0.1"]);
    let mut directory = perigee.stop_for_another();
    // No probe can end from now on, so nothing but the file can tell the two apart.
    first.reply(Reply::Hang);
    second.reply(Reply::Hang);
    for run in 0..10 {
        let warmup = if run % 2 == 0 { "0s" } else { "50ms" };
        fs::write(directory.path().join("perigee.toml"), config(warmup)).expect("written");
        let perigee = Perigee::start_in(directory);
        assert_eq!(perigee.answers(&www), ["127.0.0.1"], "run {run}");
        directory = if run % 3 == 0 { perigee.kill_for_another() } else { perigee.stop_for_another() };
        let mut states: Vec<_> =
            remembered(&directory.path().join("state")).kept.iter().map(|kept| kept.run.state).collect();
        states.sort_by_key(|state| state.as_str());
        assert_eq!(states, [State::Down, State::Up], "run {run}");
    }
    // Without the file, the two are alike.
    fs::remove_file(directory.path().join("state")).expect("removed");
    let perigee = Perigee::start_in(directory);
    assert_eq!(perigee.answers(&www), ["127.0.0.1", "127.0.0.2"]);
}

#[test]
fn a_flip_is_kept_soon_and_a_crash_loses_nothing() {
    let (first, second) = backends();
    let zone = zone(first.address.port());
    let files =
        [("zones/example.net.zone", &*zone), ("perigee.toml", "[health]\nstate-file = \"state\"\nwarmup = \"0s\"\n")];
    let perigee = Perigee::start(&files);
    let www = Question::a("www.example.net");
    perigee.wait_for_answers(&www, &["127.0.0.1", "127.0.0.2"]);
    first.reply(Reply::status(503));
    perigee.wait_for_answers(&www, &["127.0.0.2"]);
    let file = perigee.directory().join("state");
    let is_kept = || {
        let kept = fs::read_to_string(&file).unwrap_or_default();
        kept.lines().any(|line| line.contains("at 127.0.0.1") && line.contains("\"state\":\"down\""))
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_kept() {
        assert!(Instant::now() < deadline, "the flip is not kept");
        perigee.answers(&www);
    }
    first.reply(Reply::Hang);
    second.reply(Reply::Hang);
    let perigee = Perigee::start_in(perigee.kill_for_another());
    assert_eq!(perigee.answers(&www), ["127.0.0.2"]);
}

#[test]
fn a_state_file_that_is_none_stops_no_start() {
    let (first, _second) = backends();
    let zone = zone(first.address.port());
    let rows: [(&[u8], &str); 4] = [
        (b"", "states of an earlier start are passed over"),
        (b"\xff\x00 no state", "its first line is none that perigee writes"),
        (b"{\"perigee-health\":1,\"written\":12}\n", "it is "),
        (b"{\"perigee-health\":7,\"written\":12}\n", "it is of version 7"),
    ];
    for (text, expected) in rows {
        let files = [
            ("zones/example.net.zone", zone.as_bytes()),
            ("perigee.toml", b"[health]\nstate-file = \"state\"\n"),
            ("state", text),
        ];
        let perigee = Perigee::start(&files);
        let warnings: Vec<_> = perigee.at_start.iter().filter(|line| line.contains(" WARN ")).collect();
        assert!(warnings.iter().any(|line| line.contains(expected)), "{:#?}", perigee.at_start);
        assert_eq!(perigee.answers(&Question::a("www.example.net")), ["127.0.0.1", "127.0.0.2"]);
    }
    let files = [("zones/example.net.zone", &*zone), ("perigee.toml", "[health]\nstate-file = \"absent/state\"\n")];
    let mut perigee = Perigee::start(&files);
    perigee.wait_for_log("states are not kept for the next start");
}

/// How many overrides the writer that is killed keeps in its file.
const HELD: u64 = 16;
/// How many states it keeps.
const STATES: u64 = 50;
/// Where the writer writes; it is no writer without.
const PLACE: &str = "PERIGEE_TEST_WRITER";

/// Writes states and overrides without an end, and says which override stands in the file.
#[test]
#[ignore = "a process of its own, which another test starts and kills"]
fn writes_until_it_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let place = Path::new(&place);
    let table = Arc::new(Table::new(1000));
    let run = Run { state: State::Down, failures: 0, passes: 0 };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let kept = |identity| Kept {
        identity,
        check: format!("tcp 192.0.2.1:{identity}"),
        run,
        weight: None,
        since: now,
        at: now,
        watched: now,
        reason: Some("x".repeat((identity * 3 % 256) as usize)),
    };
    table.restore((0..STATES).map(kept).collect());
    let keeper = Keeper::new(place.join("state"), table, Duration::from_secs(600));
    for number in newest(place) + 1.. {
        let line = format!("zone z{} => down by kim because {number}", number % HELD);
        let said = sentence::parse(&line).expect("sound").expect("it says something");
        overrides::edit(&place.join("overrides"), |sheet| sheet.add(said)).expect("written");
        println!("said {number}");
        keeper.save();
    }
}

/// The number of the newest override in the file, behind which all others must stand in a row.
fn newest(place: &Path) -> u64 {
    let sheet = overrides::read(&place.join("overrides")).expect("the file is sound");
    let numbers: Vec<u64> =
        sheet.overrides().map(|said| said.reason.as_deref().expect("a reason").parse().expect("a number")).collect();
    let newest = numbers.last().copied().unwrap_or(0);
    let expected: Vec<u64> = (1..=newest).skip(usize::try_from(newest.saturating_sub(HELD)).expect("few")).collect();
    assert_eq!(numbers, expected, "the last ones, in a row");
    newest
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_said_and_leave_nothing_behind() {
    // Several at a time, as most of it is waiting for the disk.
    let cut_short: usize = thread::scope(|scope| {
        let lanes: Vec<_> = (0..5).map(|lane| scope.spawn(move || kill_writers(lane, 20))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("nothing is lost")).sum()
    });
    // Else the kills come at moments that prove nothing.
    assert!(cut_short > 0, "no kill came while a file was being written");
}

/// Starts a writer and kills it, again and again in one directory; returns how many kills left something behind, which
/// the next start is to clean up.
fn kill_writers(lane: u64, rounds: u32) -> usize {
    let mut random = SmallRng::seed_from_u64(lane);
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let [overrides_file, state_file] = ["overrides", "state"].map(|name| place.join(name));
    let health = config::Health { state_file: state_file.clone(), ..config::Health::default() };
    let mut cut_short = 0;
    for round in 0..rounds {
        let said = kill_writer(place, Duration::from_micros(random.random_range(0..15_000)));
        cut_short += usize::from(names(place).len() > 2);
        clean_up(&overrides_file);
        let newest = newest(place);
        assert!((said..=said + 1).contains(&newest), "round {round}: {said} was said, and {newest} stands there");
        let table = Arc::new(Table::new(1000));
        keeper::open(&health, &table).expect("there is a file for it");
        if state_file.exists() {
            assert_eq!(remembered(&state_file).kept.len() as u64, STATES, "round {round}");
            assert_eq!(table.known(0).len() as u64, STATES, "round {round}");
        }
        let names = names(place);
        assert!(names.iter().all(|name| ["overrides", "state"].contains(&name.as_str())), "round {round}: {names:?}");
    }
    cut_short
}

/// Starts a writer and kills it so long after its first line; returns the number it said last.
fn kill_writer(place: &Path, after: Duration) -> u64 {
    let mut writer = Command::new(std::env::current_exe().expect("this test"))
        .args(["restart::writes_until_it_is_killed", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(PLACE, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let lines = BufReader::new(writer.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        let numbers = lines.filter_map(|line| line.rsplit_once("said ")?.1.parse::<u64>().ok());
        numbers.into_iter().try_for_each(|number| sender.send(number))
    });
    let mut last = said.recv().expect("it writes");
    let moment = Instant::now() + after;
    while let Ok(number) = said.recv_timeout(moment.saturating_duration_since(Instant::now())) {
        last = number;
    }
    writer.kill().expect("the child is ours");
    writer.wait().expect("the child is ours");
    said.into_iter().last().unwrap_or(last)
}

#[test]
fn kills_of_a_server_whose_targets_flap_leave_whole_files() {
    let (first, second) = backends();
    let zone = zone(first.address.port());
    // States that count for a second are written every quarter.
    let config = "[zones]\nreload-interval = \"50ms\"\n[health]\nwarmup = \"0s\"\nstate-file = \"state\"\n\
                  state-age-max = \"1s\"\noverrides-file = \"overrides\"\n";
    let perigee = Perigee::start(&[("zones/example.net.zone", &*zone), ("perigee.toml", config)]);
    let place = perigee.directory().to_owned();
    let stopped = AtomicBool::new(false);
    let directory = thread::scope(|scope| {
        let (mut perigee, mut random) = (perigee, SmallRng::seed_from_u64(7));
        let flapping = scope.spawn(|| {
            for round in (0u32..).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                second.reply(Reply::status(if round % 2 == 0 { 503 } else { 200 }));
                let action = if round % 2 == 0 { "down" } else { "up" };
                let zone = format!("z{}", round % 8);
                say(&place, &["add", "zone", &zone, action, "because", &round.to_string()]).expect("said");
            }
        });
        for round in 0..8 {
            (0..random.random_range(1..4)).for_each(|_| drop(perigee.wait_for_log("target flips")));
            perigee = Perigee::start_in(perigee.kill_for_another());
            let complaints: Vec<_> = perigee
                .at_start
                .iter()
                .filter(|line| line.contains("ERROR") || line.contains("cannot be read"))
                .collect();
            assert!(complaints.is_empty(), "round {round}: {complaints:#?}");
        }
        stopped.store(true, Ordering::Relaxed);
        flapping.join().expect("every override was said");
        perigee.stop_for_another()
    });
    assert_eq!(names(directory.path()), ["overrides", "perigee.toml", "state", "zones"]);
    assert_eq!(remembered(&directory.path().join("state")).kept.len(), 2);
    let sheet = overrides::read(&directory.path().join("overrides")).expect("sound");
    assert!(sheet.overrides().count() >= 1);
}
