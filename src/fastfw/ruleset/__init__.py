"""The iptables language: reading, model, writing and compiling."""

from fastfw.ruleset.errors import RulesetError, RulesetNotice
from fastfw.ruleset.model import Chain, Rule, Ruleset, Table

__all__ = ["Chain", "Rule", "Ruleset", "RulesetError", "RulesetNotice", "Table"]
