"""The matches of packet headers, connections and rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastfw.core.terms import State as Code
from fastfw.ruleset.ext.comment import Comment
from fastfw.ruleset.ext.connmark import ConnMark
from fastfw.ruleset.ext.conntrack import CT_STATES, Conntrack, State
from fastfw.ruleset.ext.dscp import Dscp
from fastfw.ruleset.ext.ecn import Ecn
from fastfw.ruleset.ext.icmp import Icmp, Icmp6
from fastfw.ruleset.ext.iprange import IpRange
from fastfw.ruleset.ext.length import Length
from fastfw.ruleset.ext.mark import Mark
from fastfw.ruleset.ext.multiport import Multiport
from fastfw.ruleset.ext.physdev import PhysDev
from fastfw.ruleset.ext.set import Set
from fastfw.ruleset.ext.string import String
from fastfw.ruleset.ext.tcp import Tcp
from fastfw.ruleset.ext.tcpmss import TcpMss
from fastfw.ruleset.ext.tos import Tos
from fastfw.ruleset.ext.ttl import Hl, Ttl
from fastfw.ruleset.ext.udp import Udp
from fastfw.ruleset.lower import sets
from fastfw.ruleset.lower.amounts import AMOUNTS
from fastfw.ruleset.lower.facts import FACTS
from fastfw.ruleset.lower.headers import HEADERS
from fastfw.ruleset.lower.program import FULL16, Assembly, Predicate, predicate

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

ECE, CWR = 0x40, 0x80


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


def connmark(match: ConnMark, assembly: Assembly) -> Iterator[Predicate]:
    """The connection's mark."""
    assembly.looks_at_connmark = True
    yield predicate("CONNMARK", *match.mark, invert=match.invert)


def tos(match: Tos, assembly: Assembly) -> Iterator[Predicate]:
    """The type of service, or traffic class."""
    yield predicate("TOS", *match.tos, invert=match.invert)


def dscp(match: Dscp, assembly: Assembly) -> Iterator[Predicate]:
    """Its upper six bits."""
    yield predicate("TOS", match.dscp << 2, 0xFC, invert=match.invert)


def ecn(match: Ecn, assembly: Assembly) -> Iterator[Predicate]:
    """Its lower two bits, and TCP's (RFC 3168)."""
    if match.ect is not None:
        yield predicate("TOS", match.ect, 3, invert=match.ect_invert)
    if match.ece or match.cwr:
        yield predicate("ROOM", 20)
    if match.ece:
        yield predicate("TCP_FLAGS", ECE, ECE, invert=match.ece_invert)
    if match.cwr:
        yield predicate("TCP_FLAGS", CWR, CWR, invert=match.cwr_invert)


def tcpmss(match: TcpMss, assembly: Assembly) -> Iterator[Predicate]:
    """The maximum segment size option."""
    yield predicate("HEADER", 20, 1)
    yield predicate("TCP_MSS", *match.mss, invert=match.invert)


def string(match: String, assembly: Assembly) -> Iterator[Predicate]:
    """A text in the packet, its headers included."""
    assembly.reads_payload = True
    pattern = match.pattern + bytes(-len(match.pattern) % 8)
    place = assembly.wide(*(int.from_bytes(pattern[i : i + 8], "little") for i in range(0, len(pattern), 8)))
    yield predicate(
        "STRING",
        place,
        match.start,
        match.end,
        int(match.ignore_case),
        size=len(match.pattern),
        invert=match.invert,
    )


def physdev(match: PhysDev, assembly: Assembly) -> Iterator[Predicate]:
    """There is no bridge here: no packet has a bridge port."""
    asked = (
        (match.is_in, match.is_in_invert),
        (match.in_port is not None, match.in_invert),
        (match.is_out, match.is_out_invert),
        (match.out_port is not None, match.out_invert),
        (match.is_bridged, match.is_bridged_invert),
    )
    if any(is_asked and not invert for is_asked, invert in asked):
        yield predicate("NEVER")


def nothing(match: Comment, assembly: Assembly) -> Iterator[Predicate]:
    """Always true."""
    return iter(())


MATCHES: dict[type, Callable[[Any, Assembly], Iterator[Predicate]]] = {
    **AMOUNTS,
    **FACTS,
    **HEADERS,
    Comment: nothing,
    ConnMark: connmark,
    Conntrack: conntrack,
    Dscp: dscp,
    Ecn: ecn,
    Hl: ttl,
    Icmp: icmp,
    Icmp6: icmp,
    IpRange: iprange,
    Length: length,
    Mark: mark,
    Multiport: multiport,
    PhysDev: physdev,
    Set: sets.match,
    State: state,
    String: string,
    Tcp: tcp,
    TcpMss: tcpmss,
    Tos: tos,
    Ttl: ttl,
    Udp: udp,
}
