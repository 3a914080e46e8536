"""Random zones from a seed: worlds of a parent, its child, siblings and a reverse zone, that all four servers load.

Names come from a small alphabet so that they collide. What a zone may not hold (a CNAME beside other data, records
below a DNAME) is left out here, for servers refuse it, each in words of its own; and so is what only some of them load
(`servers disagree on loading` in README.md).
"""

from dataclasses import dataclass, field

import dns.name
from dns.name import Name

ROOT = dns.name.root
LABELS = [b"a", b"b", b"c", b"d", b"www", b"*"]
"""Labels that most names are made of."""
ODD_LABELS = [b"B", b"Www", b"a.b", b"\x00", b"\xff\xfe", b"a b", b"_tcp", b"0/25", b'q"u;o\\t@e$', b"x" * 63, b"**", b"-"]
"""Labels that few names have: letter case, dots, octets that do not print, the longest."""
TTLS = [0, 1, 60, 300, 3600, 86400, 2147483647]
ELSEWHERE = [dns.name.from_text(text) for text in ["ns1.elsewhere.example.", "mail.Example.NET.", "a.b.c.d.example."]]
"""Targets that no zone here holds."""


@dataclass
class Zone:
    """A zone: its apex and its records, an RRset being one owner, one type, one TTL and its RDATA."""

    apex: Name
    rrsets: dict[tuple[Name, str], tuple[int, list[str]]] = field(default_factory=dict)

    def lines(self):
        """The records as a zone file's lines, which need no `$ORIGIN`."""
        # BIND wants the NS records of a name before others.
        order = sorted(self.rrsets, key=lambda key: (key[1] != "SOA", key[0] != self.apex, key[0], key[1] != "NS"))
        for owner, rtype in order:
            ttl, rdata = self.rrsets[owner, rtype]
            for text in rdata:
                yield f"{owner.to_text()} {ttl} IN {rtype} {text}"

    def text(self):
        return "".join(f"{line}\n" for line in self.lines())

    def types_at(self, owner):
        return {rtype for (there, rtype) in self.rrsets if there == owner}

    def owners(self):
        return list(dict.fromkeys(owner for owner, _ in self.rrsets))


@dataclass
class World:
    """Zones that lead to each other, and names that are worth a question."""

    zones: list[Zone]
    targets: list[Name] = field(default_factory=list)
    """Names in RDATA."""


def world(random, number):
    """Makes one world; its number is in the names of its zones."""
    parent = dns.name.from_text(f"w{number}.test.")
    child = below(random, parent, random.choice([1, 1, 2]), literal=True)
    sibling = dns.name.from_text(f"S{number}.test.")
    reverse = dns.name.from_text(f"{number % 256}.{number // 256 % 256}.10.in-addr.arpa.")
    apexes = [parent, child, sibling]
    if random.random() < 0.3:
        apexes.append(below(random, child, 1, literal=True))
    if random.random() < 0.4:
        apexes.append(reverse)
        if random.random() < 0.7:
            apexes.append(Name((random.choice([b"0/25", b"0-127"]), *reverse.labels)))
    if random.random() < 0.15:
        apexes.append(ROOT)
    apexes = list(dict.fromkeys(apexes))
    made = World([])
    for apex in apexes:
        Maker(random, made, apex, apexes).make()
    drop_hidden_redirections(made)
    if random.random() < 0.8:
        drop_shadows(made)
    return made


def drop_shadows(made):
    """Takes out of parents what their children here hold: NSD has one tree of names for all zones, and finds it there."""
    for zone in made.zones:
        children = [child.apex for child in made.zones if child.apex != zone.apex and child.apex.is_subdomain(zone.apex)]
        for owner, rtype in list(zone.rrsets):
            hidden = any(owner.is_subdomain(child) for child in children)
            if hidden and not (owner in children and rtype in ("NS", "DS")) and rtype not in ("A", "AAAA"):
                del zone.rrsets[owner, rtype]


def drop_hidden_redirections(made):
    """Takes out DNAMEs above data of another zone: NSD counts that as below the DNAME, and refuses the zone."""
    owners = {owner for zone in made.zones for owner, _ in zone.rrsets}
    for zone in made.zones:
        for owner, rtype in list(zone.rrsets):
            if rtype == "DNAME" and any(name != owner and name.is_subdomain(owner) for name in owners):
                del zone.rrsets[owner, rtype]


def below(random, name, depth, literal=False):
    """A random name so many labels below `name`; a literal one has no `*`, and can stand in any configuration."""
    for _ in range(depth):
        labels = ODD_LABELS if random.random() < 0.1 else LABELS
        label = random.choice(labels)
        while literal and (label == b"*" or b'"' in label):
            label = random.choice(LABELS)
        try:
            name = Name((label, *name.labels))
        except (dns.name.NameTooLong, ValueError):
            return name
    return name


class Maker:
    """Fills one zone."""

    def __init__(self, random, world, apex, apexes):
        self.random = random
        self.world = world
        self.zone = Zone(apex)
        self.apexes = apexes
        world.zones.append(self.zone)
        self.names = [apex]
        self.by_owner = {}

    def make(self):
        random = self.random
        dname_apex = random.random() < 0.05
        # Nothing is outside of the root.
        is_root = self.zone.apex == ROOT
        dname_apex = dname_apex and not is_root
        outside = not is_root and (dname_apex or random.random() < 0.3)
        name_server = random.choice(ELSEWHERE) if outside else below(random, self.zone.apex, 1, literal=True)
        self.soa(name_server)
        if dname_apex:
            self.add(self.zone.apex, "DNAME", self.dname_target(self.zone.apex))
        for apex in self.apexes:
            # Most children are delegated, as they should be; one that is not is still served.
            if apex != self.zone.apex and apex.is_subdomain(self.zone.apex) and random.random() < 0.85:
                self.delegate(apex)
        self.fill(random.choice([3, 8, 15, 30]))

    def soa(self, name_server):
        """The SOA and an NS that others will not refuse: addresses for a name server inside the zone."""
        random, apex = self.random, self.zone.apex
        serial, minimum = random.randint(1, 9999), random.choice([0, 1, 60, 300, 86400])
        mailbox = Name((b"host.master", *apex.labels))
        self.add(apex, "SOA", f"{name_server.to_text()} {mailbox.to_text()} {serial} 7200 3600 1209600 {minimum}")
        self.add(apex, "NS", name_server.to_text())
        self.world.targets.append(name_server)
        if name_server.is_subdomain(apex):
            self.add(name_server, "A", self.address())
            if random.random() < 0.5:
                self.add(name_server, "AAAA", self.address6())
        for _ in range(0 if apex == ROOT else random.choice([0, 0, 1, 2])):
            self.add(apex, "NS", random.choice(ELSEWHERE).to_text())
        return self.zone

    def add(self, owner, rtype, *rdata):
        """Adds records unless no server would take the zone with them."""
        if not self.allows(owner, rtype):
            return False
        known = self.zone.rrsets.get((owner, rtype))
        if known is None:
            known = self.zone.rrsets[owner, rtype] = (self.random.choice(TTLS), [])
            self.by_owner.setdefault(owner, set()).add(rtype)
            self.names.append(owner)
        # What differs in letter case alone stays in a few zones: there it is for the servers to find the duplicate.
        fold = str.lower if self.random.random() < 0.9 else str
        lower = {fold(text) for text in known[1]}
        for text in rdata:
            if fold(text) not in lower and (rtype not in ("CNAME", "DNAME", "SOA") or not known[1]):
                known[1].append(text)
                lower.add(fold(text))
        return True

    def allows(self, owner, rtype):
        here = self.by_owner.get(owner, set())
        apex = owner == self.zone.apex
        if "CNAME" in here or (rtype == "CNAME" and here):
            return False
        if rtype == "DNAME":
            empty_below = not any(name != owner and name.is_subdomain(owner) for name in self.by_owner)
            if not empty_below or ("NS" in here and not apex):
                return False
        if rtype == "NS" and not apex and (owner.is_wild() or "DNAME" in here):
            return False
        if rtype == "DS" and (apex or "NS" not in here):
            return False
        above = owner
        while above != self.zone.apex:
            above = above.parent()
            if "DNAME" in self.by_owner.get(above, ()):
                return False
        return True

    def fill(self, count):
        makers = [
            (30, self.plain),
            (12, self.alias),
            (8, self.redirection),
            (10, self.delegation),
            (12, self.wildcard),
            (12, self.service),
            (4, self.deep),
            (3, self.large),
            (4, self.occluded),
        ]
        weights = [weight for weight, _ in makers]
        for _ in range(count):
            self.random.choices([make for _, make in makers], weights)[0]()

    def owner(self):
        """A name in the zone: one that is there, one beside it or one below it."""
        random = self.random
        known = random.choice(self.names)
        choice = random.random()
        if choice < 0.25:
            return known
        if choice < 0.6 and known != self.zone.apex:
            return below(random, known.parent(), 1)
        return below(random, known, random.choice([1, 1, 1, 2, 3]))

    def target(self):
        """A name to point to: in this zone, in another, elsewhere; what is there and what is not."""
        random = self.random
        choice = random.random()
        if choice < 0.45:
            name = random.choice(self.names)
        elif choice < 0.6:
            name = self.owner()
        elif choice < 0.8:
            apex = random.choice(self.apexes)
            name = below(random, apex, random.choice([0, 1, 1, 2]))
        elif choice < 0.9 and self.world.targets:
            name = random.choice(self.world.targets)
        else:
            name = random.choice(ELSEWHERE)
        if random.random() < 0.1:
            name = swap_case(random, name)
        self.world.targets.append(name)
        return name

    def address(self):
        return f"192.0.2.{self.random.randint(0, 255)}"

    def address6(self):
        return f"2001:db8::{self.random.randint(0, 0xffff):x}"

    def plain(self):
        random = self.random
        owner = self.owner()
        for _ in range(random.choice([1, 1, 2])):
            rtype = random.choice(list(PLAIN))
            self.add(owner, rtype, *(PLAIN[rtype](self) for _ in range(random.choice([1, 1, 2, 3]))))

    def alias(self):
        """A CNAME, or some that follow one another, maybe in a circle."""
        owners = [self.owner() for _ in range(self.random.choice([1, 1, 2, 3, 5]))]
        for owner, following in zip(owners, owners[1:]):
            self.add(owner, "CNAME", following.to_text())
        last = self.random.choice([self.target(), self.target(), self.target(), owners[0]])
        self.add(owners[-1], "CNAME", last.to_text())

    def redirection(self):
        owner = self.owner()
        if self.add(owner, "DNAME", self.dname_target(owner)):
            if self.random.random() < 0.4:
                self.plain_at(owner)
            if self.random.random() < 0.3:
                self.add(self.owner(), "CNAME", below(self.random, owner, 1).to_text())

    def dname_target(self, owner):
        random = self.random
        if random.random() < 0.15:
            # So long that names below the owner no longer fit.
            return Name((b"x" * 63, b"y" * 63, b"z" * 63, b"t" * 9, *ELSEWHERE[0].labels)).to_text()
        if random.random() < 0.1:
            # Each turn makes the name longer.
            return below(random, owner, 1).to_text()
        return self.target().to_text()

    def plain_at(self, owner):
        rtype = self.random.choice(list(PLAIN))
        self.add(owner, rtype, PLAIN[rtype](self))

    def delegation(self):
        self.delegate(below(self.random, self.random.choice(self.names), self.random.choice([1, 1, 2])))

    def delegate(self, owner):
        """A cut with name servers of every kind, with glue and without."""
        random = self.random
        for _ in range(random.choice([1, 1, 2, 3])):
            kind = random.random()
            if kind < 0.45:
                server = below(random, owner, random.choice([0, 1, 1, 2]))
            elif kind < 0.8:
                server = self.target()
            else:
                server = random.choice(ELSEWHERE)
            if not self.add(owner, "NS", server.to_text()):
                return
            self.world.targets.append(server)
            if server.is_subdomain(self.zone.apex) and random.random() < 0.75:
                self.add(server, "A", *(self.address() for _ in range(random.choice([1, 1, 2]))))
                if random.random() < 0.5:
                    self.add(server, "AAAA", self.address6())
        if random.random() < 0.4:
            self.add(owner, "DS", f"{random.randint(0, 65535)} 8 2 {random.randbytes(32).hex()}")
        if random.random() < 0.2:
            self.delegate(below(random, owner, 1))

    def wildcard(self):
        """A wildcard at any level, of any type that servers agree to load."""
        random = self.random
        closest = random.choice(self.names)
        try:
            owner = Name((b"*", *closest.labels))
        except dns.name.NameTooLong:
            return
        if random.random() < 0.25:
            self.add(owner, "CNAME", self.target().to_text())
        elif random.random() < 0.3:
            self.add(owner, "MX", f"10 {self.target().to_text()}")
        elif random.random() < 0.15:
            self.add(owner, "DNAME", self.dname_target(owner))
        else:
            self.plain_at(owner)
        if random.random() < 0.25:
            self.plain_at(below(random, owner, 1))

    def service(self):
        """Records that bring additional data, some with the addresses they ask for."""
        random = self.random
        owner, rtype = self.owner(), random.choice(list(SERVICES))
        for _ in range(random.choice([1, 1, 2, 4])):
            target = self.target()
            if not self.add(owner, rtype, SERVICES[rtype](random, target.to_text())):
                return
            if target.is_subdomain(self.zone.apex) and random.random() < 0.6:
                self.add(target, "A", self.address())
                if random.random() < 0.3:
                    self.add(target, "AAAA", self.address6())

    def deep(self):
        """A name with empty non-terminals above it."""
        self.plain_at(below(self.random, self.random.choice(self.names), self.random.choice([3, 4, 6])))

    def large(self):
        """An RRset that does not fit into some datagrams, or into any."""
        random = self.random
        owner = self.owner()
        kind = random.random()
        if kind < 0.4:
            self.add(owner, "A", *(self.address() for _ in range(random.randint(15, 120))))
        elif kind < 0.7:
            self.add(owner, "MX", *(f"{n} {self.target().to_text()}" for n in range(random.randint(5, 40))))
        else:
            text = "x" * 250
            count = random.choice([2, 3, 5, 16, 100])
            self.add(owner, "TXT", *(f'"{n}" "{text}"' for n in range(count)))

    def occluded(self):
        """Data below a cut or in a zone of ours that is below this one: never answered from here."""
        cuts = [owner for owner, types in self.by_owner.items() if "NS" in types and owner != self.zone.apex]
        if cuts:
            self.plain_at(below(self.random, self.random.choice(cuts), self.random.choice([1, 2])))


def swap_case(random, name):
    """The same name in other letters."""
    swapped = [bytes(chr(octet).swapcase().encode()[0] if octet < 128 and random.random() < 0.5 else octet
                     for octet in label) for label in name.labels]
    return Name(swapped)


def generic(octets):
    """RDATA in the form that any type has (RFC 3597): for MB, which Knot does not know by name."""
    return f"\\# {len(octets)} {octets.hex()}"


PLAIN = {
    "A": Maker.address,
    "AAAA": Maker.address6,
    "TXT": lambda maker: maker.random.choice(['"text"', '""', '"two" "strings"', '"\\000\\"\\\\\\255"', f'"{"t" * 255}"']),
    "PTR": lambda maker: maker.target().to_text(),
    "CAA": lambda maker: maker.random.choice(['0 issue "ca.example"', '128 tbs "x"', '0 issuewild ";"']),
    "TLSA": lambda maker: f"3 1 1 {maker.random.randbytes(32).hex()}",
    "LOC": lambda maker: "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m",
    "HINFO": lambda maker: '"PC" "OS"',
    "SSHFP": lambda maker: f"4 2 {maker.random.randbytes(32).hex()}",
    "RP": lambda maker: f"{maker.target().to_text()} {maker.target().to_text()}",
    "MINFO": lambda maker: f"{maker.target().to_text()} {maker.target().to_text()}",
    "URI": lambda maker: '10 1 "https://example.com/"',
    "TYPE65280": lambda maker: maker.random.choice(["\\# 0", "\\# 4 c0000201", "\\# 3 c00c00"]),
    "TYPE731": lambda maker: "\\# 6 0161c00c0161",
}
"""RDATA by type, of types that bring nothing along."""

SERVICES = {
    "MX": lambda random, target: f"{random.choice([0, 10, 20])} {target}",
    "SRV": lambda random, target: f"{random.choice([0, 10])} 5 {random.choice([53, 443])} {random.choice([target, target, target, '.'])}",
    "NAPTR": lambda random, target: (
        f'10 {random.choice([0, 5])} "{random.choice(["A", "a", "S", "s", "U", "P", ""])}" "E2U+sip" '
        + random.choice([f'"" {target}', f'"" {target}', '"!^.*$!sip:a@example.com!" .'])
    ),
    "SVCB": lambda random, target: random.choice([f"0 {target}", f"1 {target}", "1 .", f"2 {target} alpn=h2 port=8443"]),
    "HTTPS": lambda random, target: random.choice([f"0 {target}", f"1 {target}", "1 .", f"3 {target} alpn=h3"]),
    "AFSDB": lambda random, target: f"1 {target}",
    "KX": lambda random, target: f"5 {target}",
    "RT": lambda random, target: f"7 {target}",
    "TYPE7": lambda random, target: generic(dns.name.from_text(target).to_wire()),
}
"""RDATA by type, of types whose target's addresses may come along."""
