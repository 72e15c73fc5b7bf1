"""How many bytes of each packet are to be copied, by what the rules need beyond headers. Whole packets, where a helper
or a rule reads payload, are the driver's own business."""

from __future__ import annotations

from fastfw.ruleset.ext.reject import Reject
from fastfw.ruleset.model import Ruleset

HEADERS = 128
QUOTED = 640
"""Enough for what an ICMP error may quote (RFC 1812, 4.3.2.3)."""


def copy_range(rulesets: list[Ruleset]) -> int:
    """Headers alone, or as much as an ICMP error quotes where rules reject."""
    rejects = any(
        isinstance(rule.target, Reject)
        for rules in rulesets
        for table in rules.tables.values()
        for chain in table.chains.values()
        for rule in chain.rules
    )
    return QUOTED if rejects else HEADERS
