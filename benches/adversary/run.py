#!/usr/bin/env python3
"""Measures what a record waits for while scripts beside it spend their budgets. See ../README.md.

One worker serves an innocent record and tests/data/adversary.zone. The innocent record is asked at a steady rate: alone,
with another innocent record asked beside it, and with every hostile record asked in turn in the place of that.
"""

import argparse
import contextlib
import multiprocessing
import random
import re
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/data/adversary.zone"
SOA = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.53\n"
VICTIM = SOA + "other A 192.0.2.1\nwww LUA TXT \";local t = {} for i = 1, 10 do t[i] = qname:toString() end return table.concat(t)\"\n"
PATIENCE = 1.0


def main():
    options = arguments()
    if not options.perigee.exists():
        sys.exit(f"not found: {options.perigee}\n  help: build it with `cargo build --release`")
    # A plain termination would leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    names = re.findall(r"(?m)^(\S+) +LUA TXT", CORPUS.read_text())
    with tempfile.TemporaryDirectory(prefix="adversary-") as directory, serve(options, Path(directory)) as address:
        hostile = [query(f"{name}.hostile.example") for name in names]
        innocent = [query("other.victim.example")]
        rows = []
        for round_number in range(options.rounds):
            rows.append(("alone", ask_victim(address, options, options.seconds)))
            with asked_beside(address, innocent, options.hostile_rate):
                rows.append(("crowded", ask_victim(address, options, options.seconds)))
            with asked_beside(address, hostile, options.hostile_rate):
                # The first offence of each is over after this, and what rests rests.
                time.sleep(options.warmup if round_number == 0 else 0.5)
                rows.append(("attacked", ask_victim(address, options, options.seconds)))
    print_table(rows, len(names), options)


def arguments():
    parser = argparse.ArgumentParser(description="Latency of a record beside hostile ones.")
    parser.add_argument("--perigee", type=Path, default=ROOT / "target/release/perigee", help="the binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="how long the innocent record is asked each time")
    parser.add_argument("--warmup", type=float, default=5, help="how long hostile ones are asked before that")
    parser.add_argument("--rate", type=float, default=500, help="questions a second for the innocent record")
    parser.add_argument("--hostile-rate", type=float, default=2000, help="questions a second for hostile ones")
    return parser.parse_args()


@contextlib.contextmanager
def serve(options, directory):
    """A server of one worker, and where it listens."""
    (directory / "zones").mkdir()
    (directory / "zones/victim.example.zone").write_text(VICTIM)
    (directory / "zones/hostile.example.zone").write_text(CORPUS.read_text())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    # What scripts want probed or looked up is of this machine, too: nothing leaves it.
    config = (f'[server]\nlisten = ["127.0.0.1:{address[1]}"]\nworkers = 1\n\n[health]\nwarmup = "0s"\n'
              '[resolver]\nservers = ["127.0.0.1:1"]\n')
    (directory / "perigee.toml").write_text(config)
    with open(directory / "log", "w") as log:
        server = subprocess.Popen([options.perigee.resolve(), "serve"], cwd=directory, stderr=log)
        try:
            wait_until_served(address, directory / "log")
            yield address
        finally:
            server.terminate()
            server.wait()


def wait_until_served(address, log):
    end = time.monotonic() + 60
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)
        while time.monotonic() < end:
            asker.sendto(query("www.victim.example"), address)
            with contextlib.suppress(OSError):
                if asker.recv(4096)[3] & 15 == 0:
                    return
    sys.exit(f"the server does not answer:\n{log.read_text()}")


def query(name):
    """A question for TXT, with an OPT record."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 1) + labels + b"\0\0\x10\0\1" + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def ask_victim(address, options, seconds):
    """Asks at a steady rate whatever comes back; the seconds that each answer took.

    A question is sent when it is due and not when the last was answered: what waits behind a script counts for each.
    """
    latencies, sent, lost = [], {}, 0
    question = query("www.victim.example")[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker, selectors.DefaultSelector() as selector:
        asker.connect(address)
        asker.setblocking(False)
        selector.register(asker, selectors.EVENT_READ)
        begin = time.perf_counter()
        number, total = 0, int(options.rate * seconds)
        end = begin + seconds + PATIENCE
        while (number < total or sent) and time.perf_counter() < end:
            due = begin + number / options.rate
            if number < total and time.perf_counter() >= due:
                sent[number & 0xffff] = due
                asker.send(struct.pack(">H", number & 0xffff) + question)
                number += 1
                continue
            # To sleep would be late by a millisecond, as the system counts them: this asks all the time.
            if selector.select(0):
                reply = asker.recv(4096)
                due = sent.pop(struct.unpack(">H", reply[:2])[0], None)
                if due is not None:
                    latencies.append(time.perf_counter() - due)
                    assert reply[3] & 15 == 0, "the innocent record fails"
    return latencies, len(sent)


@contextlib.contextmanager
def asked_beside(address, questions, rate):
    """Asks hostile questions in turn, at a steady rate, from a process of its own."""
    stop = multiprocessing.Event()

    def ask():
        source = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setblocking(False)
            begin, number = time.perf_counter(), 0
            while not stop.is_set():
                behind = int((time.perf_counter() - begin) * rate) - number
                for _ in range(behind):
                    with contextlib.suppress(BlockingIOError):
                        asker.sendto(source.choice(questions), address)
                number += behind
                with contextlib.suppress(BlockingIOError):
                    while True:
                        asker.recv(4096)
                time.sleep(0.002)

    # A thread would share the interpreter with who measures.
    asker = multiprocessing.get_context("fork").Process(target=ask, daemon=True)
    asker.start()
    try:
        yield
    finally:
        stop.set()
        asker.join()


def print_table(rows, count, options):
    print(f"{count} hostile records, {options.hostile_rate:g} questions a second for them, "
          f"{options.rate:g} for the innocent one; milliseconds\n")
    print("| | p50 | p99 | p99.9 | most | lost |\n|---|--:|--:|--:|--:|--:|")
    figures = {"alone": [], "crowded": [], "attacked": []}
    for name, (latencies, lost) in rows:
        cuts = statistics.quantiles(latencies, n=1000)
        row = [1000 * value for value in (cuts[499], cuts[989], cuts[998], max(latencies))]
        figures[name].append(row)
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + f" | {lost} |")
    median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    for name in ("alone", "crowded"):
        ratios = [attacked / other for attacked, other in zip(median["attacked"], median[name])]
        print(f"| attacked, times {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " | |")


if __name__ == "__main__":
    main()
