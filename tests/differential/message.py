"""A reply in canonical form, so that replies of different servers can be compared: names in lower case, no compression.

Written by hand because four hundred thousand replies are read; dnspython reads every distinct one of perigee's beside it.
"""

import struct
from dataclasses import dataclass

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

# The fields of RDATA up to the last name: a number of octets, `n` for a name, `s` for a character-string.
LAYOUTS = {
    2: "n", 3: "n", 4: "n", 5: "n", 6: "nn", 7: "n", 8: "n", 9: "n", 12: "n", 14: "nn", 15: "2n", 17: "nn", 18: "2n",
    21: "2n", 26: "2nn", 33: "6n", 35: "4sssn", 36: "2n", 39: "n", 64: "2n", 65: "2n", 107: "2n",
}
CNAME, DNAME, OPT = 5, 39, 41


class Malformed(Exception):
    """A reply that cannot be read."""


@dataclass(frozen=True)
class Reply:
    """What a reply says. Records are (owner, type, class, TTL, RDATA), names in lower-case wire form."""

    octets: bytes
    rcode: int
    aa: bool
    tc: bool
    flags: int
    """The other flags: the opcode, RD, RA, Z, AD, CD."""
    question: bytes
    answer: tuple
    authority: tuple
    additional: tuple
    opt: tuple | None
    """EDNS version and flags."""

    def chain(self):
        """The CNAMEs and DNAMEs of the answer in their order."""
        return tuple(record for record in self.answer if record[1] in (CNAME, DNAME))

    def chain_is_first(self):
        """Whether nothing of the answer stands before the end of the chain."""
        chain = self.chain()
        return self.answer[: len(chain)] == chain


def read(octets):
    """Reads a reply."""
    try:
        return Reader(octets).reply()
    except (IndexError, struct.error) as error:
        raise Malformed(f"{error}: {octets.hex()}") from error


class Reader:
    """Reads one message."""

    def __init__(self, octets):
        self.octets = octets
        self.at = 0

    def reply(self):
        octets = self.octets
        _, flags, questions, answers, authorities, additionals = struct.unpack_from("!HHHHHH", octets)
        self.at = 12
        for _ in range(questions):
            self.name()
            self.at += 4
        question = octets[12 : self.at]
        answer = tuple(self.record() for _ in range(answers))
        authority = tuple(self.record() for _ in range(authorities))
        additional = tuple(self.record() for _ in range(additionals))
        if self.at != len(octets):
            raise Malformed(f"octets behind the message: {octets.hex()}")
        opts = [record for record in additional if record[1] == OPT]
        if len(opts) > 1:
            raise Malformed(f"two OPT records: {octets.hex()}")
        rcode, opt = flags & 15, None
        if opts:
            ttl = opts[0][3]
            rcode |= ttl >> 24 << 4
            opt = (ttl >> 16 & 255, ttl & 0xFFFF)
        return Reply(
            octets=octets,
            rcode=rcode,
            aa=bool(flags & 0x0400),
            tc=bool(flags & 0x0200),
            flags=flags & 0xF9F0,
            question=question,
            answer=answer,
            authority=tuple(sorted(authority)),
            additional=tuple(sorted(record for record in additional if record[1] != OPT)),
            opt=opt,
        )

    def name(self):
        """Reads a name, and stands behind it."""
        octets, at, jumped, labels = self.octets, self.at, False, []
        limit = at
        while True:
            length = octets[at]
            if length == 0:
                if not jumped:
                    self.at = at + 1
                labels.append(b"\0")
                name = b"".join(labels).lower()
                if len(name) > 255:
                    raise Malformed(f"a name of {len(name)} octets: {octets.hex()}")
                return name
            if length >= 0xC0:
                if not jumped:
                    self.at = at + 2
                    jumped = True
                at = (length & 0x3F) << 8 | octets[at + 1]
                if at >= limit:
                    raise Malformed(f"a pointer that does not lead back: {octets.hex()}")
                limit = at
            elif length >= 0x40:
                raise Malformed(f"a label of an unknown kind: {octets.hex()}")
            else:
                labels.append(octets[at : at + length + 1])
                at += length + 1

    def record(self):
        owner = self.name()
        rtype, rclass, ttl, length = struct.unpack_from("!HHIH", self.octets, self.at)
        self.at += 10
        end = self.at + length
        layout = LAYOUTS.get(rtype)
        parts = []
        if layout and length:
            for field in layout:
                if field == "n":
                    parts.append(self.name())
                    continue
                size = self.octets[self.at] + 1 if field == "s" else int(field)
                parts.append(self.octets[self.at : self.at + size])
                self.at += size
        parts.append(self.octets[self.at : end])
        if self.at > end or end > len(self.octets):
            raise Malformed(f"RDATA that ends elsewhere: {self.octets.hex()}")
        self.at = end
        return owner, rtype, rclass, ttl, b"".join(parts)


def name_of(wire):
    return dns.name.from_wire(wire, 0)[0]


def name_text(wire):
    return name_of(wire).to_text()


def record_text(record):
    """A record as `.case` files have it."""
    owner, rtype, rclass, ttl, rdata = record
    try:
        parsed = dns.rdata.from_wire(rclass, rtype, rdata, 0, len(rdata)).to_text()
    except Exception:  # Whatever dnspython does not read is shown as it is.
        parsed = f"\\# {len(rdata)} {rdata.hex()}"
    rclass, rtype = dns.rdataclass.to_text(rclass), dns.rdatatype.to_text(rtype)
    return f"{name_text(owner)} {ttl} {rclass} {rtype} {parsed}"


def reply_text(reply):
    """A reply as `.case` files have it."""
    if reply is None:
        return "silence\n"
    head = [dns.rcode.to_text(reply.rcode)]
    flags = [(reply.aa, "aa"), (reply.tc, "tc"), (reply.flags & 0x100, "rd"), (reply.flags & 0x80, "ra"),
             (reply.flags & 0x20, "ad"), (reply.flags & 0x10, "cd")]
    head += [flag for is_set, flag in flags if is_set]
    lines = [" ".join(head)]
    for section in ("answer", "authority", "additional"):
        lines += [f"{section} {record_text(record)}" for record in getattr(reply, section)]
    if reply.opt is not None:
        lines.append(f"edns version={reply.opt[0]}{' do' if reply.opt[1] & 0x8000 else ''}")
    return "".join(f"{line}\n" for line in lines)


def type_text(rtype):
    return dns.rdatatype.to_text(rtype)
