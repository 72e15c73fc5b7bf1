"""The targets: what becomes of a packet that meets a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfw.core.program import ACTIONS
from fastfw.ruleset.ext.log import Log
from fastfw.ruleset.ext.mark import SetMark
from fastfw.ruleset.ext.reject import Reject
from fastfw.ruleset.ext.standard import Accept, Drop, Queue, Return
from fastfw.ruleset.ext.ttl import SetHl, SetTtl
from fastfw.ruleset.lower.program import Assembly

Act = tuple[int, int, int]
"""The action and its arguments a and b."""


def _plain(name: str) -> Callable[[Any, Assembly], Act]:
    act = (ACTIONS[name], 0, 0)
    return lambda target, assembly: act


def mark(target: SetMark, assembly: Assembly) -> Act:
    """Change the packet's mark."""
    return ACTIONS["MARK"], *target.mark


def hops(target: SetTtl | SetHl, assembly: Assembly) -> Act:
    """Change the hops left."""
    return ACTIONS[{"set": "TTL_SET", "inc": "TTL_ADD", "dec": "TTL_SUBTRACT"}[target.mode]], target.value, 0


TARGETS: dict[type, Callable[[Any, Assembly], Act]] = {
    Accept: _plain("ACCEPT"),
    Drop: _plain("DROP"),
    Log: _plain("NEXT"),
    Queue: _plain("QUEUE"),
    Reject: _plain("REJECT"),
    Return: _plain("RETURN"),
    SetHl: hops,
    SetMark: mark,
    SetTtl: hops,
}
