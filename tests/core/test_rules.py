"""The walk through compiled rules: jumps, verdicts, counters, remembered paths."""

from __future__ import annotations

import re
from random import Random

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.plain import enforce
from tests.traffic import packets as p
from tests.traffic.generate import generate
from tests.traffic.rulesets import ruleset

import fastfw
from fastfw.core.terms import Reason, Verdict

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
SECOND = 1_000_000_000


def engine(*lines: str, table: str = "filter", **more: object) -> fastfw.Engine:
    text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
    return fastfw.Engine(rules4=fastfw.Ruleset.parse(text), **more)  # type: ignore[arg-type]


def run(fw: fastfw.Engine, packets: list[bytes], **more: object) -> np.ndarray:
    more.setdefault("iif", "eth0")
    more.setdefault("oif", "eth1")
    times = more.pop("times", np.arange(len(packets)) * 1000 + SECOND)
    return fw.process(*pack(packets), times, **more)  # type: ignore[arg-type]


def names(fw: fastfw.Engine, out: np.ndarray, family: int = 4) -> list[str]:
    return [fw.rule_name(family, int(rule)) for rule in out["rule"]]


def counts(fw: fastfw.Engine, chain: str = "FORWARD", table: str = "filter") -> list[int]:
    rules = fw.ruleset(4)
    assert rules is not None
    return [rule.packets for rule in rules.tables[table].chains[chain].rules]


def test_first_match_decides_and_counts() -> None:
    """The first rule that matches decides; those before and after it count nothing."""
    fw = engine("-A FORWARD -p tcp --dport 22 -j DROP", "-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -j DROP")
    out = run(fw, [p.tcp_packet(A, B, 1000, port, p.SYN) for port in (22, 80)])
    assert out["verdict"].tolist() == [Verdict.VERDICT_DROP, Verdict.VERDICT_ACCEPT]
    assert names(fw, out) == ["filter:FORWARD:rule:1", "filter:FORWARD:rule:2"]
    assert counts(fw) == [1, 1, 0]


def test_policy_decides_what_no_rule_did() -> None:
    """A packet that falls off a built-in chain meets its policy, which counts packets and bytes."""
    fw = engine(":FORWARD DROP [5:500]", "-A FORWARD -p udp -j ACCEPT")
    packet = p.tcp_packet(A, B, 1, 2, p.SYN)
    out = run(fw, [packet])
    assert names(fw, out) == ["filter:FORWARD:policy:2"]
    assert f":FORWARD DROP [6:{500 + len(packet)}]" in fw.counters_text()


def test_jump_comes_back_and_goto_does_not() -> None:
    """After a jumped-to chain the next rule follows; after one gone to, what follows the jump before it."""
    fw = engine(
        ":FORWARD DROP [0:0]", ":a - [0:0]", ":b - [0:0]",
        "-A FORWARD -j a", "-A FORWARD", "-A a -g b", "-A a -j DROP", "-A b", "-A b -p udp -j RETURN", "-A b",
    )  # fmt: skip
    out = run(fw, [p.udp_packet(A, B, 1, 2), p.tcp_packet(A, B, 1, 2, p.SYN)])
    assert names(fw, out) == ["filter:FORWARD:policy:3"] * 2
    assert counts(fw) == [2, 2]
    assert counts(fw, "a") == [2, 0]
    assert counts(fw, "b") == [2, 1, 1]


def test_return_from_a_built_in_chain_is_its_policy() -> None:
    """RETURN in a built-in chain, and the end of a chain that it went to, lead to the policy."""
    fw = engine(
        ":FORWARD DROP [0:0]", ":a - [0:0]", "-A FORWARD -p tcp -j RETURN", "-A FORWARD -g a", "-A FORWARD -j ACCEPT"
    )
    out = run(fw, [p.tcp_packet(A, B, 1, 2, p.SYN), p.udp_packet(A, B, 1, 2)])
    assert names(fw, out) == ["filter:FORWARD:policy:4"] * 2


def test_reject_and_queue_are_told_apart() -> None:
    """REJECT and QUEUE are verdicts of their own, and neither makes a connection."""
    fw = engine("-A FORWARD -p tcp -j REJECT", "-A FORWARD -j QUEUE")
    out = run(fw, [p.tcp_packet(A, B, 1, 2, p.SYN), p.udp_packet(A, B, 1, 2)])
    assert out["verdict"].tolist() == [Verdict.VERDICT_REJECT, Verdict.VERDICT_QUEUE]
    assert fw.conntrack_count == 0


def test_short_header_drops_the_packet_at_the_rule_that_reads_it() -> None:
    """A TCP header too short to read drops the packet at the first rule that asks for it, uncounted."""
    cut = p.ipv4(A, B, p.TCP, bytes(12))
    fw = engine(
        "-A FORWARD -p udp --dport 1 -j ACCEPT", "-A FORWARD -p tcp --dport 1 -j ACCEPT", "-A FORWARD -j ACCEPT"
    )
    out = run(fw, [cut])
    assert out["verdict"][0] == Verdict.VERDICT_DROP
    assert names(fw, out) == ["filter:FORWARD:rule:2"]
    assert counts(fw) == [0, 0, 0]


def test_interfaces_are_seen_where_the_kernel_sees_them() -> None:
    """An incoming packet has no outgoing interface, an outgoing one no incoming."""
    fw = engine("-A INPUT -i eth+ -j DROP", "-A OUTPUT ! -o eth1 -j DROP")
    packet = p.udp_packet(A, B, 1, 2)
    assert run(fw, [packet], hook="INPUT", iif="eth0")["verdict"][0] == Verdict.VERDICT_DROP
    assert run(fw, [packet], hook="INPUT", iif="lo")["verdict"][0] == Verdict.VERDICT_ACCEPT
    assert run(fw, [packet], hook="OUTPUT", oif="eth1")["verdict"][0] == Verdict.VERDICT_ACCEPT
    assert run(fw, [packet], hook="OUTPUT", oif="eth10")["verdict"][0] == Verdict.VERDICT_DROP


def test_mark_set_in_one_table_is_seen_in_the_next() -> None:
    """MARK in mangle changes what `-m mark` in filter sees, and the decision carries it."""
    text = (
        "*mangle\n-A PREROUTING -p udp -j MARK --set-xmark 0x5/0xf\nCOMMIT\n"
        "*filter\n-A FORWARD -m mark --mark 0x5/0xf -j DROP\nCOMMIT\n"
    )
    fw = fastfw.Engine(rules4=fastfw.Ruleset.parse(text))
    out = run(fw, [p.udp_packet(A, B, 1, 2), p.tcp_packet(A, B, 1, 2, p.SYN)])
    assert out["mark"].tolist() == [5, 0]
    assert out["verdict"].tolist() == [Verdict.VERDICT_DROP, Verdict.VERDICT_ACCEPT]


def test_last_hop_is_dropped_between_prerouting_and_forward() -> None:
    """A packet that may not travel further is counted before routing and not after."""
    text = "*mangle\n-A PREROUTING\n-A FORWARD\nCOMMIT\n*filter\n-A FORWARD -m ttl --ttl-eq 63\nCOMMIT\n"
    fw = fastfw.Engine(rules4=fastfw.Ruleset.parse(text))
    last = p.ipv4(A, B, p.UDP, p.udp(A, B, 1, 2), ttl=1)
    out = run(fw, [last, p.udp_packet(A, B, 1, 2)])
    assert out["reason"][0] == Reason.TTL_EXPIRED
    assert counts(fw, "PREROUTING", "mangle") == [2]
    assert counts(fw, "FORWARD", "mangle") == [1]
    assert counts(fw) == [1]


def test_limit_lets_a_burst_through_and_then_its_rate() -> None:
    """A limit of 10 a second with a burst of 3: three at once, then one every tenth of a second."""
    fw = engine("-A FORWARD -m limit --limit 10/second --limit-burst 3 -j ACCEPT", "-A FORWARD -j DROP")
    packets = [p.udp_packet(A, B, 1, 2)] * 8
    times = np.array([0, 0, 0, 0, 96, 100, 104, 208]) * 1_000_000 + SECOND
    out = run(fw, packets, times=times)
    accepted = (out["verdict"] == Verdict.VERDICT_ACCEPT).tolist()
    assert accepted == [True, True, True, False, False, True, False, True]


def test_established_packets_share_a_path() -> None:
    """Connections that one rule lets through share one remembered path, and its packets reach the rule's counters."""
    fw = engine(
        ":FORWARD DROP [0:0]", "-A FORWARD -m state --state ESTABLISHED -j ACCEPT", "-A FORWARD -p udp -j ACCEPT"
    )
    talk = []
    for port in range(1000, 1100):
        talk += [p.udp_packet(A, B, port, 53), p.udp_packet(B, A, 53, port)] + [p.udp_packet(A, B, port, 53)] * 5
    out = run(fw, talk)
    assert set(out["verdict"].tolist()) == {Verdict.VERDICT_ACCEPT}
    assert fw._rules(4).path_count == 1
    assert counts(fw) == [600, 100]


def test_more_ways_than_are_remembered() -> None:
    """Ways differ by their interfaces: when there are more than there is room for all are forgotten, but what they
    counted is not. There are no more names of interfaces than numbers for them."""
    fw = engine("-A FORWARD -p udp -j ACCEPT", "-A FORWARD -i i1+ -j DROP")
    packet = p.udp_packet(A, B, 1, 2)
    for number in range(65_534):
        assert fw.decide(packet, iif=f"i{number}", oif="eth1", now=SECOND).verdict == "ACCEPT"
    assert 0 < fw._rules(4).path_count <= 16_384
    assert counts(fw) == [65_534, 0]
    with pytest.raises(ValueError, match="more than 65535 interface names"):
        fw.decide(packet, iif="one more", oif="eth1", now=SECOND)
    assert fw.decide(packet, iif="i65533", oif="eth1", now=SECOND).verdict == "ACCEPT"


def test_length_keeps_a_path_from_being_remembered_only_where_it_is_asked() -> None:
    """A test of the packet alone matters only in a rule whose other tests the connection meets."""
    fw = engine("-A FORWARD -p tcp -m length --length 0:100 -j DROP", "-A FORWARD -j ACCEPT")
    run(fw, [p.udp_packet(A, B, 1, 2), p.udp_packet(B, A, 2, 1)] * 3)
    assert fw._rules(4).path_count == 1
    fw = engine("-A FORWARD -p udp -m length --length 0:30 -j DROP", "-A FORWARD -j ACCEPT")
    out = run(fw, [p.udp_packet(A, B, 1, 2, b"12345")] * 3 + [p.udp_packet(A, B, 1, 2)] * 2)
    assert fw._rules(4).path_count == 0
    assert out["verdict"].tolist() == [Verdict.VERDICT_ACCEPT] * 3 + [Verdict.VERDICT_DROP] * 2


def test_new_ruleset_forgets_the_paths_of_the_old() -> None:
    """After a replacement an established connection's packets meet the new rules, and back again."""
    accept = fastfw.Ruleset.parse("*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n")
    drop = fastfw.Ruleset.parse("*filter\n-A FORWARD -j DROP\nCOMMIT\n")
    fw = fastfw.Engine(rules4=accept)
    packets = [p.udp_packet(A, B, 1, 2)] * 3
    for rules, verdict in ((accept, "ACCEPT"), (drop, "DROP"), (None, "ACCEPT"), (drop, "DROP"), (accept, "ACCEPT")):
        fw.replace(rules4=rules)
        assert set(run(fw, packets)["verdict"].tolist()) == {Verdict[f"VERDICT_{verdict}"]}


def test_ruleset_given_away_is_not_touched() -> None:
    """The engine counts in a copy: the Ruleset it was given keeps its counters, and changing it changes nothing."""
    rules = fastfw.Ruleset.parse("*filter\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n")
    fw = fastfw.Engine(rules4=rules)
    run(fw, [p.udp_packet(A, B, 1, 2)])
    rules.tables["filter"].chains["FORWARD"].rules.clear()
    assert counts(fw) == [1]


def all_tables(seed: int, family: int) -> str:
    """A random ruleset in every table that is evaluated; marks are set in some and asked for in others."""
    filtered = ruleset(seed, family)
    mangle = ruleset(seed + 1, family).replace("*filter", "*mangle")
    mangle = re.sub("-j REJECT.*", "-j DROP", mangle)
    mangle = re.sub("-j LOG.*", "-j MARK --set-xmark 0x1/0x3", mangle, count=3)
    raw = re.sub("-j REJECT.*", "-j DROP", ruleset(seed + 2, family)).replace("*filter", "*raw")
    raw = re.sub(":(INPUT|FORWARD|OUTPUT) .*\n", "", raw).replace("-A FORWARD", "-A first")
    raw = raw.replace("*raw\n", "*raw\n:first - [0:0]\n").replace("COMMIT", "-A PREROUTING -j first\nCOMMIT")
    security = re.sub("-j REJECT.*", "-j DROP", ruleset(seed + 3, family)).replace("*filter", "*security")
    return raw + mangle + filtered + security


@pytest.mark.parametrize("turn", range(10))
def test_paths_and_classifier_change_nothing(seed: int, turn: int) -> None:
    """Rule by rule, with a classifier, with remembered paths, with both: the same verdicts, rules, marks, counters."""
    random = Random(seed + turn)
    number = random.randrange(1 << 20)
    make = all_tables if turn % 2 else ruleset
    packets = generate(number, 4000, random.choice((0.0, 0.1, 0.3)))
    times = np.cumsum(np.array([random.randrange(2_000_000) for _ in packets])) + SECOND
    results = []
    for remember in (False, True):
        for classify in (False, True):
            fw = fastfw.Engine()
            for family in (4, 6):
                enforce(fw, family, make(number, family), remember, classify)
            hook = ("FORWARD", "INPUT", "OUTPUT")[turn % 3]
            out = run(fw, packets, times=times, hook=hook)
            results.append((out, [fw._rule_counters(family).tolist() for family in (4, 6)]))
    plain, counted = results[0]
    for other, recounted in results[1:]:
        for name in ("verdict", "state", "rule", "mark", "reason"):
            differs = np.flatnonzero(plain[name] != other[name])
            assert not len(differs), f"ruleset {number}, packet {differs[0]}: {name}"
        assert counted == recounted, f"ruleset {number}"


def test_a_piece_that_stays_alone_has_its_datagrams_protocol() -> None:
    """A later IPv6 fragment that is not joined is asked for what its header names, and has no ports."""
    text = "*filter\n-A FORWARD -p tcp -m tcp --dport 0:65535\n-A FORWARD -p tcp\n-A FORWARD -p udp\nCOMMIT\n"
    fw = fastfw.Engine(rules6=fastfw.Ruleset.parse(text, 6))
    # 18 bytes into the datagram more follow: that is no multiple of eight
    head = bytes.fromhex("60000000000a2c40fd000001000000000000000000000003fd000002000000000000000000000002")
    assert fw.decide(head + bytes.fromhex("06000011000000050bb1")).state == "INVALID"
    rules = fw.ruleset(6)
    assert rules is not None
    assert [rule.packets for rule in rules.tables["filter"].chains["FORWARD"].rules] == [0, 1, 0]
