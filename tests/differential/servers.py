"""The four servers: how each is set up to answer alike, started on a port of its own, and stopped by its own id.

What an operator chooses is chosen alike: no rate limit, no cookies, additional data on, the same sizes, no tricks for
ANY. NSD alone has no way to leave the NS records out of positive answers and keep additional data; see compare.py.
"""

import os
import socket
import subprocess
import time
from pathlib import Path

import dns.flags
import dns.message
import dns.query

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
PAYLOAD_MAX = 4096
"""The most octets that each sends by UDP; what a client takes may be less."""
NAMES = ("nsd", "knot", "bind", "perigee")


def free_port():
    """A port of 127.0.0.1 that nobody has for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


def nsd(directory, port, zones):
    zone_parts = "".join(f'zone:\n  name: "{apex}"\n  zonefile: "{file}"\n' for apex, file in zones)
    (directory / "nsd.conf").write_text(f"""\
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/pid"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  xfrdir: "{directory}"
  do-ip6: no
  hide-version: no
  refuse-any: no
  minimal-responses: no
  round-robin: no
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  tcp-count: 100
  tcp-timeout: 60
  ipv4-edns-size: {PAYLOAD_MAX}
remote-control:
  control-enable: no
{zone_parts}""")
    return ["nsd", "-d", "-c", str(directory / "nsd.conf")]


def knot(directory, port, zones):
    zone_parts = "".join(f'  - domain: "{apex}"\n    file: "{file}"\n' for apex, file in zones)
    (directory / "knot.conf").write_text(f"""\
server:
  rundir: "{directory}"
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  tcp-idle-timeout: 60
  udp-max-payload: {PAYLOAD_MAX}
database:
  storage: "{directory}"
log:
  - target: stderr
    any: info
template:
  - id: default
    storage: "{directory}"
    semantic-checks: off
    zonefile-sync: -1
    journal-content: none
zone:
{zone_parts}""")
    return ["knotd", "-c", str(directory / "knot.conf")]


def bind(directory, port, zones):
    zone_parts = "".join(f'zone "{apex}" {{ type primary; file "{file}"; }};\n' for apex, file in zones)
    (directory / "named.conf").write_text(f"""\
options {{
  directory "{directory}";
  pid-file "{directory}/pid";
  session-keyfile "{directory}/session.key";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  recursion no;
  allow-query {{ any; }};
  allow-transfer {{ none; }};
  notify no;
  empty-zones-enable no;
  dnssec-validation no;
  minimal-responses no-auth;
  minimal-any no;
  answer-cookie no;
  check-names primary ignore;
  check-integrity no;
  check-mx ignore;
  check-srv-cname ignore;
  check-mx-cname ignore;
  check-dup-records ignore;
  check-wildcard no;
  check-spf ignore;
  edns-udp-size {PAYLOAD_MAX};
  max-udp-size {PAYLOAD_MAX};
  nocookie-udp-size {PAYLOAD_MAX};
  tcp-idle-timeout 600;
}};
{zone_parts}controls {{ }};
""")
    return ["named", "-g", "-n", "1", "-c", str(directory / "named.conf")]


def perigee(binary):
    """The server under test, as its makers ship it but for the size, like the others."""

    def prepare(directory, port, zones):
        zone_parts = "".join(f'[[zone]]\nname = {quoted(apex)}\nfile = "{file}"\n' for apex, file in zones)
        (directory / "perigee.toml").write_text(f"""\
[server]
listen = ["127.0.0.1:{port}"]
workers = 1
udp-payload-max = {PAYLOAD_MAX}
tcp-idle-timeout = "60s"
[zones]
directory = ""
{zone_parts}""")
        return [str(binary), "serve", "--config", str(directory / "perigee.toml")]

    return prepare


def quoted(text):
    """A text for TOML, which has its own escapes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def prepared(binary):
    return {"nsd": nsd, "knot": knot, "bind": bind, "perigee": perigee(binary)}


class Server:
    """A server that runs until it is stopped."""

    def __init__(self, name, prepare, directory, zones):
        """Starts it with `zones`: apexes in presentation form, and files."""
        self.name = name
        self.zone_count = len(zones)
        self.directory = Path(directory) / name
        self.directory.mkdir()
        self.port = free_port()
        self.log = self.directory / "log"
        command = prepare(self.directory, self.port, zones)
        # Debian keeps servers where the path of a user does not lead.
        environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_it_answers(self):
        """Waits for an answer to any question, and for the word of those that answer before all zones are read."""
        end = time.monotonic() + START_SECONDS_MAX
        query = dns.message.make_query(".", "SOA", flags=0).to_wire()
        while not (self.answers(query) and self.has_read_all()):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not start:\n{self.log_text()[-4000:]}")
            time.sleep(0.01)

    def answers(self, query):
        # A connected socket is told at once that nobody listens.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("127.0.0.1", self.port))
            asking.settimeout(0.5)
            try:
                asking.send(query)
                return bool(asking.recv(65535))
            except OSError:
                return False

    def has_read_all(self):
        if self.name == "bind":
            return "all zones loaded" in self.log_text()
        if self.name == "knot":
            told = self.log_text()
            return told.count("] loaded, serial") + told.count("] zone event 'load' failed") == self.zone_count
        return True

    def log_text(self):
        return self.log.read_text(errors="replace")

    def refuses(self, apex):
        """Whether it does not serve the zone of this apex."""
        query = dns.message.make_query(apex, "SOA", flags=0)
        reply = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=10)
        return not (reply.flags & dns.flags.AA and reply.rcode() == 0)

    def stop(self):
        self.process.terminate()

    def wait(self):
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Field:
    """All four, with the same zones."""

    def __init__(self, binary, directory, zones):
        directory = Path(directory)
        files = []
        for index, zone in enumerate(zones):
            file = directory / f"{index}.zone"
            file.write_text(zone.text())
            files.append((zone.apex.to_text(), file))
        self.servers = {}
        try:
            for name, prepare in prepared(binary).items():
                self.servers[name] = Server(name, prepare, directory, files)
            for server in self.servers.values():
                server.wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        for server in self.servers.values():
            server.stop()
        for server in self.servers.values():
            server.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ports(self):
        return {name: server.port for name, server in self.servers.items()}

    def refusals(self, apexes):
        """Zones that not all serve: each apex with the names of those that do not."""
        for apex in apexes:
            refusing = [server.name for server in self.servers.values() if server.refuses(apex)]
            if refusing:
                yield apex, refusing
