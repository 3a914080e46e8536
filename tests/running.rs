//! The process: its rights, its sockets, the interfaces it follows, signals, and what the service manager is told.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;

use crate::support::process::{Client, Question, answers, free_port};
use crate::support::{PATIENCE, ask_tcp, framed, tcp_to};

/// A zone that every process here serves.
const ZONE: &str = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n";

/// A directory that any user may read, with the zone `example.org` and a configuration.
fn directory(configuration: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    fs::create_dir(directory.path().join("zones")).expect("created");
    fs::write(directory.path().join("zones/example.org.zone"), ZONE).expect("written");
    fs::write(directory.path().join("perigee.toml"), configuration).expect("written");
    directory
}

/// A process and its log; killed when dropped.
struct Running {
    child: Child,
    log: Receiver<String>,
}

impl Running {
    /// Starts `perigee serve` behind the words of another program, which become the process.
    fn start(words: &[&str], directory: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let all: Vec<&str> = words.iter().copied().chain([env!("CARGO_BIN_EXE_perigee"), "serve"]).collect();
        let mut command = Command::new(all[0]);
        command
            .args(&all[1..])
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("it runs");
        let lines = BufReader::new(child.stderr.take().expect("standard error is a pipe")).lines();
        let (sender, log) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Waits for a line of the log that has these words.
    fn wait_for_log(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(words) {
                return line;
            }
            seen.push(line);
        }
        panic!("no log line says `{words}`; there were:\n{}", seen.join("\n"))
    }

    /// Waits until it serves.
    fn wait(self) -> Self {
        self.wait_for_log("serving addresses=");
        self
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits until it has ended; returns how, and the rest of its log.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("the child is ours");
        (status, self.log.iter().collect::<Vec<_>>().join("\n"))
    }

    /// Runs a program in the network namespace of the process; returns what it printed.
    fn beside(&self, words: &[&str]) -> String {
        let pid = self.child.id().to_string();
        let output = Command::new("nsenter").args(["--net", "--target", &pid]).args(words).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this test may become anybody and make networks; says aloud that it is passed over if not.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let is_root = id.stdout == b"0\n";
    if !is_root {
        eprintln!("PASSED OVER: this test is for root, as CI is");
    }
    is_root
}

/// Runs a program that may be missing, for whether it does what it is told; says aloud if not.
fn can(words: &[&str]) -> bool {
    let can = Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("PASSED OVER: this machine cannot do `{}`", words.join(" "));
    }
    can
}

fn ask(server: SocketAddr) -> Vec<String> {
    answers(&Client::to(server).ask(&Question::a("www.example.org")))
}

/// What the kernel says of each thread of a process, by the name of each line.
fn threads(process: &Running) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.child.id())).expect("it runs");
    let status = |path: &Path| fs::read_to_string(path.join("status")).expect("a thread");
    let fields = |text: String| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
    };
    tasks.map(|task| fields(status(&task.expect("listed").path()))).collect()
}

/// Asserts that all threads have these lines in their status.
fn assert_threads(process: &Running, expected: &[(&str, &str)]) {
    let threads = threads(process);
    // The main one, a worker, the checker, and those of the allocator at least.
    assert!(threads.len() > 3, "{}", threads.len());
    for thread in threads {
        for (line, value) in expected {
            assert_eq!(thread[*line], *value, "{line} of {}", thread["Name"]);
        }
    }
}

/// A port below 1024 on an address of the loopback that nobody has.
fn low_port() -> SocketAddr {
    let mut addresses = (1..=254).map(|host| SocketAddr::from((Ipv4Addr::new(127, 53, 53, host), 53)));
    addresses
        .find(|address| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok())
        .expect("a free one")
}

#[test]
fn root_takes_port_53_and_is_root_no_more() {
    if !is_root() {
        return;
    }
    let address = low_port();
    let configuration = format!(
        "server.listen = [\"{address}\"]\nserver.user = \"nobody\"\nserver.group = \"4242\"\nserver.workers = 2\n"
    );
    let directory = directory(&configuration);
    let process = Running::start(&["env"], directory.path(), |_| ());
    let given_up = process.wait_for_log("rights given up");
    assert!(given_up.contains(r#"user="nobody" capabilities=["CAP_NET_BIND_SERVICE"]"#), "{given_up}");
    let process = process.wait();
    assert_eq!(ask(address), ["192.0.2.1"]);
    assert_eq!(answers(&Question::a("www.example.org").ask_by_tcp(address)), ["192.0.2.1"]);
    let nobody = Command::new("id").args(["-u", "nobody"]).output().expect("id runs");
    let nobody = String::from_utf8(nobody.stdout).expect("a number");
    let user = [nobody.trim(); 4].join(" ");
    let groups = Command::new("id").args(["-G", "nobody"]).output().expect("id runs");
    let mut groups: Vec<u32> =
        String::from_utf8(groups.stdout).expect("numbers").split_whitespace().map(|gid| gid.parse().unwrap()).collect();
    // In place of the user's own.
    groups.remove(0);
    groups.push(4242);
    groups.sort_unstable();
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    assert_threads(
        &process,
        &[
            ("Uid", &user),
            ("Gid", "4242 4242 4242 4242"),
            ("Groups", &groups.join(" ")),
            ("CapInh", "0000000000000000"),
            ("CapPrm", "0000000000000400"),
            ("CapEff", "0000000000000400"),
            ("CapBnd", "0000000000000400"),
            ("CapAmb", "0000000000000000"),
            ("NoNewPrivs", "1"),
        ],
    );
    process.signal("TERM");
    assert!(process.ended().0.success());
}

#[test]
fn capabilities_that_are_given_are_kept_as_far_as_serving_needs_them() {
    let given = "+net_bind_service,+net_raw,+chown";
    let words =
        ["setpriv", "--reuid=65534", "--regid=4242", "--clear-groups", "--inh-caps", given, "--ambient-caps", given];
    if !is_root() || !can(&[&words[..], &["true"]].concat()) {
        return;
    }
    let address = low_port();
    let directory =
        directory(&format!("server.listen = [\"{address}\"]\nserver.user = \"65534\"\nserver.workers = 1\n"));
    let process = Running::start(&words, directory.path(), |_| ()).wait();
    assert_eq!(ask(address), ["192.0.2.1"]);
    assert_threads(
        &process,
        &[
            ("Uid", "65534 65534 65534 65534"),
            ("CapInh", "0000000000000000"),
            ("CapPrm", "0000000000002400"),
            ("CapEff", "0000000000002400"),
            ("CapAmb", "0000000000000000"),
            ("NoNewPrivs", "1"),
        ],
    );
}

#[test]
fn root_stays_root_with_a_warning_if_nobody_is_to_be_become() {
    if !is_root() {
        return;
    }
    let directory = directory(&format!("server.listen = [\"127.0.0.1:{}\"]\n", free_port()));
    let process = Running::start(&["env"], directory.path(), |_| ());
    let warning = process.wait_for_log("serving as root");
    assert!(warning.contains("WARN") && warning.contains("server.user"), "{warning}");
}

#[test]
fn who_is_not_root_cannot_become_another() {
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !is_root() || !can(&[&words[..], &["true"]].concat()) {
        return;
    }
    let port = free_port();
    let directory = directory(&format!("server.listen = [\"127.0.0.1:{port}\"]\nserver.user = \"daemon\"\n"));
    let (status, log) = Running::start(&words, directory.path(), |_| ()).ended();
    assert_eq!(status.code(), Some(1));
    assert!(log.starts_with("error: cannot serve as `daemon`: "), "{log}");
    assert!(log.contains("help: start as root, or as that user"), "{log}");

    let address = low_port();
    let listen = format!("server.listen = [\"{address}\"]\n");
    fs::write(directory.path().join("perigee.toml"), listen).expect("written");
    let (status, log) = Running::start(&words, directory.path(), |_| ()).ended();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("error: cannot listen on `{address}`: permission denied")), "{log}");
    assert!(log.contains("`server.user`") && log.contains("AmbientCapabilities=") && log.contains("setcap"), "{log}");
}

#[test]
fn a_directory_that_cannot_be_written_is_told_at_the_start() {
    if !is_root() {
        return;
    }
    let port = free_port();
    let configuration =
        format!("server.listen = [\"127.0.0.1:{port}\"]\nserver.user = \"nobody\"\nhealth.state-file = \"state\"\n");
    let directory = directory(&configuration);
    let process = Running::start(&["env"], directory.path(), |_| ());
    let warning = process.wait_for_log("states will not be kept");
    assert!(warning.contains("WARN"), "{warning}");
}

/// Starts a process that is handed these sockets, from number 3 on, with these names.
fn activated(directory: &Path, sockets: Vec<std::os::fd::OwnedFd>, names: &str) -> Running {
    let count = sockets.len().to_string();
    let mappings: Vec<_> =
        sockets.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd }).collect();
    // Only the shell can know the number that its process will have.
    let words = ["sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"];
    Running::start(&words, directory, |command| {
        command.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
        command.fd_mappings(mappings).expect("the numbers are free");
    })
}

/// Both transports on one port.
fn pair(ip: &str) -> (UdpSocket, TcpListener) {
    let port = free_port();
    let address = SocketAddr::new(ip.parse().expect("an address"), port);
    (UdpSocket::bind(address).expect("it is free"), TcpListener::bind(address).expect("it is free"))
}

#[test]
fn sockets_that_are_handed_over_are_served() {
    let elsewhere = free_port();
    let directory = directory(&format!("server.listen = [\"127.0.0.1:{elsewhere}\"]\nserver.workers = 2\n"));
    let (udp, tcp) = pair("127.0.0.1");
    // Bound as systemd binds a port without an address, so for both families.
    let (both_udp, both_tcp) = pair("::");
    let (address, both) = (udp.local_addr().unwrap(), both_udp.local_addr().unwrap().port());
    let sockets = vec![udp.into(), both_udp.into(), both_tcp.into(), tcp.into()];
    let process = activated(directory.path(), sockets, "dns:dns6:dns6:dns").wait();
    for _ in 0..20 {
        assert_eq!(ask(address), ["192.0.2.1"]);
        assert_eq!(answers(&Question::a("www.example.org").ask_by_tcp(address)), ["192.0.2.1"]);
    }
    // What asks by IPv4 is answered from where it asked, by a socket for IPv6.
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let address = SocketAddr::new(ip.parse().unwrap(), both);
        assert_eq!(ask(address), ["192.0.2.1"]);
        assert!(ask_tcp(address, &Question::a("www.example.org").octets()).is_ok());
    }
    assert!(UdpSocket::bind(("127.0.0.1", elsewhere)).is_ok(), "`server.listen` is bound all the same");
    process.signal("TERM");
    assert!(process.ended().0.success());
}

#[test]
fn sockets_that_lack_their_other_half_are_told() {
    let directory = directory("");
    let (udp, _) = pair("127.0.0.1");
    let (_, tcp) = pair("127.0.0.1");
    let (alone, other) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let unix = UnixDatagram::unbound().expect("a socket");
    let sockets = vec![udp.into(), unix.into(), tcp.into()];
    let (status, log) = activated(directory.path(), sockets, "dns.socket:x:").ended();
    assert_eq!(status.code(), Some(1));
    let expected = [
        "error: the socket `x (number 2)` that was handed over is neither of UDP nor of TCP".to_owned(),
        format!("error: the UDP socket `dns.socket (number 1)` on `{alone}` was handed over without one for TCP"),
        format!("help: add `ListenStream={alone}` to the socket unit"),
        format!("error: the TCP socket `number 3` on `{other}` was handed over without one for UDP"),
    ];
    for line in expected {
        assert!(log.contains(&line), "{line} is not in\n{log}");
    }
}

#[test]
fn systemd_hands_sockets_over() {
    if !can(&["systemd-socket-activate", "--version"]) {
        return;
    }
    let directory = directory("");
    let address = format!("127.0.0.1:{}", free_port());
    let words = ["systemd-socket-activate", "--datagram", "--listen", &address, "--fdname=dns"];
    let process = Running::start(&words, directory.path(), |_| ());
    process.wait_for_log("Listening on");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"wake up", &address).unwrap();
    // The program can hand over sockets of one kind alone.
    let told = process.wait_for_log("error:");
    assert!(told.contains(&format!("`dns (number 1)` on `{address}` was handed over without one for TCP")), "{told}");
}

/// A service manager that waits to be told.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, directory }
    }

    /// Starts a process that tells it.
    fn start(&self, directory: &Path, variables: &[(&str, &str)]) -> Running {
        Running::start(&["env"], directory, |command| {
            command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).envs(variables.iter().copied());
        })
    }

    /// Waits until it is told what begins with this line; returns all lines.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let mut octets = [0; 4096];
            let length = self.socket.recv(&mut octets).unwrap_or_else(|error| panic!("was not told `{line}`: {error}"));
            let text = str::from_utf8(&octets[..length]).expect("text");
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines[0] == line {
                return lines;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let directory = directory(&format!("server.listen = [\"{address}\"]\n"));
    let manager = Manager::new();
    let process = manager.start(directory.path(), &[("WATCHDOG_USEC", "200000")]);
    assert_eq!(manager.wait_for("READY=1"), ["READY=1", "STATUS=serving 1 zones with 0 checks"]);
    assert_eq!(ask(address), ["192.0.2.1"]);
    assert_eq!(manager.wait_for("WATCHDOG=1"), ["WATCHDOG=1"]);

    let changed = ZONE.replace("192.0.2.1\n", "192.0.2.2\n");
    fs::write(directory.path().join("zones/example.org.zone"), changed).expect("written");
    fs::write(directory.path().join("zones/example.net.zone"), ZONE).expect("written");
    process.signal("HUP");
    let reloading = manager.wait_for("RELOADING=1");
    assert!(
        reloading[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|now| now.parse::<u64>().is_ok()),
        "{reloading:?}"
    );
    assert_eq!(manager.wait_for("READY=1"), ["READY=1", "STATUS=serving 2 zones with 0 checks"]);
    // Once it is told, it is so.
    assert_eq!(ask(address), ["192.0.2.2"]);
    assert_eq!(manager.wait_for("WATCHDOG=1"), ["WATCHDOG=1"]);

    process.signal("TERM");
    assert_eq!(manager.wait_for("STOPPING=1")[0], "STOPPING=1");
    assert!(process.ended().0.success());
}

#[test]
fn a_stop_while_first_probes_are_waited_for_is_heeded() {
    let port = free_port();
    let directory = directory(&format!("server.listen = [\"127.0.0.1:{port}\"]\nhealth.warmup = \"5m\"\n"));
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let check = format!(
        "{ZONE}up LUA A \"ifurlup('http://127.0.0.1:{}/', {{{{'127.0.0.1'}}}}, {{timeout=100}})\"\n",
        silent.local_addr().unwrap().port()
    );
    fs::write(directory.path().join("zones/example.org.zone"), check).expect("written");
    let manager = Manager::new();
    let process = manager.start(directory.path(), &[]);
    manager.wait_for("STATUS=waiting for first probes");
    silent.accept().expect("a probe");
    process.signal("TERM");
    let (status, log) = process.ended();
    assert!(status.success() && !log.contains("serving addresses="), "{log}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let directory = directory(&format!("server.listen = [\"{address}\"]\nserver.tcp-idle-timeout = \"60s\"\n"));
    let process = Running::start(&["env"], directory.path(), |_| ()).wait();
    // A client that asks and asks, and never reads: it is waited for as long as a stop may take.
    let mut stream = tcp_to(address);
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout");
    let questions = framed(&Question::a("www.example.org").octets()).repeat(1000);
    while stream.write_all(&questions).is_ok() {}
    process.signal("INT");
    process.wait_for_log("stopping");
    process.signal("TERM");
    process.wait_for_log("stopped at once");
    assert!(process.ended().0.success());
}

#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let directory = directory(&format!("server.listen = [\"{address}\"]\n"));
    let manager = Manager::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_perigee"))
        .arg("serve")
        .current_dir(directory.path())
        .env_clear()
        .env("NOTIFY_SOCKET", manager.directory.path().join("notify"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("perigee runs");
    let mut log = child.stderr.take().expect("a pipe");
    manager.wait_for("READY=1");
    assert!(log.read(&mut [0]).is_ok_and(|length| length == 1));
    drop(log);
    let process = Running { child, log: channel().1 };
    // Each of them is told in the log.
    for name in ["HUP", "USR1"] {
        process.signal(name);
    }
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    assert_eq!(ask(address), ["192.0.2.1"]);
    process.signal("TERM");
    assert!(process.ended().0.success());
}

#[test]
fn addresses_of_an_interface_are_served_as_they_come_and_go() {
    let network = "ip link set lo up && ip link add dum0 type dummy && ip link set dum0 up \
                   && ip addr add 192.0.2.7/24 dev dum0 && ip addr add fe80::7/64 dev dum0 nodad && exec \"$@\"";
    let words = ["unshare", "--net", "sh", "-c", network, "sh"];
    if !is_root() || !can(&[&words[..], &["true"]].concat()) || !can(&["dig", "-v"]) {
        return;
    }
    let directory = directory("server.listen = [\"dum0:53\", \"lo:53\", \"[fe80::7%dum0]:54\"]\nserver.workers = 2\n");
    let process = Running::start(&words, directory.path(), |_| ());
    let serving = process.wait_for_log("serving addresses=");
    for address in ["192.0.2.7:53", "127.0.0.1:53", "[::1]:53", "[fe80::7%2]:54", "[fe80::7%2]:53"] {
        assert!(serving.contains(address), "{address} is not in {serving}");
    }
    let ask = |server: &str, port: &str, more: &str| {
        process.beside(&["dig", "+short", "+tries=1", more, "-p", port, &format!("@{server}"), "www.example.org"])
    };
    for more in ["+notcp", "+tcp"] {
        for (server, port) in [("192.0.2.7", "53"), ("::1", "53"), ("fe80::7%dum0", "53"), ("fe80::7%dum0", "54")] {
            assert_eq!(ask(server, port, more), "192.0.2.1\n", "{server} {more}");
        }
    }
    process.beside(&["ip", "addr", "add", "2001:db8::8/64", "dev", "dum0"]);
    process.signal("HUP");
    process.wait_for_log("served from now on: an interface has it address=[2001:db8::8]:53");
    process.beside(&["ip", "addr", "del", "192.0.2.7/24", "dev", "dum0"]);
    // Found without a word, and nothing else falls by it.
    process.wait_for_log("not served any more: the interface does not have them addresses=[192.0.2.7:53]");
    process.beside(&["ip", "addr", "add", "192.0.2.7/24", "dev", "dum0"]);
    process.signal("HUP");
    process.wait_for_log("served from now on: an interface has it address=192.0.2.7:53");
    for more in ["+notcp", "+tcp"] {
        assert_eq!(ask("192.0.2.7", "53", more), "192.0.2.1\n");
    }
    // Not even if there is no interface any more.
    process.beside(&["ip", "link", "del", "dum0"]);
    process.signal("HUP");
    process.wait_for_log("not served any more");
    assert_eq!(ask("127.0.0.1", "53", "+tcp"), "192.0.2.1\n");
    process.signal("TERM");
    assert!(process.ended().0.success());
}

#[test]
fn an_interface_that_is_not_there_is_told_with_those_that_are() {
    let directory = directory("server.listen = [\"nothere0:53\"]\n");
    let (status, log) = Running::start(&["env"], directory.path(), |_| ()).ended();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("cannot listen on `nothere0:53`: this machine has no interface `nothere0`"), "{log}");
    assert!(log.contains("`lo` (number 1)"), "{log}");
}

#[test]
fn an_address_that_comes_later_is_served_once_it_is_there() {
    let words = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
    if !is_root() || !can(&[&words[..], &["true"]].concat()) || !can(&["dig", "-v"]) {
        return;
    }
    let configuration = "server.listen = [\"192.0.2.7:53\", \"[2001:db8::7]:53\"]\nserver.freebind = true\n";
    let directory = directory(configuration);
    let process = Running::start(&words, directory.path(), |_| ()).wait();
    process.beside(&["ip", "addr", "add", "192.0.2.7/32", "dev", "lo"]);
    process.beside(&["ip", "addr", "add", "2001:db8::7/128", "dev", "lo", "nodad"]);
    for server in ["@192.0.2.7", "@2001:db8::7"] {
        for more in ["+notcp", "+tcp"] {
            let answer = process.beside(&["dig", "+short", "+tries=1", more, server, "www.example.org"]);
            assert_eq!(answer, "192.0.2.1\n", "{server} {more}");
        }
    }
}

/// The blocks of a page that are in a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let mark = format!("```{language}\n");
    page.split(&mark).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_units_and_the_configuration_of_the_manual_are_sound() {
    let page = include_str!("../docs/running.md");
    for text in blocks(page, "toml") {
        let (config, warnings) = perigee::config::Config::parse(Some((Path::new("perigee.toml"), text)), [])
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!((config.server.user.as_str(), warnings.len()), ("perigee", 0));
    }
    if !can(&["systemd-analyze", "--version"]) {
        return;
    }
    let version = Command::new("systemd-analyze").arg("--version").output().expect("it runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let version: u32 = version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    // What the manual says to write for those before.
    let kind = if version < 253 { "Type=notify\nExecReload=/bin/kill -HUP $MAINPID" } else { "Type=notify-reload" };
    let directory = tempfile::tempdir().expect("a directory");
    let units: Vec<_> = blocks(page, "ini")
        .into_iter()
        .map(|text| {
            let name = text.lines().next().and_then(|line| line.rsplit('/').next()).expect("it begins with its path");
            let path = directory.path().join(name);
            // The program must be there, and as the user of the manual is not made here, another stands in for it.
            let text = text.replace("/usr/local/bin/perigee", env!("CARGO_BIN_EXE_perigee"));
            let text = text.replace("Type=notify-reload", kind).replace("User=perigee", "User=daemon");
            fs::write(&path, text).expect("written");
            path
        })
        .collect();
    assert_eq!(units.len(), 2);
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let of_ours: Vec<_> = told.lines().filter(|line| line.contains("perigee.")).collect();
    assert!(output.status.success() && of_ours.is_empty(), "{told}");
}
