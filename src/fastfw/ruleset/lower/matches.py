"""The matches of packet headers, connections and rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastfw.core.terms import State as Code
from fastfw.ruleset.ext.comment import Comment
from fastfw.ruleset.ext.conntrack import CT_STATES, Conntrack, State
from fastfw.ruleset.ext.icmp import Icmp, Icmp6
from fastfw.ruleset.ext.iprange import IpRange
from fastfw.ruleset.ext.length import Length
from fastfw.ruleset.ext.limit import SCALE, Limit
from fastfw.ruleset.ext.mark import Mark
from fastfw.ruleset.ext.multiport import Multiport
from fastfw.ruleset.ext.tcp import Tcp
from fastfw.ruleset.ext.ttl import Hl, Ttl
from fastfw.ruleset.ext.udp import Udp
from fastfw.ruleset.lower.program import FULL16, Assembly, Predicate, predicate
from fastfw.ruleset.numbers import UINT32

CODES = {
    CT_STATES["NEW"]: Code.STATE_NEW,
    CT_STATES["ESTABLISHED"]: Code.STATE_ESTABLISHED,
    CT_STATES["RELATED"]: Code.STATE_RELATED,
    CT_STATES["INVALID"]: Code.STATE_INVALID,
    CT_STATES["UNTRACKED"]: Code.STATE_UNTRACKED,
}

ENDS = {"origsrc": 0, "origdst": 1, "replsrc": 2, "repldst": 3}
DIRECTIONS = {"ORIGINAL": 0, "REPLY": 1}
SIDES = {"source": 0, "destination": 1, "either": 2}

CREDITS_PER_SECOND = 32_000
"""A tick of 4 ms brings 128."""


def _ports(match: Tcp | Udp) -> Iterator[Predicate]:
    if match.sport != FULL16 or match.sport_invert:
        yield predicate("SPORT", *match.sport, invert=match.sport_invert)
    if match.dport != FULL16 or match.dport_invert:
        yield predicate("DPORT", *match.dport, invert=match.dport_invert)


def tcp(match: Tcp, assembly: Assembly) -> Iterator[Predicate]:
    """Ports, flags, an option."""
    yield predicate("HEADER", 20)
    yield from _ports(match)
    if match.flags != (0, 0) or match.flags_invert:
        yield predicate("TCP_FLAGS", *match.flags, invert=match.flags_invert)
    if match.option or match.option_invert:
        yield predicate("TCP_OPTION", match.option, invert=match.option_invert)


def udp(match: Udp, assembly: Assembly) -> Iterator[Predicate]:
    """Ports."""
    yield predicate("HEADER", 8)
    yield from _ports(match)


def icmp(match: Icmp | Icmp6, assembly: Assembly) -> Iterator[Predicate]:
    """Type and code."""
    yield predicate("HEADER", 8)
    kind, codes = match.type
    yield predicate("ICMP", kind, *codes, invert=match.invert)


def multiport(match: Multiport, assembly: Assembly) -> Iterator[Predicate]:
    """Any of several ports."""
    yield predicate("HEADER", 4)
    if len(match.ports) == 1 and match.side != "either":
        yield predicate("SPORT" if match.side == "source" else "DPORT", *match.ports[0], invert=match.invert)
        return
    place = len(assembly.numbers)
    assembly.numbers += [low << 16 | high for low, high in match.ports]
    yield predicate("PORTS", place, SIDES[match.side], size=len(match.ports), invert=match.invert)


def _states(bits: int, invert: bool) -> Predicate:
    """Before tracking, in table raw, a packet's state is INVALID to the rules."""
    mask = 0
    for bit, code in CODES.items():
        if bits & bit:
            mask |= 1 << int(code)
    if bits & CT_STATES["INVALID"]:
        mask |= 1 << int(Code.STATE_NONE)
    return predicate("STATE", mask, invert=invert)


def state(match: State, assembly: Assembly) -> Iterator[Predicate]:
    """The packet's state."""
    yield _states(match.state, match.invert)


def conntrack(match: Conntrack, assembly: Assembly) -> Iterator[Predicate]:
    """A packet without a connection matches on its state alone, and never if no state is asked for."""
    alone = 0
    if match.state is not None:
        yield _states(match.state, match.state_invert)
        alone = 1
    if match.direction is not None:
        yield predicate("CT_DIRECTION", DIRECTIONS[match.direction], d=alone)
    for name, end in ENDS.items():
        network = getattr(match, name)
        if network is not None:
            yield assembly.network("CT_ADDRESS", *network, invert=getattr(match, f"{name}_invert"), c=end, d=alone)
    if match.proto is not None:
        yield predicate("CT_PROTOCOL", match.proto, d=alone, invert=match.proto_invert)
    for name, end in ENDS.items():
        ports = getattr(match, f"{name}port")
        if ports is not None:
            yield predicate("CT_PORT", ports[0], ports[1], end, alone, invert=getattr(match, f"{name}port_invert"))
    if match.status is not None:
        assembly.status_mask |= match.status
        yield predicate("CT_STATUS", match.status, d=alone, invert=match.status_invert)
    if match.expire is not None:
        yield predicate("CT_EXPIRE", *match.expire, d=alone, invert=match.expire_invert)


def iprange(match: IpRange, assembly: Assembly) -> Iterator[Predicate]:
    """Addresses from one to another."""
    if match.source is not None:
        yield assembly.between("SOURCE_RANGE", *match.source, invert=match.source_invert)
    if match.destination is not None:
        yield assembly.between("TARGET_RANGE", *match.destination, invert=match.destination_invert)


def mark(match: Mark, assembly: Assembly) -> Iterator[Predicate]:
    """The packet's mark."""
    yield predicate("MARK", *match.mark, invert=match.invert)


def length(match: Length, assembly: Assembly) -> Iterator[Predicate]:
    """The packet's length."""
    yield predicate("LENGTH", *match.length, invert=match.invert)


def ttl(match: Ttl | Hl, assembly: Assembly) -> Iterator[Predicate]:
    """Hops left."""
    low, high = {"eq": (match.value, match.value), "lt": (0, match.value - 1), "gt": (match.value + 1, 255)}[match.mode]
    yield predicate("TTL", low, high, invert=match.invert) if 0 <= low <= high else predicate("NEVER")


def credits(interval: int) -> int:
    """An interval of 1/10 000 s in the kernel's credits, in its arithmetic of 32 bits."""
    if interval > UINT32 // CREDITS_PER_SECOND:
        return interval // SCALE * CREDITS_PER_SECOND & UINT32
    return interval * CREDITS_PER_SECOND // SCALE


def limit(match: Limit, assembly: Assembly) -> Iterator[Predicate]:
    """A bucket that starts full."""
    assembly.limits.append((credits(match.interval), credits(match.interval * match.burst & UINT32)))
    yield predicate("LIMIT", len(assembly.limits) - 1)


def nothing(match: Comment, assembly: Assembly) -> Iterator[Predicate]:
    """Always true."""
    return iter(())


MATCHES: dict[type, Callable[[Any, Assembly], Iterator[Predicate]]] = {
    Comment: nothing,
    Conntrack: conntrack,
    Hl: ttl,
    Icmp: icmp,
    Icmp6: icmp,
    IpRange: iprange,
    Length: length,
    Limit: limit,
    Mark: mark,
    Multiport: multiport,
    State: state,
    Tcp: tcp,
    Ttl: ttl,
    Udp: udp,
}
