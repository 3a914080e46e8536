//! A web server that answers as it is told, and tells what it was asked.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A backend on a loopback port of its own; gone when dropped.
///
/// Its threads are plain ones, so that it also serves tests without a runtime.
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it was asked, in order of arrival.
    pub(crate) requests: UnboundedReceiver<Request>,
    script: Arc<Script>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a client sent.
#[derive(Debug)]
pub(crate) struct Request {
    /// Where it came from.
    pub(crate) from: IpAddr,
    /// The path and query.
    pub(crate) path: String,
    /// Header names in lower case, and their values.
    pub(crate) headers: HashMap<String, String>,
    /// The name in the TLS handshake.
    pub(crate) server_name: Option<String>,
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
    /// These octets, and the end.
    Raw(&'static [u8]),
}

/// What the threads of a backend share.
struct Script {
    replies: Mutex<HashMap<String, Reply>>,
    stopped: AtomicBool,
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
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        (Self::start_with(Some(Arc::new(config)), (Ipv4Addr::LOCALHOST, 0).into()), certificate)
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded_channel();
        let replies = Mutex::new(HashMap::new());
        let script = Arc::new(Script { replies, stopped: AtomicBool::new(false), tls, requests: sender });
        let acceptor = thread::spawn({
            let script = Arc::clone(&script);
            move || accept(&listener, &script)
        });
        Self { address, requests, script, acceptor: Some(acceptor) }
    }

    /// Sets the reply to every path that has none of its own.
    pub(crate) fn reply(&self, reply: Reply) {
        self.reply_at("", reply);
    }

    /// Sets the reply to `path`.
    pub(crate) fn reply_at(&self, path: &str, reply: Reply) {
        self.script.replies.lock().unwrap().insert(path.to_owned(), reply);
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
fn accept(listener: &TcpListener, script: &Arc<Script>) {
    for stream in listener.incoming() {
        if script.stopped.load(Ordering::Relaxed) {
            return;
        }
        let (stream, script) = (stream.unwrap(), Arc::clone(script));
        // A client that leaves early is what some tests are about.
        thread::spawn(move || drop(serve(stream, &script)));
    }
}

/// Serves the one request of a connection.
fn serve(stream: TcpStream, script: &Script) -> io::Result<()> {
    let from = stream.peer_addr()?.ip();
    let Some(tls) = &script.tls else { return exchange(stream, from, None, script) };
    let mut stream = stream;
    let mut connection = ServerConnection::new(Arc::clone(tls)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let server_name = connection.server_name().map(str::to_owned);
    exchange(StreamOwned::new(connection, stream), from, server_name, script)
}

/// Reads a request, notes it, and replies as told.
fn exchange<S: Read + Write>(stream: S, from: IpAddr, server_name: Option<String>, script: &Script) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(path) = line.split(' ').nth(1).map(str::to_owned) else { return Ok(()) };
    let headers = read_headers(&mut reader)?;
    let reply = {
        let replies = script.replies.lock().unwrap();
        replies.get(&path).or_else(|| replies.get("")).cloned().unwrap_or_else(|| Reply::body("OK"))
    };
    // The test may have lost interest.
    let _ = script.requests.send(Request { from, path, headers, server_name });
    let mut stream = reader.into_inner();
    match reply {
        Reply::Whole { status, location, body } => {
            let location = location.map_or_else(String::new, |location| format!("Location: {location}\r\n"));
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} Told\r\n{location}Content-Length: {length}\r\n\r\n")?;
            stream.write_all(&body)
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
        Reply::Raw(octets) => stream.write_all(octets),
        Reply::Hang => stream.read(&mut [0; 1]).map(drop),
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
