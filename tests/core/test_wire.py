"""Bytes to packets: every header that is refused, and why; every one that is not."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw

A4, B4, A6, B6 = (p.address(text) for text in ("10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"))
ENDS = {4: (A4, B4), 6: (A6, B6)}
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


def judge(packet: bytes, **settings: int) -> tuple[str, str, str | None]:
    """Verdict, state and reason of one packet met by an empty table."""
    d = fastfw.Engine(settings=settings).decide(packet, now=SECOND)
    return d.verdict, d.state, d.reason


def datagram4(**fields: object) -> bytes:
    return p.ipv4(A4, B4, p.UDP, p.udp(A4, B4, 7, 8), **fields)  # type: ignore[arg-type]


def datagram6(**fields: object) -> bytes:
    return p.ipv6(A6, B6, p.UDP, p.udp(A6, B6, 7, 8), **fields)  # type: ignore[arg-type]


REFUSED = {
    "no bytes": (b"", "-", "not_ip"),
    "version 5": (datagram4(version=5), "DROP", "ip_version"),
    "version 0": (bytes(40), "DROP", "ip_version"),
    "IPv4, 19 bytes": (datagram4()[:19], "DROP", "ip_truncated"),
    "IPv4, a header of 4 words": (datagram4(header_words=4), "DROP", "ip_header_length"),
    "IPv4, a header past the end": (datagram4(header_words=15), "DROP", "ip_header_length"),
    "IPv4, header checksum": (datagram4(header_checksum=1), "DROP", "ip_checksum"),
    "IPv4, a total length below the header's": (datagram4(total_length=19), "DROP", "ip_total_length"),
    "IPv4, a total length past the end": (datagram4(total_length=29), "DROP", "ip_total_length"),
    "IPv6, 39 bytes": (datagram6()[:39], "DROP", "ip_truncated"),
    "IPv6, a payload length past the end": (datagram6(payload_length=9), "DROP", "ip_total_length"),
    "IPv6, jumbo payload": (
        datagram6(extensions=[(0, p.extension(struct.pack(">BBI", 0xC2, 4, 65536)))]), "DROP", "ip_options",
    ),
    "IPv6, hop-by-hop longer than the packet": (
        datagram6(extensions=[(0, p.extension(b"\5\2\0\0", length=9))]), "DROP", "ip_truncated",
    ),
    "IPv6, hop-by-hop option that may not be passed": (
        datagram6(extensions=[(0, p.extension(b"\x7e\0"))]), "DROP", "ip_options",
    ),
    "IPv6, CALIPSO": (datagram6(extensions=[(0, p.extension(b"\7\x08" + bytes(8)))]), "DROP", "ip_options"),
    "IPv6, IOAM between multiples of four": (
        datagram6(extensions=[(0, p.extension(b"\x31\2\0\0"))]), "DROP", "ip_options",
    ),
    "IPv6, hop-by-hop option past its header": (
        datagram6(extensions=[(0, p.extension(b"\x1e\x09"))]), "DROP", "ip_options",
    ),
    "IPv4, record route without room for its pointer": (datagram4(options=b"\x07\x02"), "DROP", "ip_options"),
    "IPv4, record route with a pointer into itself": (datagram4(options=b"\x07\x07\x03"), "DROP", "ip_options"),
    "IPv4, source route": (datagram4(options=b"\x83\x07\x04\0\0\0\0"), "DROP", "ip_options"),
    "IPv4, strict source route": (datagram4(options=b"\x89\x07\x04\0\0\0\0"), "DROP", "ip_options"),
    "IPv4, option of length 1": (datagram4(options=b"\x44\x01"), "DROP", "ip_options"),
    "IPv4, option past the header": (datagram4(options=b"\x44\x09\x05\0"), "DROP", "ip_options"),
    "IPv4, timestamp with a pointer too low": (datagram4(options=b"\x44\x04\x04\0"), "DROP", "ip_options"),
    "IPv4, an option without its length": (datagram4(options=b"\1\1\1\x1e"), "DROP", "ip_options"),
    "IPv6, nine options": (datagram6(extensions=[(0, p.extension(b"\x1e\0" * 9))]), "DROP", "ip_options"),
    "IPv4, router alert cut": (datagram4(options=b"\x94\x03\0"), "DROP", "ip_options"),
    "IPv4, hop limit 1": (datagram4(ttl=1), "DROP", "ttl_expired"),
    "IPv6, hop limit 0": (datagram6(hop_limit=0), "DROP", "ttl_expired"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_stack_refuses(name: str) -> None:
    """A packet that no IP stack would pass is dropped, with the reason."""
    packet, verdict, reason = REFUSED[name]
    said = judge(packet)
    assert (said[0], said[2]) == (verdict, reason)


PASSED = {
    "IPv4": datagram4(),
    "IPv4, bytes behind it": datagram4() + bytes(20),
    "IPv4, don't fragment": datagram4(fragment=0x4000),
    "IPv4, reserved flag": datagram4(fragment=0x8000),
    "IPv4, router alert": datagram4(options=b"\x94\x04\0\0"),
    "IPv4, record route, full": datagram4(options=b"\x07\x07\x08\0\0\0\0"),
    "IPv4, timestamp": datagram4(options=b"\x44\x0c\x05\0" + bytes(8)),
    "IPv4, an option unknown": datagram4(options=b"\x1e\x04\0\0"),
    "IPv4, padding": datagram4(options=b"\1\1\1\0"),
    "IPv4, 40 bytes of options": datagram4(options=b"\1" * 40),
    "IPv6": datagram6(),
    "IPv6, bytes behind it": datagram6() + bytes(20),
    "IPv6, flow label and class": datagram6(flow=0xABCDE, traffic_class=0xB8),
    "IPv6, router alert": datagram6(extensions=[(0, p.extension(b"\5\2\0\0"))]),
    "IPv6, eight options": datagram6(extensions=[(0, p.extension(b"\x1e\0" * 8 + b"\1\4" + bytes(4)))]),
    "IPv6, option to be skipped": datagram6(extensions=[(0, p.extension(b"\x1e\2\0\0"))]),
    "IPv6, IOAM": datagram6(extensions=[(0, p.extension(b"\1\0\x31\2\0\0"))]),
    "IPv6, destination options": datagram6(extensions=[(60, p.extension(b"\1\2\0\0"))]),
    "IPv6, routing": datagram6(extensions=[(43, p.extension(b"\4" + bytes(5)))]),
    "IPv6, AH": datagram6(extensions=[(51, p.authentication_header())]),
    "IPv6, everything in a row": datagram6(
        extensions=[
            (0, p.extension(b"\5\2\0\0")), (60, p.extension(b"")), (43, p.extension(b"\4" + bytes(5))),
            (51, p.authentication_header(4)), (60, p.extension(bytes(30))),
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED)
def test_what_a_stack_passes(name: str) -> None:
    """Behind every sound IP header the datagram's connection is found: it is NEW, and one entry with its ports."""
    engine = fastfw.Engine()
    assert engine.decide(PASSED[name], now=SECOND).state == "NEW"
    (found,) = engine.connections()
    assert (found.protocol, found.source_port, found.destination_port) == (17, 7, 8)
    assert engine.decide(PASSED[name], now=SECOND).reason is None


def test_options_do_not_matter_to_who_sends_them() -> None:
    """A packet with IP options a router may not pass is the host's own business where it leaves or arrives."""
    packet = datagram4(options=b"\x83\x07\x04\0\0\0\0")
    assert fastfw.Engine().decide(packet, hook="OUTPUT", now=SECOND).verdict == "ACCEPT"


def tcp(family: int, **fields: object) -> bytes:
    return p.ip(*ENDS[family], p.TCP, p.tcp(*ENDS[family], 7, 8, p.SYN, **fields))  # type: ignore[arg-type]


def udp(family: int, payload: bytes = b"", **fields: object) -> bytes:
    return p.ip(*ENDS[family], p.UDP, p.udp(*ENDS[family], 7, 8, payload, **fields))  # type: ignore[arg-type]


@FAMILIES
@pytest.mark.parametrize(
    ("reason", "build"),
    [
        ("tcp_offset", lambda family: tcp(family, data_offset=4)),
        ("tcp_offset", lambda family: tcp(family, data_offset=6)),
        ("tcp_checksum", lambda family: tcp(family, segment_checksum=1)),
        ("tcp_checksum", lambda family: tcp(family, segment_checksum=0)),
        ("transport_truncated", lambda family: p.ip(*ENDS[family], p.TCP, bytes(19))),
        ("transport_truncated", lambda family: p.ip(*ENDS[family], p.TCP, bytes(3))),
        ("transport_truncated", lambda family: p.ip(*ENDS[family], p.TCP, b"")),
        ("udp_length", lambda family: udp(family, length=7)),
        ("udp_length", lambda family: udp(family, length=9)),
        ("udp_checksum", lambda family: udp(family, datagram_checksum=1)),
        ("transport_truncated", lambda family: p.ip(*ENDS[family], p.UDP, bytes(7))),
        ("icmp_checksum", lambda family: p.ip(
            *ENDS[family], p.ICMP if family == 4 else p.ICMPV6,
            p.icmp(*ENDS[family], 8 if family == 4 else 128, 0, message_checksum=1))),
        ("transport_truncated", lambda family: p.ip(*ENDS[family], p.ICMP if family == 4 else p.ICMPV6, bytes(7))),
        ("protocol_family", lambda family: p.ip(*ENDS[family], p.ICMPV6 if family == 4 else p.ICMP, bytes(16))),
    ],
)  # fmt: skip
def test_broken_transport_headers(reason: str, build: object, family: int) -> None:
    """A transport header that cannot be right makes the packet INVALID, and no entry."""
    assert judge(build(family)) == ("ACCEPT", "INVALID", reason)  # type: ignore[operator]


@FAMILIES
def test_tcp_flags(family: int) -> None:
    """Nine combinations of flags mean something; PSH, ECE and CWR do not matter; all others are INVALID."""
    valid = {p.SYN, p.SYN | p.URG, p.SYN | p.ACK, p.RST, p.RST | p.ACK, p.FIN | p.ACK, p.FIN | p.ACK | p.URG}
    valid |= {p.ACK, p.ACK | p.URG}
    engine = fastfw.Engine()
    for flags in range(256):
        d = engine.decide(p.tcp_packet(*ENDS[family], 7, 8, flags), now=SECOND)
        assert (d.reason == "tcp_flags") == (flags & ~(p.PSH | p.ECE | p.CWR) not in valid), flags


@FAMILIES
def test_checksums_are_right_for_every_length(family: int) -> None:
    """A right checksum is known as right whatever the payload's length and bytes, and one changed byte is noticed."""
    print("FASTFW_SEED=4")
    rng = np.random.default_rng(4)
    for size in [*range(70), 1399, 1400, 1401, 9000, 65000]:
        for payload in (rng.bytes(size), bytes(size), b"\xff" * size):
            good = udp(family, payload)
            assert judge(good)[1:] == ("NEW", None)
            at = int(rng.integers(20 if family == 4 else 40, len(good)))
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(8))
            assert judge(bytes(bad))[1] == "INVALID" or bad[-len(payload) - 2 : len(bad) - len(payload)] == b"\0\0"


@FAMILIES
def test_udp_without_checksum(family: int) -> None:
    """A UDP checksum of zero is none, and the datagram is taken."""
    assert judge(udp(family, datagram_checksum=0))[1] == "NEW"


def test_both_directions_find_one_entry() -> None:
    """The addresses' and ports' order does not matter: an answer finds the entry the question made."""
    low, high = p.address("10.0.0.1"), p.address("10.0.0.2")
    for one, two in ((low, high), (high, low), (low, low)):
        for ports in ((1, 2), (2, 1), (0, 65535)):
            engine = fastfw.Engine()
            engine.decide(p.udp_packet(one, two, *ports), now=SECOND)
            assert engine.decide(p.udp_packet(two, one, *ports[::-1]), now=SECOND).direction == "REPLY"
            assert engine.conntrack_count == 1


def test_every_field_of_the_key_counts() -> None:
    """Packets that differ in an address, a port, the protocol or the family belong to different connections."""
    engine = fastfw.Engine()
    made = 0
    for family in (4, 6):
        one, two = ENDS[family]
        changes = [(one, two, 0x0102, 0x0304)]
        for end in (0, 1):
            for at in range(len(one)):
                ends = [bytearray(one), bytearray(two)]
                ends[end][at] ^= 0x55
                changes.append((bytes(ends[0]), bytes(ends[1]), 0x0102, 0x0304))
        changes += [(one, two, 0x0103, 0x0304), (one, two, 0x0202, 0x0304), (one, two, 0x0102, 0x0305)]
        changes += [(one, two, 0x0102, 0x0404)]
        for change in changes:
            assert engine.decide(p.udp_packet(*change), now=SECOND).state == "NEW"
            assert engine.decide(p.tcp_packet(*change, p.SYN), now=SECOND).state == "NEW"
            made += 2
            assert engine.conntrack_count == made


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ([(60, p.extension(b"", length=200))], "transport_truncated"),
        ([(51, bytes([255]) + bytes(11))], "transport_truncated"),
        ([(59, b"")], "extension_header"),
        ([(60, p.extension(b"")), (59, b"")], "extension_header"),
    ],
    ids=["options past the end", "AH past the end", "no next header", "options, then no next header"],
)
def test_chains_that_lead_nowhere(extensions: list[tuple[int, bytes]], reason: str) -> None:
    """A chain of extension headers that ends before a transport header is INVALID."""
    verdict, state, said = judge(datagram6(extensions=extensions))
    assert (verdict, state) == ("ACCEPT", "INVALID")
    assert said in (reason, "extension_header")


def test_longest_packets() -> None:
    """Packets as long as their length field can say are decided, extension headers to the last byte included."""
    assert judge(p.udp_packet(A4, B4, 7, 8, bytes(65535 - 28)))[1] == "NEW"
    assert judge(p.udp_packet(A6, B6, 7, 8, bytes(65535 - 8)))[1] == "NEW"
    for left in (8, 7, 0):
        room = 65535 - left
        chain = []
        while room:
            size = min(2048, room) & ~7 if room >= 8 else 0
            if not size:
                break
            chain.append((60, bytes([size // 8 - 1]) + bytes(size - 2)))
            room -= size
        packet = p.ipv6(A6, B6, p.UDP, p.udp(A6, B6, 7, 8)[: left + room], extensions=chain)
        assert len(packet) <= 65575
        assert judge(packet)[1] in ("NEW", "INVALID")


@pytest.mark.parametrize("options", [b"", b"\x01\x01\x01\x01"], ids=["no options", "four bytes of padding"])
@pytest.mark.parametrize("protocol", [p.TCP, p.UDP], ids=["TCP", "UDP"])
def test_one_wrong_bit_is_noticed(protocol: int, options: bytes) -> None:
    """Any one bit that changes on the way is noticed, in the shapes that are parsed in one go as in all others."""
    inner = p.tcp(A4, B4, 7, 8, p.SYN, payload=b"abc") if protocol == p.TCP else p.udp(A4, B4, 7, 8, b"abc")
    sound = p.ipv4(A4, B4, protocol, inner, options=options)
    assert judge(sound) == ("ACCEPT", "NEW", None)
    for bit in range(8 * len(sound)):
        wrong = bytearray(sound)
        wrong[bit // 8] ^= 1 << bit % 8
        assert judge(bytes(wrong))[1] in ("-", "INVALID"), f"bit {bit}"


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("127.0.0.1", "10.2.0.1"),
        ("10.1.0.1", "127.1.2.3"),
        ("0.0.0.0", "10.2.0.1"),
        ("10.1.0.1", "0.0.0.0"),
        ("224.0.0.9", "10.2.0.1"),
        ("255.255.255.255", "10.2.0.1"),
        ("10.1.0.1", "255.255.255.255"),
        ("::", "fd00::1"),
        ("::1", "fd00::1"),
        ("fd00::1", "::1"),
        ("fe80::1", "fd00::1"),
        ("fd00::1", "fe80::1"),
        ("ff05::5", "fd00::1"),
        ("fd00::1", "ff01::1"),
    ],
)
def test_addresses_no_router_passes_on(source: str, destination: str) -> None:
    """An address that means this host, this link or, as a source, a group is dropped where it would be forwarded."""
    packet = p.udp_packet(p.address(source), p.address(destination), 7, 8)
    assert judge(packet)[::2] == ("DROP", "ip_address")
    assert fastfw.Engine().decide(packet, hook="INPUT", now=SECOND).verdict == "ACCEPT"


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("0.1.2.3", "10.2.0.1"),
        ("169.254.1.1", "10.2.0.1"),
        ("10.1.0.1", "240.0.0.1"),
        ("10.1.0.1", "224.0.0.9"),
        ("::ffff:10.0.0.1", "fd00::1"),
        ("fec0::1", "fd00::1"),
        ("fd00::1", "ff05::5"),
    ],
)
def test_addresses_a_router_may_pass_on(source: str, destination: str) -> None:
    """Odd addresses beside those are forwarded, groups too: whether anybody routes them is not the tracker's to say."""
    assert judge(p.udp_packet(p.address(source), p.address(destination), 7, 8)) == ("ACCEPT", "NEW", None)


def test_a_length_left_to_the_hop_by_hop_header() -> None:
    """Under a hop-by-hop header a payload length of zero means all that came, and no reassembly (RFC 2675)."""
    padded = [(0, p.extension(b""))]
    alone = [*padded, (p.FRAGMENT, p.fragment_header(0, False, 7))]
    fw = fastfw.Engine()
    for extensions, trailer, state in ((padded, b"", "NEW"), (padded, b"trailer", "INVALID"), (alone, b"", "NEW")):
        packet = datagram6(extensions=extensions, payload_length=0) + trailer
        assert fw.decide(packet, now=0).state == state
    assert fw.fragments == ((0, 0), (0, 0))
