"""What is wrong with rulesets that can be loaded: each kind of finding, and that none is ever told in error."""

from __future__ import annotations

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.traffic.generate import generate
from tests.traffic.rulesets import ruleset as random_ruleset

import fastfw
from fastfw.ruleset.lint import FAULT, NOTE, lint

BUILT_IN = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]"


def parsed(*lines: str, table: str = "filter", family: int = 4) -> fastfw.Ruleset:
    return fastfw.Ruleset.parse("\n".join([f"*{table}", *lines, "COMMIT", ""]), family)


def kinds(*lines: str, table: str = "filter", family: int = 4) -> list[tuple[str, int]]:
    """(kind, line) of every finding; the first of `lines` is line 1."""
    return [(f.kind, f.line - 1) for f in lint(parsed(*lines, table=table, family=family))]


SHADOWED = [
    ("-A INPUT -p tcp -j DROP", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
    ("-A INPUT -s 10.0.0.0/8 -j DROP", "-A INPUT -s 10.1.0.0/16 -p udp -j ACCEPT"),
    ("-A INPUT ! -s 10.0.0.0/8 -j DROP", "-A INPUT -s 11.0.0.1 -j ACCEPT"),
    ("-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP", "-A INPUT -s 10.0.0.4/30 -j ACCEPT"),
    ("-A INPUT -i eth+ -j DROP", "-A INPUT -i eth0 -j ACCEPT"),
    ("-A INPUT ! -i lo -j DROP", "-A INPUT -i eth0 -j ACCEPT"),
    ("-A INPUT -p tcp -m multiport --dports 20:30 -j DROP", "-A INPUT -p tcp -m tcp --dport 22:25 -j ACCEPT"),
    ("-A INPUT -p tcp -m multiport --ports 22,25 -j DROP", "-A INPUT -p tcp -m tcp --sport 25 -j ACCEPT"),
    ("-A INPUT -m state --state NEW,RELATED -j DROP", "-A INPUT -m conntrack --ctstate NEW -j ACCEPT"),
    ("-A INPUT -p tcp -m tcp ! --syn -j DROP", "-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK ACK -j ACCEPT"),
    ("-A INPUT -p icmp -m icmp --icmp-type 3 -j DROP", "-A INPUT -p icmp -m icmp --icmp-type 3/4 -j ACCEPT"),
    ("-A INPUT -m length --length 0:99 -j DROP", "-A INPUT -m length --length 40 -j ACCEPT"),
    ("-A INPUT -m mark --mark 1 -j DROP", "-A INPUT -p tcp -m mark --mark 1 -j ACCEPT"),
    ("-A INPUT -p tcp -g x", "-A INPUT -p tcp -j ACCEPT"),
    ("-A INPUT -m ttl --ttl-lt 5 -j RETURN", "-A INPUT -m ttl --ttl-lt 5 -m limit --limit 1/s -j ACCEPT"),
]

OPEN = [
    ("-A INPUT -p tcp -m tcp --dport 22 -j DROP", "-A INPUT -p tcp -j ACCEPT"),
    ("-A INPUT -p tcp -m tcp --dport 0:65535 -j DROP", "-A INPUT -p tcp -j ACCEPT"),  # later fragments have no port
    ("-A INPUT -p tcp -m limit --limit 1/s -j DROP", "-A INPUT -p tcp -j ACCEPT"),
    ("-A INPUT -p tcp -j LOG", "-A INPUT -p tcp -j ACCEPT"),
    ("-A INPUT -p tcp -j x", "-A INPUT -p tcp -j ACCEPT"),
    ("-A INPUT -i eth0 -j DROP", "-A INPUT -i eth+ -j ACCEPT"),
    ("-A INPUT ! -i eth0 -j DROP", "-A INPUT -i eth+ -j ACCEPT"),
    ("-A INPUT -s 10.0.0.0/8 -j DROP", "-A INPUT ! -s 10.0.0.0/9 -j ACCEPT"),
    ("-A INPUT -m state --state NEW -j DROP", "-A INPUT -m state ! --state ESTABLISHED -j DROP"),
    ("-A INPUT -m conntrack --ctdir REPLY -j DROP", "-A INPUT -m conntrack --ctstate NEW --ctdir REPLY -j ACCEPT"),
    ("-A INPUT -m statistic --mode random --probability 0.5 -j DROP", "-A INPUT -m state --state NEW -j ACCEPT"),
    ("-A INPUT -m recent --rcheck -j DROP", "-A INPUT -m recent --rcheck -j ACCEPT"),
]


@pytest.mark.parametrize("rules", SHADOWED)
def test_shadowed(rules: tuple[str, str]) -> None:
    """A rule all of whose packets an earlier one takes is shadowed, whatever the words they are asked for in."""
    assert ("shadowed", 3) in kinds(":x - [0:0]", *rules, "-A x -p udp -j DROP")


@pytest.mark.parametrize("rules", OPEN)
def test_not_shadowed(rules: tuple[str, str]) -> None:
    """A rule that some packet may still come to is not called shadowed, nor redundant."""
    found = [kind for kind, line in kinds(":x - [0:0]", *rules, "-A x -p udp -j DROP") if line == 3]
    assert "shadowed" not in found
    assert "redundant" not in found


def test_mark_changed_on_the_way_is_not_shadowed() -> None:
    """A rule for a mark is not shadowed by the same rule where a MARK target stands between."""
    rules = ["-A PREROUTING -m mark --mark 1 -j ACCEPT", "-A PREROUTING -m mark --mark 1 -j DROP"]
    assert kinds(*rules, table="mangle") == [("shadowed", 2)]
    assert kinds(rules[0], "-A PREROUTING -p udp -j MARK --set-mark 1", rules[1], table="mangle") == []


def test_shadowed_through_a_jump() -> None:
    """A user chain's rule is shadowed where every jump there comes behind a rule that takes its packets."""
    lines = [":a - [0:0]", "-A INPUT -p tcp -m tcp --dport 22 -j DROP", "-A INPUT -p tcp -j a"]
    rule = "-A a -p tcp -m tcp --dport 22 -j ACCEPT"
    assert ("shadowed", 4) in kinds(*lines, rule)
    assert ("shadowed", 5) not in kinds(*lines, "-A FORWARD -p tcp -j a", rule)


@pytest.mark.parametrize(
    "rule",
    [
        "-A INPUT -s 10.0.0.0/8 -m iprange --src-range 192.168.0.1-192.168.0.9 -j ACCEPT",
        "-A INPUT -p tcp -m tcp --tcp-flags SYN ACK -j DROP",
        "-A INPUT -p tcp -m tcp --dport 22 -m multiport --dports 80,443 -j DROP",
        "-A INPUT -m state --state NEW -m conntrack --ctstate ESTABLISHED -j DROP",
        "-A INPUT ! -s 0.0.0.0/0 -j DROP",
        "-A INPUT -f -p udp -m udp --dport 53 -j DROP",
        "-A INPUT -m length --length 0:99 -m length --length 100 -j DROP",
    ],
)
def test_contradictory(rule: str) -> None:
    """A rule whose conditions exclude each other is told of."""
    assert ("contradictory", 1) in kinds(rule)


def test_contradictory_to_every_jump() -> None:
    """A rule that no jump to its chain brings a packet for is contradictory; one more jump makes it sound."""
    lines = [":a - [0:0]", "-A INPUT -i eth0 -j a", "-A a -i eth1 -j DROP"]
    assert kinds(*lines) == [("contradictory", 3)]
    assert kinds(*lines, "-A FORWARD -j a") == []


def test_unreachable() -> None:
    """What stands behind a rule that ends every packet's way is unreachable, a jump to a chain that decides too."""
    assert kinds("-A INPUT -j DROP", "-A INPUT -p tcp -j ACCEPT") == [("unreachable", 2)]
    lines = [":a - [0:0]", "-A INPUT -j a", "-A INPUT -p tcp -j ACCEPT", "-A a -p udp -j ACCEPT"]
    assert kinds(*lines, "-A a -j DROP") == [("unreachable", 3)]
    assert kinds(*lines, "-A a -p tcp -j RETURN", "-A a -j DROP") == []


def test_unused_chains() -> None:
    """A chain nobody jumps to is told of, and one that only such a chain jumps to."""
    assert kinds(":a - [0:0]", ":b - [0:0]", "-A a -j b") == [("unused-chain", 1), ("unused-chain", 2)]


def test_redundant() -> None:
    """A rule is redundant where a later one does the same to more, and only rules that do the same stand between."""
    lines = ["-A INPUT -s 10.0.0.1 -j ACCEPT", "-A INPUT -s 10.0.0.0/8 -j ACCEPT"]
    assert kinds(*lines) == [("redundant", 1)]
    assert kinds(lines[0], "-A INPUT -p tcp -j DROP", lines[1]) == []


def test_states_taken_by_several_rules() -> None:
    """A rule for states that two rules together have taken is shadowed by both."""
    takers = [f"-A INPUT -m state --state {state} -j DROP" for state in ("NEW", "INVALID")]
    assert kinds(*takers, "-A INPUT -m state --state NEW,INVALID -j ACCEPT") == [("shadowed", 3)]


def test_nothing_can_be_new() -> None:
    """An accepting rule behind one that takes all NEW packets lets no connection begin."""
    assert kinds("-A INPUT -m state --state NEW -j DROP", "-A INPUT -p tcp -j ACCEPT") == [("nothing-new", 2)]
    assert kinds("-A INPUT -i eth1 -m state --state NEW -j DROP", "-A INPUT -p tcp -j ACCEPT") == []


def test_missing_established() -> None:
    """Under policy DROP, rules that let connections begin want one that lets them go on."""
    lines = [":INPUT DROP [0:0]", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p tcp -m state --state NEW -j ACCEPT"]
    assert kinds(*lines) == [("no-established", 3)]
    assert kinds(*lines, "-A INPUT -m state --state ESTABLISHED -j ACCEPT") == []
    assert kinds(*lines, "-A INPUT -p tcp -m tcp ! --syn -j ACCEPT") == []
    assert [f.level for f in lint(parsed(*lines[:2]))] == [NOTE]


def test_related_without_helper() -> None:
    """A control port let in without its helper is a fault, RELATED without any helper a note; a CT rule settles it."""
    rules = [
        "*filter", "-A INPUT -p tcp -m tcp --dport 21 -m state --state NEW -j ACCEPT",
        "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT", "COMMIT", "",
    ]  # fmt: skip
    raw = ["*raw", "-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp", "COMMIT"]

    def levels(lines: list[str], helpers: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        return [(f.kind, f.level) for f in lint(fastfw.Ruleset.parse("\n".join(lines)), helpers)]

    assert levels(rules) == [("related-without-helper", FAULT)]
    assert levels(rules, ("tftp",)) == [("related-without-helper", FAULT)]
    assert levels(rules, ("ftp",)) == []
    assert levels(raw + rules) == []
    assert levels([rules[0], *rules[2:]]) == [("related-without-helper", NOTE)]


def test_ipv6_addresses_are_told_apart_in_full() -> None:
    """IPv6 networks that differ in their lower half only do not shadow each other."""
    lines = [
        "-A INPUT -s 2001:db8::1 -j DROP",
        "-A INPUT -s 2001:db8::2 -j ACCEPT",
        "-A INPUT -s 2001:db8::1 -j ACCEPT",
    ]
    assert kinds(*lines, family=6) == [("shadowed", 3)]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("seed", range(25))
def test_what_never_matches_never_does(family: int, seed: int) -> None:
    """Of random rulesets, what is called shadowed, contradictory or unreachable counts nothing of random traffic, and
    without a rule called redundant every verdict stays."""
    text = random_ruleset(seed + 5000, family, rules=60)
    rules = fastfw.Ruleset.parse(text, family)
    findings = lint(rules)
    packets, times = traffic(seed, family)
    before = judged(rules, packets, times)
    chains = before[1].tables["filter"].chains
    for f in findings:
        if f.kind in ("shadowed", "contradictory"):
            assert chains[f.chain].rules[f.rule - 1].packets == 0, (f, text)
        elif f.kind == "unreachable":
            assert all(rule.packets == 0 for rule in chains[f.chain].rules[f.rule - 1 :]), (f, text)
        elif f.kind == "unused-chain":
            assert all(rule.packets == 0 for rule in chains[f.chain].rules), (f, text)
    redundant = [f for f in findings if f.kind == "redundant"]
    for f in redundant[:3]:
        less = fastfw.Ruleset.parse(text, family)
        del less.tables["filter"].chains[f.chain].rules[f.rule - 1]
        assert np.array_equal(judged(less, packets, times)[0], before[0]), (f, text)


def traffic(seed: int, family: int) -> tuple[list[bytes], np.ndarray]:
    packets = generate(seed, 1500, families=(family,))
    return packets, np.arange(len(packets)) * 1_000_000 + 10**18


def judged(rules: fastfw.Ruleset, packets: list[bytes], times: np.ndarray) -> tuple[np.ndarray, fastfw.Ruleset]:
    fw = fastfw.Engine(**{f"rules{rules.family}": rules})  # type: ignore[arg-type]
    out = fw.process(*pack(packets), times, iif="eth0", oif="eth1")
    counted = fw.ruleset(rules.family)
    assert counted is not None
    return out["verdict"], counted


def test_findings_of_many_rules_come_in_seconds() -> None:
    """A ruleset of 5 000 rules is looked through in full, and the one shadowed rule at its end is found."""
    lines = [f"-A INPUT -s 10.{i >> 8}.{i & 255}.1 -p tcp -m tcp --dport {i % 999 + 1} -j DROP" for i in range(5000)]
    assert kinds(*lines, "-A INPUT -s 10.3.7.1 -p tcp -m tcp --dport 776 -m comment --comment x -j ACCEPT") == [
        ("shadowed", 5001)
    ]
