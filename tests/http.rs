//! Probes over HTTP and TLS: who is connected to, what passes, and the words for what does not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use perigee::health::check::{Endpoint, Handshake, Pattern, Reach};
use perigee::health::probe::{Prober, Settings};
use perigee::health::{Check, Host, Http, Kind, Tls, Verdict};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::{Backend, Reply};
use crate::support::certificate::{Authority, self_signed};
use crate::support::process::{self, Perigee, Question};
use crate::support::resolver::{self, Resolver};

/// Long enough for a loopback exchange on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short, for tests in which it passes.
const IMPATIENCE: Duration = Duration::from_millis(300);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn check(kind: Kind) -> Check {
    Check { timeout: PATIENCE, ..Check::new(kind) }
}

/// A check of `request` at the loopback address.
fn http(request: Http) -> Check {
    check(Kind::Http { address: Some(Host::Address(LOOPBACK)), request: Arc::new(request) })
}

/// Probes once; says the verdict as `up`, `up with weight N`, or the reason behind its name.
async fn probe(check: &Check) -> String {
    said(Prober::new(Settings::default()).probe(check).await)
}

/// Probes once, with these roots and none of the system's counting.
async fn probe_trusting(root: &CertificateDer<'static>, check: &Check) -> String {
    let settings = Settings { roots: vec![root.clone()], ..Settings::default() };
    said(Prober::new(settings).probe(check).await)
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass { weight: None } => "up".to_owned(),
        Verdict::Pass { weight: Some(weight) } => format!("up with weight {weight}"),
        Verdict::Fail(reason) => format!("{}: {reason}", reason.name()),
    }
}

fn pattern(text: &str) -> Option<Pattern> {
    Some(Pattern(text.into()))
}

#[tokio::test]
async fn a_request_has_the_method_of_its_check() {
    let mut backend = Backend::start();
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PURGE"] {
        let check = http(Http { method: method.to_owned(), ..Http::get(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, "up", "{method}");
        let asked = backend.requests.recv().await.unwrap();
        assert_eq!(asked.method, method);
        assert_eq!(asked.headers.contains_key("content-length"), method == "POST");
    }
    backend.reply(Reply::body("never sent"));
    let head = Http { method: "HEAD".to_owned(), ..Http::get(backend.url("www.example.com", "/")) };
    let lacking = Http { stringmatch: Some("never".to_owned()), ..head };
    assert_eq!(probe(&http(lacking)).await, "body-lacks: body does not contain `never`");
}

#[tokio::test]
async fn statuses_pass_by_ranges() {
    let backend = Backend::start();
    let rows = [(200, "up"), (204, "up"), (301, "up"), (302, "status: status 302, expected 200-299, 301"), (299, "up")];
    for (status, verdict) in rows {
        backend.reply(Reply::status(status));
        let statuses = vec![200..=299, 301..=301];
        let check = http(Http { statuses, ..Http::get(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict);
    }
}

#[tokio::test]
async fn the_body_is_held_against_expressions() {
    let backend = Backend::start();
    let rows = [
        // body, what must match, where the weight stands, verdict
        (&b"status=ready load=7"[..], pattern("ready|idle"), None, "up"),
        (b"status=busy", pattern("ready|idle"), None, "no-match: nothing matches `ready|idle`"),
        (b"status=ready load=7", None, pattern("load=([0-9]+)"), "up with weight 7"),
        (b"12 load=7", None, pattern("load=([0-9]+)"), "up with weight 7"),
        (b"12", None, pattern("load=([0-9]+)"), "up"),
        (b"\xff\xfe\x00 ok", pattern("ok$"), None, "up"),
        (b"", pattern("("), None, "unusable: `(` is no regular expression: unclosed group"),
    ];
    for (body, regex, weight, verdict) in rows {
        backend.reply(Reply::body(body));
        let check = http(Http { regex, weight, ..Http::get(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict);
    }
}

#[tokio::test]
async fn whatever_a_server_does_ends_as_a_verdict() {
    let backend = Backend::start();
    let long = [b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), vec![b'a'; 1 << 20], b"\r\n\r\n".to_vec()].concat();
    let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: 1\r\n".repeat(200), b"\r\n".to_vec()].concat();
    let raw = |octets: &[u8]| Reply::Raw(octets.to_vec());
    let rows = [
        (raw(b"HTTP/1.0 200 OK\r\n\r\n17 to the end"), "up with weight 17"),
        (raw(b"HTTP/1.0 503 Busy\r\n\r\n"), "status: status 503, expected 200"),
        (raw(b"HTTP/1.1 200 \xff\xfe\r\nX-\xc3: \xff\r\n\r\n"), "http: http: invalid HTTP header parsed"),
        (raw(b"HTTP/1.1 200 \xff\xfe\r\nX-A: \xff\r\nContent-Length: 1\r\n\r\n\xff"), "up"),
        (raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), "http: http: invalid HTTP version parsed"),
        (raw(b"<html>hello"), "http: http: invalid HTTP version parsed"),
        (raw(b""), "http: http: closed before the reply was whole"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "http: http: closed before the reply was whole"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), "http: http: closed before the reply was whole"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "http: http: Invalid chunk size line: missing size digit",
        ),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n42\r\n0\r\n\r\n"), "up with weight 42"),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "up"),
        (Reply::Raw(long), "http: http: message head is too large"),
        (Reply::Raw(many), "http: http: message head is too large"),
        (Reply::Flood(b"HTTP/1.1 200 OK\r\nX-Endless: a".to_vec()), "http: http: message head is too large"),
        (Reply::Flood(b"HTTP/1.1 200 OK\r\n\r\na".to_vec()), "up"),
        (Reply::Reset, "reset: connection reset"),
    ];
    for (reply, verdict) in rows {
        backend.reply(reply);
        assert_eq!(probe(&http(Http::get(backend.url("www.example.com", "/")))).await, verdict);
    }
}

#[tokio::test]
async fn what_drips_is_cut_off_at_the_timeout() {
    let backend = Backend::start();
    for head in [&b"H"[..], b"HTTP/1.1 200 OK\r\nX: a", b"HTTP/1.1 200 OK\r\n\r\na"] {
        backend.reply(Reply::Drip(head.to_vec()));
        let check = Check { timeout: IMPATIENCE, ..http(Http::get(backend.url("www.example.com", "/"))) };
        let verdict = probe(&check).await;
        // What begins with a letter too many is seen not to be HTTP before that.
        assert!(verdict == "timed-out: timed out after 300ms" || head == b"H", "{verdict}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_tls_settles_on_it() {
    let config = h2_only(&self_signed("www.example.com").1);
    let target = serve_h2(Some(config)).await;
    let url = |scheme: &str, port: u16| Http::get(format!("{scheme}://www.example.com:{port}/path?query"));
    let host = [("Host".to_owned(), "other.example".to_owned())].into();
    assert_eq!(probe(&http(Http { headers: host, ..url("https", target.port()) })).await, "up with weight 5");
    let stringmatch = Some("https://other.example/path?query".to_owned());
    let headers = [("Host".to_owned(), "other.example".to_owned())].into();
    assert_eq!(probe(&http(Http { headers, stringmatch, ..url("https", target.port()) })).await, "up with weight 5");
    let plain = serve_h2(None).await;
    let verdict = probe(&http(url("http", plain.port()))).await;
    assert_eq!(verdict, "http: http: invalid HTTP version parsed");
}

/// The same certificate, shown to who speaks HTTP/2.
fn h2_only(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Serves HTTP/2: a body of a number and the URI asked for.
async fn serve_h2(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    async fn speak<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: S) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::from(format!("5 {}", request.uri())), true).unwrap();
        }
    }
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => drop(tokio::spawn(speak(stream))),
                Some(config) => {
                    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(config));
                    tokio::spawn(async move { speak(acceptor.accept(stream).await.unwrap()).await });
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_connection_is_kept_where_the_check_asks_for_that() {
    let mut backend = Backend::start();
    backend.keep_connections(true);
    let prober = Prober::new(Settings::default());
    let kept = http(Http { keepalive: true, ..Http::get(backend.url("www.example.com", "/")) });
    let mut connections = Vec::new();
    for _ in 0..3 {
        assert_eq!(said(prober.probe(&kept).await), "up");
        connections.push(backend.requests.recv().await.unwrap().connection);
    }
    assert_eq!(connections, [1, 1, 1]);
    // Another check has its own, and one that does not ask makes a new one each time.
    let other = Check { source: Some(LOOPBACK), ..kept.clone() };
    let plain = http(Http::get(backend.url("www.example.com", "/")));
    for (check, connection) in [(&other, 2), (&plain, 3), (&plain, 4), (&kept, 1), (&other, 2)] {
        assert_eq!(said(prober.probe(check).await), "up");
        assert_eq!(backend.requests.recv().await.unwrap().connection, connection);
    }
    // One that the server has closed meanwhile is replaced without a failure.
    backend.keep_connections(false);
    for _ in 0..3 {
        assert_eq!(said(prober.probe(&kept).await), "up");
    }
}

#[tokio::test]
async fn certificates_are_met_as_the_check_says() {
    let authority = Authority::new();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let rows = [
        // name in the certificate, valid from and to, days it must be valid for, verdict if not verified, and if
        ("www.example.com", -1, 90, None, "up", "up"),
        ("www.example.com", -1, 90, days(30), "up", "up"),
        (
            "www.example.com",
            -1,
            8,
            days(30),
            "expires: certificate expires in 7 days",
            "expires: certificate expires in 7 days",
        ),
        ("www.example.com", -1, 8, None, "up", "up"),
        ("other.example", -1, 90, None, "up", "tls: tls: certificate not valid for name `www.example.com`"),
        ("www.example.com", -30, -4, None, "up", "tls: tls: certificate expired 4 days ago"),
        (
            "www.example.com",
            -30,
            -4,
            days(0),
            "tls: tls: certificate expired 4 days ago",
            "tls: tls: certificate expired 4 days ago",
        ),
        ("www.example.com", 4, 90, None, "up", "tls: tls: certificate not valid yet, for another 3 days"),
    ];
    for (name, from, to, expiry_min, unverified, verified) in rows {
        let backend = Backend::start_tls_with(authority.issue(name, from, to));
        for (tls, verdict) in [(Tls::AcceptAny, unverified), (Tls::Verify, verified)] {
            let handshake = Handshake { tls, expiry_min, server_name: None };
            let request = Http { handshake: handshake.clone(), ..Http::get(backend.url("www.example.com", "/")) };
            assert_eq!(probe_trusting(&authority.root, &http(request)).await, verdict, "{name} {from} {to} {tls:?}");
            // The handshake by itself says the same; it asks for the name it is told.
            let handshake = Handshake { server_name: Some("www.example.com".to_owned()), ..handshake };
            let check = check(Kind::Tls { target: backend.address.into(), handshake: Arc::new(handshake) });
            assert_eq!(probe_trusting(&authority.root, &check).await, verdict, "{name} {from} {to} {tls:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_known_has_signed_is_named() {
    let handshake = Handshake { tls: Tls::Verify, ..Handshake::default() };
    let (authority, stranger) = (Authority::new(), Authority::new());
    let rows = [
        (stranger.issue("www.example.com", -1, 90), "tls: tls: certificate of an unknown issuer"),
        (self_signed("www.example.com").1, "tls: tls: certificate of an unknown issuer"),
    ];
    for (config, verdict) in rows {
        let backend = Backend::start_tls_with(config);
        let request = Http { handshake: handshake.clone(), ..Http::get(backend.url("www.example.com", "/")) };
        assert_eq!(probe_trusting(&authority.root, &http(request)).await, verdict);
    }
    // One that signed itself can be trusted by itself.
    let (own, config) = self_signed("www.example.com");
    let backend = Backend::start_tls_with(config);
    let request = Http { handshake, ..Http::get(backend.url("www.example.com", "/")) };
    assert_eq!(probe_trusting(&own, &http(request)).await, "up");
}

#[tokio::test]
async fn the_name_in_tls_can_be_another_than_the_urls() {
    let authority = Authority::new();
    let mut backend = Backend::start_tls_with(authority.issue("internal.example", -1, 90));
    let handshake = |name: &str| Handshake { server_name: Some(name.to_owned()), tls: Tls::Verify, expiry_min: None };
    let request = |name| Http { handshake: handshake(name), ..Http::get(backend.url("www.example.com", "/")) };
    let (good, bad) = (http(request("internal.example")), http(request("other.example")));
    assert_eq!(probe_trusting(&authority.root, &good).await, "up");
    let asked = backend.requests.recv().await.unwrap();
    assert_eq!(asked.server_name.as_deref(), Some("internal.example"));
    assert_eq!(asked.headers["host"], format!("www.example.com:{}", backend.address.port()));
    let verdict = probe_trusting(&authority.root, &bad).await;
    assert_eq!(verdict, "tls: tls: certificate not valid for name `other.example`");
}

#[tokio::test]
async fn a_certificate_for_an_address_is_verified_by_the_address() {
    let authority = Authority::new();
    for (name, verdict) in [("127.0.0.1", "up"), ("127.0.0.2", "tls: tls: certificate not valid for name `127.0.0.1`")]
    {
        let backend = Backend::start_tls_with(authority.issue(name, -1, 90));
        let handshake = Handshake { tls: Tls::Verify, ..Handshake::default() };
        let request = Http { handshake, ..Http::get(backend.url("127.0.0.1", "/")) };
        assert_eq!(probe_trusting(&authority.root, &http(request)).await, verdict);
    }
}

#[tokio::test]
async fn a_handshake_that_fails_says_how() {
    let backend = Backend::start();
    let tls = |target: SocketAddr| {
        let check = check(Kind::Tls { target: target.into(), handshake: Arc::default() });
        Check { timeout: IMPATIENCE, ..check }
    };
    let silent = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    assert_eq!(probe(&tls(silent.local_addr().unwrap())).await, "timed-out: timed out after 300ms");
    let rows = [
        (&b"220 mail.example ESMTP\r\n"[..], "tls: tls: what came back is not TLS"),
        (b"", "tls: tls: closed during the handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "tls: tls: the server does not know the name it was asked for"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "tls: tls: the server speaks no version from TLS 1.2 on"),
    ];
    for (octets, verdict) in rows {
        let target = say_once(octets).await;
        assert_eq!(probe(&Check { timeout: PATIENCE, ..tls(target) }).await, verdict);
    }
    let gone = backend.stop();
    assert_eq!(probe(&tls(gone)).await, "refused: connection refused");
}

/// Listens for one connection, reads what the client begins with, says these octets and closes.
async fn say_once(octets: &'static [u8]) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(octets).await.unwrap();
    });
    address
}

/// A check of where a name leads.
fn by_name(name: &str, port: u16) -> Check {
    check(Kind::Http { address: None, request: Arc::new(Http::get(format!("http://{name}:{port}/"))) })
}

/// Probes once, with names from this resolver.
async fn probe_asking(resolver: &Resolver, check: &Check) -> String {
    let settings = Settings { servers: vec![resolver.address], ..Settings::default() };
    said(Prober::new(settings).probe(check).await)
}

#[tokio::test]
async fn names_are_looked_up_and_each_address_is_tried() {
    let (backend, resolver) = (Backend::start(), Resolver::start());
    let a = |address| resolver::Reply::a("web.example.", 60, address);
    let port = backend.address.port();
    resolver.reply("web.example. A", a([127, 0, 0, 1]));
    assert_eq!(probe_asking(&resolver, &by_name("web.example", port)).await, "up");
    // The first refuses, the second answers.
    let resolver::Reply::Records(mut both) = a([127, 0, 0, 99]) else { unreachable!() };
    let resolver::Reply::Records(second) = a([127, 0, 0, 1]) else { unreachable!() };
    both.extend(second);
    resolver.reply("web.example. A", resolver::Reply::Records(both));
    assert_eq!(probe_asking(&resolver, &by_name("web.example", port)).await, "up");
    let target = Endpoint { host: Host::Name("web.example".into()), port };
    assert_eq!(probe_asking(&resolver, &check(Kind::Tcp { target, dialogue: None })).await, "up");
    assert_eq!(probe(&by_name("localhost", port)).await, "up");
}

#[tokio::test]
async fn what_cannot_be_resolved_is_named_within_the_timeout() {
    let resolver = Resolver::start();
    resolver.reply("slow.example. A", resolver::Reply::Hold);
    resolver.reply("slow.example. AAAA", resolver::Reply::Hold);
    resolver.reply("broken.example. A", resolver::Reply::Code(hickory_proto::op::ResponseCode::ServFail));
    resolver.reply("broken.example. AAAA", resolver::Reply::Code(hickory_proto::op::ResponseCode::ServFail));
    let long = format!("{}.example", "a".repeat(64));
    let rows = [
        ("none.example", "unresolved: not resolved: `none.example`: no such name"),
        ("slow.example", "unresolved: not resolved: `slow.example`: no answer in time"),
        ("broken.example", "unresolved: not resolved: `broken.example`: the resolver said Server Failure"),
        (&long, &format!("unresolved: not resolved: `{long}`: not a name")),
    ];
    for (name, verdict) in rows {
        let check = Check { timeout: IMPATIENCE, ..by_name(name, 80) };
        assert_eq!(probe_asking(&resolver, &check).await, verdict);
    }
}

#[tokio::test]
async fn nothing_is_connected_to_that_the_zone_may_not_have_probed() {
    let (mut backend, resolver) = (Backend::start(), Resolver::start());
    let mut open = Backend::start_on((Ipv4Addr::new(127, 0, 0, 2), 0).into());
    let port = backend.address.port();
    resolver.reply("rebound.example. A", resolver::Reply::a("rebound.example.", 60, [127, 0, 0, 1]));
    open.reply_at("/literal", Reply::redirect(&backend.url("127.0.0.1", "/")));
    open.reply_at("/mapped", Reply::redirect(&backend.url("[::ffff:127.0.0.1]", "/")));
    open.reply_at("/decimal", Reply::redirect(&backend.url("2130706433", "/")));
    open.reply_at("/named", Reply::redirect(&backend.url("rebound.example", "/")));
    let target = Endpoint { host: Host::Name("rebound.example".into()), port };
    let mapped = Host::Address("::ffff:127.0.0.1".parse().unwrap());
    let request = Arc::new(Http::get(backend.url("www.example.com", "/")));
    let kinds = [
        Kind::tcp(backend.address),
        Kind::Tcp { target: target.clone(), dialogue: None },
        Kind::Tls { target, handshake: Arc::default() },
        Kind::Http { address: Some(Host::Address(LOOPBACK)), request: Arc::clone(&request) },
        Kind::Http { address: Some(mapped), request },
        by_name("127.0.0.1", port).kind,
        by_name("rebound.example", port).kind,
    ];
    let redirects = ["/literal", "/mapped", "/decimal", "/named"].map(|path| {
        let url = open.url("127.0.0.2", path);
        Kind::Http { address: None, request: Arc::new(Http::get(url)) }
    });
    let reach = Arc::new(Reach { allowed: None, refused: vec!["127.0.0.1/32".parse().unwrap()] });
    for kind in kinds.into_iter().chain(redirects) {
        let check = Check { reach: Arc::clone(&reach), ..check(kind) };
        let verdict = probe_asking(&resolver, &check).await;
        assert!(verdict.starts_with("not-allowed: `"), "{check}: {verdict}");
        assert!(verdict.ends_with("127.0.0.1` may not be probed by this zone"), "{check}: {verdict}");
    }
    assert_eq!(backend.connections().await, 0);
    assert_eq!(open.connections().await, 4);
}

#[tokio::test]
async fn of_several_addresses_those_that_may_be_probed_are() {
    let (backend, resolver) = (Backend::start(), Resolver::start());
    let resolver::Reply::Records(mut both) = resolver::Reply::a("web.example.", 60, [127, 0, 0, 9]) else {
        unreachable!()
    };
    let resolver::Reply::Records(second) = resolver::Reply::a("web.example.", 60, [127, 0, 0, 1]) else {
        unreachable!()
    };
    both.extend(second);
    resolver.reply("web.example. A", resolver::Reply::Records(both));
    let reach = Arc::new(Reach { allowed: None, refused: vec!["127.0.0.9/32".parse().unwrap()] });
    let check = Check { reach, ..by_name("web.example", backend.address.port()) };
    assert_eq!(probe_asking(&resolver, &check).await, "up");
}

#[tokio::test]
async fn a_thousand_names_that_nobody_answers_for_end_in_time() {
    let resolver = Resolver::start();
    let prober = Arc::new(Prober::new(Settings { servers: vec![resolver.address], ..Settings::default() }));
    let probes: Vec<_> = (0..1000)
        .map(|index| {
            let name = format!("a{index}.example");
            for rtype in ["A", "AAAA"] {
                resolver.reply(&format!("{name}. {rtype}"), resolver::Reply::Hold);
            }
            let (prober, check) = (Arc::clone(&prober), by_name(&name, 80));
            let check = Check { timeout: Duration::from_secs(1), ..check };
            tokio::spawn(async move { said(prober.probe(&check).await) })
        })
        .collect();
    for probe in probes {
        assert!(probe.await.unwrap().starts_with("unresolved: "));
    }
}

#[tokio::test]
async fn ports_that_nobody_can_listen_on_are_verdicts() {
    let kinds = [
        (Kind::tcp(SocketAddr::new(LOOPBACK, 0)), "refused: connection refused"),
        (by_name("127.0.0.1", 0).kind, "refused: connection refused"),
    ];
    for (kind, verdict) in kinds {
        assert_eq!(probe(&check(kind)).await, verdict);
    }
    let request = Http::get("http://www.example.com:65536/");
    assert_eq!(
        probe(&http(request)).await,
        "unusable: `http://www.example.com:65536/` is not a URL: invalid port number"
    );
    let host = Host::Name("fe80::1%lo".into());
    let verdict = probe(&check(Kind::Tcp { target: Endpoint { host, port: 80 }, dialogue: None })).await;
    assert_eq!(verdict, "unresolved: not resolved: `fe80::1%lo`: not a name");
}

#[tokio::test]
async fn a_probe_whose_time_is_over_leaves_no_connection() {
    let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = target.local_addr().unwrap().port();
    let check = Check { timeout: IMPATIENCE, ..by_name("127.0.0.1", port) };
    let (verdict, accepted) = tokio::join!(probe(&check), target.accept());
    assert_eq!(verdict, "timed-out: timed out after 300ms");
    let (mut stream, _): (TcpStream, _) = accepted.unwrap();
    let mut sent = Vec::new();
    // It ends, since nobody holds the other end any more.
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut sent).await.unwrap();
    assert!(sent.starts_with(b"GET / HTTP/1.1\r\n"));
}

/// A zone whose `www` verifies a certificate, and `any` does not.
fn zone(port: u16) -> String {
    let call = |verify: &str| {
        format!(
            "ifurlup('https://www.example.net:{port}/', {{'127.0.0.1'}}, {{{verify}, timeout=5, backupSelector='empty'}})"
        )
    };
    let (verified, any) = (call("verify=true"), call("verify=false"));
    format!(
        "@ 1 IN SOA ns hostmaster 1 3600 900 604800 1\n@ 1 IN NS ns\nns 1 IN A 192.0.2.53\nwww 1 LUA A \"{verified}\"\nany 1 LUA A \"{any}\"\n"
    )
}

#[test]
fn a_file_of_roots_makes_a_private_authority_trusted() {
    let authority = Authority::new();
    let backend = Backend::start_tls_with(authority.issue("www.example.net", -1, 90));
    let zone = zone(backend.address.port());
    let (www, any) = (Question::a("www.example.net"), Question::a("any.example.net"));
    let without = Perigee::start(&[("zones/example.net.zone", &zone)]);
    assert_eq!(without.answers(&www), <[&str; 0]>::default());
    assert_eq!(without.answers(&any), ["127.0.0.1"]);
    let config = "health.ca-file = \"roots.pem\"\n".to_owned();
    let roots = format!("# of the company\n{}{}", Authority::new().pem(), authority.pem());
    let files = [("zones/example.net.zone", &zone), ("perigee.toml", &config), ("roots.pem", &roots)];
    let with = Perigee::start(&files);
    assert_eq!(with.answers(&www), ["127.0.0.1"]);
    assert_eq!(with.answers(&any), ["127.0.0.1"]);
}

#[test]
fn a_file_of_roots_that_cannot_be_read_is_told_with_its_line() {
    let told = |roots: &str, name: &str| {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        std::fs::create_dir(directory.path().join("zones")).unwrap();
        write(
            "zones/example.net.zone",
            "@ 1 IN SOA ns hostmaster 1 3600 900 604800 1\n@ 1 IN NS ns\nns 1 IN A 192.0.2.53\n",
        );
        write("perigee.toml", &format!("health.ca-file = \"{name}\"\n"));
        write("roots.pem", roots);
        process::check(directory.path())
    };
    let bad = format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Authority::new().pem());
    let line = bad.lines().count() - 2;
    insta::assert_snapshot!(told(&bad, "roots.pem").replace(&format!("pem:{line}:"), "pem:LAST:"), @r"
    roots.pem:LAST:1: error: what stands here is no certificate
      help: `health.ca-file` holds root certificates in PEM form, one after the other
    1 zone, 1 error, 0 warnings
    ");
    insta::assert_snapshot!(told("", "absent.pem"), @r"
    error: `health.ca-file`: cannot read `absent.pem`: entity not found
      help: name a file of certificates in PEM form
    1 zone, 1 error, 0 warnings
    ");
}
