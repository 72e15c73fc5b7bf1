"""At its ceilings, of connections and of expectations, the engine treats every packet as the running kernel does."""

from __future__ import annotations

import numpy as np
import pytest
from tests.kernel.compare import Setup, compare, ours_in_words, packet_differs
from tests.kernel.oracle import Oracle, missing, pack, words
from tests.traffic import packets as p
from tests.traffic.announced import RULES, filling
from tests.traffic.generate import generate

import fastfw

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CEILING = 20_000
"""All namespaces share the ceiling: it lies above what other tests track at the same time."""

A, B, ROUTER = p.address("10.1.0.1"), p.address("10.2.0.1"), p.address("10.3.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")


def established(number: int) -> list[bytes]:
    """The handshake of the connection of that number."""
    ends, back = (A, B, 1000 + number, 80), (B, A, 80, 1000 + number)
    return [
        p.tcp_packet(*ends, p.SYN, 1),
        p.tcp_packet(*back, p.SYN | p.ACK, 1, 2),
        p.tcp_packet(*ends, p.ACK, 2, 2),
    ]


KNOWN = p.tcp_packet(A, B, 1000, 80, p.ACK, 2, 2)
PROBES = {
    "a SYN": p.tcp_packet(A, B, 60000, 81, p.SYN, 1),
    "a SYN-ACK nobody asked for": p.tcp_packet(A, B, 60001, 81, p.SYN | p.ACK, 1, 5),
    "an RST of no connection": p.tcp_packet(A, B, 60002, 81, p.RST, 1),
    "no flags": p.tcp_packet(A, B, 60003, 81, 0, 1),
    "a checksum that is wrong": p.ip(A, B, p.TCP, p.tcp(A, B, 60005, 81, p.SYN, 1, segment_checksum=1)),
    "UDP": p.udp_packet(A, B, 60000, 81),
    "an echo request": p.echo(A, B, 1, 1),
    "an echo reply nobody asked for": p.echo(A, B, 1, 1, reply=True),
    "ICMP that makes no connection": p.icmp_packet(A, B, 40, 0),
    "an error about no connection": p.icmp_packet(ROUTER, A, 3, 3, payload=p.udp_packet(A, B, 60009, 9)),
    "an error about a connection": p.icmp_packet(ROUTER, A, 3, 3, payload=KNOWN),
    "a packet of a connection": KNOWN,
    "an echo request of the other family's protocol": p.ip(A, B, p.ICMPV6, p.icmp(A, B, 128, 0)),
    "an echo reply of the other family's protocol": p.ip(A6, B6, p.ICMP, p.icmp(A, B, 0, 53)),
    "a query of its own family by the other's protocol": p.ip(A, B, p.ICMPV6, p.icmp(A, B, 8, 0)),
    "an error of the other family's protocol": p.ip(A6, B6, p.ICMP, p.icmp(A, B, 3, 3, payload=KNOWN)),
    "neighbour discovery of the other family's protocol": p.ip(A, B, p.ICMPV6, p.icmp(A, B, 135, 0)),
    "too little of the other family's protocol": p.ip(A6, B6, p.ICMP, p.icmp(A, B, 8, 0)[:7]),
    "neighbour discovery": p.icmp_packet(A6, B6, 135, 0),
    "another protocol": p.ip(A, B, 253, bytes(8)),
    "an RST that closes": p.tcp_packet(A, B, 1002, 80, p.RST, 2),
    "a SYN on the closed connection": p.tcp_packet(A, B, 1002, 80, p.SYN, 20),
    "a SYN in the place it left": p.tcp_packet(A, B, 60000, 81, p.SYN, 1),
}


def test_a_table_full_of_assured_connections_drops_what_would_be_new() -> None:
    """Whatever would need an entry is dropped, whatever does not is judged as ever, and no connection is lost."""
    packets = [packet for number in range(CEILING) for packet in established(number)] + list(PROBES.values())
    with Oracle() as oracle:
        oracle.set("nf_conntrack_max", CEILING)
        answers = oracle.ask(packets)
        assert len(oracle.table()) == CEILING
    engine = fastfw.Engine(settings={"nf_conntrack_max": CEILING})
    out = engine.process(*pack(packets), answers["time_ns"])
    assert engine.conntrack_count == CEILING
    assert np.array_equal(answers["answered"], out["verdict"] == 1)
    first = len(packets) - len(PROBES)
    for (name, _), kernel, ours in zip(PROBES.items(), answers[first:], out[first:], strict=True):
        assert not packet_differs(kernel, ours), f"{name}: kernel {words(kernel)}, ours {ours_in_words(ours)}"


def test_unassured_connections_make_room() -> None:
    """Of connections nobody answered some are evicted for new ones, in the kernel and in the engine alike."""
    count = CEILING * 3 // 2
    packets = [p.udp_packet(A, B, 1 + number % 60_000, 53 + number // 60_000) for number in range(count)]
    with Oracle() as oracle:
        oracle.set("nf_conntrack_max", CEILING)
        answered = int(oracle.ask(packets)["answered"].sum())
        # on a busy machine the kernel was seen to end one below, about once in ten times; why is not known
        assert CEILING - 3 <= len(oracle.table()) <= CEILING
    engine = fastfw.Engine(settings={"nf_conntrack_max": CEILING})
    accepted = int((engine.process(*pack(packets), np.zeros(count, np.int64))["verdict"] == 1).sum())
    print(f"let in beyond the ceiling: kernel {answered - CEILING}, ours {accepted - CEILING} of {count - CEILING}")
    assert answered > CEILING
    assert accepted > CEILING
    assert engine.conntrack_count == CEILING


EVERYTHING = ("announced", "tcp", "udp", "icmp", "sctp", "gre", "udplite", "other")


@pytest.mark.parametrize("least", [1, 3])
def test_generated_traffic_where_hardly_anything_more_may_be_expected(least: int) -> None:
    """What announces a connection is dropped while nf_conntrack_expect_max others wait, and all else is as ever."""
    setup = Setup({"nf_conntrack_expect_max": least}, RULES, RULES)
    with setup.oracle() as oracle:
        found = compare(setup, oracle, generate(7000 + least, 4_000, protocols=("announced", "announced", "tcp")))
    assert (found.kernel["expected"].sum() > 0, found.differences) == (True, [])


def test_generated_traffic_at_a_full_table() -> None:
    """Beside a table full of established connections what would be new is dropped, until the ceiling is lifted."""
    changes = ((1, "nf_conntrack_max", 0),)
    setup = Setup({"nf_conntrack_max": CEILING // 2}, RULES, RULES, batches=2, changes=changes)
    packets = filling(CEILING // 2) + generate(7100, 9_000, 0.4, EVERYTHING, fragments=0.02)
    with setup.oracle() as oracle:
        found = compare(setup, oracle, packets)
    assert found.differences == []
