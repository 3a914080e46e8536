#!/usr/bin/env python3
"""Looks for octets that break a rule of tests/fuzzed, and keeps a small set of inputs that reaches all the code any did.

    fuzz/run.py --seconds 3600              every target, one after the other
    fuzz/run.py --seconds 60 request edns   some of them
    fuzz/run.py --seconds 3600 --together   all at the same time

What is kept is in tests/data/corpus, one input a line in base64; the tests run it. Exits with 1 if a rule was broken: the
input then lies in fuzz/artifacts, and `cargo fuzz run TARGET FILE` shows how. Needs cargo-fuzz.
"""

import argparse
import base64
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
KEPT = TOP / "tests/data/corpus"
TARGETS = sorted(path.stem for path in (TOP / "fuzz/fuzz_targets").glob("*.rs"))
# Longer ones reach nothing that shorter ones do not, and would weigh on the repository.
KEPT_OCTETS_MAX = 1024
KEPT_INPUTS_MAX = 300
# A compiler that is not nightly takes a fuzzer's flags too when it is told to.
ENVIRONMENT = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
# mlua counts references by pointers one past the end of an allocation, which the leak detector takes for lost.
OPTIONS = ["-detect_leaks=0", "-timeout=20", "-rss_limit_mb=4096", "-max_len=8192"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is run")
    parser.add_argument("--together", action="store_true", help="run the targets at the same time")
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}; all without one")
    arguments = parser.parse_args()
    for target in arguments.targets:
        if target not in TARGETS:
            parser.error(f"there is no target `{target}`")
    targets = arguments.targets or TARGETS
    subprocess.run(["cargo", "fuzz", "build"], cwd=TOP, env=ENVIRONMENT, check=True)
    for target in targets:
        unpack(target)
    broken = []
    for group in [targets] if arguments.together else [[target] for target in targets]:
        running = [(target, start(target, arguments.seconds)) for target in group]
        broken += [target for target, process in running if not ended(target, process)]
    for target in targets:
        pack(target)
    if broken:
        sys.exit(f"broke a rule, see fuzz/artifacts: {', '.join(broken)}")


def binary(target):
    """The program that cargo-fuzz has built of a target."""
    [found] = (TOP / "fuzz/target").glob(f"*/release/{target}")
    return str(found)


def corpus(target):
    """Where the fuzzer finds its inputs and leaves new ones."""
    return TOP / "fuzz/corpus" / target


def unpack(target):
    corpus(target).mkdir(parents=True, exist_ok=True)
    lines = (KEPT / f"{target}.txt").read_text().split() if (KEPT / f"{target}.txt").exists() else []
    for octets in map(base64.b64decode, lines):
        (corpus(target) / hashlib.sha1(octets).hexdigest()).write_bytes(octets)


def start(target, seconds):
    artifacts = TOP / "fuzz/artifacts" / target
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [binary(target), *OPTIONS, f"-max_total_time={seconds}", "-print_final_stats=1"]
    log = (TOP / "fuzz/artifacts" / f"{target}.log").open("w")
    command += [f"-artifact_prefix={artifacts}/", str(corpus(target))]
    return subprocess.Popen(command, cwd=TOP, stdout=log, stderr=log)


def ended(target, process):
    """Waits for a fuzzer to end; tells what it did, and whether every rule held."""
    failed = process.wait() != 0
    log = (TOP / "fuzz/artifacts" / f"{target}.log").read_text(errors="replace")
    counts = dict(re.findall(r"stat::(\w+): +(\d+)", log))
    executed, seconds = counts.get("number_of_executed_units", "?"), re.findall(r"Done \d+ runs in (\d+) second", log)
    print(f"{target}: {executed} inputs in {seconds[-1] if seconds else '?'} s, {'BROKEN' if failed else 'every rule held'}")
    if failed:
        print("\n".join(log.splitlines()[-40:]))
    return not failed


def pack(target):
    """Keeps the shortest inputs that together reach what all of them do."""
    least = TOP / "fuzz/corpus" / f"{target}.least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir()
    command = [binary(target), *OPTIONS, "-set_cover_merge=1", str(least), str(corpus(target))]
    merged = subprocess.run(command, cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    inputs = [path.read_bytes() for path in least.iterdir()]
    shutil.rmtree(least)
    if merged.returncode != 0 or not inputs:
        return print(f"{target}: what is kept stays as it is, as an input breaks a rule")
    inputs = sorted((octets for octets in inputs if 0 < len(octets) <= KEPT_OCTETS_MAX), key=lambda octets: (len(octets), octets))
    KEPT.mkdir(parents=True, exist_ok=True)
    lines = [base64.b64encode(octets).decode() + "\n" for octets in inputs[:KEPT_INPUTS_MAX]]
    (KEPT / f"{target}.txt").write_text("".join(lines))
    print(f"{target}: {len(lines)} inputs kept")


if __name__ == "__main__":
    main()
