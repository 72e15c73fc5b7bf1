"""From the model to the core's program: what is evaluated, in which order, and what is refused."""

from __future__ import annotations

import time
import warnings

import pytest

import fastfw
from fastfw.core.program import OPS
from fastfw.ruleset import RulesetError, RulesetNotice
from fastfw.ruleset.compile import compile_ruleset, steady_first
from fastfw.ruleset.lower.amounts import credits
from fastfw.ruleset.lower.program import predicate

ZONE = "-A OUTPUT -j CT --zone-orig 5"


def filter_rules(*lines: str, family: int = 4) -> fastfw.Ruleset:
    return fastfw.Ruleset.parse("\n".join(["*filter", *lines, "COMMIT", ""]), family)


def raw_rules(*lines: str, family: int = 4) -> fastfw.Ruleset:
    return fastfw.Ruleset.parse("\n".join(["*raw", *lines, "COMMIT", ""]), family)


def test_what_cannot_be_evaluated_is_refused_with_its_place() -> None:
    """A target the engine cannot carry out is an error that names it and where it stands, never a rule left out."""
    rules = raw_rules("-A OUTPUT -j ACCEPT", ZONE)
    with pytest.raises(RulesetError, match="zone of one direction") as caught:
        compile_ruleset(rules)
    assert caught.value.line == 3
    with pytest.raises(RulesetError, match="`CT'"):
        fastfw.Engine(rules4=rules)


@pytest.mark.parametrize(
    "match",
    ["owner --uid-owner 0", "cgroup --cgroup 1", "cpu ! --cpu 0", "policy --dir out --pol ipsec", "realm --realm 1",
     'bpf --bytecode "2,48 0 0 4294963208,22 0 0 0"', "time --timestart 00:00 --kerneltz"],
)  # fmt: skip
def test_what_only_the_hosts_kernel_knows_is_as_declared(match: str) -> None:
    """Such a match does not hold and is told of once, with its first line; or it holds, or not, as declared."""
    rule = f"-A OUTPUT -m {match} -j DROP"
    rules = filter_rules("-A OUTPUT", rule, rule)
    name = match.split()[0]
    with pytest.warns(RulesetNotice, match=f"`{name}' is taken not to hold") as told:
        undeclared = fastfw.Engine(rules4=rules)
    assert [warning.message.line for warning in told] == [3]  # type: ignore[union-attr]
    packet = bytes.fromhex("4500001c00000000401166cf0a0000010a0000020001000200080000")
    assert undeclared.decide(packet, hook="OUTPUT").verdict == "ACCEPT"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for holds, verdict in ((True, "DROP"), (False, "ACCEPT")):
            fw = fastfw.Engine(rules4=rules, assume={name: holds})
            assert fw.decide(packet, hook="OUTPUT").verdict == verdict


def test_the_kernels_zone_moves_the_days() -> None:
    """With a declared time zone `time --kerneltz' reads the clock there, east of UTC being ahead of it."""
    rules = filter_rules("-A OUTPUT -m time --timestart 01:00 --timestop 02:00 --kerneltz -j DROP")
    packet = bytes.fromhex("4500001c00000000401166cf0a0000010a0000020001000200080000")
    midnight = 86_400 * 10**9 * 20_000
    for zone, verdict in ((90, "DROP"), (0, "ACCEPT"), (-90, "ACCEPT"), (-22 * 60 - 30, "DROP")):
        fw = fastfw.Engine(rules4=rules, time_zone=zone)
        assert fw.decide(packet, hook="OUTPUT", now=midnight).verdict == verdict, zone


def test_failed_replacement_changes_nothing() -> None:
    """When one of two rulesets is refused, neither is put in force."""
    good, bad = filter_rules("-A FORWARD -j DROP"), raw_rules(ZONE, family=6)
    fw = fastfw.Engine()
    with pytest.raises(RulesetError):
        fw.replace(rules4=good, rules6=bad)
    assert fw.ruleset(4) is None


def test_ruleset_of_the_other_family_is_refused() -> None:
    """IPv6 rules cannot be put in IPv4's place."""
    with pytest.raises(TypeError, match="family 4"):
        fastfw.Engine(rules4=filter_rules(family=6))


def test_rules_have_traces_names() -> None:
    """Rules, policies and the ends of user chains are named as TRACE names them."""
    program = compile_ruleset(filter_rules(":u - [0:0]", "-A FORWARD -j u", "-A FORWARD", "-A u -j DROP"))
    names = [program.rule_name(index) for index in range(7)]
    assert names == [
        "filter:INPUT:policy:1",
        "filter:FORWARD:rule:1",
        "filter:FORWARD:rule:2",
        "filter:FORWARD:policy:3",
        "filter:OUTPUT:policy:1",
        "filter:u:rule:1",
        "filter:u:return:2",
    ]
    with pytest.raises(IndexError):
        program.rule_name(7)


def test_tests_of_the_connection_come_first_but_never_past_what_remembers() -> None:
    """Order changes only where nobody can tell: what counts how often it is asked keeps its place."""
    length, limit = predicate("LENGTH", 1, 2), predicate("LIMIT", 0)
    protocol, mark = predicate("PROTOCOL", 6), predicate("MARK", 1, 1)
    assert steady_first([length, protocol, mark]) == ([protocol, mark, length], 2)
    assert steady_first([length, limit, protocol]) == ([length, limit, protocol], 0)
    assert steady_first([length, protocol, limit, mark]) == ([protocol, length, limit, mark], 1)
    assert OPS["LIMIT"] > OPS["STATEFUL"] > OPS["LENGTH"] > OPS["STEADY"] > OPS["MARK"]


@pytest.mark.parametrize(("interval", "expected"), [(10_000, 32_000), (1, 3), (864_000_000, 86_400 * 32_000)])
def test_limits_count_in_the_kernels_credits(interval: int, expected: int) -> None:
    """A second is worth 32 000 credits; long intervals lose their fractions, as in 32 bits they must."""
    assert credits(interval) == expected


def test_counters_of_the_text_are_where_counting_begins() -> None:
    """A text's own counters are kept, and written back beside their rules."""
    fw = fastfw.Engine(rules4=filter_rules(":FORWARD DROP [7:70]", "[3:30] -A FORWARD -p udp -j ACCEPT"))
    text = fw.counters_text()
    assert "[3:30] -A FORWARD -p udp -j ACCEPT" in text
    assert ":FORWARD DROP [7:70]" in text
    assert fw.counters_text(6) == ""


def test_ten_thousand_rules_compile_soon(patience: int) -> None:
    """Loading a large ruleset takes no more than a moment, on a slow machine too."""
    lines = [
        f"-A FORWARD -s 10.{i >> 8}.{i & 255}.0/24 -d 10.9.{i % 200}.{i % 250}/32 -p tcp -m tcp --dport {i} -j ACCEPT"
        for i in range(10_000)
    ]
    rules = filter_rules(*lines)
    start = time.process_time()
    compile_ruleset(rules)
    assert time.process_time() - start < 2 * patience


def test_what_is_not_done_as_the_kernel_does_it_is_warned_of_once() -> None:
    """An engine takes table nat, keeps it, and warns of it with the place of its first rule."""
    text = "*filter\nCOMMIT\n*nat\n-A POSTROUTING -j MASQUERADE\n-A POSTROUTING -j SNAT --to-source 1.2.3.4\nCOMMIT\n"
    rules = fastfw.Ruleset.parse(text)
    with pytest.warns(RulesetNotice, match="addresses are not rewritten") as told:
        engine = fastfw.Engine(rules4=rules)
    assert [(str(one.message), one.filename) for one in told] == [
        ("4:1: table nat is kept but not evaluated: addresses are not rewritten here", __file__)
    ]
    kept = engine.ruleset()
    assert kept is not None
    assert kept.save() == rules.save()
