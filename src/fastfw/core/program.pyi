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

class RecentBit(IntEnum):
    """What a rule does to a list of recent addresses."""

    RECENT_SET = 1
    RECENT_CHECK = 2
    RECENT_UPDATE = 4
    RECENT_REMOVE = 8
    RECENT_TTL = 16
    RECENT_REAP = 32
    RECENT_TARGET = 64
