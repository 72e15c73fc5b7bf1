"""One packet's decision as an object."""

from __future__ import annotations

import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
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
