#!/usr/bin/env python3
"""Shows which zones NSD, Knot, BIND and perigee refuse to load: a table of what is odd, and who serves it all the same."""

import sys
import tempfile
from pathlib import Path

import dns.name

from servers import NAMES, Field

ODD = [
    ("nothing odd", ""),
    ("data below a DNAME", "d DNAME elsewhere.example.\na.d A 192.0.2.1"),
    ("a DNAME beside NS", "d DNAME elsewhere.example.\nd NS elsewhere.example."),
    ("a DNAME beside a CNAME", "d DNAME elsewhere.example.\nd CNAME elsewhere.example."),
    ("two DNAMEs", "d DNAME elsewhere.example.\nd DNAME other.example."),
    ("two CNAMEs", "d CNAME elsewhere.example.\nd CNAME other.example."),
    ("a CNAME beside A", "d CNAME elsewhere.example.\nd A 192.0.2.1"),
    ("a wildcard with NS", "* NS elsewhere.example."),
    ("a wildcard with DNAME", "* DNAME elsewhere.example."),
    ("a DS without NS", "d DS 1 8 2 " + 64 * "0"),
    ("a DS at the apex", "@ DS 1 8 2 " + 64 * "0"),
    ("a CNAME at the apex", "@ CNAME elsewhere.example."),
    ("a SOA below the apex", "d SOA ns hostmaster 1 2 3 4 5"),
    ("a name out of the zone", "out.of.zone.example. A 192.0.2.1"),
    ("a server of the zone without address", "@ NS nowhere"),
    ("a server of the zone that is an alias", "@ NS alias\nalias CNAME ns"),
    ("a mail exchange that is an alias", "@ MX 1 alias\nalias CNAME ns"),
    ("a host name with odd letters", "a_b!c A 192.0.2.1"),
    ("different TTLs in an RRset", "d 1 A 192.0.2.1\nd 2 A 192.0.2.2"),
    ("a record twice", "d A 192.0.2.1\nd A 192.0.2.1"),
    ("a TTL above 2^31", "d 4294967295 A 192.0.2.1"),
    ("an empty TXT", "d TXT"),
    ("an RRset larger than a message", "\n".join(f'd TXT "{n}" "{"x" * 250}"' for n in range(300))),
    ("a type without a name", "d TYPE65280 \\# 4 c0000201"),
    ("A in the form of unknown types", "d A \\# 4 c0000201"),
    ("A in it with 3 octets", "d A \\# 3 c00002"),
    ("MB", "d MB elsewhere.example."),
    ("NSEC in a zone without keys", "d NSEC e A"),
    ("an SVCB in service mode with a key twice", "d SVCB 1 . port=1 port=2"),
    ("an SVCB in alias mode with a key", "d SVCB 0 elsewhere.example. port=1"),
]


def main():
    binary = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "target/debug/perigee")
    zones = [Text(number, odd) for number, (_, odd) in enumerate(ODD)]
    with tempfile.TemporaryDirectory(prefix="differential-") as directory:
        with Field(binary, directory, zones) as field:
            refusals = dict(field.refusals(zone.apex for zone in zones))
    print("| zone | " + " | ".join(NAMES) + " |\n| --- |" + " --- |" * len(NAMES))
    for zone, (what, _) in zip(zones, ODD):
        refusing = refusals.get(zone.apex, [])
        print(f"| {what} | " + " | ".join("refuses" if name in refusing else "serves" for name in NAMES) + " |")


class Text:
    """A zone of a SOA, an NS, and something odd."""

    def __init__(self, number, odd):
        self.apex = dns.name.from_text(f"z{number}.test.")
        self.odd = odd

    def text(self):
        apex = self.apex.to_text()
        return f"$ORIGIN {apex}\n$TTL 300\n@ SOA ns hostmaster 1 7200 3600 1209600 60\n@ NS ns\nns A 192.0.2.53\n{self.odd}\n"


if __name__ == "__main__":
    main()
