//! A whole perigee on free ports: its files in a directory of their own, its log read as it is written.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;
use std::{fs, thread};

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use tempfile::TempDir;

use super::PATIENCE;

/// A running `perigee serve`; killed when dropped.
pub(crate) struct Perigee {
    /// Taken when it goes on without the process.
    directory: Option<TempDir>,
    child: Child,
    log: Receiver<String>,
    /// What it logged before it served.
    pub(crate) at_start: Vec<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Perigee {
    /// Starts with these files, `perigee.toml` among them if its keys matter, and waits until it serves.
    pub(crate) fn start<T: AsRef<[u8]> + ?Sized>(files: &[(&str, &T)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            write(directory.path(), name, text.as_ref());
        }
        Self::start_in(directory)
    }

    /// Starts with the files that are there, as after a restart, and waits until it serves.
    pub(crate) fn start_in(directory: TempDir) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_perigee"))
            .arg("serve")
            .current_dir(directory.path())
            .env_clear()
            .env("PERIGEE_SERVER_LISTEN", format!("127.0.0.1:{}", free_port()))
            .stderr(Stdio::piped())
            .spawn()
            .expect("perigee runs");
        let lines = BufReader::new(child.stderr.take().expect("standard error is a pipe")).lines();
        let (sender, log) = std::sync::mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut perigee = Self { directory: Some(directory), child, log, address, at_start: Vec::new() };
        // As text `serving addresses=[…`, as JSON `"serving","addresses":"[…`.
        let serving = loop {
            let (line, before) = perigee.wait_for_log_after("serving");
            perigee.at_start.extend(before);
            if let Some((_, rest)) = line.split_once("addresses").filter(|(head, _)| head.ends_with([' ', '"'])) {
                break rest.to_owned();
            }
            perigee.at_start.push(line);
        };
        let address = serving.split('[').nth(1).and_then(|rest| rest.split([']', ',']).next());
        perigee.address = address.expect("an address").parse().expect("an address");
        perigee
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("it is there while the process is").path()
    }

    /// Puts another text in place of a file, as an editor that renames does.
    pub(crate) fn edit<T: AsRef<[u8]> + ?Sized>(&self, name: &str, text: &T) {
        write(self.directory(), name, text.as_ref());
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.directory().join(name)).expect("removed");
    }

    /// Waits for the next log line that contains `words`; returns it.
    pub(crate) fn wait_for_log(&mut self, words: &str) -> String {
        self.wait_for_log_after(words).0
    }

    /// The lines that come before the next one that contains `words`, which is waited for.
    pub(crate) fn logged_before(&mut self, words: &str) -> Vec<String> {
        self.wait_for_log_after(words).1
    }

    /// Waits for the next log line that contains `words`; returns it and those before it.
    fn wait_for_log_after(&mut self, words: &str) -> (String, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(words) => return (line, seen),
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no log line says `{words}`; there were:\n{}", seen.join("\n"))
                }
            }
        }
    }

    /// Sends a signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Asks it to stop, and waits; returns whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().expect("the child is ours").success()
    }

    /// Asks it to stop, and waits; returns its directory.
    pub(crate) fn stop_for_another(mut self) -> TempDir {
        self.signal("TERM");
        assert!(self.child.wait().expect("the child is ours").success());
        self.directory.take().expect("it is there while the process is")
    }

    /// Kills it as a crash does; returns its directory.
    pub(crate) fn kill_for_another(mut self) -> TempDir {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
        self.directory.take().expect("it is there while the process is")
    }

    /// How much memory it has, as Linux counts what is resident.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Asks by UDP.
    pub(crate) fn ask(&self, question: &Question) -> Message {
        self.client().ask(question)
    }

    /// The data of the answer section, sorted.
    pub(crate) fn answers(&self, question: &Question) -> Vec<String> {
        answers(&self.ask(question))
    }

    /// A socket to ask many questions by.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// Asks again and again until the data of the answer is `expected`.
    pub(crate) fn wait_for_answers(&self, question: &Question, expected: &[&str]) {
        let client = self.client();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let got = answers(&client.ask(question));
            if got == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{question:?}: {got:?} in place of {expected:?}");
        }
    }
}

/// What `perigee override` prints when it is told these words in a directory; on failure, what it complains of.
pub(crate) fn say(directory: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perigee"));
    command.arg("override").args(words).current_dir(directory).env_clear().env("USER", "kim");
    let output = command.output().expect("perigee runs");
    let text = |octets| String::from_utf8(octets).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What `perigee check` tells of the configuration in a directory, and of all it names.
pub(crate) fn check(directory: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perigee"));
    let output = command.arg("check").current_dir(directory).env_clear().output().expect("perigee runs");
    String::from_utf8(output.stdout).expect("text")
}

/// Finds a port that nobody has, below those that systems hand out.
///
/// dig marks its sockets as sharing their ports, so Linux may hand it the port of a server that does so too. It then
/// hears its own question: once in 28,000 times, which is too often for tests that ask thousands.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..30_000;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Processes begin far from each other, for two that look at once may find the same.
    let begin = std::process::id().wrapping_mul(101);
    let count = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let offset = begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed).into()) % count;
        let port = PORTS.start + u16::try_from(offset).expect("there are fewer than 2^16");
        let address = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port from {} to {} is free", PORTS.start, PORTS.end);
}

impl Drop for Perigee {
    fn drop(&mut self) {
        // It has ended already if the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket that hears from one server.
pub(crate) struct Client(UdpSocket);

impl Client {
    /// A socket that hears from `server` alone.
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, server)
    }

    /// The same, with an address of its own.
    pub(crate) fn at(source: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.connect(server).expect("a route");
        Self(socket)
    }

    /// Asks, and reads the reply with a decoder that is not perigee's own.
    pub(crate) fn ask(&self, question: &Question) -> Message {
        let request = question.message();
        self.0.send(&request.to_vec().expect("encoded")).expect("sent");
        let mut octets = [0; 4096];
        let length = self.0.recv(&mut octets).expect("a reply");
        let reply = Message::from_vec(&octets[..length]).expect("a well-formed reply");
        assert_eq!(reply.metadata.id, request.metadata.id);
        reply
    }
}

/// A question and what goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    name: String,
    rtype: RecordType,
    subnet: Option<ClientSubnet>,
}

impl Question {
    /// Asks for the A records of a name.
    pub(crate) fn a(name: &str) -> Self {
        Self { name: name.to_owned(), rtype: RecordType::A, subnet: None }
    }

    /// Asks for the TXT records of a name.
    pub(crate) fn txt(name: &str) -> Self {
        Self { rtype: RecordType::TXT, ..Self::a(name) }
    }

    /// Asks for the records of a name whose type has this mnemonic.
    pub(crate) fn of_type(name: &str, rtype: &str) -> Self {
        // hickory knows fewer types by name than there are.
        let number = perigee::dns::Rtype::parse(rtype.as_bytes()).expect("a type").0;
        Self { rtype: RecordType::from(number), ..Self::a(name) }
    }

    /// Asks for the records of a name that have this type.
    pub(crate) fn of(name: &str, rtype: RecordType) -> Self {
        Self { rtype, ..Self::a(name) }
    }

    /// Asks on a connection of its own, and reads the reply.
    pub(crate) fn ask_by_tcp(&self, server: SocketAddr) -> Message {
        let request = self.message();
        let octets = super::ask_tcp(server, &request.to_vec().expect("encoded")).expect("a reply");
        let reply = Message::from_vec(&octets).expect("a well-formed reply");
        assert_eq!(reply.metadata.id, request.metadata.id);
        reply
    }

    /// Says which network the client is in.
    pub(crate) fn from(mut self, subnet: &str) -> Self {
        self.subnet = Some(subnet.parse().expect("a network"));
        self
    }

    /// The question as a request.
    pub(crate) fn octets(&self) -> Vec<u8> {
        self.message().to_vec().expect("encoded")
    }

    fn message(&self) -> Message {
        static IDS: AtomicU16 = AtomicU16::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let mut message = Message::query();
        message.metadata.id = id;
        message.metadata.op_code = OpCode::Query;
        let mut name = Name::from_ascii(&self.name).expect("a name");
        name.set_fqdn(true);
        message.add_query(Query::query(name, self.rtype));
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        if let Some(subnet) = self.subnet {
            edns.options_mut().insert(EdnsOption::Subnet(subnet));
        }
        message.set_edns(edns);
        message
    }
}

/// The data of the answer section, sorted.
pub(crate) fn answers(message: &Message) -> Vec<String> {
    let mut answers: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    answers
}

/// The response code.
pub(crate) fn rcode(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

/// Writes a file beside its place and then renames it there.
fn write(directory: &Path, name: &str, text: &[u8]) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a file has a directory")).expect("created");
    let aside = path.with_extension("new");
    fs::write(&aside, text).expect("written");
    fs::rename(aside, path).expect("renamed");
}
