//! A web server that answers as it is told, and tells what it was asked.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::certificate;

/// How long a slow backend takes for each octet.
const DRIP: Duration = Duration::from_millis(5);

/// A backend on a loopback port of its own; gone when dropped.
///
/// Its threads are plain ones, so that it also serves tests without a runtime.
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it was asked, in order of arrival.
    pub(crate) requests: UnboundedReceiver<Request>,
    /// Who connected, in order.
    peers: UnboundedReceiver<SocketAddr>,
    script: Arc<Script>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a client sent.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where it came from.
    pub(crate) from: IpAddr,
    /// The method.
    pub(crate) method: String,
    /// The path and query.
    pub(crate) path: String,
    /// Header names in lower case, and their values.
    pub(crate) headers: HashMap<String, String>,
    /// The name in the TLS handshake.
    pub(crate) server_name: Option<String>,
    /// On which connection it came, counted from 1.
    pub(crate) connection: usize,
}

/// What a client gets.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole reply.
    Whole { status: u16, location: Option<String>, body: Vec<u8> },
    /// A body that does not end while the client reads.
    Endless { octet: u8 },
    /// Half of the body that was announced.
    Cut,
    /// Half of the body that was announced, and nothing more while the client waits.
    Stall,
    /// Octets that are not HTTP.
    Noise,
    /// Nothing, while the client waits.
    Hang,
    /// These octets and no more.
    Raw(Vec<u8>),
    /// These octets, and then the last of them for as long as the client reads.
    Flood(Vec<u8>),
    /// These octets, one after the other with a pause behind each, and then the last of them without an end.
    Drip(Vec<u8>),
    /// A reset in place of a reply.
    Reset,
}

/// What the threads of a backend share.
struct Script {
    replies: Mutex<HashMap<String, Reply>>,
    stopped: AtomicBool,
    /// Whether a connection serves more than one request.
    keeps: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
    requests: UnboundedSender<Request>,
}

impl Reply {
    /// A 200 with `body`.
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        Self::Whole { status: 200, location: None, body: body.as_ref().to_vec() }
    }

    /// A `status` with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Whole { status, location: None, body: Vec::new() }
    }

    /// A redirect to `location`.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::Whole { status: 302, location: Some(location.to_owned()), body: Vec::new() }
    }
}

impl Backend {
    /// Starts a backend that speaks HTTP and replies 200 to everything.
    pub(crate) fn start() -> Self {
        Self::start_with(None, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts a backend as [`Backend::start`] does, on an address of the caller's choice.
    pub(crate) fn start_on(address: SocketAddr) -> Self {
        Self::start_with(None, address)
    }

    /// Starts a backend that speaks HTTPS with a self-signed certificate for `name`; returns that too.
    pub(crate) fn start_tls(name: &str) -> (Self, CertificateDer<'static>) {
        let (certificate, config) = certificate::self_signed(name);
        (Self::start_tls_with(config), certificate)
    }

    /// Starts a backend that speaks HTTPS as it is told here.
    pub(crate) fn start_tls_with(config: Arc<ServerConfig>) -> Self {
        Self::start_with(Some(config), (Ipv4Addr::LOCALHOST, 0).into())
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded_channel();
        let replies = Mutex::new(HashMap::new());
        let (stopped, keeps) = (AtomicBool::new(false), AtomicBool::new(false));
        let script = Arc::new(Script { replies, stopped, keeps, tls, requests: sender });
        let (peer, peers) = unbounded_channel();
        let acceptor = thread::spawn({
            let script = Arc::clone(&script);
            move || accept(&listener, &script, &peer)
        });
        Self { address, requests, peers, script, acceptor: Some(acceptor) }
    }

    /// Sets the reply to every path that has none of its own.
    pub(crate) fn reply(&self, reply: Reply) {
        self.reply_at("", reply);
    }

    /// Sets the reply to `path`.
    pub(crate) fn reply_at(&self, path: &str, reply: Reply) {
        self.script.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Serves more than one request on a connection from now on.
    pub(crate) fn keep_connections(&self, keeps: bool) {
        self.script.keeps.store(keeps, Ordering::Relaxed);
    }

    /// How many connections there have been since this was last asked.
    pub(crate) async fn connections(&mut self) -> usize {
        // One of its own comes last, so that none is left that was made and is not counted yet.
        let own = TcpStream::connect(self.address).unwrap().local_addr().unwrap();
        let mut count = 0;
        while self.peers.recv().await != Some(own) {
            count += 1;
        }
        count
    }

    /// The URL of `path` under `host`, with the backend's port.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        let scheme = if self.script.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }

    /// Stops listening; returns the address, where connections are now refused.
    pub(crate) fn stop(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        self.script.stopped.store(true, Ordering::Relaxed);
        // One more connection ends the wait for the next.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end();
    }
}

/// Gives each connection a thread, until the backend is stopped.
fn accept(listener: &TcpListener, script: &Arc<Script>, peer: &UnboundedSender<SocketAddr>) {
    for (stream, number) in listener.incoming().zip(1..) {
        if script.stopped.load(Ordering::Relaxed) {
            return;
        }
        let (stream, script) = (stream.unwrap(), Arc::clone(script));
        let _ = stream.peer_addr().map(|address| peer.send(address));
        // A client that leaves early is what some tests are about.
        thread::spawn(move || drop(serve(stream, number, &script)));
    }
}

/// Serves the requests of a connection.
fn serve(mut tcp: TcpStream, connection: usize, script: &Script) -> io::Result<()> {
    let from = tcp.peer_addr()?.ip();
    let peer = Peer { tcp: tcp.try_clone()?, from, server_name: None, connection };
    let Some(tls) = &script.tls else { return exchanges(tcp, &peer, script) };
    let mut session = ServerConnection::new(Arc::clone(tls)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp)?;
    }
    let peer = Peer { server_name: session.server_name().map(str::to_owned), ..peer };
    exchanges(StreamOwned::new(session, tcp), &peer, script)
}

/// Who is at the other end of a connection.
struct Peer {
    tcp: TcpStream,
    from: IpAddr,
    server_name: Option<String>,
    connection: usize,
}

/// Reads requests, notes them, and replies as told; one, unless connections are kept.
fn exchanges<S: Read + Write>(stream: S, peer: &Peer, script: &Script) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        let headers = read_headers(&mut reader)?;
        let reply = {
            let replies = script.replies.lock().unwrap();
            replies.get(&path).or_else(|| replies.get("")).cloned().unwrap_or_else(|| Reply::body("OK"))
        };
        let Peer { from, server_name, connection, .. } = peer;
        let (from, server_name, connection) = (*from, server_name.clone(), *connection);
        let has_body = method != "HEAD";
        // The test may have lost interest.
        let _ = script.requests.send(Request { from, method, path, headers, server_name, connection });
        respond(reader.get_mut(), &peer.tcp, reply, has_body)?;
        if !script.keeps.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// Replies as told.
fn respond<S: Read + Write>(stream: &mut S, tcp: &TcpStream, reply: Reply, has_body: bool) -> io::Result<()> {
    match reply {
        Reply::Whole { status, location, body } => {
            let location = location.map_or_else(String::new, |location| format!("Location: {location}\r\n"));
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} Told\r\n{location}Content-Length: {length}\r\n\r\n")?;
            stream.write_all(if has_body { &body } else { &[] })?;
            stream.flush()
        }
        Reply::Endless { octet } => {
            write!(stream, "HTTP/1.1 200 Told\r\n\r\n")?;
            loop {
                stream.write_all(&[octet; 1024])?;
            }
        }
        Reply::Cut => write!(stream, "HTTP/1.1 200 Told\r\nContent-Length: 4\r\n\r\nOK"),
        Reply::Stall => {
            write!(stream, "HTTP/1.1 200 Told\r\nContent-Length: 4\r\n\r\nOK")?;
            stream.flush()?;
            stream.read(&mut [0; 1]).map(drop)
        }
        Reply::Noise => write!(stream, "this is not HTTP\r\n\r\n"),
        Reply::Hang => stream.read(&mut [0; 1]).map(drop),
        Reply::Raw(octets) => stream.write_all(&octets),
        Reply::Flood(octets) => {
            stream.write_all(&octets)?;
            let last = [*octets.last().unwrap(); 1024];
            loop {
                stream.write_all(&last)?;
            }
        }
        Reply::Drip(octets) => {
            tcp.set_read_timeout(Some(DRIP))?;
            let last = octets.last().copied().unwrap();
            for octet in octets.into_iter().chain(iter::repeat(last)) {
                stream.write_all(&[octet])?;
                // The client says nothing meanwhile: what passes is the pause.
                let _ = tcp.peek(&mut [0; 1]);
            }
            Ok(())
        }
        Reply::Reset => socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)),
    }
}

/// Reads header lines up to the empty one.
fn read_headers(reader: &mut impl BufRead) -> io::Result<HashMap<String, String>> {
    let mut headers = HashMap::new();
    for line in reader.lines() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(headers)
}
