"""One run: a fixed number of queries, and the CPU time the server took for them."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

LINES = 1000
"""How many lines a file of queries has; dnsperf repeats it."""
OUTSTANDING = 100
"""How many queries are under way at once: dnsperf's default, said here because it bounds the size of batches."""
RUN_SECONDS_MAX = 15
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class RunFailed(Exception):
    """A run that does not count, with the reason."""


@dataclass(frozen=True)
class Run:
    """What one run showed."""

    microseconds: float
    """CPU time for each answer."""
    used: "Cpu"
    per_second: float
    """Answers a second, by the clock: what server and load made together, with whatever else ran beside them."""
    lost: int


@dataclass(frozen=True)
class Cpu:
    """The CPU time of a process, all its threads together.

    /proc/PID/stat tells user from system, in ticks of 10 ms, and the kernel makes that division by sampling. The
    sum is known to the nanosecond, from the scheduler's figures for each thread.
    """

    user_ticks: int
    system_ticks: int
    nanoseconds: int

    @classmethod
    def of(cls, pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = Path(f"/proc/{pid}/task").iterdir()
        nanoseconds = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
        return cls(int(fields[11]), int(fields[12]), nanoseconds)

    def __sub__(self, earlier):
        return Cpu(self.user_ticks - earlier.user_ticks, self.system_ticks - earlier.system_ticks,
                   self.nanoseconds - earlier.nanoseconds)


def run(pid, port, file, queries, core, edns):
    """Sends `queries` queries, in whole files, from `core` to a server, and accounts for them.

    Fails if anything but NOERROR came back.
    """
    command = ["taskset", "-c", str(core), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file)]
    command += ["-n", str(max(1, round(queries / LINES))), "-q", str(OUTSTANDING), "-c", "1", "-T", "1"]
    command += ["-l", str(RUN_SECONDS_MAX), "-t", "2"] + (["-e"] if edns else [])
    before = Cpu.of(pid)
    load = subprocess.run(command, capture_output=True, text=True)
    used = Cpu.of(pid) - before
    if load.returncode != 0:
        raise RunFailed(load.stderr.strip())
    codes = figure(load.stdout, r"Response codes:\s*(.*\S)")
    if not re.fullmatch(r"NOERROR \d+ \(100\.00%\)", codes):
        raise RunFailed(f"was answered {codes}")
    completed = int(figure(load.stdout, r"Queries completed:\s*(\d+)"))
    return Run(
        microseconds=used.nanoseconds / 1e3 / completed,
        used=used,
        per_second=float(figure(load.stdout, r"Queries per second:\s*([\d.]+)")),
        lost=int(figure(load.stdout, r"Queries lost:\s*(\d+)")),
    )


def user_share(runs):
    """How much of the CPU time went to user code: of all runs together, as one run has too few ticks to tell."""
    user = sum(run.used.user_ticks for run in runs)
    system = sum(run.used.system_ticks for run in runs)
    return user / max(1, user + system)


def figure(report, pattern):
    """One figure of dnsperf's report."""
    found = re.search(pattern, report)
    if not found:
        raise RunFailed(f"left no figure like `{pattern}` in the report of dnsperf:\n{report}")
    return found[1]
