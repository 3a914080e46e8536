#!/usr/bin/env python3
"""Measures the health checker: is it on time with thousands of targets, what does it cost, how soon does it notice.

See ../README.md. Read servers.py (who probes whom), targets.c (what is probed) and namespace.py: all of it runs in a network
namespace of its own, which has a loopback interface and nothing else.
"""

import argparse
import contextlib
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import namespace
from servers import PEERS, PER_RECORD, Perigee, Targets, answer, pairs, query, zone_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["cc", "dnsperf", "gdnsd", "ip", "pdns_server", "taskset", "unshare"]
PACKAGES = "dnsperf gcc gdnsd iproute2 pdns-backend-bind pdns-server util-linux"
PORT, TARGET_PORT = 5300, 8000
LATE_MAX = 256
"""Milliseconds within which 99 in 100 probes are to start."""


def main():
    options = arguments()
    namespace.demand(PROGRAMS, PACKAGES, options.perigee)
    namespace.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="health-") as directory:
        bench = Bench(options, Path(directory))
        rows, some = [], lambda count: int(count * options.share) // PER_RECORD * PER_RECORD
        if "scale" in options.only:
            rows += bench.scale("http", some(10_000), 5) + bench.scale("tcp", some(50_000), 10)
        if "cost" in options.only:
            rows += bench.cost("http", some(10_000), 5) + bench.cost("tcp", some(50_000), 10)
        if "peers" in options.only:
            rows += bench.peers(some(500), 5)
    print("\n| what | figure | is to be |\n|---|--:|--:|")
    print("\n".join(f"| {what} | {figure} | {bound} |" for what, figure, bound in rows))


def arguments():
    parser = argparse.ArgumentParser(description="The health checker: punctuality, cost and detection.")
    parser.add_argument("--perigee", type=Path, default=ROOT / "target/release/perigee", help="the binary")
    parser.add_argument("--only", nargs="*", default=["scale", "cost", "peers"], choices=["scale", "cost", "peers"])
    parser.add_argument("--share", type=float, default=1, help="of the targets; less to try it out")
    parser.add_argument("--intervals", type=float, default=4, help="how many intervals each scale is measured for")
    parser.add_argument("--rounds", type=int, default=7, help="how often the cost for queries is measured")
    parser.add_argument("--failures", type=int, default=4, help="how often targets fail and recover before each peer")
    parser.add_argument("--rate", type=int, default=20_000, help="queries a second while their cost is measured")
    return parser.parse_args()


class Bench:
    """What all measurements share."""

    def __init__(self, options, directory):
        self.options, self.directory, self.port = options, directory, PORT
        self.perigee = options.perigee.resolve()
        self.targets_binary = directory / "targets"
        source = Path(__file__).with_name("targets.c")
        subprocess.run(["cc", "-O2", "-o", self.targets_binary, source], check=True)

    def place(self, name):
        """A directory and a port that nobody had before."""
        self.port += 1
        return self.directory / f"{name}-{self.port}", self.port

    def targets(self, count, kind, core=None):
        """Targets on addresses and a port that nobody had before."""
        directory, port = self.place("targets")
        first = f"127.{64 + port - PORT}.0.0"
        return Targets(self.targets_binary, directory, TARGET_PORT + port - PORT, first, count, kind, core)

    def serve(self, zone, **more):
        directory, port = self.place("perigee")
        return Perigee(self.perigee, directory, port, zone, **more)

    def scale(self, kind, count, interval):
        """So many targets on two cores: is every probe on time, and what does one take."""
        title = f"{count:,} {kind} targets each {interval} s"
        say(title)
        with self.serve(zone_of_none()) as perigee:
            perigee.started()
            time.sleep(2)
            bare = perigee.resident()
        health = f'interval = "{interval}s"\n'
        with self.targets(count, kind) as targets, self.serve(zone_of(targets, "timeout=2"), health=health) as perigee:
            perigee.started()
            # After two intervals every check has found its beat.
            time.sleep(2 * interval + 1)
            before, cpu, asked = perigee.counters(), perigee.cpu("health"), targets.counted()[0]
            targets.tell("reset")
            begin = time.monotonic()
            time.sleep(self.options.intervals * interval)
            after, cpu = perigee.counters(), perigee.cpu("health") - cpu
            seconds = time.monotonic() - begin
            asked, seen, longest = targets.counted()
            memory = (perigee.resident() - bare) / count
        more = {name: after[name] - before.get(name, 0) for name in after}
        p50, p99, most = (late(more, share) for share in (0.5, 0.99, 1))
        started = more["probes_started"]
        return [
            (f"{title}: probes a second", f"{asked / seconds:,.0f}", f"{count / interval:,.0f}"),
            (f"{title}: targets probed", f"{seen:,}", f"{count:,}"),
            (f"{title}: longest time between two probes of one, s", f"{longest:.2f}", f"below {2 * interval}"),
            (f"{title}: failed, not over when the next was due", f"{more['probes_failed']}, {more['probes_overran']}",
             "0, 0"),
            (f"{title}: started late by, ms, p50, p99, all", f"{p50}, {p99}, {most}", f"p99 at most {LATE_MAX}"),
            (f"{title}: memory for a target, octets", f"{memory:,.0f}", "below 2,048"),
            (f"{title}: CPU for a probe, us", f"{cpu / 1e3 / started:.1f}", ""),
            (f"{title}: CPU of the checker, share of a core", f"{cpu / 1e9 / seconds:.0%}", ""),
        ]

    def cost(self, kind, count, interval):
        """What an answer costs the workers, with probes and without."""
        title = f"{count:,} {kind} targets each {interval} s"
        say(f"{title}: cost for queries")
        core, other = 0, 1
        with contextlib.ExitStack() as stack:
            targets = stack.enter_context(self.targets(count, kind, other))
            zone = zone_of(targets, "timeout=2")
            started = {}
            for name, every in (("without", "24h"), ("with", f"{interval}s")):
                perigee = self.serve(zone, health=f'interval = "{every}"\n', workers=1, core=core)
                started[name] = stack.enter_context(perigee).started()
                hold(perigee)
            # A check's second probe comes at a random moment of the interval, of a day where there is to be none.
            file = self.directory / "queries"
            file.write_text("".join(f"r{number}.example.com A\n" for number in range(count // PER_RECORD)))
            figures = {name: [] for name in started}
            for number in range(self.options.rounds):
                for name in ["without", "with"] if number % 2 else ["with", "without"]:
                    perigee = started[name]
                    perigee.process.send_signal(signal.SIGCONT)
                    # What was missed is made up for, and then the beat is found.
                    time.sleep(interval + 1)
                    figures[name].append(self.cost_of_answers(perigee, file, other))
                    hold(perigee)
        median = {name: statistics.median(figure) for name, figure in figures.items()}
        ratio = median["with"] / median["without"]
        spread = ", ".join(f"{name} {min(figure):.2f} to {max(figure):.2f}" for name, figure in figures.items())
        return [
            (f"{title}: CPU for an answer without probes, with them, us ({spread})",
             f"{median['without']:.2f}, {median['with']:.2f}", ""),
            (f"{title}: with probes, times without", f"{ratio:.3f}", "at most 1.03"),
        ]

    def cost_of_answers(self, perigee, file, core):
        """Microseconds of a worker for an answer, while so many are asked for in a second."""
        rate = self.options.rate
        command = ["taskset", "-c", str(core), "dnsperf", "-s", "127.0.0.1", "-p", str(perigee.port), "-d", file]
        command += ["-l", "3", "-Q", str(rate), "-c", "1", "-T", "1", "-e"]
        before, answered = perigee.cpu("worker"), perigee.counters()["udp_replies"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        used, answered = perigee.cpu("worker") - before, perigee.counters()["udp_replies"] - answered
        return used / 1e3 / answered

    def peers(self, count, interval):
        """How soon each of the servers notices a failure, and what a probe costs it."""
        rows = []
        for name, prepare in PEERS.items():
            say(f"{name}: {count} http targets each {interval} s")
            directory, port = self.place(name)
            with self.targets(count, "http", 1) as targets, prepare(self.perigee, directory, port, targets, interval, 0) as server:
                server.wait_until_answers(port, "p0.example.com")
                expected = {pair[0]: pair[1] for pair in pairs(targets)}
                watch(port, expected, 60)
                time.sleep(2 * interval)
                before, asked = server.cpu(), targets.counted()[0]
                time.sleep(4 * interval)
                cpu, asked = server.cpu() - before, targets.counted()[0] - asked
                fallen, returned = [], []
                for number in range(self.options.failures):
                    # At another moment of the interval each time.
                    time.sleep(interval + number * interval / self.options.failures)
                    targets.tell("fail")
                    fallen += watch(port, {pair[0]: pair[2] for pair in pairs(targets)}, 60)
                    time.sleep(interval)
                    targets.tell("pass")
                    returned += watch(port, expected, 60)
            title = f"{name}, {count} http targets each {interval} s"
            rows += [
                (f"{title}: CPU for a probe, us", f"{cpu / 1e3 / asked:.1f}", ""),
                (f"{title}: failure to answer, s, median, most", spread(fallen), f"most below {interval + 1}" if name == "perigee" else ""),
                (f"{title}: return to answer, s, median, most", spread(returned), ""),
            ]
        return rows


def hold(perigee):
    """Has a process do nothing."""
    perigee.process.send_signal(signal.SIGSTOP)


def zone_of_none():
    """A zone like the others, but without targets."""
    from servers import HEAD
    return HEAD


def late(counted, share):
    """The bound in milliseconds that this share of probes started within."""
    bounds = [2 ** power for power in range(16)]
    total = sum(number for name, number in counted.items() if name.startswith("probes_late_"))
    sum_so_far = 0
    for bound in bounds:
        sum_so_far += counted.get(f"probes_late_{bound}ms", 0)
        if sum_so_far >= share * total:
            return bound
    return "more"


def watch(port, expected, seconds_max):
    """Asks for all names again and again, each until its answer is the expected one; seconds until that."""
    names = list(expected)
    begin, found = time.monotonic(), {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker, selectors.DefaultSelector() as selector:
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asker.connect(("127.0.0.1", port))
        asker.setblocking(False)
        selector.register(asker, selectors.EVENT_READ)
        while len(found) < len(names):
            round_begin = time.monotonic()
            if round_begin - begin > seconds_max:
                sys.exit(f"{len(names) - len(found)} answers did not come to be as expected")
            for number, name in enumerate(names):
                if name not in found:
                    with contextlib.suppress(BlockingIOError):
                        asker.send(query(number, f"{name}.example.com"))
            while (left := round_begin + 0.05 - time.monotonic()) > 0:
                if selector.select(left):
                    number, address = answer(asker.recv(4096))
                    if address == expected[names[number]]:
                        found.setdefault(names[number], time.monotonic() - begin)
    return list(found.values())


def spread(seconds):
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"


def say(what):
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
