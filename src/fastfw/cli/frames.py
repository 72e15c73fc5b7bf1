"""What rules ask of the frames that a capture's packets came in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from fastfw.cli.errors import printable
from fastfw.cli.inputs import located, source_name
from fastfw.drivers.capture import Capture
from fastfw.ruleset import Rule, Ruleset, RulesetNotice

FRAME_MATCHES = frozenset({"mac", "pkttype", "eui64"})
"""Matches that have no answer of their own without a frame."""

READERS = FRAME_MATCHES | {"bpf", "set", "SET"}
"""Matches and targets that look at a frame where there is one."""


class Frames:
    """Frames of captures for the rules in force; `rulesets` are (ruleset or None, the file's name)."""

    def __init__(self, *rulesets: tuple[Ruleset | None, str | None]) -> None:
        self._rulesets = [(rules, path or "") for rules, path in rulesets if rules is not None]
        self._asked = any(READERS & names(rule) for rules, _ in self._rulesets for rule in judging(rules))

    def of(self, capture: Capture, part: slice) -> npt.NDArray[np.void] | None:
        """What `Engine.process` takes as `link` for some records; None where no rule asks."""
        return capture.links(part) if self._asked else None

    def warn(self, capture: Capture, name: str) -> None:
        """A line on standard error for each match that asks what a capture does not hold, with its first rule."""
        if capture.framed or not self._asked:
            return
        for rules, path in self._rulesets:
            for notice in notices(rules, name):
                print(f"fastfw: {printable(located(notice, source_name(path)))}", file=sys.stderr)


def judging(rules: Ruleset) -> Iterator[Rule]:
    """Every rule that decides, in the file's order; table nat's do not."""
    chains = [chain for name, table in rules.tables.items() if name != "nat" for chain in table.chains.values()]
    return iter(sorted((rule for chain in chains for rule in chain), key=lambda rule: rule.line))


def names(rule: Rule) -> set[str]:
    """Its matches' names and its target's."""
    return {match.name for match in rule.matches} | ({rule.target.name} if rule.target is not None else set())


def notices(rules: Ruleset, capture: str) -> Iterable[RulesetNotice]:
    """Of each match that asks for what only a frame has, the first rule."""
    found: dict[str, RulesetNotice] = {}
    for rule in judging(rules):
        for name in sorted(FRAME_MATCHES & names(rule)):
            reason = f"match `{name}' is answered as for packets that came in no frame: {capture} has records without"
            found.setdefault(name, RulesetNotice(reason, rule.line, rule.column))
    return found.values()
