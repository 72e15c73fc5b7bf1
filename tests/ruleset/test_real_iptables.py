"""The real iptables judges the language: the same rules are taken and refused, and they are printed alike."""

from __future__ import annotations

import os
import random

import pytest

from fastfw.ruleset import Ruleset, RulesetError
from ruleset import cases, generate, judge

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(judge.unavailable()), reason=judge.unavailable() or "available"),
]


def ours(table: str, chain: str, rule: str, family: int) -> str:
    """ "" or our complaint."""
    try:
        Ruleset.parse(judge.ruleset(table, chain, [rule]), family)
    except RulesetError as error:
        return str(error)
    return ""


def differences(family: int, table: str, chain: str, rules: list[str]) -> list[str]:
    """Where the real tool and we part over some rules of one chain."""
    mine = {rule: ours(table, chain, rule, family) for rule in rules}
    taken = [rule for rule in rules if not mine[rule]]
    faults = []
    answers = judge.accepted(table, chain, taken, family)
    for index, rule in enumerate(taken):
        if answers[index]:
            faults.append(f"we take, iptables refuses: {rule}\n    {answers[index]}")
    refused = [rule for rule in rules if mine[rule]]
    complaints = judge.restore_each([judge.ruleset(table, chain, [rule]) for rule in refused], family)
    for rule, complaint in zip(refused, complaints, strict=True):
        if not complaint:
            faults.append(f"we refuse, iptables takes: {rule}\n    {mine[rule]}")
    text = judge.ruleset(table, chain, [rule for index, rule in enumerate(taken) if not answers[index]])
    assert not judge.restore(text, family)
    real = judge.save(table, family)
    written = judge.without_comments(Ruleset.parse(text, family).save())
    for left, right in zip(real.split("\n"), written.split("\n"), strict=False):
        if left != right:
            faults.append(f"iptables prints: {left}\n      we print: {right}")
    judge.restore(f"*{table}\nCOMMIT\n", family)
    return faults


def report(faults: list[str]) -> str:
    """The first of the differences."""
    return f"{len(faults)} differences\n" + "\n".join(faults[:60])


@pytest.mark.parametrize(("family", "table", "chain"), sorted(cases.CASES), ids=lambda value: str(value))
def test_case_tables(family: int, table: str, chain: str) -> None:
    """What iptables takes we take and print byte for byte, what it refuses we refuse."""
    rules = cases.rules(family, table, chain)
    rules = [rule for rule in rules if not any(word in rule for word in judge.prepare())]
    faults = differences(family, table, chain, rules)
    assert not faults, report(faults)


@pytest.mark.parametrize("answer", ["taken", "refused"])
def test_characters(answer: str) -> None:
    """What is a blank, a digit, a letter, and which numbers may have a sign, is as for the real tool."""
    faults = differences(4, "filter", "INPUT", cases.CHARACTERS[answer])
    assert not faults, report(faults)


@pytest.mark.parametrize(("family", "table", "chain"), sorted(cases.ALONE), ids=lambda value: str(value))
def test_without_the_kernel(family: int, table: str, chain: str) -> None:
    """What this kernel cannot load is taken and refused as the tool alone does."""
    faults = []
    for rule in cases.ALONE[family, table, chain]:
        mine = ours(table, chain, rule, family)
        if judge.parsed(judge.ruleset(table, chain, [rule]), family) == bool(mine):
            faults.append(f"{rule}: we say {mine or 'taken'}")
    assert not faults, report(faults)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("table", "chain"), [("filter", "INPUT"), ("mangle", "PREROUTING"), ("raw", "PREROUTING")])
def test_random_rules(family: int, table: str, chain: str) -> None:
    """Rules made at random from every option are taken, refused and printed as iptables does."""
    seed = int(os.environ.get("FASTFW_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"FASTFW_SEED={seed}")
    rng = random.Random(f"{seed} {family} {table}")
    faults = differences(family, table, chain, [generate.rule(rng, family) for _ in range(200)])
    assert not faults, report(faults)
