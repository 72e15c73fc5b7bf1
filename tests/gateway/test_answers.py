"""What REJECT says: resets and ICMP errors, and when it says nothing. The live tests have the kernel take them."""

from __future__ import annotations

import contextlib
import struct

import pytest

pytest.importorskip("msgspec")

from fastfw import Engine
from fastfw.core.terms import Hook
from fastfw.drivers.rejected import Rejected
from fastfw.gateway.answers import CODES, QUOTED, Silence, answer, checksum
from fastfw.ruleset.ext.reject import ANSWERS
from traffic.packets import (
    ACK,
    AH,
    FIN,
    ICMP,
    ICMPV6,
    RST,
    SYN,
    TCP,
    UDP,
    address,
    extension,
    icmp_packet,
    ip,
    ipv4,
    ipv6,
    tcp,
    tcp_packet,
    udp_packet,
)

ENDS = {4: (address("10.0.0.1"), address("10.0.0.2")), 6: (address("fd00::1"), address("fd00::2"))}
PORT = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def rejected(packet: bytes, *, hook: int = Hook.HOOK_FORWARD, vouched: bool = False) -> Rejected:
    """A packet that a rule refused."""
    return Rejected(packet, packet[0] >> 4, hook, 0, "eth0", vouched)


def silence(packet: bytes, kind: str = "", **more: bool) -> str:
    """Why a packet gets no answer."""
    with pytest.raises(Silence) as why:
        answer(rejected(packet, **more), kind or PORT[packet[0] >> 4])
    return str(why.value)


def segment(family: int, flags: int, seq: int, ack: int, payload: bytes = b"") -> bytes:
    return tcp_packet(*ENDS[family], 4000, 80, flags, seq, ack, payload=payload)


@FAMILIES
@pytest.mark.parametrize(
    ("flags", "seq", "ack", "payload", "reset"),
    [
        (SYN, 100, 0, b"", (0, 101, RST | ACK)),
        (ACK, 100, 900, b"abc", (900, 0, RST)),
        (FIN | ACK, 100, 901, b"", (901, 0, RST)),
        (FIN, 0xFFFFFFFF, 0, b"ab", (0, 2, RST | ACK)),
    ],
)
def test_resets(family: int, flags: int, seq: int, ack: int, payload: bytes, reset: tuple[int, int, int]) -> None:
    """A reset comes from where the segment went, at the number it acknowledges or acknowledging it (RFC 9293, 3.5.2),
    with right checksums; an engine that saw the segment finds nothing wrong with it."""
    source, destination = ENDS[family]
    packet = segment(family, flags, seq, ack, payload)
    made = answer(rejected(packet), "tcp-reset")
    assert (made.family, made.kind, made.target) == (family, "reset", source)
    at = 20 if family == 4 else 40
    body = made.data[at:]
    sport, dport, number, acknowledged, _, bits = struct.unpack(">HHIIBB", body[:14])
    assert (sport, dport) == (80, 4000)
    assert (number, acknowledged, bits) == reset
    assert body == tcp(destination, source, 80, 4000, bits, number, acknowledged, window=0)
    if family == 4:
        assert checksum(made.data[:20]) == 0
    assert made.data[at - (8 if family == 4 else 32) : at] == destination + source
    engine = Engine()
    if not flags & FIN:  # which begins nothing
        engine.decide(packet, now=10**18)
        assert engine.decide(made.data, now=10**18).state == "ESTABLISHED"


@FAMILIES
def test_errors(family: int) -> None:
    """An error of each name carries its code, quotes the packet as far as it may, and is related to what it quotes."""
    source, destination = ENDS[family]
    packet = udp_packet(source, destination, 4000, 53, bytes(2000))
    for name in ANSWERS[family]:
        if name == "tcp-reset":
            continue
        made = answer(rejected(packet), name)
        message = made.data[20:] if family == 4 else made.data
        assert message[:2] == bytes([3 if family == 4 else 1, CODES[name]])
        assert message[8:] == packet[: QUOTED[family]]
        assert made.target == source
    if family == 4:
        assert checksum(message) == checksum(made.data[:20]) == 0
        whole = made.data[:12] + destination + made.data[16:]
        whole = whole[:10] + b"\0\0" + whole[12:]
        whole = whole[:10] + checksum(whole[:20]).to_bytes(2, "big") + whole[12:]
        engine = Engine()
        engine.decide(packet, now=10**18)
        assert engine.decide(whole, now=10**18).state == "RELATED"


@FAMILIES
def test_whose_address(family: int) -> None:
    """What was sent to this host is answered from the address it was sent to; what passes through, from the kernel's
    choice."""
    source, destination = ENDS[family]
    packet = udp_packet(source, destination, 4000, 53)
    for hook, chosen in ((Hook.HOOK_INPUT, destination), (Hook.HOOK_FORWARD, None), (Hook.HOOK_OUTPUT, None)):
        made = answer(rejected(packet, hook=hook), PORT[family])
        if family == 4:
            assert made.data[12:16] == (chosen or bytes(4))
        else:
            assert made.source == chosen


@FAMILIES
def test_silences(family: int) -> None:
    """No answer to a reset, to another protocol than TCP where a reset is wanted, to errors, to broken or cut packets,
    to fragments but the first, from nobody or a group, or to a group."""
    source, destination = ENDS[family]
    assert silence(segment(family, RST, 5, 0), "tcp-reset") == "reset"
    assert silence(udp_packet(source, destination, 1, 2), "tcp-reset") == "protocol"
    broken = bytearray(udp_packet(source, destination, 1, 2, b"data"))
    broken[-1] ^= 1
    assert silence(bytes(broken)) == "checksum"
    assert answer(rejected(bytes(broken), vouched=True), PORT[family])
    assert silence(segment(family, SYN, 1, 0)[: (20 if family == 4 else 40) + 10], "tcp-reset") == "cut"
    assert silence(udp_packet(source, destination, 1, 2, bytes(500))[:128]) == "unverified"
    kinds = (3, 4, 5, 11, 12, 99) if family == 4 else (1, 2, 3, 4, 100, 137)
    for kind in kinds:
        assert silence(icmp_packet(source, destination, kind, 0, payload=bytes(28))) == "error"
    assert answer(rejected(icmp_packet(source, destination, 8 if family == 4 else 128, 0)), PORT[family])
    groups = {4: ("224.0.0.1", "255.255.255.255", "0.0.0.0"), 6: ("ff02::1", "::")}[family]
    for group in map(address, groups):
        assert silence(udp_packet(source, group, 1, 2)) == "group"
        assert silence(udp_packet(group, destination, 1, 2)) == "source"
    for cut in range(20 if family == 4 else 40):
        assert silence(udp_packet(source, destination, 1, 2)[:cut] or bytes([family << 4])) == "cut"


def test_fragments() -> None:
    """A first fragment may be answered, a later one never, in either family."""
    body = udp_packet(*ENDS[4], 1, 2, bytes(64))[20:]
    assert silence(ipv4(*ENDS[4], UDP, body, fragment=8)) == "fragment"
    assert answer(rejected(ipv4(*ENDS[4], UDP, body, fragment=0x2000), vouched=True), PORT[4])
    for offset, said in ((0, ""), (8, "fragment")):
        packet = ipv6(*ENDS[6], 44, bytes([UDP, 0]) + struct.pack(">HI", offset | 1, 7) + body)
        if said:
            assert silence(packet) == said
        else:
            assert answer(rejected(packet, vouched=True), PORT[6])


def test_behind_extension_headers() -> None:
    """What an IPv6 packet carries is found behind its extension headers; a chain that ends too early is cut."""
    body = tcp(*ENDS[6], 4000, 80, SYN, 100)
    headers = [(0, extension(b"")), (60, extension(b"1234567")), (AH, bytes([4]) + bytes(22))]
    packet = ipv6(*ENDS[6], TCP, body, extensions=headers)
    assert answer(rejected(packet), "tcp-reset").kind == "reset"
    assert silence(packet[:44], "tcp-reset") == "cut"


def test_precedence() -> None:
    """An ICMP error goes with precedence internetwork control, its other bits as they came (RFC 1812, 4.3.2.5)."""
    packet = ipv4(*ENDS[4], UDP, udp_packet(*ENDS[4], 1, 2)[20:], tos=0x10)
    assert answer(rejected(packet), PORT[4]).data[1] == 0xD0


def test_any_bytes(seed: int) -> None:
    """Of any bytes there is an answer or a silence, never a fault."""
    import random

    chance = random.Random(seed)
    for _ in range(20000):
        family = chance.choice((4, 6))
        protocol = chance.choice((TCP, UDP, ICMP, ICMPV6, 0, 44, 51, 60, 99))
        packet = bytearray(ip(*ENDS[family], protocol, chance.randbytes(chance.randrange(80))))
        packet = packet[: chance.randrange(1, len(packet) + 1)]
        with contextlib.suppress(Silence):
            answer(rejected(bytes(packet), vouched=chance.random() < 0.7), chance.choice(list(ANSWERS[family])))
