"""The servers that are measured: for each its configuration, its command, and what it is asked.

All serve the same answers. Each is as its makers ship it, but for the port, one worker thread, and no log of
queries. What differs beyond that stands above the function that writes its configuration.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HOSTS = 1000
"""How many names the static workload is spread over."""

RECORDS = """\
$ORIGIN example.com.
$TTL 300
@   IN SOA ns.example.com. hostmaster.example.com. 1 3600 900 604800 300
@   IN NS  ns.example.com.
ns  IN A   192.0.2.53
""" + "".join(f"h{n} IN A 198.51.100.{n % 250 + 1}\n" for n in range(HOSTS))

SCRIPTS = """\
random IN LUA A "pickwrandom({ {1, '192.0.2.1'}, {2, '192.0.2.2'} })"
src    IN LUA A "view({ {{'192.168.0.0/16'}, {'192.168.1.54'}}, {{'0.0.0.0/0'}, {'192.0.2.9'}} })"
"""


@dataclass(frozen=True)
class Workload:
    """What is asked in one run, and what may be answered."""

    name: str
    qnames: tuple[str, ...]
    answers: frozenset[str]
    """What the first QNAME may be answered with; asked often enough, all of it is seen."""
    inside: str | None = None
    """What it is answered with for the client subnet 192.168.3.0/24, where that matters."""


STATIC = Workload("static", tuple(f"h{n}.example.com" for n in range(HOSTS)), frozenset({"198.51.100.1"}))
RANDOM = Workload("random", ("random.example.com",), frozenset({"192.0.2.1", "192.0.2.2"}))
SRC = Workload("src", ("src.example.com",), frozenset({"192.0.2.9"}), inside="192.168.1.54")
WORKLOADS = (STATIC, RANDOM, SRC)


@dataclass(frozen=True)
class Server:
    """One way to serve."""

    name: str
    prepare: Callable[[Path, int], list[str]]
    """Writes the configuration into a directory, for a port of 127.0.0.1; returns the command."""
    workloads: tuple[Workload, ...]
    per_second: int
    """Roughly how many answers a second it gives: sets how many queries make a run of useful length."""
    speaks_dns: bool = True


def servers(perigee: Path) -> list[Server]:
    """Every server, the floor first; `perigee` is the binary to measure."""
    return [
        Server("echo", echo, WORKLOADS, 100_000, speaks_dns=False),
        Server("perigee", lambda directory, port: perigee_command(perigee, directory, port), WORKLOADS, 100_000),
        Server("gdnsd", gdnsd, WORKLOADS, 100_000),
        Server("powerdns", powerdns(lua="shared"), WORKLOADS, 50_000),
        Server("powerdns, no caches", powerdns(lua="shared", caches=False), WORKLOADS, 50_000),
        Server("powerdns, lua=yes", powerdns(lua="yes"), (RANDOM, SRC), 3_000),
    ]


def echo(directory: Path, port: int) -> list[str]:
    """Compiles the floor. See echo.c."""
    binary = directory / "echo"
    source = Path(__file__).with_name("echo.c")
    subprocess.run(["cc", "-O2", "-o", binary, source], check=True)
    return [str(binary), str(port)]


def perigee_command(binary: Path, directory: Path, port: int) -> list[str]:
    """One worker; all else at its default."""
    (directory / "zones").mkdir()
    (directory / "zones" / "example.com.zone").write_text(RECORDS + SCRIPTS)
    configuration = directory / "perigee.toml"
    configuration.write_text(f'[server]\nlisten = ["127.0.0.1:{port}"]\nworkers = 1\n\n[zones]\ndirectory = "zones"\n')
    return [str(binary), "serve", "--config", str(configuration)]


def gdnsd(directory: Path, port: int) -> list[str]:
    """One thread for UDP; `random` by its plugin weighted, `src` by the networks of its plugin geoip."""
    (directory / "zones").mkdir()
    dynamic = "random IN DYNA weighted!random\nsrc IN DYNA geoip!src\n"
    (directory / "zones" / "example.com").write_text(RECORDS.replace("$ORIGIN example.com.\n", "") + dynamic)
    (directory / "config").write_text(f"""\
options => {{
  listen => {{ 127.0.0.1:{port} => {{ udp_threads = 1, tcp_threads = 1 }} }}
  run_dir = {directory}/run
  state_dir = {directory}/state
}}
plugins => {{
  weighted => {{
    service_types = up
    random => {{ first => [192.0.2.1, 1], second => [192.0.2.2, 2] }}
  }}
  geoip => {{
    maps => {{ networks => {{ datacenters => [outside, inside], nets => {{ 192.168.0.0/16 => inside }} }} }}
    resources => {{
      src => {{ map = networks, service_types = up, dcmap => {{ outside => 192.0.2.9, inside => 192.168.1.54 }} }}
    }}
  }}
}}
""")
    return ["gdnsd", "-c", str(directory), "start"]


def powerdns(lua: str, caches: bool = True) -> Callable[[Path, int], list[str]]:
    """The bind backend; one receiver, which also does the look-ups.

    `lua` is `enable-lua-records`: `shared` keeps one Lua state per thread, `yes` makes one for each query. Answers
    of LUA records never come from the packet cache; what the backend holds comes from the query cache.
    """

    def prepare(directory: Path, port: int) -> list[str]:
        zone = directory / "example.com.zone"
        zone.write_text(RECORDS + SCRIPTS)
        named = directory / "named.conf"
        named.write_text(f'zone "example.com" {{ type master; file "{zone}"; }};\n')
        options = {
            "launch": "bind",
            "bind-config": named,
            "local-address": "127.0.0.1",
            "local-port": port,
            "socket-dir": directory,
            "receiver-threads": 1,
            "distributor-threads": 1,
            "retrieval-threads": 1,
            "signing-threads": 1,
            "enable-lua-records": lua,
            "edns-subnet-processing": "yes",
            "security-poll-suffix": "",
            "disable-syslog": "yes",
            "loglevel": 3,
            "write-pid": "no",
        }
        if not caches:
            options |= {"cache-ttl": 0, "query-cache-ttl": 0, "negquery-cache-ttl": 0}
        (directory / "pdns.conf").write_text("".join(f"{key}={value}\n" for key, value in options.items()))
        return ["pdns_server", f"--config-dir={directory}", "--daemon=no", "--guardian=no"]

    return prepare
