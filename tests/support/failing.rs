//! A target that fails in every way there is, and recovers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, crypto};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time;
use tokio_rustls::TlsAcceptor;

/// The host that targets are asked for, and that their good certificates are for.
pub(crate) const HOST: &str = "www.example.com";

/// How a target meets its clients. All but the first few get as far as a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// As it should: 200, and a body with `fine` in it.
    None,
    /// Nothing listens.
    Refused,
    /// What is sent to it is dropped.
    BlackHole,
    /// The connection is reset at once.
    ResetAtOnce,
    /// It is reset in the middle of the body.
    ResetInBody,
    /// It is closed once the request has come.
    Closed,
    /// It stands, and nothing comes.
    HalfOpen,
    /// The status line comes octet by octet.
    DripHead,
    /// The body does.
    DripBody,
    /// The body ends before it is complete.
    Cut,
    /// There is always one more header.
    EndlessHead,
    /// The body goes on.
    EndlessBody,
    /// It goes on in pieces that say their lengths.
    EndlessChunks,
    /// The length of a piece is no number.
    BadChunk,
    /// There is one header of a megabyte.
    HugeHeader,
    /// There are a thousand headers.
    ManyHeaders,
    /// The reply has no status line.
    NoHttp,
    /// The reply is of octets that are no text.
    Noise,
    /// Each page redirects to itself.
    RedirectLoop,
    /// A page redirects to what is no text.
    RedirectNoise,
    /// A page redirects into a file.
    RedirectFile,
    /// 503.
    Status,
    /// The body has other words.
    OtherWords,
    /// The body is of octets that are no text, with the words among them.
    BodyNoise,
    /// The reply is of HTTP/1.0, without a length.
    Http10,
    /// It speaks HTTP/2 alone, in the clear.
    Http2InTheClear,
    /// It speaks HTTP/2 alone, below TLS.
    Http2,
    /// Its certificate is for another host.
    OtherName,
    /// Its certificate has expired.
    Expired,
    /// Nobody vouches for its certificate.
    Untrusted,
    /// It does not speak TLS where it should.
    NoTls,
    /// It hangs in the handshake of TLS.
    TlsHangs,
}

impl Fault {
    /// Whether the target is one of https.
    pub(crate) fn is_tls(self) -> bool {
        let tls = [Self::Http2, Self::OtherName, Self::Expired, Self::Untrusted, Self::NoTls, Self::TlsHangs];
        tls.contains(&self)
    }

    /// Whether nothing comes from the target, or so little that a probe ends with its timeout.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::BlackHole | Self::HalfOpen | Self::DripHead | Self::DripBody | Self::TlsHangs)
    }

    /// Whether clients do not get past TLS.
    fn is_below_tls(self) -> bool {
        matches!(self, Self::NoTls | Self::TlsHangs)
    }
}

/// Certificates good and bad.
pub(crate) struct Certificates {
    good: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    other_name: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    untrusted: Arc<ServerConfig>,
    /// What a prober is to trust.
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

impl Certificates {
    /// Makes them.
    pub(crate) fn make() -> Self {
        let long_ago = Some([2001, 2002]);
        let (good, root) = certificate(HOST, None, b"http/1.1");
        let (other_name, other_root) = certificate("other.example", None, b"http/1.1");
        let (expired, expired_root) = certificate(HOST, long_ago, b"http/1.1");
        let (http2, http2_root) = certificate(HOST, None, b"h2");
        let (untrusted, _) = certificate(HOST, None, b"http/1.1");
        Self { good, http2, other_name, expired, untrusted, roots: vec![root, other_root, expired_root, http2_root] }
    }

    fn of(&self, fault: Fault) -> Arc<ServerConfig> {
        let config = match fault {
            Fault::OtherName => &self.other_name,
            Fault::Expired => &self.expired,
            Fault::Untrusted => &self.untrusted,
            Fault::Http2 => &self.http2,
            _ => &self.good,
        };
        Arc::clone(config)
    }
}

/// A self-signed certificate, and a server that has it and speaks one protocol.
fn certificate(name: &str, valid: Option<[i32; 2]>, protocol: &[u8]) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).expect("parameters");
    if let Some(years) = valid {
        let [from, to] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        (parameters.not_before, parameters.not_after) = (from, to);
    }
    let certificate = parameters.self_signed(&key).expect("a certificate").der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a server");
    config.alpn_protocols = vec![protocol.to_vec()];
    (Arc::new(config), certificate)
}

/// A target on a loopback port of its own; its connections end with the runtime, or with its next fault.
pub(crate) struct Target {
    /// Where it is.
    pub(crate) address: SocketAddr,
    is_tls: bool,
    certificates: Arc<Certificates>,
    serving: JoinSet<()>,
    /// What keeps a queue of connections full.
    _fillers: Vec<Socket>,
}

impl Target {
    /// Starts a target that is well.
    pub(crate) fn start(is_tls: bool, certificates: &Arc<Certificates>) -> Self {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let certificates = Arc::clone(certificates);
        let mut target = Self { address, is_tls, certificates, serving: JoinSet::new(), _fillers: Vec::new() };
        let listener = listen(address, 1024);
        target.address = listener.local_addr().expect("an address").as_socket().expect("of IP");
        target.serve(listener, Fault::None);
        target
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{HOST}:{}/", if self.is_tls { "https" } else { "http" }, self.address.port())
    }

    /// Meets its clients in another way from now on.
    pub(crate) async fn turn(&mut self, fault: Fault) {
        self._fillers.clear();
        // With the listener all its connections go, so that the port is free.
        self.serving.shutdown().await;
        match fault {
            Fault::Refused => {}
            Fault::BlackHole => self._fillers = fill(self.address),
            _ => self.serve(listen(self.address, 1024), fault),
        }
    }

    fn serve(&mut self, listener: Socket, fault: Fault) {
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener.into()).expect("a runtime");
        let tls = (self.is_tls && !fault.is_below_tls()).then(|| self.certificates.of(fault).into());
        self.serving.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                // Clients that leave, or that do not like what they see, are what this is about.
                clients.spawn(async move { drop(meet(stream, tls, fault).await) });
                while clients.try_join_next().is_some() {}
            }
        });
    }
}

/// A socket that listens.
fn listen(address: SocketAddr, backlog: i32) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&address.into()).expect("the port is ours");
    socket.listen(backlog).expect("a listener");
    socket
}

/// Takes a port whose queue of connections is full: the system drops what comes to it.
fn fill(address: SocketAddr) -> Vec<Socket> {
    const ENOUGH: usize = 4;
    let listener = listen(address, 0);
    let mut sockets = vec![listener];
    for _ in 0..ENOUGH {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        // It is under way, or waits for ever.
        let _ = socket.connect(&address.into());
        sockets.push(socket);
    }
    sockets
}

/// Serves one client.
async fn meet(stream: TcpStream, tls: Option<TlsAcceptor>, fault: Fault) -> io::Result<()> {
    if fault == Fault::ResetAtOnce {
        return reset(&stream);
    }
    match tls {
        Some(tls) => {
            let stream = tls.accept(stream).await?;
            if fault == Fault::Http2 { serve_http2(stream).await } else { exchange(stream, fault).await.map(drop) }
        }
        None => {
            let stream = exchange(stream, fault).await?;
            if fault == Fault::ResetInBody { reset(&stream) } else { Ok(()) }
        }
    }
}

/// Has the connection reset when it is dropped.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Serves HTTP/2, and nothing else.
async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let broken = |error: h2::Error| io::Error::other(error);
    let mut connection = h2::server::handshake(stream).await.map_err(broken)?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request.map_err(broken)?;
        let response = http::Response::new(());
        respond
            .send_response(response, false)
            .map_err(broken)?
            .send_data("all is fine".into(), true)
            .map_err(broken)?;
    }
    Ok(())
}

/// Reads one request and replies as the fault has it.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, fault: Fault) -> io::Result<S> {
    const DRIP: Duration = Duration::from_millis(60);
    const SOUND: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\nall is fine";
    if fault == Fault::Http2InTheClear {
        // SETTINGS, and then GOAWAY to a client that speaks anything else.
        stream.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\x01").await?;
        return Ok(stream);
    }
    read_request(&mut stream).await?;
    let endless = match fault {
        Fault::HalfOpen | Fault::TlsHangs => {
            // Until the client leaves.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(stream);
        }
        Fault::Closed => return Ok(stream),
        Fault::DripHead | Fault::DripBody => {
            let at_once = if fault == Fault::DripBody { SOUND.len() - 11 } else { 0 };
            stream.write_all(&SOUND[..at_once]).await?;
            // All of it takes longer than a probe may.
            for octet in &SOUND[at_once..] {
                time::sleep(if fault == Fault::DripBody { 10 * DRIP } else { DRIP }).await;
                stream.write_all(&[*octet]).await?;
            }
            return Ok(stream);
        }
        Fault::EndlessHead => ("HTTP/1.1 200 OK\r\n", "X-More: more and more and more and more and more\r\n"),
        Fault::EndlessBody => ("HTTP/1.1 200 OK\r\n\r\n", "more and more and more and more and more and more "),
        Fault::EndlessChunks => {
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "20\r\nmore and more and more and more \r\n")
        }
        _ => {
            stream.write_all(&whole_reply(fault)).await?;
            stream.shutdown().await?;
            return Ok(stream);
        }
    };
    stream.write_all(endless.0.as_bytes()).await?;
    let more = endless.1.repeat(100);
    loop {
        stream.write_all(more.as_bytes()).await?;
        yield_now().await;
    }
}

/// A reply that ends.
fn whole_reply(fault: Fault) -> Vec<u8> {
    let with = |headers: &str, body: &[u8]| {
        let length = body.len();
        [format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
    };
    let redirect =
        |location: &[u8]| [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ", location, b"\r\n\r\n"].concat();
    match fault {
        Fault::Cut | Fault::ResetInBody => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nall is fine".to_vec(),
        Fault::BadChunk => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nall is fine".to_vec(),
        Fault::HugeHeader => with(&format!("X-Huge: {}\r\n", "x".repeat(1 << 20)), b"all is fine"),
        Fault::ManyHeaders => with(&"X-Many: x\r\n".repeat(1000), b"all is fine"),
        Fault::NoHttp => b"all is fine\r\n\r\n".to_vec(),
        Fault::Noise | Fault::NoTls => (0..=255).cycle().take(4096).collect(),
        Fault::RedirectLoop => redirect(b"/"),
        Fault::RedirectNoise => redirect(b"http://\xff\xfe/\x80"),
        Fault::RedirectFile => redirect(b"file:///etc/passwd"),
        Fault::Status => b"HTTP/1.1 503 Out\r\nContent-Length: 11\r\n\r\nall is fine".to_vec(),
        Fault::OtherWords => with("", b"nothing works"),
        Fault::BodyNoise => with("", b"\xff\xfe\x00\x80fine\xc3\x28"),
        Fault::Http10 => b"HTTP/1.0 200 OK\r\n\r\nall is fine".to_vec(),
        _ => with("Connection: close\r\n", b"all is fine"),
    }
}

/// Reads up to the end of a head, or of what somebody sends who speaks no HTTP.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    // A ClientHello has no end of a head.
    while !head.ends_with(b"\r\n\r\n") && head.first() != Some(&0x16) {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(())
}
