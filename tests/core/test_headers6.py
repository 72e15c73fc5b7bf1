"""What IPv6's own matches make of pieces, of headers cut short by a capture, and of options that end too soon."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tests.traffic import packets as p

import fastfw

A, B, C = p.address("2001:db8::1"), p.address("2001:db8::2"), p.address("2001:db8::3")
MET, DROPPED, PASSED = "met", "dropped", "passed"
PORTS = "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 --hashlimit-mode srcport --hashlimit-name h"


def answer(rule: str, packet: bytes, have: int | None = None) -> str:
    """Whether a rule is met, drops what it cannot read, or lets the next be asked; of a packet cut by its capture only
    ``have`` bytes are there."""
    text = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD {rule} -j ACCEPT\nCOMMIT\n"
    engine = fastfw.Engine(rules6=fastfw.Ruleset.parse(text, family=6))
    data = packet[:have]
    wire_length = np.array([len(packet)], np.uint32)
    (out,) = engine.process(data, [0], [len(data)], [1], wire_length=wire_length)
    name = engine.rule_name(6, int(out["rule"]))
    if name == "filter:FORWARD:policy:2":
        return PASSED
    assert name == "filter:FORWARD:rule:1"
    return MET if out["verdict"] == 1 else DROPPED


CONNECTIONS = "-m connlimit --connlimit-upto 5"


def lone(offset: int, follows: int = p.UDP, body: bytes = bytes(13), reserved: int = 0) -> bytes:
    """A piece that no datagram is made of, as it claims that more follows a length that is no multiple of eight."""
    header = bytes([reserved]) + p.fragment_header(offset, True, 7)[1:]
    return p.ipv6(A, B, follows, body, extensions=[(p.FRAGMENT, header)])


def routed(*addresses: bytes, reserved: int = 0) -> bytes:
    """A datagram behind a routing header of type 0 (RFC 2460 section 4.4) that has been everywhere."""
    header = p.extension(bytes([0, 0]) + struct.pack(">I", reserved) + b"".join(addresses))
    return p.ipv6(A, B, p.UDP, p.udp(A, B, 1, 2), extensions=[(p.ROUTING, header)])


def optioned(options: bytes) -> bytes:
    """A datagram behind destination options, whole."""
    return p.ipv6(A, B, p.UDP, p.udp(A, B, 1, 2), extensions=[(p.DESTINATION, p.extension(options))])


@pytest.mark.parametrize(
    ("rule", "packet", "expected"),
    [
        ("-m frag --fragfirst", lone(0), MET),
        ("-m frag --fragfirst", lone(8), PASSED),
        ("-m frag --fragmore", lone(8), MET),
        ("-m frag --fraglast", lone(8), PASSED),
        # what follows the piece's header may be anything
        ("-m rt", lone(8, p.ROUTING), PASSED),
        ("-m rt", lone(0, p.ROUTING, bytes([59]) + p.extension(bytes(6) + A)[:12]), DROPPED),
        ("-p mh -m mh --mh-type 1", lone(8, 135), PASSED),
        ("-p mh -m mh --mh-type 1", p.ipv6(A, B, 135, bytes([59, 0, 1, 0, 0, 0, 0, 0])), MET),
        ("-m frag --fragres", lone(8), MET),
        ("-m frag --fragres", lone(8, reserved=5), PASSED),
        ("-p esp -m esp --espspi 5", lone(8, 50), PASSED),
        ("-p dccp -m dccp --dport 5", lone(8, 33), PASSED),
        (CONNECTIONS, p.ipv6(A, B, p.UDP, p.udp(A, B, 1, 2)), MET),
        (CONNECTIONS, p.ipv6(A, B, 59, b""), DROPPED),
        (CONNECTIONS, lone(8), DROPPED),
        (PORTS, lone(8), MET),
        (PORTS, p.ipv6(A, B, 59, b""), DROPPED),
        # an option of one byte at the very end has no length to be asked for
        ("-m dst --dst-opts 0,0,0,0,0,0", optioned(bytes(6)), MET),
        ("-m dst --dst-opts 0,0,0,0,0,5", optioned(bytes([0, 0, 0, 0, 0, 5])), PASSED),
    ],
)  # fmt: skip
def test_pieces_and_ends(rule: str, packet: bytes, expected: str) -> None:
    """A later piece has no headers but those before its own; options end where their header does."""
    assert answer(rule, packet) == expected


@pytest.mark.parametrize(
    ("rule", "have"),
    [
        ("-m rt --rt-type 0 --rt-0-res", 46),
        ("-m rt --rt-type 0 --rt-0-addrs 2001:db8::2 --rt-0-not-strict", 70),
        ("-m rt --rt-type 0 --rt-0-addrs 2001:db8::3,2001:db8::2", 70),
        ("-m ipv6header --header route --soft", 41),
    ],
)
def test_cut_headers_are_not_guessed(rule: str, have: int) -> None:
    """What a rule asks of a header and the capture has not kept drops the packet; of the whole packet it is met."""
    packet = routed(C, B)
    assert answer(rule, packet) == MET
    assert answer(rule, packet, have) == DROPPED
