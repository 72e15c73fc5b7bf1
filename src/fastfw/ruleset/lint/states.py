"""Rules about the state of connections: what is taken away from those behind, what is missing, what cannot come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fastfw.ruleset.ext.ct import Ct
from fastfw.ruleset.ext.standard import Accept, Jump
from fastfw.ruleset.lint.facts import Facts, exclude, implies
from fastfw.ruleset.lint.findings import NOTE, Finding
from fastfw.ruleset.lint.order import finding, merged
from fastfw.ruleset.lint.tree import DEPTH, Asked, Tree
from fastfw.ruleset.model import Ruleset

#: Where connections begin that a helper has to read: protocol number and port.
CONTROL_PORTS = {
    (6, 21): "ftp",
    (17, 69): "tftp",
    (6, 6667): "irc",
    (17, 5060): "sip",
    (6, 5060): "sip",
    (6, 1723): "pptp",
    (17, 10080): "amanda",
    (6, 6566): "sane",
}

STEPS = 100_000
"""Rules that are looked at behind one built-in chain, each once for every way to it."""


def state_findings(ruleset: Ruleset, trees: list[Tree], helpers: set[str]) -> Iterator[Finding]:
    """What rules of a ruleset's states get wrong together."""
    for tree in trees:
        if tree.table.name != "filter":
            continue
        for name in tree.reached:
            yield from _taken(tree, name)
        accepted = {
            name: list(_accepting(tree, name, Facts(), 0, iter(range(STEPS))))
            for name, chain in tree.table.chains.items()
            if chain.policy is not None
        }
        for name, found in accepted.items():
            if tree.table.chains[name].policy == "DROP":
                yield from _no_established(tree, name, found)
        yield from _related(ruleset, tree, [one for found in accepted.values() for one in found], helpers)


def _taken(tree: Tree, name: str) -> Iterator[Finding]:
    """Rules for states that the rules before have taken, all packets of them."""
    taken: dict[str, Asked] = {}
    told = False
    for asked in tree.chains[name][: tree.end[name]]:
        facts = asked.facts
        states = facts.states()
        if "state" in facts.ranges and not facts.never and states <= taken.keys():
            takers = {str(taken[state]): None for state in sorted(states)}
            if len(takers) > 1:  # one alone is told of as a shadow
                text = f"this rule never matches: {' and '.join(takers)} take every packet in its states"
                yield finding("shadowed", tree, name, asked, text)
        elif "NEW" in taken and "state" not in facts.ranges and isinstance(asked.rule.target, Accept) and not told:
            told = True
            text = f"no connection can begin by this rule: {taken['NEW']} takes every NEW packet before it"
            yield finding("nothing-new", tree, name, asked, text)
        if asked.final and not facts.unsteady and facts.ranges.keys() == {"state"} and _only_states(facts):
            for state in states:
                taken.setdefault(state, asked)


def _only_states(facts: Facts) -> bool:
    return not (facts.interfaces or facts.atoms or facts.changeable or facts.whole)


@dataclass(slots=True)
class _Accept:
    """An accepting rule, with what must hold of packets that come to it."""

    chain: str
    asked: Asked
    facts: Facts


def _accepting(tree: Tree, name: str, so_far: Facts, depth: int, steps: Iterator[int]) -> Iterator[_Accept]:
    """The accepting rules that a chain leads to."""
    for asked, _step in zip(tree.chains[name][: tree.end[name]], steps, strict=False):
        target = asked.rule.target
        if asked.facts.never or exclude(so_far, asked.facts):
            continue
        if isinstance(target, Accept):
            yield _Accept(name, asked, merged(so_far, asked.facts))
        elif isinstance(target, Jump) and depth < DEPTH:
            yield from _accepting(tree, target.chain, merged(so_far, asked.facts), depth + 1, steps)


def _no_established(tree: Tree, name: str, accepted: list[_Accept]) -> Iterator[Finding]:
    """Under policy DROP, a connection that may begin must also be let go on."""
    if any("state" in a.facts.ranges and "ESTABLISHED" in a.facts.states() for a in accepted):
        return
    free = [a for a in accepted if "state" not in a.facts.ranges]
    for one in accepted:
        if "state" not in one.facts.ranges or "NEW" not in one.facts.states():
            continue
        if not any(implies(one.facts, _ends(a.facts)) for a in free):
            text = f"connections begin here and go no further: no rule of {name}, policy DROP, accepts ESTABLISHED"
            yield finding("no-established", tree, one.chain, one.asked, text)
            return
    if accepted and len(free) == len(accepted) and not any(a.facts.unconditional for a in free):
        chain = tree.table.chains[name]
        text = f"no rule of {name}, policy DROP, accepts ESTABLISHED: answers pass only where a rule names them"
        yield Finding("no-established", NOTE, tree.table.name, name, 0, chain.line, 2 if chain.line else 0, text)


def _ends(facts: Facts) -> Facts:
    """What a rule asks about where a packet comes from and goes to: which connections it can be for."""
    ranges = {name: allowed for name, allowed in facts.ranges.items() if name not in ("flags", "length")}
    return Facts(ranges=ranges, interfaces=facts.interfaces)


def _related(ruleset: Ruleset, tree: Tree, accepted: list[_Accept], helpers: set[str]) -> Iterator[Finding]:
    """RELATED means no more than ICMP errors unless a helper reads the connections that announce others."""
    related = [a for a in accepted if "state" in a.facts.ranges and "RELATED" in a.facts.states()]
    if not related:
        return
    attached = helpers | _attached(ruleset)
    told: set[str] = set()
    for one in accepted:
        helper = _needs(one.facts)
        if helper and helper not in attached | told and "NEW" in one.facts.states():
            told.add(helper)
            text = (
                f"{helper} connections begin here, and no helper reads them: what they announce is never RELATED; "
                f"attach one with `-t raw ... -j CT --helper {helper}'"
            )
            yield finding("related-without-helper", tree, one.chain, one.asked, text)
    if not attached and not told:
        first = related[0]
        text = "RELATED is accepted and no helper is attached: it means ICMP errors alone"
        yield replace(finding("related-without-helper", tree, first.chain, first.asked, text), level=NOTE)


def _attached(ruleset: Ruleset) -> set[str]:
    """The helpers that the ruleset's own CT rules attach; `ftp-2121`, another port's, counts as ftp."""
    raw = ruleset.tables.get("raw")
    if raw is None:
        return set()
    targets = [rule.target for chain in raw.chains.values() for rule in chain.rules]
    return {t.helper.rstrip("-0123456789") or t.helper for t in targets if isinstance(t, Ct) and t.helper}


def _needs(facts: Facts) -> str:
    """The helper for the one control port among a rule's few destination ports; "" where it asks for none."""
    protocols, ports = facts.ranges.get("protocol"), facts.ranges.get("dport")
    if not protocols or not ports:
        return ""
    for (protocol, port), helper in CONTROL_PORTS.items():
        if protocols == ((protocol, protocol),) and (port, port) in ports:
            return helper
    return ""
