//! What keeps abuse out, over real sockets: limits over several workers, rules that end connections, and the manual.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use perigee::config::Config;

use crate::support::PATIENCE;
use crate::support::case::decode;
use crate::support::process::{Perigee, Question};

const ZONE: &str = "\
@ 300 IN SOA ns hostmaster 1 3600 900 604800 60
@ 300 IN NS ns
ns 300 IN A 192.0.2.53
www 300 IN A 192.0.2.1
www 300 IN TXT text
";

/// A server of `example.com` under a configuration.
fn start(config: &str) -> Perigee {
    Perigee::start(&[("zones/example.com.zone", ZONE), ("perigee.toml", config)])
}

/// How many whole answers `times` queries from each of `sockets` ports got.
///
/// A last query of each port, which no limit is for, tells when those before it were answered: one worker has them all.
fn answered(perigee: &Perigee, sockets: usize, times: usize) -> usize {
    let question = Question::a("www.example.com").octets();
    let last = Question::a("none.example.com").octets();
    let answered_by_one = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(perigee.address).unwrap();
        for _ in 0..times {
            socket.send(&question).unwrap();
        }
        socket.send(&last).unwrap();
        let mut buffer = [0; 512];
        let mut replies = std::iter::repeat_with(|| {
            let octets = socket.recv(&mut buffer).expect("a reply");
            decode(&buffer[..octets])
        });
        replies.by_ref().take_while(|reply| reply.metadata.response_code != ResponseCode::NXDomain).count()
    };
    (0..sockets).map(|_| answered_by_one()).sum()
}

#[test]
fn a_limit_holds_over_all_workers() {
    let mut perigee = start(
        "server.workers = 2\n[rate-limit]\nresponses-per-second = 5\nnxdomains-per-second = 0\nwindow = \"2s\"\nslip = 0\n",
    );
    let begin = Instant::now();
    let answered = answered(&perigee, 64, 10);
    // The clock may have come to another second once more than the seconds that passed; and both workers may forget
    // one response of a stream that is new.
    let most = 5 * (begin.elapsed().as_secs() as usize + 2) + 2;
    assert!((5..=most).contains(&answered), "{answered} in place of 5 to {most}");
    let limited = perigee.wait_for_log("responses limited");
    assert!(limited.contains("network=127.0.0.0/24 kind=\"answers\" name=www.example.com. qtype=A"), "{limited}");
    perigee.wait_for_log("responses no longer limited");
    perigee.signal("USR1");
    let counted = perigee.wait_for_log("counted so far");
    assert!(counted.contains(&format!(" rate_dropped={} rate_slipped=0 ", 640 - answered)), "{counted}");
}

#[test]
fn a_trial_says_who_would_be_limited() {
    let mut perigee = start("[rate-limit]\nresponses-per-second = 5\nlog-only = true\nwindow = \"1s\"\n");
    assert_eq!(answered(&perigee, 1, 50), 50);
    perigee.wait_for_log("responses would be limited");
    perigee.wait_for_log("responses would no longer be limited");
    perigee.signal("USR1");
    let counted = perigee.wait_for_log("counted so far");
    assert!(counted.contains(" rate_dropped=0 rate_slipped=0 rate_would_drop="), "{counted}");
    assert!(!counted.contains("rate_would_drop=0"), "{counted}");
}

#[test]
fn a_flood_from_many_networks_is_not_told_one_by_one() {
    let mut perigee =
        start("server.workers = 2\n[rate-limit]\nresponses-per-second = 1\nslip = 0\nipv4-prefix-length = 32\n");
    let question = Question::a("www.example.com").octets();
    // Of so many there are more than are told within one second, however many seconds they take.
    for number in 1..=250 {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 53, number), 0)).unwrap();
        for _ in 0..3 {
            socket.send_to(&question, perigee.address).unwrap();
        }
    }
    let told = perigee.wait_for_log("more streams of responses are limited than are told one by one");
    assert!(told.contains("streams="), "{told}");
}

/// What comes of queries that are sent one behind the other by TCP, until the server closes the connection.
fn by_tcp(perigee: &Perigee, questions: &[Question]) -> Vec<ResponseCode> {
    let mut stream = TcpStream::connect(perigee.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for question in questions {
        let octets = question.octets();
        stream.write_all(&u16::try_from(octets.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&octets).unwrap();
    }
    let mut replies = Vec::new();
    // A server that closes with unread queries in hand resets; what came before that is read all the same.
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply).unwrap();
        replies.push(decode(&reply).metadata.response_code);
    }
    replies
}

#[test]
fn a_query_that_is_dropped_ends_its_connection() {
    let rule = "[server]\ntcp-idle-timeout = \"10m\"\n[[access]]\ntypes = [\"TXT\"]\naction = \"drop\"\n";
    let mut perigee = start(rule);
    let [a, txt] = [Question::a("www.example.com"), Question::txt("www.example.com")];
    assert_eq!(by_tcp(&perigee, &[a.clone(), txt]), [ResponseCode::NoError]);
    assert!(by_tcp(&start("[[access]]\naction = \"drop\"\n"), &[a]).is_empty());
    perigee.signal("USR1");
    let counted = perigee.wait_for_log("counted so far");
    assert!(counted.contains(" access_refused=0 access_dropped=1 "), "{counted}");
}

#[test]
fn the_examples_of_the_manual_are_sound() {
    let page = include_str!("../docs/abuse.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 5, "only {} were found", blocks.len());
    for block in blocks {
        let (config, diagnostics) = Config::parse(Some((Path::new("docs/abuse.md"), block)), [])
            .unwrap_or_else(|faults| panic!("{block}\n{faults:#?}"));
        assert!(diagnostics.is_empty(), "{block}\n{diagnostics:#?}");
        assert_ne!(config, Config::default(), "{block}");
    }
}
