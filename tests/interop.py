"""Asks a server for each `name type` line of standard input with dnspython, over UDP and over TCP.

Prints the records of the replies in presentation form. Anything that dnspython finds wrong ends it with a traceback:
octets behind a message, a reply to another question, options that are not what was asked for, RDATA that is malformed or
does not survive being written again.
"""

import sys

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdata


def check(reply):
    assert reply.rcode() == dns.rcode.NOERROR, reply
    assert reply.flags & dns.flags.QR and not reply.flags & dns.flags.RA, reply
    assert reply.edns == 0, reply
    for section in reply.answer, reply.authority, reply.additional:
        for rrset in section:
            for record in rrset:
                wire = record.to_wire()
                again = dns.rdata.from_wire(rrset.rdclass, rrset.rdtype, wire, 0, len(wire))
                assert again == record and again.to_wire() == wire, (rrset, wire)
                yield f"{rrset.name} {rrset.ttl} IN TYPE{int(rrset.rdtype)} \\# {len(wire)} {wire.hex()}"


COOKIE = bytes(range(8))
SUBNET = dns.edns.ECSOption("192.0.2.0", 24)
OPTIONS = [dns.edns.GenericOption(dns.edns.OptionType.NSID, b""), dns.edns.GenericOption(dns.edns.OptionType.COOKIE, COOKIE), SUBNET]


def check_options(reply):
    told = {int(option.otype): option for option in reply.options}
    assert set(told) == {3, 8, 10}, reply
    assert told[3].to_wire() == b"fra-1", reply
    assert told[8].address == SUBNET.address and told[8].srclen == 24, reply
    cookie = told[10].to_wire()
    assert cookie.startswith(COOKIE) and len(cookie) == 24, reply


address, port = sys.argv[1], int(sys.argv[2])
truncated = 0
for line in sys.stdin:
    name, rtype = line.split()
    query = dns.message.make_query(name, rtype, use_edns=0, payload=1232, flags=0, options=OPTIONS)
    by_udp = dns.query.udp(query, address, port=port, timeout=10)
    by_tcp = dns.query.tcp(query, address, port=port, timeout=10)
    assert not by_tcp.flags & dns.flags.TC, by_tcp
    check_options(by_udp)
    check_options(by_tcp)
    if by_udp.flags & dns.flags.TC:
        truncated += 1
    else:
        assert by_udp == by_tcp, (by_udp, by_tcp)
    for record in check(by_tcp):
        print(record)
print(f"; {truncated} truncated")
