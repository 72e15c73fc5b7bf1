"""Rules that can never match, and rules that change nothing: what the order of rules makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fastfw.ruleset.ext.reject import Reject
from fastfw.ruleset.ext.standard import Accept, Drop, Return
from fastfw.ruleset.lint.facts import STATE_ORDER, Facts, common, exclude, implies
from fastfw.ruleset.lint.findings import FAULT, Finding
from fastfw.ruleset.lint.tree import Asked, Tree

CALLERS = 16
"""Jumps to one chain that are looked at; a chain with more is only judged by itself."""

COMPARISONS = 100_000_000
"""Pairs of rules that are compared in one chain. In a chain of more than 10 000, one is compared with the FIRST ones,
which are mostly the widest, and with as many before it as this allows."""

FIRST = 256

_PLAIN = (Accept, Drop, Return, Reject)

_HULLS = ("source", "destination", "protocol", "sport", "dport", "state")
"""The fields by which rules that cannot imply each other are set aside quickly."""

_WHOLE = {"protocol": 0xFF, "sport": 0xFFFF, "dport": 0xFFFF, "state": len(STATE_ORDER) - 1}


def finding(kind: str, tree: Tree, chain: str, asked: Asked, text: str) -> Finding:
    """A fault of one rule."""
    return Finding(kind, FAULT, tree.table.name, chain, asked.number, asked.rule.line, asked.rule.column, text)


def order_findings(tree: Tree) -> Iterator[Finding]:
    """A table's unused chains, and its unreachable, contradictory, shadowed and redundant rules."""
    searches = {name: _Search(chain[: tree.end[name]], tree.family) for name, chain in tree.chains.items()}
    for name, chain in tree.chains.items():
        end = tree.end[name]
        if name not in tree.reached:
            yield _unused(tree, name)
        if end < len(chain):
            rest = len(chain) - end
            more = f", nor can the {rest - 1} behind it" if rest > 1 else ""
            text = f"no packet comes here{more}: {chain[end - 1]} ends every packet's way through the chain"
            yield finding("unreachable", tree, name, chain[end], text)
        for at, asked in enumerate(chain[:end]):
            text = asked.facts.never or _excluded_by_callers(tree, name, asked)
            if text:
                yield finding("contradictory", tree, name, asked, f"this rule can never match: {text}")
                continue
            text = _shadow(tree, searches, name, at)
            if text:
                yield finding("shadowed", tree, name, asked, f"this rule never matches: {text}")
        yield from _redundant(tree, name, chain[:end])


def _unused(tree: Tree, name: str) -> Finding:
    chain = tree.table.chains[name]
    text = f"no packet comes to chain `{name}': no rule that can be reached jumps to it"
    return Finding("unused-chain", FAULT, tree.table.name, name, 0, chain.line, 2 if chain.line else 0, text)


def _excluded_by_callers(tree: Tree, name: str, asked: Asked) -> str:
    """Why no jump to the chain brings a packet that the rule asks for."""
    callers = tree.callers[name]
    if not callers or len(callers) > CALLERS or (asked.facts.unsteady and tree.table.name == "raw"):
        return ""
    why = ""
    for caller, at in callers:
        jump = tree.chains[caller][at]
        why = exclude(jump.facts, asked.facts)
        if not why:
            return ""
    if len(callers) == 1:
        return f"{jump}, the only jump here, asks for another {why}"
    return f"every jump here asks for something that excludes it, such as {jump} for another {why}"


def _shadow(tree: Tree, searches: dict[str, _Search], name: str, at: int) -> str:
    """Which earlier rule takes everything that this one asks for."""
    asked = tree.chains[name][at]
    found = searches[name].implied_by(asked.facts, at)
    if found is not None:
        return f"{found} takes every packet that it asks for"
    callers = tree.callers[name]
    if tree.table.chains[name].policy is not None or not callers or len(callers) > CALLERS:
        return ""
    why = ""
    for caller, place in callers:
        jump = tree.chains[caller][place]
        both = merged(jump.facts, asked.facts)
        found = searches[caller].implied_by(both, place)
        if found is None:
            return ""
        why = f"{found}, before the jump at {jump}, takes every packet that it asks for"
    return why


def merged(one: Facts, other: Facts) -> Facts:
    """What must hold of a packet that meets both."""
    both = Facts(atoms=one.atoms | other.atoms, whole=one.whole or other.whole, either=one.either + other.either)
    both.ranges = dict(one.ranges)
    for name, allowed in other.ranges.items():
        both.ranges[name] = common(both.ranges[name], allowed) if name in both.ranges else allowed
    for facts in (one, other):
        for name, patterns in facts.interfaces.items():
            both.interfaces[name] = both.interfaces.get(name, []) + patterns
    return both


class _Search:
    """Finds among a chain's final rules one that another rule implies, without comparing every pair in full."""

    def __init__(self, chain: list[Asked], family: int) -> None:
        self._chain = chain
        self._shift = 64 if family == 6 else 0
        finals = [at for at, asked in enumerate(chain) if asked.final and not asked.facts.unsteady]
        self._places = np.array(finals, np.int64)
        self._window = COMPARISONS // max(1, len(chain))
        changes = np.cumsum([0, *(not asked.harmless for asked in chain)])
        self._changes: list[int] = changes.tolist()
        hulls = [self._hull(chain[at].facts) for at in finals]
        self._low: npt.NDArray[np.uint64] = np.array([h[0] for h in hulls], np.uint64).reshape(-1, len(_HULLS))
        self._high: npt.NDArray[np.uint64] = np.array([h[1] for h in hulls], np.uint64).reshape(-1, len(_HULLS))

    def _hull(self, facts: Facts) -> tuple[list[int], list[int]]:
        """The lowest and the highest number of each field; of IPv6 addresses the upper half."""
        low, high = [], []
        for name in _HULLS:
            ranges = facts.ranges.get(name)
            shift = self._shift if name in ("source", "destination") else 0
            whole = _WHOLE.get(name, (1 << 64) - 1)
            low.append(ranges[0][0] >> shift if ranges else 0)
            high.append(ranges[-1][1] >> shift if ranges else whole)
        return low, high

    def implied_by(self, facts: Facts, before: int) -> Asked | None:
        """The first final rule before a place that every packet meeting `facts` meets; None: there is none such."""
        count = int(np.searchsorted(self._places, before))
        if not count:
            return None
        low, high = (np.array(ends, np.uint64) for ends in self._hull(facts))
        near = max(FIRST, count - self._window)
        for part in (slice(0, min(FIRST, count)), slice(near, count)):
            wide = (self._low[part] <= low) & (self._high[part] >= high)
            for index in np.flatnonzero(wide.all(axis=1)).tolist():
                at = int(self._places[part.start + index])
                if implies(facts, self._chain[at].facts, changed=self._changes[at] != self._changes[before]):
                    return self._chain[at]
        return None


def _redundant(tree: Tree, name: str, chain: list[Asked]) -> Iterator[Finding]:
    """Rules whose packets a later rule would treat just so, with nothing between that would treat them otherwise."""
    start = 0
    while start < len(chain):
        target = chain[start].rule.target
        end = start + 1
        while (
            end < len(chain)
            and isinstance(target, Accept | Drop | Return | Reject)
            and chain[end].rule.target == target
        ):
            end += 1
        run = list(reversed(chain[start:end]))
        if len(run) > 1:
            search = _Search(run, tree.family)
            for at, asked in enumerate(run):
                if asked.facts.never or asked.facts.unsteady:
                    continue
                later = search.implied_by(asked.facts, at)
                if later is not None and not implies(later.facts, asked.facts):
                    text = f"without this rule the same would happen: {later} does it to all of its packets"
                    yield finding("redundant", tree, name, asked, text)
        start = end
