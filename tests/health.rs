//! Fake backends fail and recover: up, down, up.

use std::future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use perigee::dns::Now;
use perigee::health::check::Handshake;
use perigee::health::checker::{Checker, Outcome, Parts, Settings};
use perigee::health::probe::{self, BODY_OCTETS_DEFAULT, Prober};
use perigee::health::table::{Slot, Table};
use perigee::health::{Check, Host, Http, Kind, State, Tls, Verdict};

use crate::support::backend::{Backend, Reply};

/// Long enough for a loopback exchange on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short, for tests in which it passes.
const IMPATIENCE: Duration = Duration::from_millis(200);

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn check(kind: Kind) -> Check {
    Check { timeout: PATIENCE, ..Check::new(kind) }
}

fn request(url: String) -> Http {
    Http::get(url)
}

/// A check of `request` at the loopback address.
fn http(request: Http) -> Check {
    check(Kind::Http { address: Some(Host::Address(LOOPBACK)), request: Arc::new(request) })
}

/// Probes once; says the verdict as `up`, `up with weight N` or the reason.
async fn probe(check: &Check) -> String {
    said(Prober::new(probe::Settings::default()).probe(check).await)
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass { weight: None } => "up".to_owned(),
        Verdict::Pass { weight: Some(weight) } => format!("up with weight {weight}"),
        Verdict::Fail(reason) => reason.to_string(),
    }
}

#[tokio::test]
async fn tcp_is_up_where_something_listens() {
    let backend = Backend::start();
    let check = check(Kind::tcp(backend.address));
    assert_eq!(probe(&check).await, "up");
    backend.stop();
    assert_eq!(probe(&check).await, "connection refused");
}

#[tokio::test]
async fn nothing_is_sent_to_a_port() {
    let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    assert_eq!(probe(&check(Kind::tcp(listener.local_addr().unwrap()))).await, "up");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    // It may be reset rather than closed.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut sent).await;
    assert_eq!(sent, b"");
}

#[tokio::test]
async fn a_probe_comes_from_its_source() {
    // Only Linux has all of 127/8 on its loopback interface.
    let source = if cfg!(target_os = "linux") { "127.0.0.77" } else { "127.0.0.1" }.parse().unwrap();
    let mut backend = Backend::start();
    let check = Check { source: Some(source), ..http(request(backend.url("www.example.com", "/"))) };
    assert_eq!(probe(&check).await, "up");
    assert_eq!(backend.requests.recv().await.unwrap().from, source);
    assert_eq!(probe(&Check { kind: Kind::tcp(backend.address), ..check }).await, "up");
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_named() {
    let backend = Backend::start();
    let kinds = [
        Kind::tcp(backend.address),
        Kind::Http {
            address: Some(Host::Address(LOOPBACK)),
            request: Arc::new(request(backend.url("www.example.com", "/"))),
        },
    ];
    for kind in kinds {
        let check = Check { source: Some("::1".parse().unwrap()), ..check(kind) };
        assert_eq!(probe(&check).await, "cannot probe `127.0.0.1` from `::1`: not of one address family");
    }
    let check = Check { source: Some("192.0.2.1".parse().unwrap()), ..check(Kind::tcp(backend.address)) };
    assert_eq!(probe(&check).await, "cannot probe from `192.0.2.1`: address not available");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_tcp_connection_nobody_takes_times_out() {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let target = socket.local_addr().unwrap().as_socket().unwrap();
    // A queue of no length has room for one.
    let _first = std::net::TcpStream::connect(target).unwrap();
    let check = Check { timeout: IMPATIENCE, ..check(Kind::tcp(target)) };
    assert_eq!(probe(&check).await, "timed out after 200ms");
}

#[tokio::test]
async fn a_refused_http_connection_says_so() {
    let backend = Backend::start();
    let check = http(request(backend.url("www.example.com", "/")));
    backend.stop();
    assert_eq!(probe(&check).await, "connection refused");
}

#[tokio::test]
async fn the_target_is_asked_under_the_name_of_the_url() {
    let mut backend = Backend::start();
    let port = backend.address.port();
    let rows = [
        ("www.example.com", format!("www.example.com:{port}")),
        ("203.0.113.7", format!("203.0.113.7:{port}")),
        ("[2001:db8::7]", format!("[2001:db8::7]:{port}")),
    ];
    for (host, authority) in rows {
        assert_eq!(probe(&http(request(backend.url(host, "/a?b")))).await, "up", "{host}");
        let asked = backend.requests.recv().await.unwrap();
        assert_eq!(asked.path, "/a?b");
        assert_eq!(asked.headers["host"], authority);
        assert_eq!(asked.headers["user-agent"], concat!("perigee/", env!("CARGO_PKG_VERSION")));
        assert_eq!(asked.from, LOOPBACK);
    }
}

#[tokio::test]
async fn without_an_address_the_urls_own_host_is_asked() {
    let mut backend = Backend::start();
    let request = Arc::new(request(backend.url("127.0.0.1", "/")));
    assert_eq!(probe(&check(Kind::Http { address: None, request })).await, "up");
    assert_eq!(backend.requests.recv().await.unwrap().headers["host"], backend.address.to_string());
}

#[tokio::test]
async fn a_host_that_is_looked_up_is_probed_from_the_source_alone() {
    let backend = Backend::start();
    let kind = |host| Kind::Http { address: None, request: Arc::new(request(backend.url(host, "/"))) };
    let from = |source: &str, host| Check { source: Some(source.parse().unwrap()), ..check(kind(host)) };
    assert_eq!(probe(&from("127.0.0.1", "localhost")).await, "up");
    // The backend has no IPv6 address; what is asked for is not another source.
    for host in ["localhost", "127.0.0.1"] {
        assert_ne!(probe(&from("::1", host)).await, "up", "{host}");
    }
}

#[tokio::test]
async fn a_check_that_makes_no_sense_fails_and_says_why() {
    let check = check(Kind::Unusable { address: Some(LOOPBACK), why: "`timeout` is a table".into() });
    assert_eq!(probe(&check).await, "`timeout` is a table");
}

#[tokio::test]
async fn each_probe_makes_its_own_connection() {
    let mut backend = Backend::start();
    let check = http(request(backend.url("www.example.com", "/")));
    let prober = Prober::new(probe::Settings::default());
    // The backend serves one request for each connection and keeps it open for no other.
    for _ in 0..3 {
        assert_eq!(said(prober.probe(&check).await), "up");
        backend.requests.recv().await.unwrap();
    }
}

#[tokio::test]
async fn headers_and_user_agent_are_sent_as_configured() {
    let mut backend = Backend::start();
    let headers = [("X_Probe", "1"), ("Host", "other.example"), ("Accept", "text/plain"), ("X-None", "")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let url = backend.url("www.example.com", "/");
    assert_eq!(probe(&http(Http { headers, useragent: Some("me/2".to_owned()), ..request(url) })).await, "up");
    let asked = backend.requests.recv().await.unwrap().headers;
    let expected = [("host", "other.example"), ("x-probe", "1"), ("accept", "text/plain"), ("user-agent", "me/2")];
    for (name, value) in expected {
        assert_eq!(asked[name], value);
    }
    assert!(!asked.contains_key("x-none"));
}

#[tokio::test]
async fn the_status_must_be_the_expected_one() {
    let backend = Backend::start();
    let rows = [
        (200, Some(200), "up"),
        (503, Some(200), "status 503, expected 200"),
        (204, Some(200), "status 204, expected 200"),
        (503, Some(503), "up"),
        (200, None, "status 200, and `httpcode` is not a status"),
    ];
    for (status, httpcode, verdict) in rows {
        backend.reply(Reply::status(status));
        let statuses = httpcode.into_iter().map(|code| code..=code).collect();
        let check = http(Http { statuses, ..request(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict);
    }
}

#[tokio::test]
async fn the_body_must_contain_the_text() {
    let backend = Backend::start();
    let rows = [
        ("all is OK here", "OK", "up"),
        ("all is ok here", "OK", "body does not contain `OK`"),
        ("O.K", "O.K", "up"),
        ("OXK", "O.K", "body does not contain `O.K`"),
        ("", "OK", "body does not contain `OK`"),
    ];
    for (body, text, verdict) in rows {
        backend.reply(Reply::body(body));
        let stringmatch = Some(text.to_owned());
        let check = http(Http { stringmatch, ..request(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict);
    }
}

#[tokio::test]
async fn a_body_that_begins_with_a_number_is_a_weight() {
    let backend = Backend::start();
    backend.reply(Reply::body("17 connections free"));
    assert_eq!(probe(&http(request(backend.url("www.example.com", "/")))).await, "up with weight 17");
}

#[tokio::test]
async fn reading_stops_at_the_limit_and_what_was_read_counts() {
    let backend = Backend::start();
    let rows = [
        // limit, text, verdict
        (1000, Some("a"), "up"),
        (1000, Some("b"), "body does not contain `b`"),
        (1000, None, "up"),
        (0, Some("a"), "up"),
        (0, Some("b"), "body does not contain `b`"),
        (u64::MAX, Some("a"), "up"),
    ];
    backend.reply(Reply::Endless { octet: b'a' });
    for (byteslimit, text, verdict) in rows {
        let stringmatch = text.map(str::to_owned);
        let check = http(Http { byteslimit, stringmatch, ..request(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict, "limit {byteslimit}");
    }
    // Far behind the limit, so not in the piece that reaches it either.
    let mut body = vec![b'a'; 2 * BODY_OCTETS_DEFAULT as usize];
    body.push(b'b');
    backend.reply(Reply::body(body));
    for (byteslimit, verdict) in [(0, "body does not contain `b`"), (3 * BODY_OCTETS_DEFAULT, "up")] {
        let stringmatch = Some("b".to_owned());
        let check = http(Http { byteslimit, stringmatch, ..request(backend.url("www.example.com", "/")) });
        assert_eq!(probe(&check).await, verdict, "limit {byteslimit}");
    }
}

#[tokio::test]
async fn replies_that_end_early_or_are_no_http_fail() {
    let backend = Backend::start();
    for reply in [Reply::Cut, Reply::Noise] {
        backend.reply(reply);
        let verdict = probe(&http(request(backend.url("www.example.com", "/")))).await;
        assert!(verdict.starts_with("http: "), "{verdict}");
    }
}

#[tokio::test]
async fn a_target_that_hangs_times_out() {
    let backend = Backend::start();
    backend.reply(Reply::Hang);
    let check = Check { timeout: IMPATIENCE, ..http(request(backend.url("www.example.com", "/"))) };
    assert_eq!(probe(&check).await, "timed out after 200ms");
}

#[tokio::test]
async fn without_time_every_probe_fails() {
    let backend = Backend::start();
    for kind in [Kind::tcp(backend.address), http(request(backend.url("www.example.com", "/"))).kind] {
        let check = Check { timeout: Duration::ZERO, ..check(kind) };
        assert_eq!(probe(&check).await, "timed out after 0ns");
    }
}

#[tokio::test]
async fn the_timeout_covers_the_body_too() {
    let backend = Backend::start();
    backend.reply(Reply::Stall);
    let check = Check { timeout: IMPATIENCE, ..http(request(backend.url("www.example.com", "/"))) };
    assert_eq!(probe(&check).await, "timed out after 200ms");
}

#[tokio::test]
async fn redirects_are_followed_and_the_final_status_counts() {
    let mut backend = Backend::start();
    backend.reply_at("/old", Reply::redirect("/new"));
    backend.reply_at("/new", Reply::redirect(&backend.url("www.example.com", "/newest")));
    backend.reply_at("/newest", Reply::status(200));
    let url = backend.url("www.example.com", "/old");
    assert_eq!(probe(&http(request(url.clone()))).await, "up");
    for path in ["/old", "/new", "/newest"] {
        let asked = backend.requests.recv().await.unwrap();
        assert_eq!(asked.path, path);
        assert!(asked.headers["host"].starts_with("www.example.com:"));
    }
    let check = http(Http { statuses: vec![302..=302], ..request(url) });
    assert_eq!(probe(&check).await, "status 200, expected 302");
}

#[tokio::test]
async fn a_redirect_that_is_not_followed_is_judged_itself() {
    let backend = Backend::start();
    backend.reply_at("/old", Reply::redirect("/new"));
    backend.reply_at("/new", Reply::redirect("/newest"));
    let url = backend.url("www.example.com", "/old");
    let moved = Http { statuses: vec![302..=302], redirects: 0, ..request(url.clone()) };
    assert_eq!(probe(&http(moved.clone())).await, "up");
    assert_eq!(probe(&http(Http { statuses: vec![200..=200], ..moved.clone() })).await, "status 302, expected 200");
    assert_eq!(probe(&http(Http { redirects: 1, ..moved })).await, "still redirected after 1 redirects");
}

#[tokio::test]
async fn redirects_back_to_an_address_in_the_url_still_go_to_the_target() {
    let mut backend = Backend::start();
    backend.reply_at("/old", Reply::redirect(&backend.url("203.0.113.7", "/new")));
    assert_eq!(probe(&http(request(backend.url("203.0.113.7", "/old")))).await, "up");
    for path in ["/old", "/new"] {
        let asked = backend.requests.recv().await.unwrap();
        assert_eq!(asked.path, path);
        assert!(asked.headers["host"].starts_with("203.0.113.7:"));
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_goes_there_without_what_was_meant_for_this_one() {
    let (target, mut other) = (Backend::start(), Backend::start());
    target.reply(Reply::redirect(&other.url("localhost", "/")));
    let headers = [("Host", "secret.example"), ("Authorization", "Basic eDp5"), ("X-A", "1")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(probe(&http(Http { headers, ..request(target.url("www.example.com", "/")) })).await, "up");
    let asked = other.requests.recv().await.unwrap().headers;
    assert_eq!(asked["host"], format!("localhost:{}", other.address.port()));
    assert_eq!(asked["x-a"], "1");
    assert!(!asked.contains_key("authorization"));
}

#[tokio::test]
async fn redirects_that_lead_nowhere_fail() {
    let backend = Backend::start();
    let rows = [
        ("/", "still redirected after 10 redirects"),
        ("ftp://example.com/", "http: redirect to `ftp://example.com/`, only http and https are followed"),
        ("http://[", "http: redirect to `http://[`: invalid IPv6 address"),
    ];
    for (location, verdict) in rows {
        backend.reply(Reply::redirect(location));
        assert_eq!(probe(&http(request(backend.url("www.example.com", "/")))).await, verdict);
    }
}

#[tokio::test]
async fn what_is_no_http_url_is_down() {
    for url in ["ftp://example.com/", "www.example.com", ""] {
        let verdict = Prober::new(probe::Settings::default()).probe(&http(request(url.to_owned()))).await;
        assert!(matches!(verdict, Verdict::Fail(_)), "{url}");
    }
}

#[tokio::test]
async fn tls_carries_the_name_of_the_url_and_accepts_any_certificate_by_default() {
    let (mut backend, _) = Backend::start_tls("another.example");
    assert_eq!(probe(&http(request(backend.url("www.example.com", "/")))).await, "up");
    let asked = backend.requests.recv().await.unwrap();
    assert_eq!(asked.server_name.as_deref(), Some("www.example.com"));
    assert_eq!(asked.headers["host"], format!("www.example.com:{}", backend.address.port()));
}

#[tokio::test]
async fn tls_to_an_address_carries_no_name() {
    let (mut backend, _) = Backend::start_tls("another.example");
    assert_eq!(probe(&http(request(backend.url("203.0.113.7", "/")))).await, "up");
    let asked = backend.requests.recv().await.unwrap();
    assert_eq!(asked.server_name, None);
    assert_eq!(asked.headers["host"], format!("203.0.113.7:{}", backend.address.port()));
}

#[tokio::test]
async fn a_verified_certificate_must_be_trusted_and_of_that_name() {
    let (backend, certificate) = Backend::start_tls("www.example.com");
    let rows = [
        // host, is the certificate trusted, what an up or the failure begins with
        ("www.example.com", true, "up"),
        ("www.example.com", false, "tls: certificate "),
        ("other.example", true, "tls: certificate not valid for name `other.example`"),
    ];
    for (host, trusted, beginning) in rows {
        let roots = if trusted { vec![certificate.clone()] } else { vec![other_certificate()] };
        let check = http(Http {
            handshake: Handshake { tls: Tls::Verify, ..Handshake::default() },
            ..request(backend.url(host, "/"))
        });
        let verdict = said(Prober::new(probe::Settings { roots, ..probe::Settings::default() }).probe(&check).await);
        assert!(verdict.starts_with(beginning), "{verdict}");
    }
}

/// A root that has signed nothing, so that verifying works on machines without roots.
fn other_certificate() -> rustls::pki_types::CertificateDer<'static> {
    rcgen::generate_simple_self_signed(["nobody.example".to_owned()]).unwrap().cert.der().clone()
}

#[tokio::test]
async fn https_to_a_plain_server_says_tls_failed() {
    let backend = Backend::start();
    let url = backend.url("www.example.com", "/").replace("http:", "https:");
    let verdict = probe(&http(request(url))).await;
    assert!(verdict.contains("tls"), "{verdict}");
}

#[tokio::test]
async fn a_target_goes_down_and_comes_back_with_its_backend() {
    let mut backend = Backend::start();
    let table = Arc::new(Table::new(10));
    let prober = Arc::new(Prober::new(probe::Settings::default()));
    let settings = Settings {
        interval: Duration::from_millis(100),
        jitter: 0.0,
        forget: Duration::from_secs(60),
        concurrency: 10,
    };
    let probe = move |slot: Arc<Slot>| {
        let prober = Arc::clone(&prober);
        async move { prober.probe(slot.check()).await }
    };
    let clock = || Now { unix_secs: 0, monotonic: Duration::ZERO };
    let parts = Parts { probe, clock, observe: |_: &Outcome| (), counters: Arc::default() };
    let checker = Checker::spawn(Arc::clone(&table), settings, parts, future::pending());
    let claims = table.claim(vec![http(request(backend.url("www.example.com", "/"))).into()]);
    let slot = &claims.slots()[0];

    assert_eq!(checker.warm(claims.slots(), PATIENCE).await, 0);
    assert_eq!(slot.state(), State::Up);
    for (status, state) in [(503, State::Down), (200, State::Up)] {
        backend.reply(Reply::status(status));
        // The first request may have been under way while the reply was changed. The verdict of the second is in
        // the table when the third arrives.
        while backend.requests.try_recv().is_ok() {}
        for _ in 0..3 {
            backend.requests.recv().await.unwrap();
        }
        assert_eq!(slot.state(), state);
    }
}
