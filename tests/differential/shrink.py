"""Makes a disagreement small: takes out zones and records while it stays, and writes what is left as a `.case` file."""

import re
import tempfile

import ask
import message
from compare import Tally
from servers import NAMES, Field
from zones import World, Zone

ROUNDS_MAX = 60
"""How often the servers are started for one disagreement."""


def show(arguments, kind, seed, made, question, replies):
    """Shrinks one disagreement and prints it in full; writes it down if there is a place for it."""
    print(f"--- seed {seed}: {question.to_text()}")
    if arguments.as_is:
        small = World([])
    else:
        small, replies = Shrinker(arguments.perigee, kind, question).shrink(made, replies)
    for zone in small.zones:
        print(f"zone {zone.apex}\n{zone.text()}", end="")
    for name in NAMES:
        print(f"{name}: {message.reply_text(replies[name])}", end="")
    if arguments.cases and small.zones:
        arguments.cases.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", f"{kind} {seed} {question.rtype}".lower()).strip("-")
        (arguments.cases / f"{name}.case").write_text(case(kind, small, question, replies["bind"]))


def case(kind, world, question, expected):
    """The disagreement as a case, with what the others agree on; `UPDATE=1` writes its records as perigee does."""
    zones = "".join(f"--- zone {zone.apex.to_text()}\n{zone.text()}\n" for zone in world.zones)
    return f"; {kind}\n{zones}--- ask {question.to_text()}\n--- expect\n{message.reply_text(expected)}"


class Shrinker:
    """Looks for the fewest records that show one kind of disagreement on one question."""

    def __init__(self, binary, kind, question):
        self.binary = binary
        self.kind = kind
        self.question = question
        self.rounds = 0

    def holds(self, world):
        """The replies, if the disagreement is there; `None` if it is not or not all serve the zones."""
        self.rounds += 1
        with tempfile.TemporaryDirectory(prefix="differential-") as directory:
            try:
                with Field(self.binary, directory, world.zones) as field:
                    if any(field.refusals(zone.apex for zone in world.zones)):
                        return None
                    octets = ask.ask(field.ports(), [self.question])
            except RuntimeError:
                return None
        replies = {name: octets[name][0] and message.read(octets[name][0]) for name in NAMES}
        kinds = [difference.kind for difference in Tally().judge(self.question, replies, world.zones)]
        return replies if self.kind in kinds else None

    def shrink(self, world, replies):
        """The smallest world found, and what is answered there."""
        likely = only(world, self.likely(world, replies))
        if found := self.holds(likely):
            world, replies = likely, found
        for zone in list(world.zones):
            fewer = World([other for other in world.zones if other is not zone])
            if fewer.zones and (found := self.holds(fewer)):
                world, replies = fewer, found
        rrsets = [(index, key) for index, zone in enumerate(world.zones) for key in zone.rrsets if key[1] != "SOA"]
        size = max(len(rrsets) // 2, 1)
        while rrsets and self.rounds < ROUNDS_MAX:
            for start in range(0, len(rrsets), size):
                kept = rrsets[:start] + rrsets[start + size :]
                if self.rounds < ROUNDS_MAX and (found := self.holds(only(world, kept))):
                    rrsets, replies = kept, found
                    break
            else:
                if size == 1:
                    break
                size = max(size // 2, 1)
        return only(world, rrsets), replies

    def likely(self, world, replies):
        """The RRsets of names that the question or a reply speaks of, and of those above and around them."""
        names = {self.question.name.to_text().lower()}
        for reply in replies.values():
            names.update(re.findall(r"\S+\.(?=\s)", message.reply_text(reply).lower()))
        for name in list(names):
            while "." in name[:-1]:
                name = name.partition(".")[2] or "."
                names.update((name, f"*.{name}"))
        return [(index, key) for index, zone in enumerate(world.zones) for key in zone.rrsets
                if key[0].to_text().lower() in names or key[0] == zone.apex]


def only(world, rrsets):
    """The world with its SOAs and these RRsets alone."""
    kept = set(rrsets)
    zones = []
    for index, zone in enumerate(world.zones):
        there = {key: rrset for key, rrset in zone.rrsets.items() if key[1] == "SOA" or (index, key) in kept}
        zones.append(Zone(zone.apex, there))
    return World(zones)
