"""What is wrong with a ruleset that can be loaded all the same."""

from __future__ import annotations

from collections.abc import Iterable

from fastfw.ruleset.lint.findings import FAULT, NOTE, Finding
from fastfw.ruleset.lint.order import order_findings
from fastfw.ruleset.lint.states import state_findings
from fastfw.ruleset.lint.tree import Tree
from fastfw.ruleset.model import Ruleset

__all__ = ["FAULT", "NOTE", "Finding", "lint"]


def lint(ruleset: Ruleset, helpers: Iterable[str] = ()) -> list[Finding]:
    """The faults of a ruleset and notes about it, by line.

    `helpers` are the names of helpers that are attached by other means than the ruleset's own CT rules.
    """
    trees = [Tree(table, ruleset.family) for table in ruleset.tables.values()]
    findings = [finding for tree in trees for finding in order_findings(tree)]
    findings += state_findings(ruleset, trees, set(helpers))
    return sorted(findings, key=lambda f: (f.line, f.table, f.chain, f.rule, f.kind))
