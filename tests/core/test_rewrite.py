"""What TCPMSS, TCPOPTSTRIP and ECN change is what the rules behind them see, and never the caller's packet."""

from __future__ import annotations

import pytest
from tests.traffic import packets as p

import fastfw

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}
SYN, ACK, ECE, CWR = 2, 16, 64, 128
SYN_ALONE = "-m tcp --tcp-flags SYN,RST SYN "


def after(family: int, packet: bytes, target: str) -> tuple[bytes, int]:
    """A packet's bytes and length as a rule behind one with that target sees them."""
    text = f"*mangle\n-A FORWARD -p tcp {target}\n-A FORWARD -j LOG\nCOMMIT\n"
    rules = fastfw.Ruleset.parse(text, family)
    engine = fastfw.Engine(rules4=rules if family == 4 else None, rules6=rules if family == 6 else None)
    engine.watch_logs(snap=1500)
    before = bytes(bytearray(packet))
    engine.decide(packet, now=1)
    assert packet == before
    (record,), lost = engine.logs()
    assert not lost
    return record.packet, record.length


def sound(family: int, packet: bytes) -> None:
    """The header's lengths and checksums are right."""
    source, destination = ENDS[family]
    at = 20 if family == 4 else 40
    if family == 4:
        assert p.checksum(packet[:20]) == 0
        assert int.from_bytes(packet[2:4], "big") == len(packet)
    else:
        assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
    assert p.checksum(packet[at:], p.pseudo_sum(source, destination, 6, len(packet) - at)) == 0


def syn(family: int, options: bytes = b"", flags: int = SYN, payload: bytes = b"") -> bytes:
    return p.tcp_packet(*ENDS[family], 40000, 80, flags, 1, options=options, payload=payload)


@pytest.mark.parametrize("family", [4, 6])
def test_a_segment_size_is_lowered_and_never_raised(family: int) -> None:
    """TCPMSS writes the lesser of both sizes, and what the way's MTU takes where it clamps to it."""
    at = (20 if family == 4 else 40) + 20
    clamped = 1460 if family == 4 else 1440
    for asked, had, is_now in (("--set-mss 1000", 1400, 1000), ("--set-mss 1000", 900, 900)):
        packet, _ = after(family, syn(family, p.maximum_segment(had)), f"{SYN_ALONE}-j TCPMSS {asked}")
        assert packet[at : at + 4] == p.maximum_segment(is_now)
        sound(family, packet)
    packet, _ = after(family, syn(family, p.maximum_segment(9000)), f"{SYN_ALONE}-j TCPMSS --clamp-mss-to-pmtu")
    assert packet[at : at + 4] == p.maximum_segment(clamped)
    sound(family, packet)


@pytest.mark.parametrize("family", [4, 6])
def test_a_size_is_named_where_the_packet_names_none(family: int) -> None:
    """TCPMSS puts an option in front of the others, at most what a host takes by default; not before a payload."""
    at = (20 if family == 4 else 40) + 20
    bare = syn(family, p.window_scale(7))
    packet, length = after(family, bare, f"{SYN_ALONE}-j TCPMSS --set-mss 1400")
    assert length == len(bare) + 4
    assert packet[at:] == p.maximum_segment(536 if family == 4 else 1220) + p.window_scale(7) + b"\0"
    sound(family, packet)
    full = syn(family, payload=b"x")
    assert after(family, full, f"{SYN_ALONE}-j TCPMSS --set-mss 1400")[1] == len(full)


@pytest.mark.parametrize("family", [4, 6])
def test_options_are_written_over(family: int) -> None:
    """TCPOPTSTRIP leaves NOPs, and the checksum right, wherever an option begins."""
    at = (20 if family == 4 else 40) + 20
    given = p.maximum_segment(1460) + b"\x01" + p.window_scale(7) + p.sack_permitted() + b"\x08\x0a" + b"abcdefgh"
    packet, _ = after(family, syn(family, given), "-j TCPOPTSTRIP --strip-options wscale,timestamp")
    assert packet[at:] == p.maximum_segment(1460) + b"\x01" * 4 + p.sack_permitted() + b"\x01" * 10
    sound(family, packet)


def test_bits_of_congestion_are_changed() -> None:
    """ECN changes the IP header's bits, TCP's, or both."""
    packet, _ = after(4, syn(4, flags=SYN | ECE | CWR), "-j ECN --ecn-tcp-remove")
    assert packet[33] == SYN
    sound(4, packet)
    packet, _ = after(4, syn(4), "-j ECN --ecn-tcp-ece 1 --ecn-tcp-cwr 1 --ecn-ip-ect 2")
    assert (packet[33], packet[1]) == (SYN | ECE | CWR, 2)
    sound(4, packet)


def test_a_header_that_cannot_be_read_is_dropped() -> None:
    """As in the kernel, what names a header shorter than TCP's is dropped by the rule that would change it."""
    source, destination = ENDS[4]
    packet = p.ip(source, destination, 6, p.tcp(source, destination, 1, 2, ACK, data_offset=4))
    rules = fastfw.Ruleset.parse("*mangle\n-A FORWARD -p tcp -j TCPOPTSTRIP --strip-options mss\nCOMMIT\n")
    decision = fastfw.Engine(rules4=rules).decide(packet)
    assert (decision.verdict, decision.rule) == ("DROP", "mangle:FORWARD:rule:1")


@pytest.mark.parametrize("family", [4, 6])
def test_a_joined_segment(family: int) -> None:
    """Of a segment in fragments the joined one is changed, and each fragment stays as it was."""
    whole = syn(family, p.maximum_segment(1400), payload=bytes(100))
    rules = fastfw.Ruleset.parse(
        f"*mangle\n-A FORWARD -p tcp {SYN_ALONE}-j TCPMSS --set-mss 1000\n-A FORWARD -j LOG\nCOMMIT\n", family
    )
    engine = fastfw.Engine(rules4=rules if family == 4 else None, rules6=rules if family == 6 else None)
    engine.watch_logs(snap=1500)
    pieces = p.fragments(whole, 48)
    before = [bytes(bytearray(piece)) for piece in pieces]
    assert [engine.decide(piece, now=1).verdict for piece in pieces] == ["HOLD"] * (len(pieces) - 1) + ["ACCEPT"]
    assert pieces == before
    (record,), _ = engine.logs()
    at = (20 if family == 4 else 40) + 20
    assert record.packet[at : at + 4] == p.maximum_segment(1000)
    assert len(record.packet) == len(whole)


def test_a_piece_without_its_header_stays_as_it_is() -> None:
    """A lone later piece has no options to strip."""
    piece = p.ipv6(*ENDS[6], p.TCP, bytes(13), extensions=[(p.FRAGMENT, p.fragment_header(64, True, 1))])
    packet, length = after(6, piece, "-j TCPOPTSTRIP --strip-options 3")
    assert (packet[40:], length) == (piece[40:], len(piece))
