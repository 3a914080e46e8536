//! Probes of each kind but HTTP against servers that behave, and against those that do not.

use std::future::Future;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use perigee::dns::probe::question;
use perigee::dns::{Name, Rcode, Rtype};
use perigee::health::check::{Dialogue, Endpoint, Grpc, Handshake, Pattern, Query, Reach};
use perigee::health::extfile::{Files, States};
use perigee::health::probe::{Prober, Settings};
use perigee::health::{Check, Host, Http, Kind, Tls, Verdict};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::backend::{Backend, Reply};
use crate::support::process::{self, Perigee, Question};

/// Long enough for a loopback exchange on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short, for tests in which it passes.
const IMPATIENCE: Duration = Duration::from_millis(400);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Probes once; says the verdict as `up`, `up with weight N` or the reason.
async fn probe(check: &Check) -> String {
    said(Prober::new(Settings::default()).probe(check).await)
}

fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass { weight: None } => "up".to_owned(),
        Verdict::Pass { weight: Some(weight) } => format!("up with weight {weight}"),
        Verdict::Fail(reason) => reason.to_string(),
    }
}

fn check(kind: Kind, timeout: Duration) -> Check {
    Check { timeout, ..Check::new(kind) }
}

/// Holds the verdict of a probe against what is expected; one that takes all its time takes no more.
#[track_caller]
fn assert_verdict(verdict: &str, expected: &str, took: Duration, case: &str) {
    assert_eq!(verdict, expected, "{case}");
    assert!(took < PATIENCE, "{case} took {took:?}");
}

/// Serves each TCP connection as told, until dropped.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn tcp<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Answers each datagram with those that `answer` makes of it.
    async fn udp(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut octets = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut octets).await {
                for reply in answer(&octets[..length]) {
                    let _ = socket.send_to(&reply, from).await;
                }
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port at which connections are neither taken nor refused: nobody accepts, and no more can wait.
///
/// Only on Linux; other systems refuse what does not fit.
#[cfg(target_os = "linux")]
fn black_hole() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    listener.bind(&SocketAddr::new(LOOPBACK, 0).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    loop {
        let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        if client.connect_timeout(&address, Duration::from_millis(100)).is_err() {
            return (address.as_socket().unwrap(), held);
        }
        held.push(client);
    }
}

/// Closes a connection with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn dialogue(send: &[u8], expect: Option<&str>) -> Dialogue {
    Dialogue { send: send.to_vec(), expect: expect.map(|text| Pattern(text.into())), tls: None }
}

fn conversation(address: SocketAddr, dialogue: Dialogue) -> Kind {
    Kind::Tcp { target: address.into(), dialogue: Some(Arc::new(dialogue)) }
}

/// What a server does on a connection.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Says this and waits.
    Says(&'static [u8]),
    /// Says it and closes.
    SaysAndCloses(&'static [u8]),
    /// Says what it has read, a line.
    Echoes,
    /// Says this an octet at a time.
    Drips(&'static [u8]),
    /// Says one octet over and over, slowly.
    DripsOn,
    /// Says the same as fast as it can.
    PoursOn,
    /// Resets the connection.
    Resets,
}

impl Manner {
    async fn serve(self, mut stream: TcpStream) {
        let end = match self {
            Self::Says(text) => stream.write_all(text).await,
            Self::SaysAndCloses(text) => {
                let _ = stream.write_all(text).await;
                return;
            }
            Self::Echoes => {
                let mut line = [0; 64];
                let length = stream.read(&mut line).await.unwrap_or(0);
                stream.write_all(&line[..length]).await
            }
            Self::Drips(text) => {
                for octet in text {
                    if stream.write_u8(*octet).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Self::DripsOn => loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if stream.write_u8(b'.').await.is_err() {
                    return;
                }
            },
            Self::PoursOn => loop {
                if stream.write_all(&[b'.'; 4096]).await.is_err() {
                    return;
                }
            },
            Self::Resets => return reset(stream),
        };
        if end.is_ok() {
            std::future::pending().await
        }
    }
}

#[tokio::test]
async fn a_dialogue_is_judged_by_what_comes_back() {
    use Manner::*;
    let rows = [
        (Says(b"220 ready\r\n"), "", Some("^220 "), PATIENCE, "up"),
        (Echoes, "PING\r\n", Some("^PING"), PATIENCE, "up"),
        (Drips(b"one two three OK"), "", Some("OK$"), PATIENCE, "up"),
        (SaysAndCloses(b"\xff\x00OK"), "", Some(r"(?-u)^\xff.OK$"), PATIENCE, "up"),
        (Says(b""), "QUIT\r\n", None, PATIENCE, "up"),
        (Says(b"554 no\r\n"), "", Some("^220 "), IMPATIENCE, "nothing matches `^220 `"),
        (SaysAndCloses(b"554 no\r\n"), "", Some("^220 "), PATIENCE, "nothing matches `^220 `"),
        (SaysAndCloses(b""), "", Some("^220 "), PATIENCE, "closed before what is expected came"),
        (Says(b""), "", Some("^220 "), IMPATIENCE, "timed out after 400ms"),
        (Resets, "", Some("^220 "), PATIENCE, "connection reset"),
        (DripsOn, "", Some("OK"), IMPATIENCE, "nothing matches `OK`"),
        (PoursOn, "", Some("OK"), PATIENCE, "nothing matches `OK`"),
        (Says(b""), "", Some("a("), PATIENCE, "`a(` is no regular expression: unclosed group"),
    ];
    for (manner, send, expect, timeout, expected) in rows {
        let server = Server::tcp(move |stream| manner.serve(stream)).await;
        let start = Instant::now();
        let verdict = probe(&check(conversation(server.address, dialogue(send.as_bytes(), expect)), timeout)).await;
        assert_verdict(&verdict, expected, start.elapsed(), &format!("{manner:?} {expect:?}"));
    }
}

#[tokio::test]
async fn a_dialogue_needs_a_connection() {
    let address = Backend::start().stop();
    let verdict = probe(&check(conversation(address, dialogue(b"", Some("OK"))), PATIENCE)).await;
    assert_eq!(verdict, "connection refused");
}

/// A probe of each kind that connects, to one address.
fn that_connect(address: SocketAddr) -> [Kind; 5] {
    [
        conversation(address, dialogue(b"HELLO\r\n", Some("OK"))),
        Kind::Tls { target: address.into(), handshake: Arc::default() },
        Kind::Dns { target: address.into(), query: Arc::new(Query { tcp: true, ..soa("example.org") }) },
        grpc(address, ""),
        Kind::Http {
            address: Some(Host::Address(address.ip())),
            request: Arc::new(Http::get(format!("http://{address}/"))),
        },
    ]
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_black_hole_takes_no_more_than_the_time_there_is() {
    let (address, _held) = black_hole();
    for kind in [Kind::tcp(address)].into_iter().chain(that_connect(address)) {
        assert_eq!(probe(&check(kind, IMPATIENCE)).await, "timed out after 400ms");
    }
}

#[tokio::test]
async fn who_takes_a_connection_and_says_nothing_takes_no_more_either() {
    let server = Server::tcp(|stream| Manner::Says(b"").serve(stream)).await;
    for kind in that_connect(server.address) {
        assert_eq!(probe(&check(kind, IMPATIENCE)).await, "timed out after 400ms");
    }
    assert_eq!(probe(&check(Kind::tcp(server.address), PATIENCE)).await, "up");
}

#[tokio::test]
async fn a_dialogue_may_be_held_over_tls() {
    let (backend, certificate) = Backend::start_tls("www.example.com");
    backend.reply(Reply::body("it is OK"));
    let over_tls = |name: &str| {
        let tls = Handshake { server_name: Some(name.to_owned()), tls: Tls::Verify, expiry_min: None };
        let request = dialogue(b"GET / HTTP/1.0\r\n\r\n", Some("it is OK"));
        check(conversation(backend.address, Dialogue { tls: Some(tls), ..request }), PATIENCE)
    };
    let prober = Prober::new(Settings { roots: vec![certificate], ..Settings::default() });
    assert_eq!(said(prober.probe(&over_tls("www.example.com")).await), "up");
    let verdict = said(prober.probe(&over_tls("www.example.net")).await);
    assert_eq!(verdict, "tls: certificate not valid for name `www.example.net`");
    // What answers is TLS, and what is asked is not.
    let plain = dialogue(b"PING\r\n", Some("PONG"));
    let verdict = said(prober.probe(&check(conversation(backend.address, plain), IMPATIENCE)).await);
    assert!(["nothing matches `PONG`", "connection reset"].contains(&&*verdict), "{verdict}");
}

#[tokio::test]
async fn an_echo_is_answered_where_echoes_may_be_sent() {
    let may = |domain, protocol| {
        let open = |kind| Socket::new(domain, kind, Some(protocol)).is_ok();
        open(Type::DGRAM) || open(Type::RAW)
    };
    let hosts = [("127.0.0.1", Domain::IPV4, Protocol::ICMPV4), ("::1", Domain::IPV6, Protocol::ICMPV6)];
    for (address, domain, protocol) in hosts {
        let address: IpAddr = address.parse().unwrap();
        if std::net::UdpSocket::bind((address, 0)).is_err() {
            // No such family here.
            continue;
        }
        let verdict = probe(&check(Kind::Icmp(Host::Address(address)), PATIENCE)).await;
        if may(domain, protocol) {
            assert_eq!(verdict, "up", "{address}");
            let check = Check { source: Some(address), ..check(Kind::Icmp(Host::Address(address)), PATIENCE) };
            assert_eq!(probe(&check).await, "up");
        } else {
            assert!(verdict.contains("`net.ipv4.ping_group_range`"), "{verdict}");
        }
    }
}

#[tokio::test]
async fn an_echo_goes_only_where_it_may() {
    let reach = Reach { allowed: None, refused: vec!["127.0.0.0/8".parse().unwrap()] };
    let echo = Check { reach: Arc::new(reach), ..check(Kind::Icmp(Host::Address(LOOPBACK)), PATIENCE) };
    assert_eq!(probe(&echo).await, "`127.0.0.1` may not be probed by this zone");
    let named = Check { kind: Kind::Icmp(Host::Name("localhost".into())), ..echo };
    let verdict = probe(&named).await;
    assert!(verdict == "up" || verdict.ends_with("may not be probed by this zone"), "{verdict}");
}

fn soa(name: &str) -> Query {
    Query {
        qname: Name::parse_absolute(name.as_bytes()).unwrap(),
        qtype: Rtype::SOA,
        tcp: false,
        recursion: false,
        rcode: Rcode::NOERROR,
        answer: None,
    }
}

/// The response to a query: these flags, and these octets for its answer section of one record.
fn respond(query: &[u8], flags: [u8; 2], record: &[u8]) -> Vec<u8> {
    let mut octets = query.to_vec();
    octets[2..4].copy_from_slice(&flags);
    octets[7] = u8::from(!record.is_empty());
    octets.extend_from_slice(record);
    octets
}

/// `192.0.2.1`, for the name that was asked.
const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";

#[tokio::test]
async fn a_response_by_udp_is_judged_by_its_rcode_and_answer() {
    type Answer = fn(&[u8]) -> Vec<Vec<u8>>;
    fn strayed(query: &[u8]) -> Vec<u8> {
        let mut octets = respond(query, [0x84, 0], b"");
        octets[0] ^= 1;
        octets
    }
    fn of_another_name(query: &[u8]) -> Vec<u8> {
        let mut octets = respond(query, [0x84, 0], b"");
        octets[13] ^= 1;
        octets
    }
    let found: Answer = |query| vec![respond(query, [0x84, 0], RECORD)];
    let query = soa("example.org");
    let answer = |text: &str| Query { answer: Some(Pattern(text.into())), ..query.clone() };
    let rcode = |rcode| Query { rcode, ..query.clone() };
    let rows: [(&str, Answer, Query, Duration, &str); 11] = [
        ("found", found, query.clone(), PATIENCE, "up"),
        ("matches", found, answer(r"^192\.0\.2\."), PATIENCE, "up"),
        ("does not match", found, answer("^198"), PATIENCE, "no answer matches `^198`"),
        ("empty", |query| vec![respond(query, [0x84, 0], b"")], answer(""), PATIENCE, "no answer matches ``"),
        (
            "refused",
            |query| vec![respond(query, [0x80, 5], b"")],
            query.clone(),
            PATIENCE,
            "rcode REFUSED, expected NOERROR",
        ),
        ("as wanted", |query| vec![respond(query, [0x80, 3], b"")], rcode(Rcode::NXDOMAIN), PATIENCE, "up"),
        (
            "stray first",
            |query| vec![strayed(query), b"x".to_vec(), respond(query, [0x84, 0], b"")],
            query.clone(),
            PATIENCE,
            "up",
        ),
        ("noise", |_| vec![b"noise".to_vec()], query.clone(), PATIENCE, "dns: the answer is malformed: "),
        (
            "another's",
            |query| vec![of_another_name(query)],
            query.clone(),
            PATIENCE,
            "dns: the answer is to another question: ",
        ),
        ("a query", |query| vec![query.to_vec()], query.clone(), PATIENCE, "dns: the answer is not a response"),
        ("silence", |_| vec![], query.clone(), IMPATIENCE, "timed out after 400ms"),
    ];
    for (case, answer, query, timeout, expected) in rows {
        let server = Server::udp(answer).await;
        let kind = Kind::Dns { target: server.address.into(), query: Arc::new(query) };
        let verdict = probe(&check(kind, timeout)).await;
        assert!(verdict.starts_with(expected) && !verdict.is_empty(), "{case}: {verdict}");
        assert_eq!(verdict == "up", expected == "up", "{case}");
    }
}

#[tokio::test]
async fn a_query_has_an_id_and_a_port_of_its_own() {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let query = Query { recursion: true, ..soa("example.org") };
    let kind = Kind::Dns { target: socket.local_addr().unwrap().into(), query: Arc::new(query) };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let check = check(kind.clone(), IMPATIENCE);
        let probe = tokio::spawn(async move { probe(&check).await });
        let mut octets = [0; 512];
        let (length, from) = socket.recv_from(&mut octets).await.unwrap();
        let id = u16::from_be_bytes([octets[0], octets[1]]);
        let mut expected = question(id, Name::parse_absolute(b"example.org").unwrap().as_ref(), Rtype::SOA);
        expected[2] = 1;
        assert_eq!(octets[..length], expected);
        seen.push((id, from.port()));
        socket.send_to(&respond(&octets[..length], [0x84, 0], b""), from).await.unwrap();
        assert_eq!(probe.await.unwrap(), "up");
    }
    assert!(seen.windows(2).any(|pair| pair[0].0 != pair[1].0), "{seen:?}");
    assert!(seen.windows(2).any(|pair| pair[0].1 != pair[1].1), "{seen:?}");
}

#[tokio::test]
async fn nothing_at_a_port_is_told_by_udp_too() {
    let address = UdpSocket::bind((LOOPBACK, 0)).await.unwrap().local_addr().unwrap();
    let kind = Kind::Dns { target: address.into(), query: Arc::new(soa("example.org")) };
    assert_eq!(probe(&check(kind, PATIENCE)).await, "connection refused");
}

/// Answers one query by TCP.
async fn answer_by_tcp(mut stream: TcpStream, answer: fn(&[u8]) -> Vec<u8>) {
    let length = stream.read_u16().await.unwrap();
    let mut query = vec![0; length.into()];
    stream.read_exact(&mut query).await.unwrap();
    let _ = stream.write_all(&answer(&query)).await;
    let _ = stream.shutdown().await;
}

fn framed(octets: Vec<u8>) -> Vec<u8> {
    [&u16::try_from(octets.len()).unwrap().to_be_bytes()[..], &octets].concat()
}

#[tokio::test]
async fn a_truncated_response_comes_again_by_tcp() {
    let tcp = Server::tcp(|stream| answer_by_tcp(stream, |query| framed(respond(query, [0x84, 0], RECORD)))).await;
    let udp = UdpSocket::bind(tcp.address).await.unwrap();
    tokio::spawn(async move {
        let mut octets = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut octets).await {
            let _ = udp.send_to(&respond(&octets[..length], [0x86, 0], b""), from).await;
        }
    });
    let query = Query { answer: Some(Pattern("^192".into())), ..soa("example.org") };
    let kind = Kind::Dns { target: tcp.address.into(), query: Arc::new(query) };
    assert_eq!(probe(&check(kind, PATIENCE)).await, "up");
}

#[tokio::test]
async fn a_response_by_tcp_comes_whole_or_not_at_all() {
    type Answer = fn(&[u8]) -> Vec<u8>;
    let rows: [(Answer, &str); 5] = [
        (|query| framed(respond(query, [0x84, 0], b"")), "up"),
        (|_| Vec::new(), "closed before what is expected came"),
        (|query| framed(respond(query, [0x84, 0], b""))[..9].to_vec(), "closed before what is expected came"),
        (|_| vec![0, 0], "dns: the answer is malformed: "),
        (|query| framed(query.to_vec()), "dns: the answer is not a response"),
    ];
    for (answer, expected) in rows {
        let server = Server::tcp(move |stream| answer_by_tcp(stream, answer)).await;
        let query = Query { tcp: true, ..soa("example.org") };
        let kind = Kind::Dns { target: server.address.into(), query: Arc::new(query) };
        let verdict = probe(&check(kind, PATIENCE)).await;
        assert!(verdict.starts_with(expected), "{verdict}");
    }
}

/// What a gRPC server answers.
#[derive(Clone, Copy, Debug)]
struct Called {
    status: u16,
    kind: &'static str,
    body: &'static [u8],
    /// `grpc-status` and `grpc-message`, in the trailers.
    trailers: Option<(&'static str, &'static str)>,
}

const SERVING: Called =
    Called { status: 200, kind: "application/grpc", body: b"\0\0\0\0\x02\x08\x01", trailers: Some(("0", "")) };

/// Serves each connection as a gRPC server that answers so; tells the path, the authority and the body it was sent.
async fn serve_grpc<S>(stream: S, called: Called, asked: mpsc::UnboundedSender<String>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let asked = asked.clone();
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut message = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                message.extend_from_slice(&piece);
            }
            let _ = asked.send(format!("{} {} {}", head.method, head.uri, message.escape_ascii()));
            let response = http::Response::builder().status(called.status).header("content-type", called.kind);
            let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), false) else { return };
            let _ = stream.send_data(Bytes::from_static(called.body), called.trailers.is_none());
            if let Some((status, message)) = called.trailers {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                trailers.insert("grpc-message", message.parse().unwrap());
                let _ = stream.send_trailers(trailers);
            }
        });
    }
}

fn grpc(address: SocketAddr, service: &str) -> Kind {
    let call = Grpc { service: service.to_owned(), tls: None, authority: None };
    Kind::Grpc { target: address.into(), call: Arc::new(call) }
}

#[tokio::test]
async fn a_service_that_serves_is_up_and_others_are_told_in_words() {
    static LARGE: [u8; 8192] = [0; 8192];
    let rows = [
        (SERVING, "up"),
        (Called { body: b"\0\0\0\0\x02\x08\x02", ..SERVING }, "grpc: NOT_SERVING"),
        (Called { body: b"\0\0\0\0\x02\x08\x03", ..SERVING }, "grpc: SERVICE_UNKNOWN"),
        (Called { body: b"\0\0\0\0\0", ..SERVING }, "grpc: UNKNOWN"),
        (Called { body: b"", ..SERVING }, "grpc: the response is no `HealthCheckResponse`"),
        (
            Called { body: b"", trailers: Some(("5", "unknown service")), ..SERVING },
            "grpc: unknown service `a.B`, status 5 NOT_FOUND: unknown service",
        ),
        (
            Called { body: b"", trailers: Some(("12", "")), ..SERVING },
            "grpc: the server has no health service, status 12 UNIMPLEMENTED",
        ),
        (Called { trailers: None, ..SERVING }, "grpc: the call ended without a status"),
        (Called { status: 503, kind: "text/html", ..SERVING }, "grpc: http status 503"),
        (Called { kind: "text/html", ..SERVING }, "grpc: what came back is `text/html`, not gRPC"),
        (Called { body: &LARGE, ..SERVING }, "grpc: the response has more than 4096 octets"),
    ];
    for (called, expected) in rows {
        let (sender, mut asked) = mpsc::unbounded_channel();
        let server = Server::tcp(move |stream| serve_grpc(stream, called, sender.clone())).await;
        assert_eq!(probe(&check(grpc(server.address, "a.B"), PATIENCE)).await, expected);
        let uri = format!("http://{}/grpc.health.v1.Health/Check", server.address);
        assert_eq!(asked.recv().await.unwrap(), format!(r"POST {uri} \x00\x00\x00\x00\x05\n\x03a.B"));
    }
}

#[tokio::test]
async fn a_call_may_be_made_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["grpc.example.com".to_owned()]).unwrap();
    let root = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![root.clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, mut asked) = mpsc::unbounded_channel();
    let server = Server::tcp(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_grpc(stream, SERVING, sender).await;
            }
        }
    })
    .await;
    let prober = Prober::new(Settings { roots: vec![root], ..Settings::default() });
    let tls = Handshake { server_name: Some("grpc.example.com".to_owned()), tls: Tls::Verify, expiry_min: None };
    let call = Grpc { service: String::new(), tls: Some(tls), authority: Some("grpc.example.com".to_owned()) };
    let kind = Kind::Grpc { target: server.address.into(), call: Arc::new(call) };
    assert_eq!(said(prober.probe(&check(kind, PATIENCE)).await), "up");
    let expected = r"POST https://grpc.example.com/grpc.health.v1.Health/Check \x00\x00\x00\x00\x00";
    assert_eq!(asked.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn what_speaks_no_grpc_is_told() {
    let web = Backend::start();
    let verdict = probe(&check(grpc(web.address, ""), PATIENCE)).await;
    assert!(verdict.starts_with("grpc: what came back is not HTTP/2") || verdict == "connection reset", "{verdict}");
    let rows = [
        (Manner::SaysAndCloses(b""), PATIENCE, ["closed before what is expected came", "connection reset"]),
        (Manner::Resets, PATIENCE, ["connection reset", ""]),
        (Manner::Says(b""), IMPATIENCE, ["timed out after 400ms", ""]),
        (Manner::DripsOn, IMPATIENCE, ["timed out after 400ms", "grpc: what came back is not HTTP/2"]),
        (Manner::PoursOn, PATIENCE, ["grpc: what came back is not HTTP/2", "connection reset"]),
        (Manner::Says(b"SSH-2.0-other\r\n"), PATIENCE, ["grpc: what came back is not HTTP/2", ""]),
    ];
    for (manner, timeout, expected) in rows {
        let server = Server::tcp(move |stream| manner.serve(stream)).await;
        let verdict = probe(&check(grpc(server.address, ""), timeout)).await;
        let is_expected = expected.iter().any(|text| !text.is_empty() && verdict.starts_with(text));
        assert!(is_expected, "{manner:?}: {verdict}");
    }
}

fn exec(command: &[&str]) -> Kind {
    let command = command.iter().map(|word| (*word).into()).collect();
    Kind::Exec { command, address: Some("192.0.2.1".parse().unwrap()) }
}

fn shell(script: &str) -> Kind {
    exec(&["/bin/sh", "-c", script, "sh", "192.0.2.1", "$HOME; exit 1"])
}

#[tokio::test]
async fn a_command_is_judged_by_how_it_ends() {
    let rows = [
        ("exit 0", "up"),
        ("echo 12 of 100", "up with weight 12"),
        ("exit 3", "command exited with 3"),
        ("echo out; echo; echo '  err  ' >&2; echo more >&2; exit 1", "command exited with 1: err"),
        ("echo out; exit 1", "command exited with 1: out"),
        (r"printf '\377\033[1m'; exit 1", "command exited with 1: \u{fffd}[1m"),
        ("kill -9 $$", "command was ended by signal 9"),
        (r#"[ "$1 $2" = '192.0.2.1 $HOME; exit 1' ]"#, "up"),
        (r#"[ -n "$PATH" ] && [ -z "$HOME$CARGO_MANIFEST_DIR" ]"#, "up"),
        (r#"[ "$(pwd)" = / ] && ! read line"#, "up"),
        ("sleep 1000 & echo 5", "up with weight 5"),
        ("head -c 1000000 /dev/zero", "up"),
    ];
    for (script, expected) in rows {
        assert_eq!(probe(&check(shell(script), PATIENCE)).await, expected, "{script}");
    }
    let rows = [
        (exec(&["/bin/echo", "7; exit 1", "$HOME"]), "up with weight 7"),
        (exec(&["/nonexistent/program"]), "command cannot be run: entity not found"),
        (exec(&["/"]), "command cannot be run: permission denied"),
        (exec(&[]), "the command is empty"),
    ];
    for (kind, expected) in rows {
        assert_eq!(probe(&check(kind.clone(), PATIENCE)).await, expected, "{kind:?}");
    }
}

/// Makes a pipe with a name, which is at its end once nobody has it open for writing.
fn fifo(directory: &Path) -> String {
    let path = directory.join("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[tokio::test]
async fn a_command_ends_with_its_time_and_takes_along_what_it_started() {
    let endings = ["sleep 1000", "yes", "sleep 1000 & sleep 1000 & wait", "trap '' TERM INT; while :; do :; done"];
    for ending in endings {
        let directory = tempfile::tempdir().unwrap();
        let pipe = fifo(directory.path());
        // To open it waits for who writes, and to read to the end for all of them to be gone.
        let gone = tokio::task::spawn_blocking({
            let pipe = pipe.clone();
            move || std::fs::File::open(pipe).unwrap().read_to_end(&mut Vec::new()).unwrap()
        });
        let script = format!("exec 3>{pipe}; {ending}");
        // Long enough that it has the pipe open by then.
        let timeout = Duration::from_secs(2);
        assert_eq!(probe(&check(shell(&script), timeout)).await, "timed out after 2s", "{ending}");
        tokio::time::timeout(PATIENCE, gone).await.expect("all have ended").unwrap();
    }
}

#[tokio::test]
async fn a_file_of_states_says_who_is_up() {
    let states = |text: &str| Arc::new(States::read(text.as_bytes(), |fault| panic!("{fault:?}")));
    let files: Files = [("web".into(), states("a => up\nb => up 7\n2001:db8::1 => down"))].into();
    let (sender, said_now) = watch::channel(Arc::new(files));
    let prober = Prober::new(Settings::default()).with_files(said_now);
    let of = |file: &str, entry: &str| check(Kind::File { file: file.into(), entry: entry.into() }, Duration::ZERO);
    let rows = [
        ("web", "a", "up"),
        ("web", "b", "up with weight 7"),
        ("web", "2001:DB8::1", "`web` says that `2001:DB8::1` is down"),
        ("web", "c", "`web` says nothing of `c`"),
        ("mail", "a", "there is no file of states `mail`"),
    ];
    for (file, entry, expected) in rows {
        assert_eq!(said(prober.probe(&of(file, entry)).await), expected);
    }
    sender.send_replace(Arc::new([("mail".into(), states("a => up"))].into()));
    assert_eq!(said(prober.probe(&of("mail", "a")).await), "up");
}

#[tokio::test]
async fn what_is_fixed_takes_no_time() {
    let rows = [
        (Kind::Fixed { up: true, weight: None }, "up"),
        (Kind::Fixed { up: true, weight: Some(3) }, "up with weight 3"),
        (Kind::Fixed { up: false, weight: Some(3) }, "fixed to be down"),
    ];
    for (kind, expected) in rows {
        assert_eq!(probe(&check(kind, Duration::ZERO)).await, expected);
    }
}

#[tokio::test]
async fn no_kind_goes_where_the_zone_may_not() {
    let reach = Arc::new(Reach { allowed: Some(vec!["192.0.2.0/24".parse().unwrap()]), refused: Vec::new() });
    let target = Endpoint { host: Host::Address(LOOPBACK), port: 9 };
    let kinds = [
        Kind::Tcp { target: target.clone(), dialogue: Some(Arc::new(dialogue(b"", None))) },
        Kind::Dns { target: target.clone(), query: Arc::new(soa("example.org")) },
        Kind::Dns { target: target.clone(), query: Arc::new(Query { tcp: true, ..soa("example.org") }) },
        grpc(SocketAddr::new(LOOPBACK, 9), ""),
        Kind::Icmp(Host::Address(LOOPBACK)),
    ];
    for kind in kinds {
        let check = Check { reach: Arc::clone(&reach), ..check(kind, PATIENCE) };
        assert_eq!(probe(&check).await, "`127.0.0.1` may not be probed by this zone");
    }
}

#[tokio::test]
async fn every_kind_keeps_to_its_source() {
    let source = Some("::1".parse().unwrap());
    let kinds = [
        conversation(SocketAddr::new(LOOPBACK, 9), dialogue(b"", None)),
        Kind::Dns { target: SocketAddr::new(LOOPBACK, 9).into(), query: Arc::new(soa("example.org")) },
        grpc(SocketAddr::new(LOOPBACK, 9), ""),
        Kind::Icmp(Host::Address(LOOPBACK)),
    ];
    for kind in kinds {
        let check = Check { source, ..check(kind, PATIENCE) };
        assert_eq!(probe(&check).await, "cannot probe `127.0.0.1` from `::1`: not of one address family");
    }
}

/// The head of a zone.
const HEAD: &str = "@ 1 IN SOA ns hostmaster 1 3600 900 604800 1\n@ 1 IN NS ns\nns 1 IN A 192.0.2.53\n";

#[test]
fn answers_follow_a_file_of_states() {
    let zone = format!(
        "{HEAD}www 1 LUA A \"ifup({{kind='extfile', file='web'}}, {{'192.0.2.1', '192.0.2.2'}}, {{interval=3600}})\"\n"
    );
    let states = "192.0.2.1 => up\n192.0.2.2 => down\n";
    let files = [("zones/example.org.zone", &*zone), ("states/web.states", states)];
    let mut perigee = Perigee::start(&files);
    let www = Question::a("www.example.org");
    assert_eq!(perigee.answers(&www), ["192.0.2.1"]);
    perigee.edit("states/web.states", "192.0.2.1 => down\n192.0.2.2 => up\n");
    perigee.wait_for_log("states taken up");
    perigee.wait_for_answers(&www, &["192.0.2.2"]);
    perigee.edit("states/web.states", "192.0.2.1 => up\n192.0.2.2 is down\n");
    assert!(perigee.wait_for_log("no `=>` follows").contains("web.states:2:1"));
    assert_eq!(perigee.answers(&www), ["192.0.2.2"]);
}

#[test]
fn a_command_runs_for_the_zones_that_may_have_it_run() {
    let zone = format!(
        "{HEAD}www 1 LUA A \"ifup({{kind='exec', command={{'/bin/sh', '-c', 'test $0 = 192.0.2.2', '%%ITEM%%'}}}}, \
         {{'192.0.2.1', '192.0.2.2'}})\"\n"
    );
    let config = "[[zone]]\nname = \"example.org\"\nexec-programs = [\"/bin/sh\"]\n";
    let perigee = Perigee::start(&[("zones/example.org.zone", &*zone), ("perigee.toml", config)]);
    assert_eq!(perigee.answers(&Question::a("www.example.org")), ["192.0.2.2"]);
    let elsewhere = config.replace("/bin/sh", "/bin/other");
    for (config, key) in [("", "lua.exec-programs"), (&*elsewhere, "zone.exec-programs")] {
        perigee.edit("perigee.toml", config);
        let report = process::check(perigee.directory());
        let expected = format!("error: `ifup` may not have `/bin/sh` run in this zone (`{key}`)");
        assert!(report.starts_with("zones/example.org.zone:4:") && report.contains(&expected), "{report}");
    }
}
