"""The workloads whose instructions are counted: each is prepared in full, and gives its work and how many packets that
judges."""

from __future__ import annotations

import os
from collections.abc import Callable

from bulk import ACK, START, SYN, Batch, Connections, establish

from fastfw import Engine, Ruleset

SEED = bytes(range(88))  # of the table's hash: every count meets the same buckets
PACKETS = 12_800
CONNECTIONS = 1_000

SIZES = [
    int(size) for size in os.environ.get("FASTFW_BENCH_CONNECTIONS", "1000,10000,100000,1000000,10000000").split(",")
]
"""Connections in the tables that are measured."""
MOST = min(1_000_000, max(SIZES))

Prepared = tuple[Callable[[], object], int]

STATEFUL = [
    "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -p tcp -m tcp --dport 443 --syn -m conntrack --ctstate NEW -j ACCEPT",
]


def ruleset(lines: list[str], family: int = 4) -> Ruleset:
    """Rules of chain FORWARD in front of a policy that drops."""
    return Ruleset.parse("\n".join(["*filter", ":FORWARD DROP [0:0]", *lines, "COMMIT", ""]), family)


def services(count: int) -> list[str]:
    """Rules that let clients of many networks reach a service each."""
    return [
        f"-A FORWARD -s 172.{16 + (i >> 12)}.{i >> 4 & 255}.{(i & 15) << 4}/28 -p tcp -m tcp --dport {1 + i % 400} "
        "-j ACCEPT"
        for i in range(count)
    ]


THOUSAND = [*services(1000), *STATEFUL]


def engine_for(count: int, lines: list[str] | None = None) -> Engine:
    """An engine with room for `count` connections, and rules for both families."""
    return Engine(
        rules4=ruleset(lines) if lines else None,
        rules6=ruleset([*STATEFUL, "-A FORWARD -p udp -j ACCEPT"], 6) if lines else None,
        settings={"nf_conntrack_max": count + count // 100 + 1000},
    )


def engine_with(lines: list[str] | None = None, **settings: int) -> Engine:
    """An engine whose hash is always the same."""
    return Engine(rules4=ruleset(lines) if lines else None, settings=settings, seed=SEED)


def established(
    lines: list[str] | None = None, family: int = 4, udp: bool = False, payload: int = 0
) -> Callable[[], Prepared]:
    """Packets of established connections in random order and direction."""

    def prepare() -> Prepared:
        connections = Connections(CONNECTIONS, family, udp)
        engine = engine_with(lines)
        establish(engine, connections)
        batch = Batch(connections.mixed(PACKETS, 1, payload), now=START + 4 * 10**9)
        return lambda: batch.judge(engine), PACKETS

    return prepare


def new(lines: list[str] | None = None) -> Callable[[], Prepared]:
    """First packets, each of another connection; the table is empty whenever the work begins."""

    def prepare() -> Prepared:
        engine = engine_with(lines, nf_conntrack_max=2 * PACKETS)
        batch = Batch(Connections(PACKETS).packets(SYN, True, 1000, 0))

        def work() -> None:
            engine.flush()
            batch.judge(engine)

        return work, PACKETS

    return prepare


def flood() -> Prepared:
    """SYNs of ever new connections at a table that is full of established ones."""
    engine = engine_with(nf_conntrack_max=CONNECTIONS)
    establish(engine, Connections(CONNECTIONS))
    batch = Batch(Connections(PACKETS, first=CONNECTIONS).packets(SYN, True, 1000, 0))
    return lambda: batch.judge(engine), PACKETS


def single() -> Prepared:
    """decide(), one packet from Python."""
    engine = engine_with()
    connections = Connections(CONNECTIONS)
    establish(engine, connections)
    packets = [row.tobytes() for row in connections.packets(ACK, True, 1001, 5001)]
    decide = engine.decide

    def work() -> None:
        for packet in packets:
            decide(packet, now=START)

    return work, len(packets)


WORKLOADS: dict[str, Callable[[], Prepared]] = {
    "established, TCP, IPv4": established(),
    "established, TCP, IPv4, 1 000 rules": established(THOUSAND),
    "established, UDP, IPv4": established(udp=True),
    "established, TCP, IPv6": established(family=6),
    "established, UDP, IPv6": established(family=6, udp=True),
    "established, TCP, IPv4, 1 400 bytes": established(payload=1360),
    "new": new(),
    "new, stateful rules": new(STATEFUL),
    "new, 1 000 rules": new(THOUSAND),
    "SYN flood at a full table": flood,
    "decide()": single,
}
