"""The compiled ruleset's form; see program.pxd."""

from enum import IntEnum

OPS: dict[str, int]
"""What a predicate asks, by name without `OP_`."""

ACTIONS: dict[str, int]
"""What a rule does, by name without `ACT_`."""

LAYOUT: dict[str, int]
"""Bytes of the core's records."""

class Point(IntEnum):
    """Where in the kernel a chain is called from."""

    POINT_PREROUTING = 0
    POINT_INPUT = 1
    POINT_FORWARD = 2
    POINT_OUTPUT = 3
    POINT_POSTROUTING = 4
