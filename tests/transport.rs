//! UDP, TCP pipelining, slow clients, octet noise.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use perigee::answer::{Outcome, Transport};
use perigee::server::{self, Error, Settings, Wanted};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{
    LOOPBACK, PATIENCE, SETTINGS, Server, ask_on, ask_tcp, ask_udp, echo, framed, read_message, receive, tcp_to, udp_to,
};

/// Settings under which time soon runs out for slow clients.
const HASTY: Settings = Settings {
    tcp_idle_timeout: Duration::from_millis(100),
    tcp_write_timeout: Duration::from_millis(100),
    ..SETTINGS
};

/// Settings under which nobody has long to read.
const UNREAD: Settings = Settings { tcp_write_timeout: Duration::from_millis(100), ..SETTINGS };

/// Whether the server closes the connection without another octet.
fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn both_transports_answer_on_one_port_of_both_families() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    for address in &server.addresses {
        assert_eq!(ask_udp(*address, b"by datagram").unwrap(), b"by datagram");
        assert_eq!(ask_tcp(*address, b"by stream").unwrap(), b"by stream");
    }
}

#[test]
fn a_responder_is_told_who_asks_and_how() {
    let server = Server::start(&LOOPBACK, 1, SETTINGS, |_| {
        |_, client: &perigee::answer::Client, _: &[u8], _, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{client:?}").as_bytes());
            Outcome::Reply
        }
    });
    for local in &server.addresses {
        let socket = udp_to(*local);
        socket.send(b"who").unwrap();
        let client =
            perigee::answer::Client { address: socket.local_addr().unwrap(), local: *local, transport: Transport::Udp };
        assert_eq!(receive(&socket).unwrap(), format!("{client:?}").as_bytes());

        let stream = tcp_to(*local);
        let address = stream.local_addr().unwrap();
        let client = perigee::answer::Client { address, transport: Transport::Tcp, ..client };
        assert_eq!(ask_on(&stream, b"who").unwrap(), format!("{client:?}").as_bytes());
    }
}

#[test]
fn time_does_not_go_back() {
    let server = Server::start(&LOOPBACK, 1, SETTINGS, |_| {
        |now: perigee::answer::Now, _: &_, _: &[u8], _, out: &mut Vec<u8>| {
            out.extend_from_slice(&now.unix_secs.to_be_bytes());
            out.extend_from_slice(&now.monotonic.as_nanos().to_be_bytes());
            Outcome::Reply
        }
    });
    let unix_secs = |reply: &[u8]| u64::from_be_bytes(*reply.first_chunk().unwrap());
    let monotonic = |reply: &[u8]| u128::from_be_bytes(*reply.last_chunk().unwrap());
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let first = ask_udp(server.addresses[0], b"when").unwrap();
    let second = ask_tcp(server.addresses[0], b"when").unwrap();
    let after = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((before..=after).contains(&unix_secs(&first)));
    assert!(monotonic(&first) < monotonic(&second));
}

#[test]
fn a_burst_of_datagrams_is_answered_whole() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    // More than a batch, and no more than any socket buffer holds.
    let burst: Vec<_> = (0..100u8).map(|number| [number; 30]).collect();
    for address in &server.addresses {
        let socket = udp_to(*address);
        for request in &burst {
            socket.send(request).unwrap();
        }
        for request in &burst {
            assert_eq!(receive(&socket).unwrap(), request);
        }
    }
}

#[test]
fn datagrams_to_be_ignored_do_not_hold_up_others() {
    let server = Server::start(&LOOPBACK, 1, SETTINGS, |_| {
        |_, _: &_, octets: &[u8], _, out: &mut Vec<u8>| match octets {
            b"ignore" => Outcome::Silence,
            octets => {
                out.extend_from_slice(octets);
                Outcome::Reply
            }
        }
    });
    let socket = udp_to(server.addresses[0]);
    socket.send(b"ignore").unwrap();
    socket.send(&[0; 5000]).unwrap();
    socket.send(b"answer").unwrap();
    assert_eq!(receive(&socket).unwrap(), b"answer");
    assert_eq!(ask_tcp(server.addresses[0], b"later").unwrap(), b"later");
    assert_eq!(server.counter("udp_dropped"), 1);
    assert_eq!(server.counter("udp_truncated"), 1);
    assert_eq!(server.counter("udp_requests"), 2);
}

#[test]
fn a_reply_that_cannot_be_sent_does_not_hold_up_others() {
    let server = Server::start(&LOOPBACK, 1, SETTINGS, |_| {
        |_, _: &_, octets: &[u8], _, out: &mut Vec<u8>| {
            // Longer than any datagram.
            let times = if octets == b"vast" { 70_000 } else { 1 };
            out.extend(octets.iter().cycle().take(octets.len() * times));
            Outcome::Reply
        }
    });
    let socket = udp_to(server.addresses[0]);
    let stream = tcp_to(server.addresses[0]);
    for request in [b"one", b"two"] {
        socket.send(b"vast").unwrap();
        socket.send(request).unwrap();
        assert_eq!(receive(&socket).unwrap(), request);
        (&stream).write_all(&framed(b"vast")).unwrap();
        assert_eq!(ask_on(&stream, request).unwrap(), request);
    }
    assert_eq!(server.counter("udp_send_failures"), 2);
    assert_eq!(server.counter("tcp_send_failures"), 2);
}

#[test]
fn a_reply_leaves_from_the_address_asked() {
    let server = Server::start(&["0.0.0.0:0", "[::]:0"], 2, SETTINGS, |_| {
        |_, client: &perigee::answer::Client, _: &[u8], _, out: &mut Vec<u8>| {
            out.extend_from_slice(client.local.to_string().as_bytes());
            Outcome::Reply
        }
    });
    let v4 = server.addresses[0];
    let mut asked = vec![("127.0.0.1", v4), ("127.0.0.2", v4), ("127.1.2.3", v4)];
    // Where there is no IPv6 there is no `::1`, though `::` may be had.
    let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    asked.extend(server.addresses.get(1).filter(|_| has_ipv6).map(|v6| ("::1", *v6)));
    for (ip, bound) in asked {
        let address = SocketAddr::new(ip.parse().unwrap(), bound.port());
        // A connected socket takes nothing from elsewhere.
        assert_eq!(ask_udp(address, b"where").unwrap(), address.to_string().as_bytes());
        assert_eq!(ask_tcp(address, b"where").unwrap(), address.to_string().as_bytes());
    }
}

#[test]
fn a_port_that_is_served_cannot_be_taken_again() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let problems = server::bind(&wanted(&server.addresses), 2).unwrap_err();
    assert_eq!(problems.len(), server.addresses.len());
    let everywhere = SocketAddr::new("0.0.0.0".parse().unwrap(), server.addresses[0].port());
    assert_eq!(server::bind(&wanted(&[everywhere]), 2).unwrap_err().len(), 1);
    assert_eq!(ask_udp(server.addresses[0], b"still there").unwrap(), b"still there");
}

/// The addresses as those to be bound.
fn wanted(addresses: &[SocketAddr]) -> Vec<Wanted> {
    addresses.iter().map(|address| (*address).into()).collect()
}

#[test]
fn addresses_come_and_go_while_others_are_served() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let more = server::bind(&wanted(&["127.0.0.2:0".parse().unwrap()]), 2).unwrap();
    let address = more.addresses()[0];
    server.orders().serve(more);
    // A roll call ends after all that was ordered before.
    block_on(server.orders().roll_call());
    let stream = tcp_to(address);
    assert_eq!(ask_udp(address, b"new").unwrap(), b"new");
    assert_eq!(ask_on(&stream, b"new").unwrap(), b"new");

    server.orders().leave(&[address]);
    block_on(server.orders().roll_call());
    // Whoever is there goes on, and nobody else gets in.
    assert_eq!(ask_on(&stream, b"still there").unwrap(), b"still there");
    let refused = |outcome: io::Error| outcome.kind() == io::ErrorKind::ConnectionRefused;
    let closed = (0..1000).any(|_| TcpStream::connect(address).is_err_and(refused));
    assert!(closed, "the address is still served by TCP");
    assert_eq!(ask_udp(server.addresses[0], b"still there").unwrap(), b"still there");
    // Datagrams that had come are answered first, which a roll call does not wait for.
    let taken = (0..1000).find_map(|_| server::bind(&wanted(&[address]), 2).ok());
    assert_eq!(taken.expect("the address is free").addresses(), [address]);
}

#[test]
fn a_worker_that_hangs_does_not_answer_a_roll_call() {
    let (reached, is_reached) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let parts = Mutex::new(Some((reached, may_go_on)));
    let server = Server::start(&LOOPBACK, 1, SETTINGS, move |_| {
        let (reached, may_go_on) = parts.lock().unwrap().take().unwrap();
        move |_, _: &_, _: &[u8], _, _: &mut Vec<u8>| {
            reached.send(()).unwrap();
            may_go_on.recv().unwrap();
            Outcome::Silence
        }
    });
    block_on(server.orders().roll_call());
    udp_to(server.addresses[0]).send(b"hang").unwrap();
    is_reached.recv().unwrap();
    let orders = server.orders();
    let (answered, has_answered) = mpsc::channel();
    let calling = std::thread::spawn(move || {
        block_on(orders.roll_call());
        answered.send(()).unwrap();
    });
    assert!(has_answered.recv_timeout(Duration::from_millis(100)).is_err());
    go_on.send(()).unwrap();
    has_answered.recv_timeout(PATIENCE).unwrap();
    calling.join().unwrap();
}

/// Waits for what workers say.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_port_is_free_again_after_a_stop() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let addresses = server.addresses.clone();
    // The connection is left waiting for its last segments by the side that closes first: the server.
    let stream = tcp_to(addresses[0]);
    ask_on(&stream, b"hold").unwrap();
    server.stop().request();
    server.join().unwrap();
    assert!(is_closed(&stream));
    drop(stream);
    assert_eq!(server::bind(&wanted(&addresses), 2).unwrap().addresses(), addresses);
}

#[test]
fn messages_in_one_write_are_answered_in_order() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let messages: Vec<_> = (0..100u16).map(|number| number.to_be_bytes().repeat(20)).collect();
    for address in &server.addresses {
        let stream = tcp_to(*address);
        let octets: Vec<_> = messages.iter().flat_map(|message| framed(message)).collect();
        (&stream).write_all(&octets).unwrap();
        for message in &messages {
            assert_eq!(&read_message(&stream).unwrap(), message);
        }
    }
}

#[test]
fn a_message_may_come_octet_by_octet() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let stream = tcp_to(server.addresses[0]);
    for octet in framed(b"patience").iter().chain(&framed(b"more")) {
        (&stream).write_all(&[*octet]).unwrap();
    }
    assert_eq!(read_message(&stream).unwrap(), b"patience");
    assert_eq!(read_message(&stream).unwrap(), b"more");
}

#[test]
fn the_longest_messages_pass() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let stream = tcp_to(server.addresses[0]);
    let longest = vec![7; 65_535];
    for _ in 0..3 {
        assert_eq!(ask_on(&stream, &longest).unwrap(), longest);
    }
}

#[test]
fn a_connection_without_a_whole_message_is_closed() {
    let settings = Settings { tcp_idle_timeout: Duration::from_secs(1), ..SETTINGS };
    let server = Server::echo(&LOOPBACK, settings);
    let beginnings: [&[u8]; 4] = [b"", b"\0", b"\0\x08", b"\0\x08half"];
    let streams: Vec<_> = (0..2 * beginnings.len()).map(|_| tcp_to(server.addresses[0])).collect();
    let (silent, once) = streams.split_at(beginnings.len());
    for (beginning, (silent, once)) in beginnings.iter().zip(silent.iter().zip(once)) {
        let mut both = (silent, once);
        both.0.write_all(beginning).unwrap();
        both.1.write_all(&[&framed(b"whole"), *beginning].concat()).unwrap();
    }
    for (beginning, (silent, once)) in beginnings.iter().zip(silent.iter().zip(once)) {
        assert!(is_closed(silent), "after {beginning:?}");
        assert_eq!(read_message(once).unwrap(), b"whole");
        assert!(is_closed(once), "after a whole message and {beginning:?}");
    }
}

#[test]
fn dripping_octets_do_not_keep_a_connection_open() {
    let server = Server::echo(&LOOPBACK, HASTY);
    let stream = tcp_to(server.addresses[0]);
    (&stream).write_all(&u16::MAX.to_be_bytes()).unwrap();
    // Each read gives up soon, so that another octet follows.
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut dripped = 0;
    while (&stream).write_all(&[0]).is_ok() && !is_closed(&stream) {
        dripped += 1;
        assert!(dripped < u16::MAX, "the message was whole before the connection was closed");
    }
    assert_eq!(server.counter("tcp_requests"), 0);
}

#[test]
fn a_client_that_does_not_read_is_left() {
    let server = Server::start(&LOOPBACK, 1, UNREAD, |_| echo);
    let mut stream = tcp_to(server.addresses[0]);
    let octets = framed(&vec![0; 65_535]);
    let error = loop {
        if let Err(error) = stream.write_all(&octets) {
            break error;
        }
    };
    let expected = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(expected.contains(&error.kind()), "{error:?}");
    // The worker has ended that connection before it takes another.
    ask_tcp(server.addresses[0], b"next").unwrap();
    assert_eq!(server.counter("tcp_closed_unread"), 1);
}

#[test]
fn a_client_that_does_not_read_is_read_no_further() {
    let (server, begins) = vast_server(UNREAD);
    let unread = tcp_to(server.addresses[0]);
    (&unread).write_all(&framed(b"fill").repeat(600)).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    // It asks until it is reset.
    while (&unread).write_all(&framed(b"more").repeat(100)).is_ok() {}
    ask_tcp(server.addresses[0], b"next").unwrap();
    assert_eq!(server.counter("tcp_closed_unread"), 1);
    let answered = server.counter("tcp_requests");
    // What both kernels hold, and one turn's replies.
    assert!(answered * 65_535 < 4 << 20, "{answered} requests were answered, and no reply was read");
}

#[test]
fn messages_without_a_reply_buy_no_time() {
    let server = Server::start(&LOOPBACK, 1, HASTY, |_| |_, _: &_, _: &[u8], _, _: &mut Vec<u8>| Outcome::Silence);
    let stream = tcp_to(server.addresses[0]);
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let begin = Instant::now();
    while (&stream).write_all(&framed(b"noise")).is_ok() && !is_closed(&stream) {
        assert!(begin.elapsed() < PATIENCE, "the connection is kept");
    }
    assert!(server.counter("tcp_dropped") > 0);
}

#[test]
fn replies_survive_what_a_client_sends_behind_the_end() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let mut stream = tcp_to(server.addresses[0]);
    stream.write_all(&[framed(b"first"), framed(b""), vec![7; 50_000]].concat()).unwrap();
    stream.write_all(&[7; 50_000]).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"first");
    // A reset would be an error here, and could have taken the reply with it.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_reply_leaves_together_with_its_length() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let mut stream = tcp_to(server.addresses[0]);
    stream.write_all(&framed(b"one segment")).unwrap();
    let mut octets = [0; 64];
    assert_eq!(stream.read(&mut octets).unwrap(), 2 + b"one segment".len());
}

#[test]
fn a_client_that_sends_no_more_gets_all_its_replies() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let mut stream = tcp_to(server.addresses[0]);
    stream.write_all(&framed(&[7; 1000]).repeat(100)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..100 {
        assert_eq!(read_message(&stream).unwrap(), [7; 1000]);
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn connections_that_are_reset_leave_nothing_behind() {
    const RESETS: u64 = 300;
    let settings = Settings { tcp_connections_max: 4, ..SETTINGS };
    let server = Server::start(&LOOPBACK, 1, settings, |_| echo);
    for number in 0..RESETS {
        let stream = tcp_to(server.addresses[0]);
        if number % 3 > 0 {
            (&stream).write_all(&framed(b"asked and gone")).unwrap();
        }
        if number % 3 > 1 {
            read_message(&stream).unwrap();
        }
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let last = tcp_to(server.addresses[0]);
    let begin = Instant::now();
    while server.counter("tcp_closed") + server.counter("tcp_refused") < RESETS {
        assert_eq!(ask_on(&last, b"still there").unwrap(), b"still there");
        assert!(begin.elapsed() < PATIENCE, "{} of {RESETS} have ended", server.counter("tcp_closed"));
    }
    assert_eq!(server.counter("tcp_refused"), 0);
    assert_eq!(server.counter("tcp_closed"), server.counter("tcp_broken") + server.counter("tcp_pushed_out"));
}

#[test]
fn a_connection_ends_with_its_time_though_it_asks() {
    let settings = Settings { tcp_total_timeout: Some(Duration::from_millis(100)), ..SETTINGS };
    let server = Server::start(&LOOPBACK, 1, settings, |_| echo);
    let begin = Instant::now();
    let (busy, idle) = (tcp_to(server.addresses[0]), tcp_to(server.addresses[0]));
    while ask_on(&busy, b"again").is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it goes on and on");
    }
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert!(is_closed(&idle));
    assert_eq!(server.counter("tcp_closed_idle"), 0);
    assert!(server.counter("tcp_closed_old") >= 2);
    // Whoever is off the processor for as long as a connection may last asks again.
    while ask_tcp(server.addresses[0], b"anew").is_err() {
        assert!(begin.elapsed() < PATIENCE, "nobody is taken any more");
    }
}

#[test]
fn a_connection_that_comes_while_few_seats_are_left_must_ask_soon() {
    let settings = Settings { tcp_connections_max: 16, tcp_first_timeout: Duration::from_millis(50), ..SETTINGS };
    let server = Server::start(&LOOPBACK, 1, settings, |_| echo);
    let early: Vec<_> = (0..12).map(|_| tcp_to(server.addresses[0])).collect();
    let (silent, asked) = early.split_at(1);
    for stream in &asked[..10] {
        ask_on(stream, b"sit down").unwrap();
    }
    // This one, the twelfth, found a quarter of the seats left.
    assert!(is_closed(&asked[10]));
    assert_eq!(ask_on(&silent[0], b"there was time").unwrap(), b"there was time");
    assert_eq!(["tcp_closed_idle", "tcp_closed"].map(|name| server.counter(name)), [1, 1]);
}

#[test]
fn a_network_has_no_more_connections_than_it_may() {
    let settings = Settings { tcp_connections_per_network_max: 3, tcp_ipv4_prefix: 24, ..SETTINGS };
    let server = Server::echo(&LOOPBACK, settings);
    let from = |ip: &str| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&server.addresses[0].into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    // Over all workers, whichever the kernel gives them to.
    let first = ["127.0.0.1", "127.0.0.2", "127.0.0.255"].map(from);
    for stream in &first {
        assert_eq!(ask_on(stream, b"one of three").unwrap(), b"one of three");
    }
    for _ in 0..5 {
        assert!(is_closed(&from("127.0.0.3")));
    }
    assert_eq!(["tcp_refused_by_network", "tcp_refused"].map(|name| server.counter(name)), [5, 0]);
    assert_eq!(ask_on(&from("127.0.1.1"), b"a neighbour").unwrap(), b"a neighbour");

    drop(first);
    let begin = Instant::now();
    while ask_on(&from("127.0.0.1"), b"room?").is_err() {
        assert!(begin.elapsed() < PATIENCE, "there is no room");
    }
}

#[test]
fn silent_connections_do_not_push_out_those_that_asked() {
    let settings = Settings { tcp_connections_max: 8, ..SETTINGS };
    let server = Server::start(&LOOPBACK, 1, settings, |_| echo);
    let asked: Vec<_> = (0..4).map(|_| tcp_to(server.addresses[0])).collect();
    for stream in &asked {
        ask_on(stream, b"sit down").unwrap();
    }
    let silent: Vec<_> = (0..100).map(|_| tcp_to(server.addresses[0])).collect();
    assert!(is_closed(&silent[0]));
    for stream in &asked {
        assert_eq!(ask_on(stream, b"stayed").unwrap(), b"stayed");
    }
}

#[test]
fn a_message_without_octets_ends_the_connection() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let stream = tcp_to(server.addresses[0]);
    (&stream).write_all(&[framed(b"first"), framed(b""), framed(b"never read")].concat()).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"first");
    assert!(is_closed(&stream));
    assert_eq!(server.counter("tcp_requests"), 1);
}

#[test]
fn the_connection_that_waited_longest_makes_room() {
    let settings = Settings { tcp_connections_max: 4, ..SETTINGS };
    let server = Server::start(&LOOPBACK, 1, settings, |_| echo);
    let streams: Vec<_> = (0..4).map(|_| tcp_to(server.addresses[0])).collect();
    for stream in &streams {
        ask_on(stream, b"sit down").unwrap();
    }
    ask_on(&streams[0], b"still here").unwrap();

    // The one that waits longest is now the second; half a message does not count.
    (&streams[1]).write_all(&framed(b"half")[..4]).unwrap();
    let late = tcp_to(server.addresses[0]);
    assert_eq!(ask_on(&late, b"room?").unwrap(), b"room?");
    assert!(is_closed(&streams[1]));
    for stream in [&streams[0], &streams[2], &streams[3], &late] {
        assert_eq!(ask_on(stream, b"stayed").unwrap(), b"stayed");
    }
    assert_eq!(server.counter("tcp_opened"), 5);
    assert_eq!(server.counter("tcp_closed"), 1);
}

#[test]
fn a_connection_that_is_being_answered_does_not_make_room() {
    let settings = Settings { tcp_connections_max: 1, stop_timeout: Duration::ZERO, ..SETTINGS };
    let (server, begins) = vast_server(settings);
    let unread = tcp_to(server.addresses[0]);
    (&unread).write_all(&framed(b"fill").repeat(600)).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    assert!(is_closed(&tcp_to(server.addresses[0])));
    assert_eq!(server.counter("tcp_refused"), 1);
    assert_eq!(read_message(&unread).unwrap().len(), 65_535);
}

#[test]
fn a_connection_that_made_room_is_not_waited_for() {
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(Some(released));
    // Longer than the client below tries to write.
    let settings = Settings { tcp_connections_max: 2, tcp_write_timeout: 10 * PATIENCE, ..SETTINGS };
    let server = Server::start(&["127.0.0.1:0"], 1, settings, move |_| {
        let begun = begun.clone();
        let released = released.lock().unwrap().take().expect("there is one worker");
        move |now, client: &_, octets: &[u8], patience, out: &mut Vec<u8>| {
            if octets == b"hold" {
                begun.send(()).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            } else if octets == b"fill" {
                out.resize(65_535, 0);
                return Outcome::Reply;
            }
            echo(now, client, octets, patience, out)
        }
    });
    let [unread, held] = [(); 2].map(|()| tcp_to(server.addresses[0]));
    ask_on(&unread, b"sit down").unwrap();
    (&held).write_all(&framed(b"hold")).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    // The worker finds one that wants a seat, and then that the one who is to make room has just asked.
    let late = tcp_to(server.addresses[0]);
    (&unread).write_all(&framed(b"fill").repeat(600)).unwrap();
    release.send(()).unwrap();
    assert_eq!(ask_on(&late, b"room?").unwrap(), b"room?");
    let error = loop {
        if let Err(error) = (&unread).write_all(&framed(b"fill").repeat(100)) {
            break error;
        }
    };
    let expected = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(expected.contains(&error.kind()), "{error:?}");
    assert_eq!(read_message(&held).unwrap(), b"hold");
}

#[test]
fn a_flood_of_connections_does_not_stop_the_server() {
    let settings = Settings { tcp_connections_max: 8, ..SETTINGS };
    let server = Server::echo(&LOOPBACK, settings);
    let flood: Vec<_> = (0..200).map(|_| tcp_to(server.addresses[0])).collect();
    assert_eq!(ask_tcp(server.addresses[0], b"through").unwrap(), b"through");
    assert_eq!(ask_udp(server.addresses[0], b"through").unwrap(), b"through");
    drop(flood);
}

#[test]
fn a_datagram_waits_for_one_stream_at_most() {
    let (told, answered) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(Some(released));
    let server = Server::start(&["127.0.0.1:0"], 1, SETTINGS, move |_| {
        let (told, begun) = (told.clone(), begun.clone());
        let released = released.lock().unwrap().take().expect("there is one worker");
        move |now, client: &_, octets: &[u8], patience, out: &mut Vec<u8>| {
            if octets == b"hold" {
                begun.send(()).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            }
            told.send(octets.to_vec()).unwrap();
            echo(now, client, octets, patience, out)
        }
    });
    let streams: Vec<_> = (0..50).map(|_| tcp_to(server.addresses[0])).collect();
    for stream in &streams {
        ask_on(stream, b"sit down").unwrap();
    }
    (&streams[0]).write_all(&framed(b"hold")).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    for mut stream in &streams[1..] {
        stream.write_all(&framed(b"by stream")).unwrap();
    }
    let socket = udp_to(server.addresses[0]);
    socket.send(b"by datagram").unwrap();
    release.send(()).unwrap();
    assert_eq!(receive(&socket).unwrap(), b"by datagram");
    let order: Vec<_> = answered.iter().skip(streams.len()).take(4).collect();
    assert!(order.contains(&b"by datagram".to_vec()), "{order:?}");
}

#[test]
fn octet_noise_does_not_stop_the_server() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let address = server.addresses[0];
    let pieces = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..4);
    let runner = &mut TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(64) });
    let outcome = runner.run(&pieces, |pieces| {
        let stream = tcp_to(address);
        let socket = udp_to(address);
        for piece in &pieces {
            socket.send(piece)?;
            // The server may have closed it by now.
            let _ = (&stream).write_all(piece);
        }
        drop((stream, socket));
        prop_assert_eq!(ask_udp(address, b"sane")?, b"sane");
        prop_assert_eq!(ask_tcp(address, b"sane")?, b"sane");
        Ok(())
    });
    outcome.unwrap();
}

/// A server of one worker that says when it begins to answer its first request, and answers when it is told to.
fn held_server() -> (Server, mpsc::Receiver<()>, mpsc::Sender<()>) {
    server_held_at(|_| true)
}

/// The same for the first request of which something is so.
fn server_held_at(is_held: fn(&[u8]) -> bool) -> (Server, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(Some(released));
    let server = Server::start(&LOOPBACK, 1, SETTINGS, move |_| {
        let released = released.lock().unwrap().take().expect("there is one worker");
        let begun = begun.clone();
        let first = Cell::new(true);
        move |now, client: &_, octets: &[u8], patience, out: &mut Vec<u8>| {
            if is_held(octets) && first.replace(false) {
                begun.send(()).unwrap();
                released.recv_timeout(PATIENCE).unwrap();
            }
            echo(now, client, octets, patience, out)
        }
    });
    (server, begins, release)
}

/// A server of one worker that says when it answers, and answers at the greatest length.
///
/// 600 of its replies are far more than the sockets of both sides hold.
fn vast_server(settings: Settings) -> (Server, mpsc::Receiver<()>) {
    let (begun, begins) = mpsc::channel();
    let server = Server::start(&LOOPBACK, 1, settings, move |_| {
        let begun = begun.clone();
        move |_, _: &_, _: &[u8], _, out: &mut Vec<u8>| {
            let _ = begun.send(());
            out.resize(65_535, 0);
            Outcome::Reply
        }
    });
    (server, begins)
}

#[test]
fn a_stop_lets_an_answer_in_progress_reach_its_client() {
    let (server, begins, release) = held_server();
    let stream = tcp_to(server.addresses[0]);
    (&stream).write_all(&[framed(b"in progress"), framed(b"behind it")].concat()).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    server.stop().request();
    release.send(()).unwrap();
    assert_eq!(read_message(&stream).unwrap(), b"in progress");
    assert_eq!(read_message(&stream).unwrap(), b"behind it");
    assert!(is_closed(&stream));
    server.join().unwrap();
}

#[test]
fn a_stop_answers_the_messages_that_have_come() {
    let (server, begins, release) = server_held_at(|octets| octets == b"in progress");
    let (mut held, mut other) = (tcp_to(server.addresses[0]), tcp_to(server.addresses[0]));
    ask_on(&other, b"taken").unwrap();
    held.write_all(&framed(b"in progress")).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    held.write_all(&framed(b"come")).unwrap();
    other.write_all(&framed(b"come")).unwrap();
    server.stop().request();
    release.send(()).unwrap();
    assert_eq!(read_message(&held).unwrap(), b"in progress");
    for stream in [&mut held, &mut other] {
        assert_eq!(read_message(stream).unwrap(), b"come");
        // What comes later is not answered, nor does it reset the connection, which may lose replies.
        stream.write_all(&framed(b"too late")).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    server.join().unwrap();
}

#[test]
fn a_stop_answers_the_datagrams_that_have_come() {
    let (server, begins, release) = held_server();
    let socket = udp_to(server.addresses[0]);
    socket.send(&[0]).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    for number in 1..=50u8 {
        socket.send(&[number]).unwrap();
    }
    server.stop().request();
    release.send(()).unwrap();
    for number in 0..=50u8 {
        assert_eq!(receive(&socket).unwrap(), [number]);
    }
    server.join().unwrap();
}

#[test]
fn a_stop_closes_connections_that_wait() {
    let server = Server::echo(&LOOPBACK, SETTINGS);
    let waiting = tcp_to(server.addresses[0]);
    ask_on(&waiting, b"done").unwrap();
    let half_way = tcp_to(server.addresses[0]);
    ask_on(&half_way, b"done").unwrap();
    (&half_way).write_all(b"\0").unwrap();
    server.stop().request();
    server.join().unwrap();
    assert!(is_closed(&waiting));
    assert!(is_closed(&half_way));
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_client_that_does_not_read() {
    let (server, begins) = vast_server(Settings { stop_timeout: Duration::from_millis(100), ..SETTINGS });
    let stream = tcp_to(server.addresses[0]);
    (&stream).write_all(&framed(b"fill").repeat(600)).unwrap();
    begins.recv_timeout(PATIENCE).unwrap();
    server.stop().request();
    server.join().unwrap();
}

#[test]
fn a_worker_that_fails_stops_the_others_and_is_told_of() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let server = Server::start(&LOOPBACK, 2, SETTINGS, |_| {
            |now, client: &_, octets: &[u8], patience, out: &mut Vec<u8>| {
                assert_ne!(octets, b"bug", "as this test wants it");
                echo(now, client, octets, patience, out)
            }
        });
        let stream = tcp_to(server.addresses[0]);
        match transport {
            Transport::Udp => assert_eq!(udp_to(server.addresses[0]).send(b"bug").unwrap(), 3),
            Transport::Tcp => (&stream).write_all(&framed(b"bug")).unwrap(),
        }
        let error = server.join().unwrap_err();
        let Error::Panicked { message, .. } = error else { panic!("not a panic: {error}") };
        assert!(message.contains("as this test wants it"), "{message}");
    }
}
