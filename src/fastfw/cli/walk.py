"""A watched packet's way through the rules, step by step: what each rule asked, what it met, what followed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastfw.cli.headers import Headers
from fastfw.cli.values import Facts, value
from fastfw.core.explain import Watched
from fastfw.core.rules import Rules
from fastfw.core.terms import Hook
from fastfw.declared import Declared
from fastfw.ruleset import Ruleset
from fastfw.ruleset.compile import Compiler
from fastfw.ruleset.ext.standard import Jump, Return
from fastfw.ruleset.lower.program import Predicate
from fastfw.ruleset.model import Rule
from fastfw.sets.store import Store

Interfaces = tuple[str, str]
"""The names of the incoming and of the outgoing one."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a rule. `held` is None where an earlier one had failed already; `values` is what it met."""

    text: str
    held: bool | None
    values: str


@dataclass(frozen=True, slots=True)
class Step:
    """One rule, policy or end of a chain that the packet came to.

    `kind` is rule, policy or return; `number` counts from 1 in the chain; `line` is the ruleset's, 0 without one;
    `depth` counts the jumps to come back from. `then` is what followed.
    """

    table: str
    chain: str
    kind: str
    number: int
    line: int
    depth: int
    text: str
    held: bool
    checks: tuple[Check, ...]
    then: str

    @property
    def name(self) -> str:
        """As TRACE names it."""
        return f"{self.table}:{self.chain}:{self.kind}:{self.number}"


class Walk:
    """Reads visits as steps."""

    def __init__(
        self,
        ruleset: Ruleset,
        rules: Rules,
        watched: Watched,
        hook: int,
        interfaces: tuple[str, str],
        declared: Declared,
        sets: Store | None = None,
        link: np.void | None = None,
    ) -> None:
        self._ruleset = ruleset
        self._chains = rules.chains
        self._watched = watched
        self._hook = hook
        self._in_interface, self._out_interface = interfaces
        self._compiler = Compiler(ruleset, lambda name: 0, declared, sets=sets)
        w = watched
        self._link = link
        self._headers = Headers(w.family, w.protocol, w.length, w.fragment, w.ip, w.transport)

    def steps(self) -> Iterator[Step]:
        """The steps in the packet's order."""
        depth = 0
        base = ""
        for visit in self._watched.visits:
            table, name, first, end = self._chain_of(int(visit["rule"]))
            number = int(visit["rule"]) - first + 1
            chain = self._ruleset.tables[table].chains[name]
            if int(visit["rule"]) == end:
                kind = "policy" if chain.policy else "return"
                depth = 0 if chain.policy else depth
                text = f"-P {name} {chain.policy}" if chain.policy else f"end of {name}"
                then = chain.policy or ("return" if depth else "the policy follows")
                yield Step(table, name, kind, number, 0, depth, text, True, (), then)
                depth = max(0, depth - 1)
                continue
            if chain.policy:
                depth = 0
                base = name
            rule = chain.rules[number - 1]
            text = f"-A {name}{rule.save(self._ruleset.family)}"
            checks = tuple(self._checks(rule, visit, base))
            then, change = self._outcome(rule, visit, depth)
            yield Step(table, name, "rule", number, rule.line, depth, text, bool(visit["held"]), checks, then)
            depth = max(0, depth + change)

    def _chain_of(self, index: int) -> tuple[str, str, int, int]:
        low, high = 0, len(self._chains) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._chains[middle][2] <= index else (low, middle - 1)
        return self._chains[low]

    def _outcome(self, rule: Rule, visit: np.void, depth: int) -> tuple[str, int]:
        """What follows, and how many jumps more there are to come back from."""
        if visit["hotdrop"]:
            return "DROP, for a header that cannot be read", 0
        if not visit["held"]:
            return "next rule", 0
        target = rule.target
        if isinstance(target, Jump):
            return (f"go to {target.chain}", 0) if rule.goto else (f"jump to {target.chain}", 1)
        if isinstance(target, Return):
            return ("return", -1) if depth else ("the policy follows", 0)
        if target is None:
            return "counted, next rule", 0
        if target.name in ("ACCEPT", "DROP", "REJECT", "QUEUE", "NFQUEUE"):
            return target.name, 0
        return f"{target.name}, next rule", 0

    def _parts(self, rule: Rule) -> Iterator[tuple[str, list[Predicate]]]:
        """A rule's conditions in the kernel's order: the text and the predicates of each."""
        family = self._ruleset.family
        for alone in (
            Rule(source=rule.source),
            Rule(destination=rule.destination),
            Rule(in_interface=rule.in_interface),
            Rule(out_interface=rule.out_interface),
            Rule(protocol=rule.protocol, protocol_invert=rule.protocol_invert),
            Rule(fragment=rule.fragment, fragment_invert=rule.fragment_invert),
            *(Rule(matches=[match]) for match in rule.matches),
        ):
            text = alone.save(family).strip()
            if text:
                yield text, self._compiler.conditions(alone)

    def _checks(self, rule: Rule, visit: np.void, base: str) -> Iterator[Check]:
        w = self._watched
        into = "" if self._hook == Hook.HOOK_OUTPUT else self._in_interface
        out = "" if base in ("PREROUTING", "INPUT") else self._out_interface
        facts = Facts(self._headers, visit, into, out, w.decision.direction, w.key, self._link)
        asked = int(visit["asked"])
        failed = asked - 1 if not visit["held"] else -1
        at = 0
        for text, predicates in self._parts(rule):
            places = range(at, at + len(predicates))
            at = places.stop
            held: bool | None = True
            if failed in places:
                held = False
            elif failed >= 0 and places.start > failed:
                held = None
            met = [value(p, i != failed, facts) for i, p in zip(places, predicates, strict=True) if i < asked]
            yield Check(text, held, ", ".join(dict.fromkeys(filter(None, met))))
