"""Packets that a capture cut short: what is there is judged, what is not is never made up or read."""

from __future__ import annotations

import numpy as np
import pytest
from tests.traffic import packets as p

import fastfw
from fastfw.core.terms import Verdict

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("2001:db8::1"), p.address("2001:db8::2")
SECOND = 1_000_000_000

WHOLE = {
    "udp": p.udp_packet(A, B, 1, 2, bytes(40)),
    "udp6": p.udp_packet(A6, B6, 1, 2, bytes(40)),
    "udplite": p.ipv4(A, B, 136, bytes([0, 1, 0, 2, 0, 8, 0, 0]) + bytes(40)),
    "tcp": p.tcp_packet(A, B, 1, 2, p.SYN, 1, payload=bytes(9)),
    "tcp6": p.tcp_packet(A6, B6, 1, 2, p.SYN, 1, payload=bytes(9)),
    "icmp": p.echo(A, B, 1, 1),
    "sctp": p.ipv4(A, B, 132, p.sctp(1, 2, 0, bytes([1, 0, 0, 20]) + bytes(16))),
    "gre": p.ipv4(A, B, 47, bytes([0, 0, 8, 0]) + bytes(40)),
    "gre1": p.ipv4(A, B, 47, bytes([0x30, 1, 0x88, 0x0B, 0, 8, 0, 7]) + bytes(20)),
    "error": p.icmp_packet(B, A, 3, 1, payload=p.udp_packet(A, B, 1, 2, bytes(20))),
    "quoted gre": p.icmp_packet(B, A, 3, 1, payload=p.ipv4(A, B, 47, bytes([0x30, 1, 0x88, 0x0B, 0, 8, 0, 7]))),
    "options6": p.ipv6(A6, B6, 0, bytes([60, 0, 1, 4, 0, 0, 0, 0]) + bytes([17, 0, 1, 4, 0, 0, 0, 0])
                       + p.udp_packet(A6, B6, 1, 2, bytes(9))[40:]),
    "fragment": p.fragments(p.udp_packet(A, B, 1, 2, bytes(100)), 48)[0],
    "fragment6": p.fragments(p.udp_packet(A6, B6, 1, 2, bytes(100)), 48)[0],
    "last6": p.fragments(p.udp_packet(A6, B6, 1, 2, bytes(100)), 48)[-1],
}  # fmt: skip
RULES = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p udp -m udp --dport 7 -j DROP
-A FORWARD -p tcp -m tcp --tcp-option 9 -j DROP
-A FORWARD -p tcp -m tcpmss --mss 1:9 -j DROP
-A FORWARD -m string --string nowhere --algo bm -j DROP
-A FORWARD -p sctp -m sctp --chunk-types any ABORT -j DROP
COMMIT
"""


@pytest.mark.parametrize("name", WHOLE)
def test_cut_at_every_byte(name: str) -> None:
    """A packet cut anywhere is decided, a fragment of it held or refused; where the cut is behind all headers that the
    engine reads, the decision is the whole packet's."""
    whole = WHOLE[name]
    family = whole[0] >> 4
    rules = fastfw.Ruleset.parse(RULES, family=family)
    settings = {"nf_conntrack_checksum": 0}
    states = []
    for have in range(len(whole) + 1):
        engine = fastfw.Engine(**{f"rules{family}": rules}, settings=settings)  # type: ignore[arg-type]
        out = engine.process(
            np.frombuffer(whole, np.uint8),
            np.zeros(1, np.uint64),
            np.array([have], np.uint32),
            np.array([SECOND]),
            wire_length=np.array([len(whole)], np.uint32),
        )
        assert 0 <= out["verdict"][0] <= Verdict.VERDICT_QUEUE
        states.append((int(out["verdict"][0]), int(out["state"][0])))
    if name != "sctp":  # whose chunks are read to their end
        assert states[-1] == states[-2]
    assert states[0] != states[-1]
