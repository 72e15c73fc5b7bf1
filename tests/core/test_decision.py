"""One packet's decision as an object."""

from __future__ import annotations

import struct

import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw
from fastfw.core.reasons import SENTENCES, sentence
from fastfw.core.terms import Reason
from fastfw.helpers.base import DROP, Flow, Helper, Verdict
from fastfw.ruleset.ext.reject import ANSWERS

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")
UDPLITE = 136
RULES = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -p udp -j DROP\nCOMMIT\n"


def decide(packet: bytes, hook: str = "FORWARD", rules: bool = False) -> fastfw.Decision:
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(RULES, family=4) if rules else None)
    return engine.decide(packet, hook=hook, now=SECOND)


def test_plain_acceptance() -> None:
    """A packet that nothing is to be said of has a state, a direction and no reason."""
    d = decide(p.udp_packet(A, B, 1, 2))
    assert (d.verdict, d.state, d.direction, d.rule, d.reason, d.explanation) == (
        "ACCEPT", "NEW", "ORIGINAL", None, None, "",
    )  # fmt: skip
    assert (d.assured, d.seen_reply, d.expected, d.mark) == (False, False, False, 0)


def test_reason_in_words() -> None:
    """A reason has a name, its two numbers, and a sentence with them."""
    datagram = p.udp(A, B, 1, 2, length=100)
    d = decide(p.ip(A, B, p.UDP, datagram))
    assert (d.state, d.reason, d.detail) == ("INVALID", "udp_length", (100, 8))
    assert d.explanation == "the UDP header says 100 bytes, the packet has 8"


def test_window_in_words() -> None:
    """A segment outside the window is told with its number and the window's edge."""
    engine = fastfw.Engine()
    engine.decide(p.tcp_packet(A, B, 1, 2, p.SYN, 100), now=SECOND)
    engine.decide(p.tcp_packet(B, A, 2, 1, p.SYN | p.ACK, 500, 101, 1000), now=SECOND)
    engine.decide(p.tcp_packet(A, B, 1, 2, p.ACK, 101, 501), now=SECOND)
    d = engine.decide(p.tcp_packet(A, B, 1, 2, p.ACK, 90101, 501), now=SECOND)
    assert (d.state, d.reason, d.detail) == ("INVALID", "tcp_seq_over", (90101, 1101))
    assert d.explanation == "sequence 90101 is past the window's upper edge 1101"


def test_no_packet_has_no_state() -> None:
    """What is no IP packet has neither verdict nor state nor direction."""
    d = decide(b"")
    assert (d.verdict, d.state, d.direction, d.reason) == ("-", "-", "-", "not_ip")


@pytest.mark.parametrize(
    ("hook", "rule", "verdict"),
    [("FORWARD", "filter:FORWARD:rule:1", "DROP"), ("INPUT", "filter:INPUT:policy:1", "DROP")],
)
def test_rule_is_named_as_trace_does(hook: str, rule: str, verdict: str) -> None:
    """The rule or policy that decided has the name the TRACE target would print."""
    d = decide(p.udp_packet(A, B, 1, 2), hook, rules=True)
    assert (d.verdict, d.rule) == (verdict, rule)


def test_repr_tells_everything() -> None:
    """A decision's repr is what a person wants to read first."""
    text = repr(decide(p.tcp_packet(A, B, 1, 2, 0)))
    assert text.startswith("Decision(verdict='ACCEPT', state='INVALID', direction='ORIGINAL', assured=False,")
    assert "reason='tcp_flags'" in text


def test_a_decision_cannot_be_changed() -> None:
    """A decision is what was decided."""
    d = decide(p.udp_packet(A, B, 1, 2))
    with pytest.raises(AttributeError):
        d.verdict = "DROP"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        d.mark = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("family", "answer"),
    [(family, answer) for family, answers in ANSWERS.items() for answer in answers],
)
def test_a_refusal_says_what_it_is_answered_with(family: int, answer: str) -> None:
    """Every --reject-with of either family comes back by its name, and only with a REJECT."""
    rules = fastfw.Ruleset.parse(f"*filter\n-A FORWARD -p tcp -j REJECT --reject-with {answer}\nCOMMIT\n", family)
    fw = fastfw.Engine(rules4=rules if family == 4 else None, rules6=rules if family == 6 else None)
    ends = [p.address(text) for text in (("10.1.0.1", "10.2.0.1") if family == 4 else ("fd00:1::1", "fd00:2::1"))]
    for _ in range(3):
        decision = fw.decide(p.tcp_packet(*ends, 1, 2, 2))
        assert (decision.verdict, decision.reject, decision.queue) == ("REJECT", answer, None)
    assert fw.decide(p.udp_packet(*ends, 1, 2)).reject is None


def test_a_queue_is_chosen_and_named() -> None:
    """A balanced queue depends on the two hosts alone; a queue nobody reads drops, or with bypass passes on."""
    text = (
        "*filter\n-A FORWARD -p tcp -j NFQUEUE --queue-balance 3:6 --queue-bypass\n-A FORWARD -p udp -j QUEUE\n"
        "-A FORWARD -p icmp -j NFQUEUE --queue-num 7\nCOMMIT\n*security\n-A FORWARD\nCOMMIT\n"
    )
    rules = fastfw.Ruleset.parse(text)
    fw = fastfw.Engine(rules)
    hosts = [p.address(f"10.1.0.{i}") for i in range(1, 60)]
    chosen = {(a, b): fw.decide(p.tcp_packet(a, b, 1, 2, 2)).queue for a in hosts[:8] for b in hosts[8:]}
    for _ in range(50):  # whatever the engine's secret, neighbours share no few of the queues
        other = fastfw.Engine(rules)
        queues = [other.decide(p.tcp_packet(a, b, 1, 2, 2)).queue for a, b in chosen]
        assert {queue for queue in range(3, 7) if queues.count(queue) > 40} == {3, 4, 5, 6}
    assert all(fw.decide(p.tcp_packet(b, a, 9, 8, 2)).queue == queue for (a, b), queue in chosen.items())
    decision = fw.decide(p.tcp_packet(*hosts[:2], 1, 2, 2))
    assert decision.queue_bypass
    assert fw.decide(p.udp_packet(*hosts[:2], 1, 2)).queue == 0
    assert not fw.decide(p.udp_packet(*hosts[:2], 1, 2)).queue_bypass

    unread = fastfw.Engine(rules, queues=[7])
    passed = unread.decide(p.tcp_packet(*hosts[:2], 1, 2, 2))
    assert (passed.verdict, passed.queue, passed.rule) == ("ACCEPT", None, "filter:FORWARD:rule:1")
    dropped = unread.decide(p.udp_packet(*hosts[:2], 1, 2))
    assert (dropped.verdict, dropped.reason) == ("DROP", "queue_unread")
    assert dropped.explanation == "nobody reads queue 0, of 1 that the rule chooses from"
    assert unread.decide(p.echo(*hosts[:2], 1, 1)).queue == 7
    assert unread.ruleset().tables["security"].chains["FORWARD"].rules[0].packets == 1  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="65536"):
        fastfw.Engine(queues=[65536])


GOOD = p.tcp_packet(A, B, 40000, 80, p.SYN, 1)


def later(following: int, start: int, more: int) -> bytes:
    """An IPv6 fragment header (RFC 8200 section 4.5); `start` in bytes."""
    return struct.pack(">BBHI", following, 0, start | more, 7)


def spoiled(packet: bytes, at: int, value: bytes) -> bytes:
    return packet[:at] + value + packet[at + len(value) :]


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (GOOD[:19], "the packet ends after 19 bytes, within an IP header of 20"),
        (spoiled(GOOD, 0, b"\x44"), "the IP header says it has 16 bytes: under 20, or more than the packet's 40"),
        (spoiled(GOOD, 36, b"\xab\xcd"), f"the TCP checksum is 0xabcd, right were 0x{GOOD[36:38].hex()}"),
        (spoiled(GOOD, 10, b"\0\0"), f"the IPv4 header's checksum is 0x0000, right were 0x{GOOD[10:12].hex()}"),
        (p.ip(A, B, p.TCP, GOOD[20:38]), "the packet has 18 bytes of a transport header of at least 20"),
        (spoiled(GOOD, 32, b"\xf0"), "the TCP header says it has 60 bytes: under 20, or more than the segment's 20"),
        (p.ip(A, B, p.ICMPV6, bytes(8)), "ICMP by protocol 58, which is not IP version 4's"),
        (p.ipv4(A, B, p.TCP, GOOD[20:], ttl=1), "the time to live is 1: a router may not forward it"),
        (b"", "the record holds no IP packet: 0 of its 0 bytes are there"),
        (p.ip(A, B, UDPLITE, bytes.fromhex("0001000200080000")), "UDP-Lite without a checksum: its field is zero"),
        (
            p.ipv6(A6, B6, p.FRAGMENT, later(p.FRAGMENT, 0, 0) + later(p.UDP, 128, 0) + bytes(24)),
            "a fragment of bytes 128 to 152 that contradicts the others of its datagram",
        ),
    ],
)
def test_reasons_come_with_their_numbers(packet: bytes, why: str) -> None:
    """What was found and what would have been right stand in a decision's sentence."""
    assert fastfw.Engine().decide(packet).explanation == why


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        (("127.0.0.1", "10.2.0.1"), "the source, 0x7f000001 in front, is a loopback address: it cannot travel"),
        (("0.0.0.0", "10.2.0.1"), "the source, 0x00000000 in front, is the unspecified address: it cannot travel"),
        (("224.0.0.9", "10.2.0.1"), "the source, 0xe0000009 in front, is a group: it cannot travel"),
        (("10.1.0.1", "127.1.2.3"), "the destination, 0x7f010203 in front, is a loopback address: it cannot travel"),
        (
            ("10.1.0.1", "255.255.255.255"),
            "the destination, 0xffffffff in front, is the broadcast address: it cannot travel",
        ),
        (("fe80::1", "fd00::1"), "the source, 0xfe800000 in front, is an address of the link: it cannot travel"),
        (("::", "fd00::1"), "the source, 0x00000000 in front, is the unspecified address: it cannot travel"),
        (("::1", "fd00::1"), "the source, 0x00000000 in front, is a loopback address: it cannot travel"),
        (("ff02::1", "fd00::1"), "the source, 0xff020000 in front, is a group: it cannot travel"),
        (("fd00::1", "::1"), "the destination, 0x00000000 in front, is a loopback address: it cannot travel"),
        (("fd00::1", "ff01::1"), "the destination, 0xff010000 in front, is a group of the interface: it cannot travel"),
        (("fd00::1", "fe80::1"), "the destination, 0xfe800000 in front, is an address of the link: it cannot travel"),
    ],
)
def test_an_address_that_cannot_travel_is_named(ends: tuple[str, str], why: str) -> None:
    """Which end's it is, what is in front of it and what kind of address."""
    source, target = map(p.address, ends)
    assert fastfw.Engine().decide(p.udp_packet(source, target, 1, 2)).explanation == why


def test_a_challenge_says_what_it_challenges() -> None:
    """The acknowledgement that is not believed, and the stray SYN's sequence number."""
    engine = fastfw.Engine()
    there, back = (A, B, 40000, 80), (B, A, 80, 40000)
    for packet in (
        GOOD,
        p.tcp_packet(*back, p.SYN | p.ACK, 500, 2),
        p.tcp_packet(*there, p.ACK, 2, 501),
        p.tcp_packet(*back, p.FIN | p.ACK, 501, 2),
        p.tcp_packet(*there, p.FIN | p.ACK, 2, 502),
        p.tcp_packet(*there, p.SYN, 91000),
    ):
        engine.decide(packet)
    said = engine.decide(p.tcp_packet(*back, p.ACK, 502, 3)).explanation
    assert said == "acknowledgement 3 challenges the stray SYN 91000: not believed to acknowledge the FIN"


@pytest.mark.parametrize("reply", [False, True])
def test_what_a_helper_refuses_names_its_port(reply: bool) -> None:
    """The port that the helper is attached to and how many bytes of payload it was, whichever end spoke."""

    class Refusing(Helper):
        name = "refusing"
        ports = ((p.UDP, 5005),)

        def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
            return DROP if payload[:2] == b"no" else None

    engine = fastfw.Engine(helpers=[Refusing()])
    engine.decide(p.udp_packet(A, B, 7, 5005, b"yes"))
    packet = p.udp_packet(B, A, 5005, 7, b"no more") if reply else p.udp_packet(A, B, 7, 5005, b"no more")
    decision = engine.decide(packet)
    assert (decision.verdict, decision.explanation) == (
        "DROP", "the helper of port 5005 cannot follow these 7 bytes",
    )  # fmt: skip


def test_the_hosts_objection_comes_with_its_numbers() -> None:
    """What the host's own tracking calls INVALID names the sequence number and the one that was known here."""
    assert sentence(Reason.HOST_INVALID, (7000, 501)) == (
        "the host's own connection tracking, which saw what was not seen here, calls sequence 7000 INVALID; "
        "here 501 is next"
    )


def test_every_reason_has_a_number() -> None:
    """No sentence of an INVALID or a drop is without what was found; a fragment that waits for others is neither."""
    bare = {reason for reason, text in SENTENCES.items() if "{" not in text}
    assert bare == {Reason.FRAGMENT}
    assert set(SENTENCES) == set(Reason) - {Reason.REASON_NONE}


def test_a_full_table_says_how_full() -> None:
    """A packet dropped for want of room names the connections there are and the most there may be."""
    engine = fastfw.Engine(settings={"nf_conntrack_max": 1})
    talk = p.tcp_packet(B, A, 80, 40000, p.SYN | p.ACK, 1, 2), p.tcp_packet(A, B, 40000, 80, p.ACK, 2, 2)
    for packet in (GOOD, *talk):
        engine.decide(packet)
    said = engine.decide(p.tcp_packet(A, B, 40001, 80, p.SYN, 1)).explanation
    assert said == "the table is full, 1 connections of at most 1, and none in reach can be evicted"
