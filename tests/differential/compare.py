"""What replies are compared by, and what of a difference is decided already.

A field is demanded of perigee where NSD, Knot and BIND agree on it. Sections are compared where none of the four is
truncated; where one is, TC itself is what there is to compare.
"""

from dataclasses import dataclass, replace

import message
from message import LAYOUTS
from questions import NO_DATA
from servers import PAYLOAD_MAX

OTHERS = ("nsd", "knot", "bind")
FIELDS = ("silence", "rcode", "aa", "tc", "flags", "question", "opt", "answer", "chain", "authority", "additional")
SECTIONS = ("answer", "chain", "authority", "additional")
TYPE_A, NS, AAAA, SRV, NAPTR, SVCB, HTTPS = 1, 2, 28, 33, 35, 64, 65
BRINGING = {18, 21, NAPTR, 36, SVCB, HTTPS}
"""Those whose additional data is optional or new: AFSDB, RT, NAPTR, KX, SVCB, HTTPS."""
SERVFAIL = 2
REDIRECTIONS_MAX = 10
"""How many CNAMEs perigee follows."""


@dataclass(frozen=True)
class Difference:
    """A field in which the others agree and perigee does not."""

    field: str
    kind: str
    """What differences of one cause are likely to share."""


def values(reply, qtype):
    """The fields of a reply, to be held against those of others."""
    if reply is None:
        return {"silence": True} | {field: None for field in FIELDS[1:]}
    return {
        "silence": False,
        "rcode": reply.rcode,
        "aa": reply.aa,
        "tc": reply.tc,
        "flags": reply.flags,
        "question": reply.question,
        "opt": reply.opt,
        "answer": tuple(sorted(reply.answer)),
        # What ANY finds has no order.
        "chain": None if qtype == "ANY" else (reply.chain(), reply.chain_is_first()),
        "authority": reply.authority,
        "additional": reply.additional,
    }


def unsound(question, reply):
    """What no server may do, whatever the others do; `None` if there is nothing."""
    if reply is None:
        return None
    payload = min(max(question.payload or 0, 512), PAYLOAD_MAX)
    if not question.tcp and len(reply.octets) > payload:
        return "reply: larger than the client takes"
    if not reply.flags & 0x8000 or reply.flags & 0x00C0:
        return "reply: QR, RA or Z is wrong"
    asked = question.to_wire(0)[12:]
    if not asked.startswith(reply.question) or not reply.question:
        return "reply: the question is not the one that was asked, letter by letter"
    if (reply.opt is None) != (question.payload is None):
        return "reply: OPT without OPT, or none to one"
    return None


def without_own_servers(reply, apexes):
    """NSD's reply without the NS records of the zone, and their addresses, beside a positive answer.

    RFC 1034 section 4.3.2 does not ask for them, and the others do not send them. NSD's `minimal-responses` would take
    them out, and all other additional data with them.
    """
    if reply is None or not reply.aa or not reply.answer or {record[1] for record in reply.authority} != {NS}:
        return reply
    if message.name_of(reply.authority[0][0]) not in apexes:
        # A chain that ends in a referral.
        return reply
    servers = {target(record) for record in reply.authority}
    wanted = {target(record) for record in reply.answer}
    additional = tuple(
        record for record in reply.additional if record[0] not in servers or record[0] in wanted
    )
    return replace(reply, authority=(), additional=additional)


def target(record):
    """The name in RDATA whose addresses may come along."""
    layout = LAYOUTS.get(record[1])
    if not layout or layout == "nn":
        return None
    rdata, at = record[4], 0
    for field in layout:
        if field == "n":
            name = rdata[at:]
            return record[0] if name[:1] == b"\0" and record[1] in (64, 65) else name_at(name)
        at += rdata[at] + 1 if field == "s" else int(field)
    return None


def name_at(octets):
    at = 0
    while octets[at]:
        at += octets[at] + 1
    return octets[: at + 1]


class Tally:
    """Counts agreement field by field."""

    def __init__(self):
        self.questions = 0
        self.compared = dict.fromkeys(FIELDS, 0)
        self.unanimous = dict.fromkeys(FIELDS, 0)
        self.agreed = dict.fromkeys(FIELDS, 0)
        self.decided = dict.fromkeys(FIELDS, 0)
        self.excepted = {}
        self.alone = {}

    def judge(self, question, replies, zones):
        """Compares the replies to one question about these zones; the differences that nothing explains."""
        self.questions += 1
        wrong = unsound(question, replies["perigee"])
        replies = replies | {"nsd": without_own_servers(replies["nsd"], {zone.apex for zone in zones})}
        by_server = {name: values(reply, question.rtype) for name, reply in replies.items()}
        whole = not any(fields["tc"] for fields in by_server.values())
        differences = [Difference("reply", wrong)] if wrong else []
        for field in FIELDS:
            if field in SECTIONS and not whole:
                continue
            self.compared[field] += 1
            theirs = [by_server[name][field] for name in OTHERS]
            if field == "additional" and any(by_server[name]["answer"] != by_server["bind"]["answer"] for name in OTHERS):
                # It hangs on the answer; with different ones before it, equal ones are chance.
                continue
            ours = by_server["perigee"][field]
            if any(value != theirs[0] for value in theirs):
                self.note_company(field, by_server)
                continue
            self.unanimous[field] += 1
            if ours == theirs[0]:
                self.agreed[field] += 1
                continue
            asked = Asked(question, field, replies, zones)
            reason = next((reason for reason, holds in EXCEPTIONS.items() if holds(asked)), None)
            if reason:
                self.decided[field] += 1
                self.excepted[reason] = self.excepted.get(reason, 0) + 1
            else:
                differences.append(Difference(field, kind(field, theirs[0], ours, question)))
        return differences

    def note_company(self, field, by_server):
        """Counts with whom perigee is where the others disagree."""
        with_us = [name for name in OTHERS if by_server[name][field] == by_server["perigee"][field]]
        company = "+".join(with_us) or "nobody"
        self.alone[field, company] = self.alone.get((field, company), 0) + 1


def kind(field, theirs, ours, question):
    """Names a difference by what is missing and what is too much."""
    if field not in ("answer", "authority", "additional"):
        told = f"{theirs!r} and not {ours!r}" if field != "chain" else "order"
        return f"{field}: {told}"
    missing = sorted({message.type_text(record[1]) for record in theirs if record not in (ours or ())})
    extra = sorted({message.type_text(record[1]) for record in ours or () if record not in theirs})
    return f"{field}: missing {','.join(missing) or '-'}, extra {','.join(extra) or '-'}"


@dataclass(frozen=True)
class Asked:
    """A difference as those look at it who decide whether it is meant."""

    question: object
    field: str
    replies: dict
    zones: list

    def ours(self):
        return self.replies["perigee"]

    def links(self):
        """The CNAMEs and DNAMEs in any of the replies."""
        return {record for reply in self.replies.values() if reply for record in reply.chain()}

    def zone_of(self, name):
        """The apex of the zone that answers for a name in wire form; `None` if there is none."""
        name = message.name_of(name)
        holding = [zone.apex for zone in self.zones if name.is_subdomain(zone.apex)]
        if self.question.rtype == "DS" and len(holding) > 1:
            holding = [apex for apex in holding if apex != name]
        return max(holding, key=len, default=None)


def crosses_zones(asked):
    if asked.field not in ("rcode", *SECTIONS):
        return False
    # A synthesised CNAME may have been cut off; where its DNAME leads tells the zone as well.
    zones = [(asked.zone_of(record[0]), asked.zone_of(record[4])) for record in asked.links()]
    return any(above != to and to is not None for above, to in zones)


def goes_in_circles(asked):
    links = asked.links()
    owners = {record[0] for record in links if record[1] == message.CNAME}
    circles = any(record[4] in owners for record in links if record[1] == message.CNAME)
    grows = any(record[1] == message.DNAME and record[4].endswith(record[0]) for record in links)
    # Of a chain that is cut off nobody sees how it goes on.
    cut_off = asked.field == "tc" and links
    return asked.ours().rcode == SERVFAIL and (circles or grows or cut_off or len(owners) >= REDIRECTIONS_MAX)


def chooses_for_any(asked):
    return asked.field == "tc" and asked.question.rtype == "ANY" and not asked.question.tcp


def is_fuller(asked):
    """More additional data than theirs, of records that a type brings along and not all bring for it."""
    ours, theirs = asked.ours(), asked.replies["bind"]
    fewer = [record for record in theirs.additional if record not in ours.additional]
    extra = {record[1] for record in ours.additional if record not in theirs.additional}
    brings = {record[1] for record in ours.answer} & BRINGING
    return asked.field == "additional" and brings and not fewer and extra <= {TYPE_A, AAAA, SRV, SVCB, HTTPS, message.CNAME}


def had_no_room(asked):
    """Additional data that no other reply had room for: names in theirs may be less compressed."""
    if asked.field != "additional" or asked.question.tcp:
        return False
    ours = asked.ours().additional
    if any(record not in ours for record in asked.replies["bind"].additional):
        return False
    extra = sum(len(record[0]) + 10 + len(record[4]) for record in ours if record not in asked.replies["bind"].additional)
    room = max(512, asked.question.payload or 0)
    return all(len(asked.replies[name].octets) + extra > room for name in OTHERS)


def is_no_data(asked):
    return asked.field == "rcode" and asked.question.rtype in NO_DATA and asked.question.qclass != "IN"


def lacks_room_for_glue(asked):
    """A referral whose glue below the cut does not fit in whole: ours is truncated, theirs go with a part."""
    question, theirs = asked.question, asked.replies["bind"]
    if asked.field != "tc" or question.tcp or not asked.ours().tc or not theirs.authority or theirs.authority[0][1] != NS:
        return False
    cut = message.name_of(theirs.authority[0][0])
    servers = {message.name_of(record[4]) for record in theirs.authority}
    glue = sum(
        len(rdata) * (16 if rtype == "A" else 28)
        for zone in asked.zones
        for (owner, rtype), (_, rdata) in zone.rrsets.items()
        if rtype in ("A", "AAAA") and owner in servers and owner.is_subdomain(cut) and cut.is_subdomain(zone.apex)
        and cut != zone.apex
    )
    without = len(theirs.octets) - sum(16 if record[1] == TYPE_A else 28 for record in theirs.additional)
    return without + glue > max(512, question.payload or 0)


EXCEPTIONS = {
    "a chain goes on in another zone of ours (RFC 1034 section 4.3.2, step 3a), where BIND and Knot end it": crosses_zones,
    "a chain in circles or longer than ten is SERVFAIL (RFC 1034 section 3.6.2; docs/lua.md)": goes_in_circles,
    "ANY over UDP gets one RRset, and each server chooses another (RFC 8482 section 4.1)": chooses_for_any,
    "SVCB, HTTPS, NAPTR, AFSDB, RT and KX bring along what they lead to (RFC 9460 section 4.1, RFC 3403 section 4.2, "
    "RFC 1183 sections 1 and 3.3, RFC 2230 section 4)": is_fuller,
    "additional data for which the others had no room, as they compress less": had_no_room,
    "a type that no zone can hold is FORMERR, whatever the class": is_no_data,
    "glue below the cut goes in whole or TC is set (RFC 9471 section 3.1)": lacks_room_for_glue,
}
"""What was decided otherwise on purpose: the reason, and whether a difference is a case of it."""
