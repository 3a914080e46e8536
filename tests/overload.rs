//! Overload: the dearest scripts are shed first, and everything else is answered.

use std::cell::Cell;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use perigee::answer::{Occasion, Outcome, Transport};
use perigee::dns::Now;

use crate::support::authority::Authority;
use crate::support::process::{Perigee, Question, answers, rcode};
use crate::support::{LOOPBACK, SETTINGS, Server, ask_tcp, ask_udp, framed, read_message, tcp_to, udp_to};

/// `dear` takes nearly all the steps a run may, `cheap` takes the VM as well, and the others do not.
const ZONE: &str = "\
@ 60 IN SOA ns hostmaster 1 3600 900 604800 60
@ 60 IN NS ns
ns 60 IN A 192.0.2.53
static 60 IN A 192.0.2.1
plan 60 IN LUA A \"pickrandom({'192.0.2.2'})\"
cheap 60 IN LUA A \";local last = 3 return '192.0.2.' .. last\"
dear 60 IN LUA A \";local last = 0 for turn = 1, 19000 do last = turn % 5 end return '192.0.2.' .. last\"
";

/// One worker, and a budget in steps alone: how fast the machine is decides no answer.
const CONFIG: &str = "[server]\nworkers = 1\n[lua]\ntime-limit = \"1s\"\n";

/// An authority each of whose runs of a script takes so long.
fn authority(config: &str, run: Duration) -> Authority {
    let time = Cell::new(Duration::ZERO);
    // It is read before and after each run.
    let stopwatch = move || {
        time.set(time.get() + run);
        time.get()
    };
    Authority::with_stopwatch(config, stopwatch, [("example.net", ZONE)])
}

fn ask(authority: &mut Authority, at: Duration, name: &str) -> Option<Message> {
    let question = Question::a(&format!("{name}.example.net")).octets();
    let now = Now { unix_secs: 1_700_000_000 + at.as_secs(), monotonic: at };
    let from = SocketAddr::from(([192, 0, 2, 9], 5353));
    let reply = authority.respond_at(now, from, Transport::Udp, &question)?;
    Some(Message::from_vec(&reply).expect("a well-formed reply"))
}

#[test]
fn those_who_come_together_do_not_wait_for_all_dear_scripts_of_theirs() {
    let mut authority = authority("", Duration::from_millis(4));
    let at = Duration::from_secs(1);
    // It is known for what it costs after some runs, each at a moment of its own.
    for moment in 0..10 {
        assert_eq!(rcode(&ask(&mut authority, at * moment, "dear").unwrap()), ResponseCode::NoError, "{moment}");
    }
    let together = at * 20;
    let got: Vec<_> = (0..5).map(|_| ask(&mut authority, together, "dear").expect("a reply")).collect();
    let rcodes: Vec<_> = got.iter().map(rcode).collect();
    let (run, shed) = (ResponseCode::NoError, ResponseCode::ServFail);
    assert_eq!(rcodes, [run, run, shed, shed, shed]);
    for name in ["static", "plan"] {
        assert_eq!(answers(&ask(&mut authority, together, name).unwrap()).len(), 1, "{name}");
    }
    assert_eq!((authority.counter("shed"), authority.counter("script_runs")), (3, 12));
    assert_eq!(authority.counter("script_micros"), 48_000);
}

#[test]
fn what_shed_queries_get_is_a_choice() {
    let rows =
        [("servfail", Some(ResponseCode::ServFail), 1), ("drop", None, 1), ("off", Some(ResponseCode::NoError), 0)];
    for (choice, expected, shed) in rows {
        let config = format!("[overload]\nshed = \"{choice}\"");
        let mut authority = authority(&config, Duration::from_secs(1));
        let at = Duration::from_secs(1);
        // One is run whatever it costs, and with it the time of the batch is over.
        assert_eq!(rcode(&ask(&mut authority, at, "dear").unwrap()), ResponseCode::NoError, "{choice}");
        assert_eq!(ask(&mut authority, at, "dear").as_ref().map(rcode), expected, "{choice}");
        assert_eq!(authority.counter("shed"), shed, "{choice}");
    }
}

#[test]
fn a_shed_query_is_told_why() {
    let mut authority = authority("", Duration::from_secs(1));
    let at = Duration::from_secs(1);
    ask(&mut authority, at, "dear");
    let shed = ask(&mut authority, at, "dear").unwrap();
    let told = format!("{:?}", shed.edns.expect("the question had one"));
    let words = "too much is asked now to run the record's script";
    let octets = words.bytes().map(|octet| octet.to_string()).collect::<Vec<_>>().join(", ");
    assert!(told.contains(&octets) || told.contains(words), "{told}");
}

#[test]
fn a_worker_tells_how_long_it_had_nothing_to_do() {
    let server = Server::start(&LOOPBACK, 1, SETTINGS, |_| {
        |now: Now, _: &_, _: &[u8], occasion: Occasion, out: &mut Vec<u8>| {
            let times = [occasion.load.idle, now.monotonic];
            out.extend(times.iter().flat_map(|time| u64::try_from(time.as_nanos()).unwrap().to_be_bytes()));
            Outcome::Reply
        }
    });
    let mut last = (0, 0);
    for ask in [ask_udp, ask_tcp].repeat(3) {
        let reply = ask(server.addresses[0], b"when").unwrap();
        let idle = u64::from_be_bytes(*reply.first_chunk().unwrap());
        let now = u64::from_be_bytes(*reply.last_chunk().unwrap());
        // It has waited for this request, and can have done so no longer than time went by.
        assert!(last.0 < idle && idle - last.0 <= now - last.1, "{last:?} {idle} {now}");
        last = (idle, now);
    }
}

/// A flood that keeps so many questions under way: it asks anew as fast as it is answered, so that no queue of the
/// system's ever overflows and each question without an answer is the server's doing.
const UNDER_WAY: usize = 32;

/// Floods until told to stop; counts what is answered.
fn flood_by_udp(server: SocketAddr, stop: &AtomicBool, got: &AtomicU64) {
    let socket: UdpSocket = udp_to(server);
    let question = Question::a("dear.example.net").octets();
    for _ in 0..UNDER_WAY {
        socket.send(&question).expect("sent");
    }
    let mut reply = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        socket.recv(&mut reply).expect("a reply");
        got.fetch_add(1, Ordering::Relaxed);
        socket.send(&question).expect("sent");
    }
}

/// The same on one connection.
fn flood_by_tcp(server: SocketAddr, stop: &AtomicBool, got: &AtomicU64) {
    let stream: TcpStream = tcp_to(server);
    let question = framed(&Question::a("dear.example.net").octets());
    (&stream).write_all(&question.repeat(UNDER_WAY)).expect("sent");
    while !stop.load(Ordering::Relaxed) {
        read_message(&stream).expect("a reply");
        got.fetch_add(1, Ordering::Relaxed);
        (&stream).write_all(&question).expect("sent");
    }
}

#[test]
fn a_flood_of_the_dearest_record_leaves_the_others_alone() {
    for (transport, flood) in [("UDP", flood_by_udp as fn(_, &_, &_)), ("TCP", flood_by_tcp)] {
        let mut perigee = Perigee::start(&[("perigee.toml", CONFIG), ("zones/example.net.zone", ZONE)]);
        let server = perigee.address;
        // What they cost is known. To ask for more, one after the other, is to flood as well.
        for name in ["dear", "cheap"] {
            assert_eq!(rcode(&perigee.ask(&Question::a(&format!("{name}.example.net")))), ResponseCode::NoError);
        }
        let (stop, got) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| flood(server, &stop, &got));
            let client = perigee.client();
            // As long as the flood is not seen for one, and much longer.
            let mut asked = 0;
            while asked < 1000 || got.load(Ordering::Relaxed) < 3000 {
                for (name, address) in [("static", "192.0.2.1"), ("plan", "192.0.2.2"), ("cheap", "192.0.2.3")] {
                    let reply = client.ask(&Question::a(&format!("{name}.example.net")));
                    assert_eq!(answers(&reply), [address], "{transport}: {name}: {reply}");
                    asked += 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let began = perigee.wait_for_log("overload: records whose scripts cost much are not answered");
        assert!(began.contains("example.net.zone:7") && began.contains("cost="), "{transport}: {began}");
        perigee.signal("USR1");
        let counted = perigee.wait_for_log("counted so far");
        let count = |name: &str| -> u64 {
            let number = counted.split(&format!(" {name}=")).nth(1).expect(name);
            number.split(' ').next().expect("a number").parse().expect("a number")
        };
        let (shed, runs) = (count("shed"), count("script_runs"));
        // Each `cheap` was run, and `dear` until the flood was seen; all else was shed.
        assert!(shed > 1500, "{transport}: {counted}");
        assert!(runs > 300, "{transport}: {counted}");
        assert!(count("waits") == 0 && count("udp_send_failures") == 0, "{transport}: {counted}");
    }
}
