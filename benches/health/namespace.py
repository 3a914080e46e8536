"""A network namespace of its own, where nothing leads anywhere and nobody's filters are."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys

INSIDE = "PERIGEE_BENCH_INSIDE"
FILES = 65536


def demand(programs, packages, perigee):
    """Ends here, saying what to do, if a program that is needed is not there, or no perigee is built."""
    if absent := [program for program in programs if not shutil.which(program)]:
        sys.exit(f"not found: {', '.join(absent)}\n  help: apt-get install {packages}")
    if not perigee.exists():
        sys.exit(f"not found: {perigee}\n  help: build it with `cargo build --release`")


def enter():
    """Begins the program anew in such a namespace, unless it is in one; then brings its loopback interface up."""
    if INSIDE not in os.environ:
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", *as_root, "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
