"""One packet's decision as an object."""

from __future__ import annotations

import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw
from fastfw.ruleset.ext.reject import ANSWERS

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
    assert set(chosen.values()) == {3, 4, 5, 6}
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
    assert unread.decide(p.echo(*hosts[:2], 1, 1)).queue == 7
    assert unread.ruleset().tables["security"].chains["FORWARD"].rules[0].packets == 1  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="65536"):
        fastfw.Engine(queues=[65536])
