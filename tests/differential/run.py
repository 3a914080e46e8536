#!/usr/bin/env python3
"""Asks NSD, Knot, BIND and perigee the same random questions about the same random zones, and demands that perigee
agrees wherever the other three agree among themselves. See README.md.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import dns.message

import ask
import message
import shrink
from compare import FIELDS, Tally
from questions import questions
from servers import NAMES, Field
from zones import world

TOP = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perigee", type=Path, default=TOP / "target/debug/perigee", help="the binary to test")
    parser.add_argument("--seed", type=int, default=1, help="the number of the first world")
    parser.add_argument("--worlds", type=int, default=4, help="how many worlds, each with zones of its own")
    parser.add_argument("--questions", type=int, default=500, help="how many questions to each world")
    parser.add_argument("--shown", type=int, default=1, help="how many disagreements of a kind are shrunk and shown")
    parser.add_argument("--as-is", action="store_true", help="show the questions and replies without zones, not shrunk")
    parser.add_argument("--cases", type=Path, help="a directory for `.case` files of what is shown")
    arguments = parser.parse_args()
    run = Run(arguments)
    for seed in range(arguments.seed, arguments.seed + arguments.worlds):
        run.world(seed)
    run.summarize()
    sys.exit(1 if run.disagreements or run.refusals else 0)


class Run:
    """Worlds, what was asked of them, and what came."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.tally = Tally()
        self.begun = time.monotonic()
        self.asking = 0.0
        self.worlds = self.zones = self.records = self.replies = 0
        self.left_out = {}
        self.refusals = []
        self.disagreements = {}
        """By kind: the seed, the world, the question and the replies of each."""

    def world(self, seed):
        """Makes a world, has it served, asks, and compares."""
        source = random.Random(seed)
        made = world(source, seed)
        asked = questions(source, made, self.arguments.questions)
        with tempfile.TemporaryDirectory(prefix="differential-") as directory:
            with Field(self.arguments.perigee, directory, made.zones) as field:
                refused = list(field.refusals(zone.apex for zone in made.zones))
                if refused:
                    return self.leave_out(seed, refused)
                begun = time.monotonic()
                replies = ask.ask(field.ports(), asked)
                self.asking += time.monotonic() - begun
        self.worlds += 1
        self.zones += len(made.zones)
        self.records += sum(len(list(zone.lines())) for zone in made.zones)
        self.compare(seed, made, asked, replies)

    def leave_out(self, seed, refused):
        """A world that not all serve is no ground to compare on; one that perigee alone refuses is a finding."""
        for apex, names in refused:
            who = "+".join(names)
            self.left_out[who] = self.left_out.get(who, 0) + 1
            if names == ["perigee"]:
                self.refusals.append((seed, apex))

    def compare(self, seed, made, asked, replies):
        for index, question in enumerate(asked):
            octets = {name: replies[name][index] for name in NAMES}
            self.replies += sum(reply is not None for reply in octets.values())
            if octets["perigee"] is not None:
                # Raises if there is anything in it that another parser does not read, or anything behind it.
                dns.message.from_wire(octets["perigee"])
            read = {name: reply and message.read(reply) for name, reply in octets.items()}
            for difference in self.tally.judge(question, read, made.zones):
                found = self.disagreements.setdefault(difference.kind, [])
                found.append((seed, made, question, read))

    def summarize(self):
        tally = self.tally
        print(f"{tally.questions} questions to {self.zones} zones of {self.worlds} worlds ({self.records} records), "
              f"{self.replies} replies; {time.monotonic() - self.begun:.0f} s, {self.asking:.0f} s of them asking")
        print(f"{'field':12}{'compared':>10}{'unanimous':>11}{'share':>8}{'agrees':>10}{'decided':>9}{'differs':>9}")
        for field in FIELDS:
            compared, unanimous = tally.compared[field], tally.unanimous[field]
            agreed, decided = tally.agreed[field], tally.decided[field]
            share = 100 * unanimous / max(compared, 1)
            differs = unanimous - agreed - decided
            print(f"{field:12}{compared:10}{unanimous:11}{share:7.1f}%{agreed:10}{decided:9}{differs:9}")
        for who, count in self.left_out.items():
            print(f"left out: {count} zones that {who} did not serve")
        for reason, count in tally.excepted.items():
            print(f"decided otherwise, {count} times: {reason}")
        print("where the others disagree, perigee is with")
        for (field, company), count in sorted(tally.alone.items()):
            print(f"  {field:12}{company:12}{count:7}")
        for seed, apex in self.refusals:
            print(f"perigee alone refuses the zone {apex} of seed {seed}")
        for kind, found in sorted(self.disagreements.items(), key=lambda item: -len(item[1])):
            print(f"\n{len(found)} times {kind}")
            for seed, made, question, replies in found[: self.arguments.shown]:
                shrink.show(self.arguments, kind, seed, made, question, replies)


if __name__ == "__main__":
    main()
