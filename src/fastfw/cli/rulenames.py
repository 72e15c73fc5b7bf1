"""Names and texts for the rule numbers of decisions."""

from __future__ import annotations

from fastfw.cli.names import ABSENT
from fastfw.engine import Engine
from fastfw.ruleset import Ruleset


class RuleNames:
    """What the numbers in an engine's results mean, in terms of the rulesets it was given."""

    def __init__(self, engine: Engine, rules4: Ruleset | None, rules6: Ruleset | None) -> None:
        self._engine = engine
        self._rules = {4: rules4, 6: rules6}

    def name(self, family: int, rule: int) -> str:
        """The rule or policy that decided, as TRACE names it (`filter:INPUT:rule:3`); ABSENT where none did."""
        return (self._engine.rule_name(family, rule) or ABSENT) if rule >= 0 and family in self._rules else ABSENT

    def text(self, family: int, rule: int) -> str:
        """The same as iptables-save prints it: `-A INPUT ...`, or `-P INPUT DROP` for a policy."""
        name, ruleset = self.name(family, rule), self._rules.get(family)
        if name == ABSENT or ruleset is None:
            return ""
        table, _, rest = name.partition(":")
        chain_name, kind, number = rest.rsplit(":", 2)
        chain = ruleset.tables[table].chains[chain_name]
        if kind == "rule":
            return f"-A {chain_name}{chain.rules[int(number) - 1].save(family)}"
        return f"-P {chain_name} {chain.policy}" if kind == "policy" else ""
