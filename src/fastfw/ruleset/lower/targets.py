"""The targets: what becomes of a packet that meets a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfw.core.program import ACTIONS
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.audit import Audit, Checksum, Classify, IdleTimer, Led, Trace
from fastfw.ruleset.ext.connmark import SetConnMark
from fastfw.ruleset.ext.ct import Ct, NoTrack
from fastfw.ruleset.ext.dscp import SetDscp
from fastfw.ruleset.ext.ecn import SetEcn
from fastfw.ruleset.ext.log import Log
from fastfw.ruleset.ext.mark import SetMark
from fastfw.ruleset.ext.nflog import NfLog, NfQueue
from fastfw.ruleset.ext.reject import Reject
from fastfw.ruleset.ext.set import SetTarget
from fastfw.ruleset.ext.standard import Accept, Drop, Queue, Return
from fastfw.ruleset.ext.tos import SetTos
from fastfw.ruleset.ext.ttl import SetHl, SetTtl
from fastfw.ruleset.lower import sets
from fastfw.ruleset.lower.program import Assembly

Act = tuple[int, int, int, int]
"""The action, the shift of a mark, and the arguments a and b."""


def _plain(name: str) -> Callable[[Any, Assembly], Act]:
    act = (ACTIONS[name], 0, 0, 0)
    return lambda target, assembly: act


def mark(target: SetMark, assembly: Assembly) -> Act:
    """Change the packet's mark."""
    return ACTIONS["MARK"], 0, *target.mark


def hops(target: SetTtl | SetHl, assembly: Assembly) -> Act:
    """Change the hops left."""
    return ACTIONS[{"set": "TTL_SET", "inc": "TTL_ADD", "dec": "TTL_SUBTRACT"}[target.mode]], 0, target.value, 0


def connmark(target: SetConnMark, assembly: Assembly) -> Act:
    """Change the connection's mark, or one mark by the other."""
    assembly.looks_at_connmark = True
    if target.mode == "set":
        return ACTIONS["CONNMARK_SET"], target.shift, target.value, target.ctmask
    return ACTIONS[f"CONNMARK_{target.mode.upper()}"], target.shift, target.ctmask, target.nfmask


def tos(target: SetTos, assembly: Assembly) -> Act:
    """Change the type of service."""
    return ACTIONS["TOS"], 0, *target.tos


def dscp(target: SetDscp, assembly: Assembly) -> Act:
    """Change its upper six bits."""
    return ACTIONS["TOS"], 0, target.dscp << 2, 0xFC


def ecn(target: SetEcn, assembly: Assembly) -> Act:
    """Change its lower two bits. RulesetError's Refusal: TCP's own bits are not changed here."""
    if target.remove or target.ece is not None or target.cwr is not None:
        raise Refusal("target `ECN' cannot be carried out on TCP's bits")
    return ACTIONS["TOS"], 0, target.ect or 0, 3


def ct(target: Ct, assembly: Assembly) -> Act:
    """How a packet is tracked, and what holds for the connection it begins."""
    if target.notrack:
        return ACTIONS["NOTRACK"], 0, 0, 0
    if target.zone and target.zone_direction:
        raise Refusal("target `CT' cannot be carried out with a zone of one direction")
    return ACTIONS["CT"], 0, assembly.template(target, assembly), 0


TARGETS: dict[type, Callable[[Any, Assembly], Act]] = {
    Accept: _plain("ACCEPT"),
    Audit: _plain("NEXT"),
    Checksum: _plain("NEXT"),
    Classify: _plain("NEXT"),
    Ct: ct,
    Drop: _plain("DROP"),
    IdleTimer: _plain("NEXT"),
    Led: _plain("NEXT"),
    Log: _plain("NEXT"),
    NfLog: _plain("NEXT"),
    NfQueue: _plain("QUEUE"),
    NoTrack: _plain("NOTRACK"),
    Queue: _plain("QUEUE"),
    Reject: _plain("REJECT"),
    Return: _plain("RETURN"),
    SetConnMark: connmark,
    SetDscp: dscp,
    SetEcn: ecn,
    SetHl: hops,
    SetMark: mark,
    SetTarget: sets.target,
    SetTos: tos,
    SetTtl: hops,
    Trace: _plain("NEXT"),
}
