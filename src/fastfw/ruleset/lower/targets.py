"""The targets: what becomes of a packet that meets a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfw.core.decision import REJECTS
from fastfw.core.logs import LogKind
from fastfw.core.program import ACTIONS
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.audit import Audit, Checksum, Classify, IdleTimer, Led, Trace
from fastfw.ruleset.ext.connmark import SetConnMark
from fastfw.ruleset.ext.connsecmark import ConnSecMark, SecMark
from fastfw.ruleset.ext.ct import Ct, NoTrack
from fastfw.ruleset.ext.dscp import SetDscp
from fastfw.ruleset.ext.ecn import SetEcn
from fastfw.ruleset.ext.hmark import HMark
from fastfw.ruleset.ext.log import Log
from fastfw.ruleset.ext.mark import SetMark
from fastfw.ruleset.ext.nat import Dnpt, Snpt
from fastfw.ruleset.ext.nflog import NfLog, NfQueue
from fastfw.ruleset.ext.rateest import RateEstTarget
from fastfw.ruleset.ext.reject import DEFAULT, Reject
from fastfw.ruleset.ext.set import SetTarget
from fastfw.ruleset.ext.standard import Accept, Drop, Queue, Return
from fastfw.ruleset.ext.synproxy import SynProxy, Tee, TProxy
from fastfw.ruleset.ext.tcpmss import SetTcpMss, TcpOptStrip
from fastfw.ruleset.ext.tos import SetTos
from fastfw.ruleset.ext.ttl import SetHl, SetTtl
from fastfw.ruleset.lower import sets
from fastfw.ruleset.lower.program import Assembly
from fastfw.ruleset.numbers import UINT32

ECE, CWR = 0x40, 0x80
ANSWERS = {family: {name: code for code, name in names.items()} for family, names in REJECTS.items()}
MTU = 1500
"""What a way is taken to carry, where TCPMSS clamps to it."""
HEADERS = {4: 40, 6: 60}
"""Bytes of the IP and TCP headers without options."""

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
    """Change the IP header's lower two bits, and TCP's own (RFC 3168)."""
    ece, cwr = (0, 0) if target.remove else (target.ece, target.cwr)
    changed = ECE * (ece is not None) | CWR * (cwr is not None)
    if not changed:
        return ACTIONS["TOS"], 0, target.ect or 0, 3
    assembly.rewrites = True
    service = 0 if target.ect is None else 3
    flags = ECE * (ece or 0) | CWR * (cwr or 0)
    return ACTIONS["TCP_ECN"], 0, (target.ect or 0) << 8 | flags, service << 8 | changed


def reject(target: Reject, assembly: Assembly) -> Act:
    """Drop, and say what the sender is to be answered."""
    return ACTIONS["REJECT"], 0, ANSWERS[assembly.family][target.answer or DEFAULT[assembly.family]], 0


def nfqueue(target: NfQueue, assembly: Assembly) -> Act:
    """One of some queues; which CPU works is not known here, so that they are always chosen by the addresses."""
    return ACTIONS["QUEUE"], 0, target.first << 16 | target.last, int(target.bypass)


def mss(target: SetTcpMss, assembly: Assembly) -> Act:
    """Lower the maximum segment size; what the way takes is its MTU less both headers."""
    assembly.rewrites = True
    if target.mss is not None:
        return ACTIONS["TCP_MSS"], 0, target.mss, 0
    return ACTIONS["TCP_MSS"], 0, MTU - HEADERS[assembly.family], 0


def strip(target: TcpOptStrip, assembly: Assembly) -> Act:
    """Write over options of TCP."""
    place = len(assembly.numbers)
    bits = sum(1 << kind for kind in target.kinds)
    assembly.numbers += [bits >> shift & UINT32 for shift in range(0, 256, 32)]
    assembly.rewrites = True
    return ACTIONS["TCP_STRIP"], 0, place, 0


def trace(target: Trace, assembly: Assembly) -> Act:
    """Tell of every rule from here on."""
    assembly.traces = True
    return ACTIONS["TRACE"], 0, 0, 0


def synproxy(target: SynProxy, assembly: Assembly) -> Act:
    """Nobody is answered here, so that a handshake goes no further than its first segment."""
    holds = assembly.declared.assume.get(target.name)
    if holds is None:
        assembly.notice(
            "target `SYNPROXY' answers nobody here: the segments that it would keep to itself are dropped, unless it is"
            " told to be left out"
        )
    return (ACTIONS["NEXT"] if holds is False else ACTIONS["SYNPROXY"]), 0, 0, 0


def tproxy(target: TProxy, assembly: Assembly) -> Act:
    """What a socket of the host takes is marked and accepted, and what none takes is dropped."""
    holds = assembly.declared.assume.get(target.name)
    if holds is None:
        assembly.notice("target `TPROXY' is taken to find no socket, and drops, unless told otherwise")
    return (ACTIONS["TAKE"], 0, *target.mark) if holds else (ACTIONS["DROP"], 0, 0, 0)


def _kept(reason: str) -> Callable[[Any, Assembly], Act]:
    def lower(target: Any, assembly: Assembly) -> Act:
        assembly.notice(f"target `{target.name}' is kept but not carried out: {reason}")
        return ACTIONS["NEXT"], 0, 0, 0

    return lower


def _log(kind: LogKind) -> Callable[[Any, Assembly], Act]:
    act = (ACTIONS["LOG"], 0, int(kind), 0)
    return lambda target, assembly: act


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
    ConnSecMark: _plain("NEXT"),
    Ct: ct,
    Dnpt: _kept("addresses are not rewritten here"),
    Drop: _plain("DROP"),
    HMark: _kept("marks stay as they are"),
    IdleTimer: _plain("NEXT"),
    Led: _plain("NEXT"),
    Log: _log(LogKind.LOG_RULE),
    NfLog: _log(LogKind.LOG_PACKET),
    NfQueue: nfqueue,
    NoTrack: _plain("NOTRACK"),
    Queue: _plain("QUEUE"),
    RateEstTarget: _plain("NEXT"),
    Reject: reject,
    Return: _plain("RETURN"),
    SecMark: _plain("NEXT"),
    SetConnMark: connmark,
    SetDscp: dscp,
    SetEcn: ecn,
    SetHl: hops,
    SetMark: mark,
    SetTarget: sets.target,
    SetTcpMss: mss,
    SetTos: tos,
    SetTtl: hops,
    Snpt: _kept("addresses are not rewritten here"),
    SynProxy: synproxy,
    TProxy: tproxy,
    TcpOptStrip: strip,
    Tee: _plain("NEXT"),
    Trace: trace,
}
