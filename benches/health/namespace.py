"""A network namespace of its own, where nothing leads anywhere and nobody's filters are."""

import contextlib
import os
import resource
import subprocess
import sys

INSIDE = "PERIGEE_BENCH_INSIDE"
FILES = 65536


def enter():
    """Begins the program anew in such a namespace, unless it is in one; then brings its loopback interface up."""
    if INSIDE not in os.environ:
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", *as_root, "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
