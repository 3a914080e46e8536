//! Requests whose answer lacks something: the others go on, and no more wait, or longer, than may.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use perigee::answer::{Client, Now, Occasion, Outcome, Patience};
use perigee::dns::Rtype;
use perigee::resolve::table::{Lifetimes, Reading, Table};
use perigee::resolve::{Question, Reason, Verdict};
use perigee::server::Settings;

use crate::support::{LOOPBACK, PATIENCE, SETTINGS, Server, ask_udp, framed, read_message, receive, tcp_to, udp_to};

/// One worker whose requests are names: it needs to know of each, one after the other, and sends the request back.
///
/// Without patience it sends `gave up` instead. A request that begins with `at once` needs nothing, and `endless` always
/// something new.
struct Needy {
    server: Server,
    names: Arc<Table>,
    /// What requests have begun to wait for.
    awaited: Receiver<String>,
}

impl Needy {
    fn start(listen: &[&str], settings: Settings) -> Self {
        let lifetimes = Lifetimes { ttl_min: Duration::from_secs(1), negative_ttl: Duration::from_secs(1) };
        let names = Arc::new(Table::new(1000, lifetimes));
        let (begun, awaited) = channel();
        let known = names.clone();
        let server = Server::start(listen, 1, settings, move |_| responder(known.clone(), begun.clone()));
        Self { server, names, awaited }
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses[0]
    }

    /// Waits until a request needs something; returns what.
    fn need(&self) -> String {
        self.awaited.recv_timeout(PATIENCE).expect("a request waits")
    }

    /// Makes a name known.
    fn tell(&self, name: &str) {
        let slot = self.names.slot(&question(name), Duration::ZERO);
        self.names.publish(&slot, Verdict::Failed(Reason::Failed), Duration::ZERO);
    }
}

fn question(name: &str) -> Question {
    Question { name: name.parse().unwrap(), rtype: Rtype::A }
}

fn responder(
    names: Arc<Table>,
    begun: Sender<String>,
) -> impl FnMut(Now, &Client, &[u8], Occasion, &mut Vec<u8>) -> Outcome {
    let mut made_up = 0;
    move |_, _, octets, occasion, out| {
        let text = std::str::from_utf8(octets).unwrap();
        made_up += 1;
        let needs = match text {
            "endless" => vec![format!("n{made_up}.example")],
            text if text.starts_with("at once") => Vec::new(),
            text => text.split(' ').map(str::to_owned).collect(),
        };
        for need in needs {
            let slot = names.slot(&question(&need), Duration::ZERO);
            if let Reading::Pending(awaited) = names.read(&slot, Duration::ZERO) {
                if occasion.patience == Patience::Spent {
                    out.extend_from_slice(b"gave up");
                    return Outcome::Reply;
                }
                begun.send(need).unwrap();
                return Outcome::Await(awaited);
            }
        }
        out.extend_from_slice(octets);
        Outcome::Reply
    }
}

#[test]
fn datagrams_are_answered_while_another_waits() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let waiting = udp_to(needy.address());
    waiting.send(b"a.example").unwrap();
    assert_eq!(needy.need(), "a.example");
    assert_eq!(ask_udp(needy.address(), b"at once").unwrap(), b"at once");
    needy.tell("a.example");
    assert_eq!(receive(&waiting).unwrap(), b"a.example");
    let counted = ["udp_requests", "udp_dropped", "waits", "waits_refused", "waits_expired"];
    assert_eq!(counted.map(|name| needy.server.counter(name)), [2, 0, 1, 0, 0]);
}

#[test]
fn a_late_reply_leaves_from_the_address_asked() {
    let needy = Needy::start(&["0.0.0.0:0"], SETTINGS);
    for ip in ["127.0.0.1", "127.0.0.2"] {
        // A connected socket takes nothing from elsewhere.
        let waiting = udp_to(SocketAddr::new(ip.parse().unwrap(), needy.address().port()));
        let name = format!("{ip}.example");
        waiting.send(name.as_bytes()).unwrap();
        needy.need();
        needy.tell(&name);
        assert_eq!(receive(&waiting).unwrap(), name.as_bytes());
    }
}

#[test]
fn messages_on_a_connection_pass_one_that_waits() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let stream = tcp_to(needy.address());
    (&stream).write_all(&[framed(b"a.example"), framed(b"at once 1"), framed(b"at once 2")].concat()).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"at once 1");
    assert_eq!(read_message(&stream).unwrap(), b"at once 2");
    (&stream).write_all(&framed(b"at once 3")).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"at once 3");
    needy.tell("a.example");
    assert_eq!(read_message(&stream).unwrap(), b"a.example");
    let counted = ["tcp_requests", "tcp_dropped", "waits"];
    assert_eq!(counted.map(|name| needy.server.counter(name)), [4, 0, 1]);
}

#[test]
fn a_connection_that_asks_and_closes_gets_what_it_waits_for() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let stream = tcp_to(needy.address());
    (&stream).write_all(&framed(b"a.example")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    needy.need();
    needy.tell("a.example");
    assert_eq!(read_message(&stream).unwrap(), b"a.example");
}

#[test]
fn more_messages_than_may_wait_on_a_connection_are_all_answered() {
    const MESSAGES: usize = 100;
    let needy = Needy::start(&LOOPBACK, Settings { waits_max: 2 * MESSAGES, ..SETTINGS });
    let stream = tcp_to(needy.address());
    (&stream).write_all(&framed(b"a.example").repeat(MESSAGES)).unwrap();
    needy.need();
    needy.tell("a.example");
    for _ in 0..MESSAGES {
        assert_eq!(read_message(&stream).unwrap(), b"a.example");
    }
}

#[test]
fn a_request_may_need_one_thing_after_another() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let waiting = udp_to(needy.address());
    waiting.send(b"a.example b.example").unwrap();
    for name in ["a.example", "b.example"] {
        assert_eq!(needy.need(), name);
        needy.tell(name);
    }
    assert_eq!(receive(&waiting).unwrap(), b"a.example b.example");
    assert_eq!(needy.server.counter("waits"), 1);
}

#[test]
fn a_request_that_always_needs_more_is_answered_without() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let waiting = udp_to(needy.address());
    waiting.send(b"endless").unwrap();
    // The first try and all but the last retry wait.
    for _ in 0..8 {
        let name = needy.need();
        needy.tell(&name);
    }
    assert_eq!(receive(&waiting).unwrap(), b"gave up");
}

#[test]
fn a_request_that_finds_too_many_waiting_is_answered_without() {
    let needy = Needy::start(&LOOPBACK, Settings { waits_max: 1, ..SETTINGS });
    let first = udp_to(needy.address());
    first.send(b"a.example").unwrap();
    needy.need();
    assert_eq!(ask_udp(needy.address(), b"b.example").unwrap(), b"gave up");
    assert_eq!(needy.need(), "b.example");
    needy.tell("a.example");
    assert_eq!(receive(&first).unwrap(), b"a.example");
    // The place is free again.
    first.send(b"c.example").unwrap();
    assert_eq!(needy.need(), "c.example");
    needy.tell("c.example");
    assert_eq!(receive(&first).unwrap(), b"c.example");
    assert_eq!(["waits", "waits_refused"].map(|name| needy.server.counter(name)), [2, 1]);
}

#[test]
fn a_request_that_waits_too_long_is_answered_without() {
    let needy = Needy::start(&LOOPBACK, Settings { wait_timeout: Duration::from_millis(20), ..SETTINGS });
    assert_eq!(ask_udp(needy.address(), b"a.example").unwrap(), b"gave up");
    let stream = tcp_to(needy.address());
    (&stream).write_all(&framed(b"a.example")).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"gave up");
    assert_eq!(needy.server.counter("waits_expired"), 2);
}

#[test]
fn a_stop_ends_every_wait() {
    let needy = Needy::start(&LOOPBACK, SETTINGS);
    let datagram = udp_to(needy.address());
    datagram.send(b"a.example").unwrap();
    let stream = tcp_to(needy.address());
    (&stream).write_all(&framed(b"a.example")).unwrap();
    assert_eq!([needy.need(), needy.need()], ["a.example"; 2]);
    needy.server.stop().request();
    assert_eq!(receive(&datagram).unwrap(), b"gave up");
    assert_eq!(read_message(&stream).unwrap(), b"gave up");
    needy.server.join().unwrap();
}
