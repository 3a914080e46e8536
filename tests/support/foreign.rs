//! A server of another make, started with files of its own.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::{fs, thread};

use tempfile::TempDir;

use super::PATIENCE;
use super::process::free_port;

/// A running server; killed when dropped.
pub(crate) struct Foreign {
    child: Child,
    log: Receiver<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its files; gone with it.
    _directory: TempDir,
}

/// What a server is started with, made for the directory it runs in and the address it is to have.
struct Setting {
    program: &'static str,
    /// The package that has it.
    package: &'static str,
    arguments: Vec<String>,
    /// Names of files, and their texts.
    files: Vec<(&'static str, String)>,
    /// What its log says once it serves.
    ready: &'static str,
}

impl Foreign {
    /// A resolver that asks `authority` for all at and below `apex`, in a mixture of letter cases (0x20).
    pub(crate) fn unbound(apex: &str, authority: SocketAddr) -> Self {
        Self::start(|directory, address| {
            let [ip, port] = [address.ip().to_string(), address.port().to_string()];
            let (directory, other) = (directory.display(), format!("{}@{}", authority.ip(), authority.port()));
            let config = format!(
                "server:\n directory: \"{directory}\"\n interface: {ip}\n port: {port}\n do-ip6: no\n do-daemonize: no\n \
                 use-syslog: no\n logfile: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
                 do-not-query-localhost: no\n module-config: \"iterator\"\n use-caps-for-id: yes\n verbosity: 4\n \
                 local-zone: \"test.\" nodefault\n access-control: 127.0.0.0/8 allow\n\
                 remote-control:\n control-enable: no\n\
                 stub-zone:\n name: \"{apex}\"\n stub-addr: {other}\n"
            );
            Setting {
                program: "unbound",
                package: "unbound",
                arguments: vec!["-d".to_owned(), "-c".to_owned(), format!("{directory}/unbound.conf")],
                files: vec![("unbound.conf", config)],
                ready: "start of service",
            }
        })
    }

    /// An authority that serves one zone, with these options beside what it needs to run anywhere.
    pub(crate) fn named(options: &str, (apex, text): (&str, &str)) -> Self {
        Self::start(|directory, address| {
            let directory = directory.display();
            let config = format!(
                "options {{ directory \"{directory}\"; listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; \
                 recursion no; dnssec-validation no; pid-file none; session-keyfile none; {options} }};\n\
                 controls {{ }};\nzone \"{apex}\" {{ type primary; file \"zone\"; }};\n",
                address.port(),
                address.ip()
            );
            Setting {
                program: "named",
                package: "bind9",
                arguments: vec!["-g".to_owned(), "-c".to_owned(), format!("{directory}/named.conf")],
                files: vec![("named.conf", config), ("zone", text.to_owned())],
                ready: "running",
            }
        })
    }

    /// Starts a server; on another port if somebody else was quicker to take the first.
    fn start(setting: impl Fn(&Path, SocketAddr) -> Setting) -> Self {
        const ATTEMPTS: usize = 5;
        let mut told = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(&setting) {
                Ok(server) => return server,
                Err(log) => told = log,
            }
        }
        panic!("it does not start:\n{told}");
    }

    /// Starts it, or tells what it said before it ended.
    fn try_start(setting: impl Fn(&Path, SocketAddr) -> Setting) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let Setting { program, package, arguments, files, ready } = setting(directory.path(), address);
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("written");
        }
        let spawned = Command::new(program)
            .args(arguments)
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("there is no `{program}` here; install the package `{package}`")
            }
            Err(error) => panic!("`{program}` does not run: {error}"),
        };
        let lines = BufReader::new(child.stderr.take().expect("standard error is a pipe")).lines();
        let (sender, log) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(ready)) {
            match log.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(_) => {
                    // It may have ended by itself.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(seen.join("\n"));
                }
            }
        }
        Ok(Self { child, log, address, _directory: directory })
    }

    /// Ends it; what it has logged since it serves.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
        std::iter::from_fn(|| self.log.recv().ok()).collect()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended by itself, which a question to it has told by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
