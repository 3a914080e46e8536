"""A server under measurement: started on one core, checked, and stopped by its own id."""

import socket
import subprocess
import sys
import time

START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 5
ASKED_TIMES = 60
"""How often a server is asked for one name in the check: one that chooses must have shown all its answers by then.

The rarer of two answers, with a chance of one in three, stays out 60 times with a chance of 3 in 100,000,000,000.
"""


class Started:
    """A server that runs until the end of its `with`."""

    def __init__(self, server, directory, core):
        self.server = server
        self.directory = directory / server.name.replace(" ", "-")
        self.core = core

    def __enter__(self):
        self.directory.mkdir()
        self.port = free_port()
        self.log = self.directory / "log"
        # taskset becomes the server: its process is the one to account for and to stop.
        command = ["taskset", "-c", str(self.core), *self.server.prepare(self.directory, self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        try:
            self.wait_until_it_answers()
            self.check()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_until_it_answers(self):
        end = time.monotonic() + START_SECONDS_MAX
        while self.dig("+tries=1", "+time=1", "example.com", "SOA").returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                self.fail("did not start")
            time.sleep(0.05)

    def check(self):
        """Ends everything if the server gives another answer than it should."""
        for workload in self.server.workloads if self.server.speaks_dns else ():
            qname = workload.qnames[0]
            self.expect(workload.answers, *[qname, "A"] * ASKED_TIMES)
            if workload.inside:
                self.expect({workload.inside}, qname, "A", "+subnet=192.168.3.0/24")

    def expect(self, answers, *question):
        seen = set(self.dig("+short", *question).stdout.split())
        if seen != answers:
            self.fail(f"answered {question[0]} with {sorted(seen)} where {sorted(answers)} was expected")

    def dig(self, *arguments):
        command = ["dig", "-p", str(self.port), "@127.0.0.1", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def fail(self, what):
        sys.exit(f"{self.server.name} {what}; its log:\n{self.log.read_text(errors='replace')}")


def free_port():
    """A port of 127.0.0.1 that nobody has for UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
