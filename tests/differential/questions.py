"""Random questions about a world: what is there, what is beside it, above it and below it, in every way to ask."""

import struct
from dataclasses import dataclass

import dns.name
import dns.rdataclass
import dns.rdatatype
from dns.name import Name

from zones import ELSEWHERE, ROOT, below, swap_case

COMMON = ["A", "AAAA", "MX", "TXT", "NS", "SOA", "CNAME", "DNAME", "DS", "ANY", "SRV", "NAPTR", "SVCB", "HTTPS", "PTR"]
RARE = ["DNSKEY", "NSEC", "RRSIG", "NSEC3PARAM", "CAA", "TLSA", "LOC", "HINFO", "RP", "MINFO", "AFSDB", "KX", "TYPE7",
        "TYPE65280", "TYPE65281", "TYPE731", "SPF", "URI", "CDS", "TYPE65535"]
NO_DATA = ["TYPE0", "OPT", "TYPE128", "TKEY", "TSIG", "MAILA", "MAILB"]
"""Types that no zone can hold."""


@dataclass(frozen=True)
class Question:
    """What is asked, and how."""

    name: Name
    rtype: str
    tcp: bool = False
    payload: int | None = None
    """The payload size that EDNS tells; no EDNS without."""
    dnssec_ok: bool = False
    recursion_desired: bool = False
    authentic_data: bool = False
    checking_disabled: bool = False
    qclass: str = "IN"

    def to_wire(self, identifier):
        flags = self.recursion_desired << 8 | self.authentic_data << 5 | self.checking_disabled << 4
        header = struct.pack("!HHHHHH", identifier, flags, 1, 0, 0, self.payload is not None)
        kind = struct.pack("!HH", dns.rdatatype.from_text(self.rtype), dns.rdataclass.from_text(self.qclass))
        opt = b""
        if self.payload is not None:
            opt = struct.pack("!BHHIH", 0, 41, self.payload, self.dnssec_ok << 15, 0)
        return header + self.name.to_wire() + kind + opt

    def to_text(self):
        """The words of a `.case` file."""
        words = [self.name.to_text(), self.rtype]
        words += ["tcp"] if self.tcp else []
        words += [f"class={self.qclass}"] if self.qclass != "IN" else []
        for said, word in ((self.recursion_desired, "rd"), (self.authentic_data, "ad"), (self.checking_disabled, "cd")):
            words += [word] if said else []
        words += [f"edns={self.payload}"] if self.payload is not None else []
        words += ["do"] if self.dnssec_ok else []
        return " ".join(words)


def questions(random, world, count):
    """Makes so many questions."""
    types = {}
    for zone in world.zones:
        for owner, rtype in zone.rrsets:
            types.setdefault(owner, []).append(rtype)
    redirections = [owner for owner, there in types.items() if "DNAME" in there]
    known = list(types)
    return [question(random, world, types, known, redirections) for _ in range(count)]


def question(random, world, types, known, redirections):
    """Makes one."""
    name = qname(random, world, known, redirections)
    choice = random.random()
    if choice < 0.45 and name in types:
        rtype = random.choice(types[name])
    elif choice < 0.9:
        rtype = random.choice(COMMON)
    elif choice < 0.995:
        rtype = random.choice(RARE)
    else:
        rtype = random.choice(NO_DATA)
    if random.random() < 0.25:
        name = swap_case(random, name)
    edns = random.random() < 0.6
    return Question(
        name,
        rtype,
        tcp=random.random() < 0.2,
        payload=random.choice([512, 512, 600, 1232, 1232, 4096, 0, 65535]) if edns else None,
        dnssec_ok=edns and random.random() < 0.3,
        recursion_desired=random.random() < 0.2,
        authentic_data=random.random() < 0.05,
        checking_disabled=random.random() < 0.05,
        qclass="IN" if random.random() < 0.995 else random.choice(["CLASS2", "HS", "ANY", "NONE", "CLASS4711"]),
    )


def qname(random, world, known, redirections):
    """A name worth asking for."""
    choice = random.random()
    if choice < 0.35:
        return random.choice(known)
    if choice < 0.45:
        return random.choice(world.targets)
    if choice < 0.55:
        return random.choice(world.zones).apex
    if choice < 0.62:
        # The parent of a name: often an empty non-terminal, or above what is served.
        name = random.choice(known)
        return name if name == ROOT else name.parent()
    if choice < 0.72:
        name = random.choice(known)
        return name if name == ROOT else below(random, name.parent(), 1)
    if choice < 0.8:
        name = random.choice(known)
        return literal_for(random, name) if name.is_wild() else below(random, name, 2)
    if choice < 0.9 and redirections:
        return deep(random, random.choice(redirections))
    if choice < 0.97:
        return below(random, random.choice(known), random.choice([1, 1, 2, 3, 5]))
    return random.choice([*ELSEWHERE, ROOT, dns.name.from_text("test."), dns.name.from_text("in-addr.arpa.")])


def literal_for(random, wildcard):
    """A name that a wildcard covers, or would if nothing else were there."""
    return below(random, wildcard.parent(), random.choice([1, 1, 2, 3]), literal=True)


def deep(random, name):
    """A name below, maybe so long that no prefix of it fits elsewhere."""
    if random.random() < 0.25:
        labels = []
        while len(Name((*labels, *name.labels)).to_wire()) + 64 <= 255 and random.random() < 0.9:
            labels.append(b"l" * 63)
        room = 255 - len(Name((*labels, *name.labels)).to_wire()) - 1
        if room >= 1 and random.random() < 0.5:
            labels.append(b"r" * min(63, room))
        return Name((*labels, *name.labels))
    return below(random, name, random.choice([1, 1, 2]))
