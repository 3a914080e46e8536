#!/usr/bin/env python3
"""Measures the CPU time that perigee, gdnsd and PowerDNS take for an answer. See ../README.md.

Read servers.py (who is measured, configured how, asked what), started.py (a server's life here) and measure.py
(one run).
"""

import argparse
import contextlib
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
from servers import WORKLOADS, servers
from started import Started

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["cc", "dig", "dnsperf", "gdnsd", "pdns_server", "taskset"]


def main():
    options = arguments()
    if absent := [program for program in PROGRAMS if not shutil.which(program)]:
        sys.exit(f"not found: {', '.join(absent)}\n  help: benches/README.md names the Debian packages")
    if not options.perigee.exists():
        sys.exit(f"not found: {options.perigee}\n  help: build it with `cargo build --release`")
    # A plain termination would leave the servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    end = time.monotonic() + options.seconds_max
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        files = {workload: write_queries(directory, workload) for workload in WORKLOADS}
        chosen = [server for server in servers(options.perigee.resolve()) if options.only in server.name]
        started = [stack.enter_context(Started(server, directory, options.server_core)) for server in chosen]
        runs = measure_rounds(started, files, options, end)
    print_table(runs)


def arguments():
    parser = argparse.ArgumentParser(description="CPU time for an answer: perigee and its peers.")
    parser.add_argument("--perigee", type=Path, default=ROOT / "target/release/perigee", help="the binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a run takes on an idle machine")
    parser.add_argument("--seconds-max", type=float, default=150, help="no run begins after this")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--only", default="", help="only servers with this in their name")
    parser.add_argument("--plain", action="store_true", help="queries without an OPT record")
    return parser.parse_args()


def write_queries(directory, workload):
    """Writes the file that dnsperf repeats."""
    path = directory / f"{workload.name}.queries"
    names = (workload.qnames * measure.LINES)[: measure.LINES]
    path.write_text("".join(f"{name} A\n" for name in names))
    return path


def measure_rounds(started, files, options, end):
    """Drives each server in turn, round after round; the runs of each workload and server.

    The order turns by one from round to round, so that none always follows the same other.
    """
    runs = {(workload, each.server): [] for workload in WORKLOADS for each in started
            if workload in each.server.workloads}
    for number in range(options.rounds):
        turn = number % len(started)
        for each in started[turn:] + started[:turn]:
            for workload in each.server.workloads:
                if time.monotonic() > end:
                    print(f"out of time in round {number + 1}", file=sys.stderr)
                    return runs
                queries = each.server.per_second * options.seconds
                try:
                    run = measure.run(each.process.pid, each.port, files[workload], queries, options.load_core,
                                      edns=not options.plain)
                except measure.RunFailed as failure:
                    each.fail(f"failed in {workload.name}: {failure}")
                if run.lost:
                    print(f"{each.server.name} lost {run.lost} queries in {workload.name}", file=sys.stderr)
                runs[workload, each.server].append(run)
    return runs


def print_table(runs):
    """Prints a line for each workload and server: the median of the rounds, and how far they lie apart."""
    floors = [run.microseconds for (_, server), taken in runs.items() if not server.speaks_dns for run in taken]
    print("| workload | server | us/answer | user | system | lowest to highest | times echo | answers/s | busy |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for (workload, server), taken in runs.items():
        if not taken:
            continue
        rounds = [run.microseconds for run in taken]
        total = statistics.median(rounds)
        share = measure.user_share(taken)
        per_second = statistics.median(run.per_second for run in taken)
        busy = statistics.median(run.microseconds * run.per_second / 1e6 for run in taken)
        times = f"{total / statistics.median(floors):.2f}" if floors else "-"
        print(f"| {workload.name} | {server.name} | {total:.2f} | {total * share:.2f} | {total * (1 - share):.2f} "
              f"| {min(rounds):.2f} to {max(rounds):.2f} | {times} | {per_second:,.0f} | {busy:.0%} |")


if __name__ == "__main__":
    main()
