"""A connection as it is printed: the fields and their order are /proc/net/nf_conntrack's."""

from __future__ import annotations

import pytest

import fastfw
from traffic import packets as p

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}
LONG = "src=fd00:0001:0000:0000:0000:0000:0000:0001 dst=fd00:0002:0000:0000:0000:0000:0000:0001"
BACK = "src=fd00:0002:0000:0000:0000:0000:0000:0001 dst=fd00:0001:0000:0000:0000:0000:0000:0001"
SECOND = 1_000_000_000


def only(*packets: bytes, **settings: int) -> fastfw.Connection:
    """The one connection that packets, a second apart, leave behind."""
    engine = fastfw.Engine(settings=settings)
    for number, packet in enumerate(packets, 1):
        engine.decide(packet, now=number * SECOND)
    (found,) = engine.connections()
    return found


def test_unanswered_udp() -> None:
    """A connection nobody answered is UNREPLIED, and its reply direction is what an answer would be."""
    assert str(only(p.udp_packet(*ENDS[4], 7, 8))) == (
        "ipv4     2 udp      17 30 src=10.1.0.1 dst=10.2.0.1 sport=7 dport=8 [UNREPLIED] "
        "src=10.2.0.1 dst=10.1.0.1 sport=8 dport=7 mark=0 zone=0 use=2"
    )


def test_tcp_prints_its_state() -> None:
    """TCP's state stands between the time left and the addresses; IPv6 addresses are printed in full."""
    found = only(p.tcp_packet(*ENDS[6], 7, 8, p.SYN))
    assert str(found) == (
        f"ipv6     10 tcp      6 120 SYN_SENT {LONG} sport=7 dport=8 [UNREPLIED] {BACK} sport=8 dport=7 "
        "mark=0 zone=0 use=2"
    )
    assert (found.family, found.protocol, found.state, found.timeout) == (6, 6, "SYN_SENT", 120)
    assert (found.source, found.source_port) == (ENDS[6][0], 7)
    assert (found.destination, found.destination_port) == (ENDS[6][1], 8)


def test_established_tcp_is_assured() -> None:
    """An ASSURED connection says so behind the reply direction, and is not UNREPLIED."""
    one, two = ENDS[4]
    found = only(
        p.tcp_packet(one, two, 7, 8, p.SYN, 1),
        p.tcp_packet(two, one, 8, 7, p.SYN | p.ACK, 1, 2),
        p.tcp_packet(one, two, 7, 8, p.ACK, 2, 2),
    )
    assert found.assured
    assert found.seen_reply
    assert str(found) == (
        "ipv4     2 tcp      6 432000 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=7 dport=8 "
        "src=10.2.0.1 dst=10.1.0.1 sport=8 dport=7 [ASSURED] mark=0 zone=0 use=2"
    )


@pytest.mark.parametrize(("request_type", "reply_type"), [(8, 0), (13, 14), (15, 16), (17, 18)])
def test_icmp_names_its_types(request_type: int, reply_type: int) -> None:
    """An ICMP query prints type, code and identifier; the reply direction has the type that answers."""
    packet = p.icmp_packet(*ENDS[4], request_type, 3, b"\x4f\x65\0\1")
    assert str(only(packet)) == (
        f"ipv4     2 icmp     1 30 src=10.1.0.1 dst=10.2.0.1 type={request_type} code=3 id=20325 [UNREPLIED] "
        f"src=10.2.0.1 dst=10.1.0.1 type={reply_type} code=3 id=20325 mark=0 zone=0 use=2"
    )


@pytest.mark.parametrize(("request_type", "reply_type"), [(128, 129), (139, 140)])
def test_icmpv6_names_its_types(request_type: int, reply_type: int) -> None:
    """An ICMPv6 query prints its own request and reply types."""
    packet = p.icmp_packet(*ENDS[6], request_type, 0, b"\0\7\0\1")
    assert str(only(packet)) == (
        f"ipv6     10 icmpv6   58 30 {LONG} type={request_type} code=0 id=7 [UNREPLIED] "
        f"{BACK} type={reply_type} code=0 id=7 mark=0 zone=0 use=2"
    )


@pytest.mark.parametrize("number", [33, 50, 253])
def test_protocols_without_a_tracker_have_no_name(number: int) -> None:
    """A protocol tracked by address pair alone is `unknown` with its number, DCCP among them, and has no ports."""
    assert str(only(p.ip(*ENDS[4], number, bytes(16)))) == (
        f"ipv4     2 unknown  {number} 600 src=10.1.0.1 dst=10.2.0.1 [UNREPLIED] "
        "src=10.2.0.1 dst=10.1.0.1 mark=0 zone=0 use=2"
    )


def test_origin_is_who_spoke_first() -> None:
    """Whichever end has the lower address, the original direction is the first packet's."""
    one, two = ENDS[4]
    assert only(p.udp_packet(two, one, 9, 8)).source == two
    assert only(p.udp_packet(one, two, 8, 9)).source == one
    assert only(p.udp_packet(one, one, 9, 8)).source_port == 9
    assert only(p.udp_packet(one, one, 8, 9)).source_port == 8


def test_time_left_counts_down_in_whole_seconds() -> None:
    """The time left is cut to whole seconds, and a connection whose time is up is not listed."""
    engine = fastfw.Engine()
    engine.decide(p.udp_packet(*ENDS[4], 7, 8), now=SECOND)
    for passed, left in ((0, 30), (1, 29), (SECOND - 1, 29), (SECOND, 29), (SECOND + 1, 28), (30 * SECOND - 1, 0)):
        engine.expire(SECOND + passed)
        assert [each.timeout for each in engine.connections()] == [left]
    engine.expire(31 * SECOND)
    assert list(engine.connections()) == []


def test_a_connection_is_a_value() -> None:
    """A Connection does not change with the table, and compares by what it says."""
    one, two = ENDS[4]
    first, second = only(p.udp_packet(one, two, 7, 8)), only(p.udp_packet(one, two, 7, 8))
    assert first == second
    with pytest.raises(AttributeError):
        first.mark = 1  # type: ignore[misc]
