#!/usr/bin/env python3
"""Measures what static answers wait for while the server is flooded, and what memory it takes. See ../README.md.

Read load.c, which asks and floods. The server has one worker on one core, the load has another core. All of it runs in a
network namespace of its own, which has a loopback interface and nothing else.
"""

import argparse
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches/health"))

import namespace
from servers import HEAD, Perigee, query

PROGRAMS = ["cc", "ip", "taskset", "unshare"]
PACKAGES = "gcc iproute2 util-linux"
PORT = 5300
CLIENTS = 2000
"""How many TCP clients there are at once: more than `server.tcp-connections-max` has by default."""
RATIO_MAX = 2
"""How much longer p99 may be than when all is quiet."""
TURNS = [10 * 2 ** power for power in range(11)]
"""How many turns the loops of records have, of which the costliest is chosen that stays within its budget."""
COSTLY_SHARE = 0.6
"""The part of `lua.time-limit`, 10 ms, that nine of ten of its runs may take: past the limit a record is laid to rest."""
STEP = 'if string.rep(\'ab\', 200):find(\'zz\', 1, true) == nil then n = n + i % 7 end'

FLOODS = {
    "quiet": ("quiet", "none", lambda _: 0),
    "idle": (f"{CLIENTS:,} idle TCP clients, half of which asked once", "idle", lambda _: CLIENTS),
    "drip": (f"{CLIENTS:,} TCP clients that send an octet a second", "drip", lambda _: CLIENTS),
    "unread": (f"{CLIENTS:,} TCP clients that ask for 15 KB each time and never read", "unread", lambda _: CLIENTS),
    "nxdomain": ("random names that do not exist", "nxdomain", lambda options: options.flood_rate),
    "wildcard": ("random names below a wildcard", "wildcard", lambda options: options.flood_rate),
    "malformed": ("malformed datagrams", "malformed", lambda options: options.flood_rate),
    "costly": ("the costliest LUA record within its budget", None, None),
    "after": ("quiet again", "none", lambda _: 0),
}


def main():
    options = arguments()
    namespace.demand(PROGRAMS, PACKAGES, options.perigee)
    namespace.enter()
    # A plain termination would leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="floods-") as directory:
        directory = Path(directory)
        load = directory / "load"
        subprocess.run(["cc", "-O2", "-o", load, Path(__file__).with_name("load.c")], check=True)
        with Server(options, directory / "perigee") as server:
            server.wait_until_answers(PORT, "s0.example.com")
            rows = [measure(server, load, flood, options) for flood in FLOODS if flood in options.only or flood == "quiet"]
    print_table(rows, options)
    if failed := [row.title for row in rows[1:] if not row.holds(rows[0])]:
        sys.exit(f"p99 came past {RATIO_MAX} times the quiet one, or answers were lost: {'; '.join(failed)}")


def arguments():
    parser = argparse.ArgumentParser(description="Static answers while the server is flooded.")
    parser.add_argument("--perigee", type=Path, default=ROOT / "target/release/perigee", help="the binary")
    parser.add_argument("--only", nargs="*", default=list(FLOODS), choices=list(FLOODS), help="beside `quiet`")
    parser.add_argument("--seconds", type=float, default=60, help="how long each flood lasts")
    parser.add_argument("--rate", type=int, default=2000, help="static questions a second")
    parser.add_argument("--flood-rate", type=int, default=40_000, help="datagrams a second of floods that cost little")
    parser.add_argument("--times", type=float, default=10, help="how many times what a worker can run of the costliest record")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="TABLE.KEY=VALUE", help="further lines of the configuration")
    return parser.parse_args()


class Server(Perigee):
    """One worker with static names, a wildcard, a large answer and costly records."""

    def __init__(self, options, directory):
        super().__init__(options.perigee.resolve(), directory, PORT, zone(), core=options.server_core)
        lines = [f'server.listen = ["127.0.0.1:{PORT}"]', "server.workers = 1", *options.set]
        (directory / "perigee.toml").write_text("".join(f"{line}\n" for line in lines))

    def size(self):
        """Octets of memory that are resident."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s*(\d+)", status)[1])


def zone():
    names = "".join(f"s{number} A 192.0.2.{number % 250}\n" for number in range(1000))
    text = " ".join(f'"{"x" * 250}"' for _ in range(60))
    costly = "".join(f'c{turns} LUA A ";local n = 0 for i = 1, {turns} do {STEP} end return \'192.0.2.\' .. n % 250"\n'
                     for turns in TURNS)
    return f"{HEAD}{names}*.wild A 192.0.2.1\nbig TXT {text}\n{costly}"


class Row:
    """What was measured during one flood."""

    def __init__(self, title, amount, report, sizes, counted):
        self.title, self.amount, self.sizes, self.counted = title, amount, sizes, counted
        figures = [float(figure) for figure in report.split()]
        self.sent, self.answered, self.p50, self.p99, self.p999, self.most, self.behind, self.flooded = figures

    def holds(self, quiet):
        return self.p99 <= RATIO_MAX * quiet.p99 and self.answered >= 0.999 * self.sent


def measure(server, load, flood, options):
    title, kind, amount = FLOODS[flood]
    if flood == "costly":
        kind, per_second = costliest(server)
        title, amount = f"{title}, {options.times:g} times what it can run", lambda _: options.times * per_second
    amount = amount(options)
    print(f"{title}: {amount:,.0f}", file=sys.stderr, flush=True)
    before = counters(server)
    command = ["taskset", "-c", options.load_core, load, PORT, options.seconds, options.rate, kind, amount]
    with Sizes(server) as sizes:
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"the load failed: {run.stderr}")
    # What the flood has left in the server's sockets is not to be in the way of the next one.
    time.sleep(1)
    server.wait_until_answers(PORT, "s0.example.com")
    counted = {name: number - before.get(name, 0) for name, number in counters(server).items()}
    return Row(title, amount, run.stdout, (*sizes.seen, server.size()), counted)


def counters(server):
    """What the server has counted so far, by name."""
    return {name.removeprefix("counters="): number for name, number in server.counters().items()}


class Sizes:
    """Looks at the memory of a process while something happens: what it is first, and at most."""

    def __init__(self, server):
        self.server, self.ended = server, threading.Event()

    def __enter__(self):
        self.seen = (self.server.size(),) * 2
        self.looking = threading.Thread(target=self.look)
        self.looking.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.looking.join()

    def look(self):
        while not self.ended.wait(0.05):
            self.seen = (self.seen[0], max(self.seen[1], self.server.size()))


def costliest(server):
    """The label of the record that takes longest of those that keep well within their budget, and its runs a second."""
    chosen = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.1", PORT))
        asker.settimeout(1)
        for turns in TURNS:
            took = [run(asker, f"c{turns}") for _ in range(30)]
            if None in took or statistics.quantiles(took, n=10)[-1] > COSTLY_SHARE * 0.01:
                break
            chosen = (f"c{turns}", 1 / statistics.median(took))
    if not chosen:
        sys.exit(f"not one costly record stays within its budget: c{TURNS[0]}")
    return chosen


def run(asker, label):
    """The seconds that an answer takes; nothing if it is none."""
    begin = time.perf_counter()
    asker.send(query(7, f"{label}.example.com"))
    reply = asker.recv(4096)
    return time.perf_counter() - begin if reply[3] & 15 == 0 else None


def print_table(rows, options):
    print(f"{options.rate:,} static questions a second, {options.seconds:g} s each; microseconds and MB\n")
    print("| flood | amount | p50 | p99 | p99.9 | most | p99, times quiet | answered | RSS at first, most, in the end | counted |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for row in rows:
        sizes = ", ".join(f"{size / 1e6:.1f}" for size in row.sizes)
        print(f"| {row.title} | {row.amount:,.0f} | {row.p50:.0f} | {row.p99:.0f} | {row.p999:.0f} | {row.most:.0f} "
              f"| {row.p99 / rows[0].p99:.2f} | {row.answered / row.sent:.3%} | {sizes} | {grown(row.counted)} |")


def grown(counted):
    """The counters that tell what became of a flood; of those without which there would be none, only what differs."""
    dull = re.compile(r"probes_|(udp|tcp)_(requests|replies)$|tcp_(opened|closed)$")
    return ", ".join(f"{name} {number:,}" for name, number in counted.items() if number and not dull.match(name))


if __name__ == "__main__":
    main()
