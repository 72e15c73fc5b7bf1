"""Which connection a packet belongs to, what it is told, and when that is remembered."""

from __future__ import annotations

import pytest
from tests.core.talk import SECOND, Talk
from tests.traffic import packets as p

import fastfw

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")
DROP_UDP = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n"


def test_state_before_the_answer_is_new() -> None:
    """Every packet of the first speaker is NEW until the other side has spoken; from then on ESTABLISHED."""
    talk = Talk()
    there, back = p.udp_packet(A, B, 1, 2), p.udp_packet(B, A, 2, 1)
    assert [talk.say(each) for each in (there, there, back, there, back)] == [
        "NEW", "NEW", "ESTABLISHED REPLY SEEN_REPLY", "ESTABLISHED SEEN_REPLY", "ESTABLISHED REPLY SEEN_REPLY",
    ]  # fmt: skip


def test_dropped_by_a_rule_leaves_no_entry() -> None:
    """What the rules drop confirms nothing: the next packet is NEW again, and the answer is NEW too."""
    rules = fastfw.Ruleset.parse(DROP_UDP.format("-A FORWARD -p udp --dport 2 -j DROP"), family=4)
    engine = fastfw.Engine(rules4=rules)
    for _ in range(3):
        d = engine.decide(p.udp_packet(A, B, 1, 2), now=SECOND)
        assert (d.verdict, d.state, engine.conntrack_count) == ("DROP", "NEW", 0)
    d = engine.decide(p.udp_packet(B, A, 2, 1), now=SECOND)
    assert (d.verdict, d.state, d.direction) == ("ACCEPT", "NEW", "ORIGINAL")
    assert engine.conntrack_count == 1


def test_dropped_packets_still_move_a_connection() -> None:
    """A packet of a confirmed connection has moved it before the rules see it, dropped or not, as in the kernel."""
    rules = fastfw.Ruleset.parse(DROP_UDP.format("-A FORWARD -p tcp --tcp-flags RST RST -j DROP"), family=4)
    engine = fastfw.Engine(rules4=rules)
    engine.decide(p.tcp_packet(A, B, 1, 2, p.SYN, 10), now=SECOND)
    engine.decide(p.tcp_packet(B, A, 2, 1, p.SYN | p.ACK, 20, 11), now=SECOND)
    engine.decide(p.tcp_packet(A, B, 1, 2, p.ACK, 11, 21), now=SECOND)
    assert engine.decide(p.tcp_packet(A, B, 1, 2, p.RST, 11), now=SECOND).verdict == "DROP"
    assert [each.state for each in engine.connections()] == ["CLOSE"]


def test_invalid_touches_nothing() -> None:
    """An INVALID packet neither refreshes the connection it names nor makes one, and points in no direction."""
    talk = Talk()
    talk.say(p.udp_packet(A, B, 1, 2))
    broken = p.ip(B, A, p.UDP, p.udp(B, A, 2, 1, datagram_checksum=1))
    assert talk.say(broken, 10) == "INVALID (UDP_CHECKSUM)"
    (found,) = talk.engine.connections()
    assert (found.timeout, found.seen_reply) == (20, False)


def test_invalid_passes_without_rules() -> None:
    """INVALID is a state, not a verdict: it is for the rules to drop it."""
    d = fastfw.Engine().decide(p.tcp_packet(A, B, 1, 2, 0), now=SECOND)
    assert (d.verdict, d.state, d.direction) == ("ACCEPT", "INVALID", "ORIGINAL")


@pytest.mark.parametrize("kind", [*range(130, 137), 143, 151, 152])
def test_neighbours_are_untracked(kind: int) -> None:
    """What keeps an IPv6 link alive is UNTRACKED, makes no entry and has no direction but the original."""
    engine = fastfw.Engine()
    d = engine.decide(p.icmp_packet(A6, B6, kind, 0, payload=B6), now=SECOND)
    assert (d.verdict, d.state, d.direction, d.seen_reply) == ("ACCEPT", "UNTRACKED", "ORIGINAL", False)
    assert engine.conntrack_count == 0


def test_time_up_to_the_nanosecond() -> None:
    """A connection lives until its time is up and not a nanosecond longer."""
    for more, state in ((-1, "ESTABLISHED"), (0, "NEW")):
        engine = fastfw.Engine()
        engine.decide(p.udp_packet(A, B, 1, 2), now=SECOND)
        assert engine.decide(p.udp_packet(B, A, 2, 1), now=31 * SECOND + more).state == state
        assert engine.conntrack_count == 1


def test_families_are_apart() -> None:
    """An IPv4-mapped IPv6 address is another address than the IPv4 one."""
    talk = Talk()
    assert talk.say(p.udp_packet(A, B, 1, 2)) == "NEW"
    mapped = [bytes(10) + b"\xff\xff" + each for each in (A, B)]
    assert talk.say(p.udp_packet(*mapped, 1, 2)) == "NEW"
    low = [each + bytes(12) for each in (A, B)]
    assert talk.say(p.udp_packet(*low, 1, 2)) == "NEW"
    assert talk.engine.conntrack_count == 3


def test_refused_connection_ends_at_once() -> None:
    """The RST that refuses a SYN is ESTABLISHED itself, and the next SYN is NEW."""
    talk = Talk()
    assert talk.say(p.tcp_packet(A, B, 1, 2, p.SYN, 10)) == "NEW"
    assert talk.say(p.tcp_packet(B, A, 2, 1, p.RST | p.ACK, 0, 11)) == "ESTABLISHED REPLY SEEN_REPLY"
    assert talk.engine.conntrack_count == 0
    assert talk.say(p.tcp_packet(A, B, 1, 2, p.SYN, 10)) == "NEW"
    assert talk.engine.counters["delete"] == 1


def test_no_more_templates_than_numbers() -> None:
    """What CT rules ask for has 16 bits for its number: one combination too many is refused, one that is known is
    not."""
    engine = fastfw.Engine()
    for zone in range(65_535):
        assert engine._template(zone, False, 0, {}, 0, 0) == zone + 1
    with pytest.raises(MemoryError, match="65535 combinations"):
        engine._template(65_535, False, 0, {}, 0, 0)
    assert engine._template(7, False, 0, {}, 0, 0) == 8
