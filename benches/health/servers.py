"""Whoever probes: perigee, gdnsd and PowerDNS, and the targets that are probed."""

import ipaddress
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HEAD = "$ORIGIN example.com.\n$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 127.0.0.53\n"
START_SECONDS_MAX = 120
PER_RECORD = 10
"""How many targets a record has where it is their number that counts."""


class Process:
    """A process that runs until the end of its `with`."""

    def __init__(self, command, directory, core=None, **more):
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self.command, self.directory, self.more = [*pinned, *map(str, command)], directory, more
        self.log = directory / "log"

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, cwd=self.directory, stderr=log, **({"stdout": log} | self.more))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def fail(self, what):
        sys.exit(f"{self.command} {what}; its log ends:\n{self.log.read_text(errors='replace')[-2000:]}")

    def cpu(self, threads=""):
        """Nanoseconds of CPU time of the threads whose name begins so, user and system together."""
        if not threads:
            # The clock of the whole process (clock_getcpuclockid(3)): threads that have ended are in it as well.
            return time.clock_gettime_ns(~self.pid << 3 | 2)
        nanoseconds = 0
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            if (thread / "comm").read_text().startswith(threads):
                nanoseconds += int((thread / "schedstat").read_text().split()[0])
        return nanoseconds

    def resident(self):
        """Octets of memory of its own."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s*(\d+)", status)[1])

    def wait_until_answers(self, port, name):
        end = time.monotonic() + START_SECONDS_MAX
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.1)
            asker.connect(("127.0.0.1", port))
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    asker.send(query(0, name))
                    if answer(asker.recv(4096))[1]:
                        return self
                except OSError:
                    time.sleep(0.05)
        self.fail("does not answer")


class Targets(Process):
    """The targets of targets.c on addresses from `first` on."""

    def __init__(self, binary, directory, port, first, count, kind, core=None):
        directory.mkdir(exist_ok=True)
        self.port, self.count, self.kind = port, count, kind
        self.addresses = [str(ipaddress.ip_address(first) + number) for number in range(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        super().__init__([binary, port, first, count, kind], directory, core, **pipes)

    def __enter__(self):
        super().__enter__()
        if self.process.stdout.readline() != "ready\n":
            self.fail("do not start")
        return self

    def tell(self, word):
        print(word, file=self.process.stdin, flush=True)

    def counted(self):
        """How often targets were asked, how many were, and the longest time in seconds that any was not."""
        self.tell("count")
        asked, seen, longest = self.process.stdout.readline().split()
        return int(asked), int(seen), float(longest) / 1000


class Perigee(Process):
    """A perigee that serves a zone."""

    def __init__(self, binary, directory, port, zone, health="", workers=2, core=None):
        (directory / "zones").mkdir(parents=True)
        (directory / "zones/example.com.zone").write_text(zone)
        (directory / "perigee.toml").write_text(
            f'[server]\nlisten = ["127.0.0.1:{port}"]\nworkers = {workers}\n[health]\nwarmup = "60s"\n{health}')
        self.port = port
        super().__init__([binary, "serve"], directory, core)

    def started(self):
        self.wait_until_answers(self.port, "ns.example.com")
        return self

    def counters(self):
        """What it has counted so far, by name."""
        before = len(self.lines())
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 5
        while len(lines := self.lines()) == before:
            if time.monotonic() > end:
                self.fail("does not tell its counters")
            time.sleep(0.01)
        return {name: int(number) for name, number in re.findall(r"(\S+)=(\d+)", lines[-1])}

    def lines(self):
        text = self.log.read_text()
        return [line for line in text[:text.rfind("\n") + 1].splitlines() if "counted so far" in line]


def zone_of(targets, options):
    """A zone whose records name every target, so many each."""
    lines = []
    for number in range(0, targets.count, PER_RECORD):
        addresses = ", ".join(f"'{address}'" for address in targets.addresses[number:number + PER_RECORD])
        if targets.kind == "http":
            call = f"ifurlup('http://www.example.com:{targets.port}/', {{{{{addresses}}}}}, {{{options}}})"
        else:
            call = f"ifportup({targets.port}, {{{addresses}}}, {{{options}}})"
        lines.append(f'r{number // PER_RECORD} LUA A "{call}"\n')
    return HEAD + "".join(lines)


def pairs(targets):
    """Names, each with a target that can be told to fail and one that is answered while it does."""
    return [(f"p{number // 2}", *targets.addresses[number:number + 2]) for number in range(0, targets.count, 2)]


def perigee(binary, directory, port, targets, interval, core):
    lines = (f"{name} LUA A \"ifurlup('http://www.example.com:{targets.port}/', {{{{'{first}'}}, {{'{second}'}}}})\"\n"
             for name, first, second in pairs(targets))
    return Perigee(binary, directory, port, HEAD + "".join(lines), f'interval = "{interval}s"\n', 1, core)


def gdnsd(_, directory, port, targets, interval, core):
    """Plugin `simplefo`, with thresholds of one verdict."""
    (directory / "zones").mkdir(parents=True)
    lines = "".join(f"{name} DYNA simplefo!{name}\n" for name, *_ in pairs(targets))
    (directory / "zones/example.com").write_text(HEAD.replace("$ORIGIN example.com.\n", "") + lines)
    resources = "".join(f"    {name} => {{ primary => {first}, secondary => {second} }}\n"
                        for name, first, second in pairs(targets))
    (directory / "config").write_text(f"""\
options => {{
  listen => {{ 127.0.0.1:{port} => {{ udp_threads = 1, tcp_threads = 1 }} }}
  run_dir = {directory}/run
  state_dir = {directory}/state
}}
service_types => {{
  web => {{
    plugin = http_status, port = {targets.port}, url_path = /, vhost = www.example.com, ok_codes = [ 200 ]
    up_thresh = 1, ok_thresh = 1, down_thresh = 1, interval = {interval}, timeout = 2
  }}
}}
plugins => {{
  simplefo => {{
    service_types = web
{resources}  }}
}}
""")
    return Process(["gdnsd", "-c", directory, "start"], directory, core)


def powerdns(_, directory, port, targets, interval, core):
    """The bind backend and one Lua state for all."""
    directory.mkdir(parents=True)
    lines = (f"{name} LUA A \"ifurlup('http://www.example.com:{targets.port}/', {{{{'{first}'}}, {{'{second}'}}}})\"\n"
             for name, first, second in pairs(targets))
    (directory / "example.com.zone").write_text(HEAD + "".join(lines))
    (directory / "named.conf").write_text(f'zone "example.com" {{ type master; file "{directory}/example.com.zone"; }};\n')
    options = {
        "launch": "bind", "bind-config": directory / "named.conf", "local-address": "127.0.0.1", "local-port": port,
        "socket-dir": directory, "receiver-threads": 1, "distributor-threads": 1, "retrieval-threads": 1,
        "signing-threads": 1, "enable-lua-records": "shared", "lua-health-checks-interval": interval,
        "security-poll-suffix": "", "disable-syslog": "yes", "loglevel": 3, "write-pid": "no",
    }
    (directory / "pdns.conf").write_text("".join(f"{key}={value}\n" for key, value in options.items()))
    return Process(["pdns_server", f"--config-dir={directory}", "--daemon=no", "--guardian=no"], directory, core)


PEERS = {"perigee": perigee, "gdnsd": gdnsd, "powerdns": powerdns}


def query(number, name):
    """A question for A."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return number.to_bytes(2, "big") + b"\0\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def answer(reply):
    """The number of a reply, and the address in its first record; `None` if it has none."""
    at = 12
    while reply[at]:
        at += 1 + reply[at]
    at += 5
    found = reply[6:8] != b"\0\0" and reply[at] >= 0xc0 and reply[at + 2:at + 4] == b"\0\1"
    return int.from_bytes(reply[:2], "big"), socket.inet_ntoa(reply[at + 12:at + 16]) if found else None
