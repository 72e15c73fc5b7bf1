"""The matches of transport and extension headers, and the programs that look anywhere in a packet."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastfw.ruleset.ext.bpf import Bpf
from fastfw.ruleset.ext.dccp import TYPES, Dccp
from fastfw.ruleset.ext.ipsec import Ah4, Ah6, Esp, IpComp
from fastfw.ruleset.ext.ipv6 import (
    DestinationOptions,
    Eui64,
    Frag,
    HopByHop,
    Ipv6Header,
    Mobility,
    Routing,
    SegmentRouting,
)
from fastfw.ruleset.ext.sctp import Sctp
from fastfw.ruleset.ext.u32 import U32
from fastfw.ruleset.lower.program import Assembly, Predicate, Unknown, predicate

HOPOPTS, DSTOPTS = 0, 60
ANY_LENGTH = 255
UNKNOWN_TYPES = 0xFC00
"""The DCCP packet types that INVALID stands for."""

CHUNK_MODES = {"any": 0, "all": 1, "only": 2}
STEPS = {"": 0, "&": 0, "<<": 1, ">>": 2, "@": 3}

LENGTH, LENGTH_NOT, RESERVED, OPTIONS, TYPE, TYPE_NOT, RANGE_NOT, ADDRESSES, LOOSELY, FIRST, MORE, LAST = (
    1 << bit for bit in range(12)
)
"""What is asked of an extension header, as fastfw.core.headers6 has it."""

ABSOLUTE_LOADS = {0x20, 0x28, 0x30}
EXTRA = -0x1000
KNOWN_EXTRAS = {EXTRA + 0: "the protocol", EXTRA + 4: "the packet's type", EXTRA + 20: "the mark", EXTRA + 40: "A ^ X"}
LINK_LAYER = (-0x200000, -0x100000)


def words(address: int) -> tuple[int, ...]:
    """An IPv6 address as four 32-bit loads from a packet give it."""
    return struct.unpack("<4I", address.to_bytes(16, "big"))


def _ports(match: Sctp | Dccp) -> Iterator[Predicate]:
    if match.sport is not None:
        yield predicate("SPORT", *match.sport, invert=match.sport_invert)
    if match.dport is not None:
        yield predicate("DPORT", *match.dport, invert=match.dport_invert)


def sctp(match: Sctp, assembly: Assembly) -> Iterator[Predicate]:
    """Ports and chunks."""
    yield predicate("HEADER", 12)
    yield from _ports(match)
    if match.chunks is None:
        return
    assembly.reads_payload = True
    types = [0] * 8
    for kind in match.chunks.types:
        types[kind >> 5] |= 1 << (kind & 31)
    flags = [kind << 16 | mask << 8 | value for kind, mask, value in match.chunks.flags]
    place = assembly.keep(CHUNK_MODES[match.chunks.mode], len(flags), *types, *flags)
    yield predicate("SCTP_CHUNKS", place, invert=match.chunks_invert)


def dccp(match: Dccp, assembly: Assembly) -> Iterator[Predicate]:
    """Ports, packet types, an option."""
    yield predicate("L4", 12)
    yield from _ports(match)
    if match.types is not None:
        types = match.types | UNKNOWN_TYPES * bool(match.types & TYPES["INVALID"])
        yield predicate("DCCP_TYPE", types, invert=match.types_invert)
    if match.option is not None:
        yield predicate("DCCP_OPTION", match.option, invert=match.option_invert)


def esp(match: Esp, assembly: Assembly) -> Iterator[Predicate]:
    """The security parameters' index."""
    yield predicate("L4", 8)
    yield predicate("WORD32", *match.spi, 0, invert=match.spi_invert)


def ah4(match: Ah4, assembly: Assembly) -> Iterator[Predicate]:
    """The same, behind IPv4's header."""
    yield predicate("L4", 12)
    yield predicate("WORD32", *match.spi, 4, invert=match.spi_invert)


def ipcomp(match: IpComp, assembly: Assembly) -> Iterator[Predicate]:
    """The compression parameters' index (RFC 3173); the reserved bits are not looked at, as in the kernel."""
    yield predicate("L4", 4)
    yield predicate("WORD16", *match.spi, 2, invert=match.spi_invert)


def ah6(match: Ah6, assembly: Assembly) -> Iterator[Predicate]:
    """The first authentication header."""
    ask = LENGTH * bool(match.length) | LENGTH_NOT * match.length_invert
    ask |= RESERVED * match.reserved | RANGE_NOT * match.spi_invert
    yield predicate("AH6", assembly.keep(ask, match.length, *match.spi))


def frag(match: Frag, assembly: Assembly) -> Iterator[Predicate]:
    """The first fragment header; its length is not looked at, as in the kernel."""
    ask = RESERVED * match.reserved | FIRST * match.first | MORE * match.more | LAST * match.last
    ask |= RANGE_NOT * match.id_invert
    yield predicate("FRAGMENT6", assembly.keep(ask, 0, *match.id))


def options(match: HopByHop | DestinationOptions, assembly: Assembly) -> Iterator[Predicate]:
    """The first header of options of its kind."""
    assembly.reads_payload = True
    ask = LENGTH * (match.length is not None) | LENGTH_NOT * match.length_invert | OPTIONS * bool(match.types)
    types = [kind << 8 | (ANY_LENGTH if length is None else length) for kind, length in match.types]
    place = assembly.keep(ask, match.length or 0, len(types), *types)
    yield predicate("OPTIONS6", place, HOPOPTS if isinstance(match, HopByHop) else DSTOPTS)


def routing(match: Routing, assembly: Assembly) -> Iterator[Predicate]:
    """The first routing header."""
    assembly.reads_payload = True
    ask = LENGTH * (match.length is not None) | LENGTH_NOT * match.length_invert
    ask |= TYPE * (match.type is not None) | TYPE_NOT * match.type_invert | RESERVED * match.reserved
    ask |= RANGE_NOT * match.segments_invert | ADDRESSES * bool(match.addresses) | LOOSELY * match.not_strict
    addresses = [word for address in match.addresses for word in words(address)]
    place = assembly.keep(ask, match.length or 0, *match.segments, match.type or 0, len(match.addresses), *addresses)
    yield predicate("ROUTING6", place)


def headers(match: Ipv6Header, assembly: Assembly) -> Iterator[Predicate]:
    """Which extension headers there are."""
    yield predicate("HEADERS6", assembly.keep(match.headers, int(match.soft), int(match.invert)))


def mobility(match: Mobility, assembly: Assembly) -> Iterator[Predicate]:
    """The mobility header's type."""
    yield predicate("MOBILITY", *match.type, invert=match.invert)


def _comparison(match: SegmentRouting, field: str) -> tuple[int, int]:
    bits = value = 0
    for place, how in enumerate(("eq", "gt", "lt")):
        asked = getattr(match, f"{field}_{how}")
        if asked is not None:
            value = asked
            bits |= (1 | 2 * getattr(match, f"{field}_{how}_invert")) << 2 * place
    return bits, value


def _segment(asked: tuple[int, int] | None, invert: bool) -> Sequence[int]:
    return (int(invert), *words(asked[0]), *words(asked[1])) if asked is not None else (0,) * 9


def segments(match: SegmentRouting, assembly: Assembly) -> Iterator[Predicate]:
    """The segment routing header."""
    assembly.reads_payload = True
    ask = (match.next_header is not None) | 2 * match.next_header_invert | 4 * (match.tag is not None)
    ask |= 8 * match.tag_invert | 16 * (match.previous is not None) | 32 * (match.next is not None)
    ask |= 64 * (match.last is not None)
    place = assembly.keep(
        ask,
        match.next_header or 0,
        match.tag or 0,
        *_comparison(match, "length"),
        *_comparison(match, "left"),
        *_comparison(match, "last"),
        *_segment(match.previous, match.previous_invert),
        *_segment(match.next, match.next_invert),
        *_segment(match.last, match.last_invert),
    )
    yield predicate("SEGMENTS6", place)


def eui64(match: Eui64, assembly: Assembly) -> Iterator[Predicate]:
    """The source's address is made of its MAC address."""
    yield predicate("EUI64")


def u32(match: U32, assembly: Assembly) -> Iterator[Predicate]:
    """Four bytes anywhere, several times."""
    assembly.reads_payload = True
    numbers: list[int] = []
    for test in match.tests:
        numbers.append(len(test.steps))
        for operator, number in test.steps:
            numbers += STEPS[operator], number
        numbers.append(len(test.ranges))
        for low, high in test.ranges:
            numbers += low, high
    yield predicate("U32", assembly.keep(*numbers), size=len(match.tests), invert=match.invert)


def bpf(match: Bpf, assembly: Assembly) -> Iterator[Predicate]:
    """A program of the rule's own. Unknown: it is the kernel's, or asks for what only the kernel knows."""
    if match.program is None:
        raise Unknown("the pinned program is the kernel's")
    assembly.reads_payload = True
    numbers: list[int] = []
    for at, (code, yes, no, operand) in enumerate(match.program):
        offset = operand - (1 << 32 if operand >> 31 else 0)
        extra = code in ABSOLUTE_LOADS and offset >= EXTRA and offset < 0
        if (extra and offset not in KNOWN_EXTRAS) or LINK_LAYER[0] <= offset < LINK_LAYER[1]:
            known = ", ".join(KNOWN_EXTRAS.values())
            raise Unknown(f"instruction {at} loads what is not in the packet; known besides it: {known}")
        numbers += code << 16 | yes << 8 | no, operand
    yield predicate("BPF", assembly.keep(*numbers), size=len(match.program))


HEADERS: dict[type, Callable[[Any, Assembly], Iterator[Predicate]]] = {
    Ah4: ah4,
    Ah6: ah6,
    Bpf: bpf,
    Dccp: dccp,
    DestinationOptions: options,
    Esp: esp,
    Eui64: eui64,
    Frag: frag,
    HopByHop: options,
    IpComp: ipcomp,
    Ipv6Header: headers,
    Mobility: mobility,
    Routing: routing,
    Sctp: sctp,
    SegmentRouting: segments,
    U32: u32,
}
