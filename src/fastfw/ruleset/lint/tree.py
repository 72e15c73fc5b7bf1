"""A table's chains with what their rules ask, who jumps where, and what can be reached at all."""

from __future__ import annotations

from dataclasses import dataclass

from fastfw.ruleset.ext.standard import Jump, Return
from fastfw.ruleset.lint.facts import Facts, facts_of
from fastfw.ruleset.model import Chain, Rule, Table

#: Targets after which a packet that met the rule never sees the chain's next one. Going to a chain does the same.
# fmt: off
FINAL = frozenset({
    "ACCEPT", "DROP", "RETURN", "QUEUE", "REJECT", "NFQUEUE", "DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP",
})
# fmt: on

DEPTH = 100
"""Jumps within jumps that are followed."""

#: Targets that leave the packet, its connection and every set and list as they were.
HARMLESS = FINAL | {"LOG", "NFLOG", "AUDIT"}


@dataclass(slots=True)
class Asked:
    """A rule with its place and what it asks."""

    rule: Rule
    number: int
    facts: Facts
    final: bool
    harmless: bool

    def __str__(self) -> str:
        return f"line {self.rule.line}" if self.rule.line else f"rule {self.number}"


class Tree:
    """One table, looked through once."""

    def __init__(self, table: Table, family: int) -> None:
        self.table = table
        self.family = family
        self._deciding: dict[str, bool] = {}
        self._facts = {name: [facts_of(rule, family) for rule in chain.rules] for name, chain in table.chains.items()}
        self.chains: dict[str, list[Asked]] = {}
        self.callers: dict[str, list[tuple[str, int]]] = {name: [] for name in table.chains}
        for chain in table.chains.values():
            pairs = zip(chain.rules, self._facts[chain.name], strict=True)
            self.chains[chain.name] = [self._asked(number, *pair) for number, pair in enumerate(pairs, 1)]
        self.end: dict[str, int] = {name: self._end(asked) for name, asked in self.chains.items()}
        self.reached = self._reach()
        for name in self.reached:
            for at, asked in enumerate(self.chains[name][: self.end[name]]):
                if isinstance(asked.rule.target, Jump):
                    self.callers[asked.rule.target.chain].append((name, at))

    def _asked(self, number: int, rule: Rule, facts: Facts) -> Asked:
        target = rule.target
        if self.table.name == "raw" and "state" in facts.ranges:
            facts.unsteady = True  # NOTRACK changes the state on the way
        if isinstance(target, Jump):
            return Asked(rule, number, facts, rule.goto or self.decides(target.chain), False)
        name = target.name if target is not None else ""
        return Asked(rule, number, facts, name in FINAL, not name or name in HARMLESS)

    def decides(self, name: str, depth: int = 0) -> bool:
        """Whether every packet that enters a user's chain gets its verdict there; False: too deep to tell."""
        if name not in self._deciding:
            if depth > DEPTH:
                return False
            self._deciding[name] = self._decides(self.table.chains[name], depth)
        return self._deciding[name]

    def _decides(self, chain: Chain, depth: int) -> bool:
        for rule, facts in zip(chain.rules, self._facts[chain.name], strict=True):
            target = rule.target
            always = facts.unconditional
            if isinstance(target, Return) or (rule.goto and not always):
                return False  # some packets may come back from here
            if isinstance(target, Jump):
                if always and self.decides(target.chain, depth + 1):
                    return True
                if always and rule.goto:
                    return False
            elif always and target is not None and target.name in FINAL:
                return True
        return False

    @staticmethod
    def _end(chain: list[Asked]) -> int:
        """How many of a chain's rules can be reached: those up to the first that ends every packet's way."""
        for at, asked in enumerate(chain):
            if asked.final and asked.facts.unconditional:
                return at + 1
        return len(chain)

    def _reach(self) -> dict[str, None]:
        """The chains that packets can come to, in order of discovery."""
        reached = {name: None for name, chain in self.table.chains.items() if chain.policy is not None}
        waiting = list(reached)
        while waiting:
            name = waiting.pop()
            for asked in self.chains[name][: self.end[name]]:
                target = asked.rule.target
                if isinstance(target, Jump) and target.chain not in reached and not asked.facts.never:
                    reached[target.chain] = None
                    waiting.append(target.chain)
        return reached
