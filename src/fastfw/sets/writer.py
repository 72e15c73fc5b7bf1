"""Sets as `ipset save` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from fastfw.ruleset.address import FULL_MASK, address_text
from fastfw.ruleset.names import protocol_name
from fastfw.sets.messages import message_text
from fastfw.sets.model import Element, IpSet, Kept

FULL = 0xFFFFFFFF


def _options(one: IpSet) -> Iterator[str]:
    if one.type.method == "hash":
        if one.family:
            yield f"family inet{6 * (one.family == 6) or ''}"
        if one.mark_mask != FULL:
            yield f"markmask 0x{one.mark_mask:08x}"
        yield f"hashsize {one.hash_size} maxelem {one.most}"
    elif one.type.method == "list":
        yield f"size {one.list_size}"
    elif one.type.parts == ("port",):
        yield f"range {one.low}-{one.high}"
    else:
        yield f"range {address_text(one.low, 4)}-{address_text(one.high, 4)}"
    if len(one.type.parts) == 1:
        yield from _masks(one)
    if one.timeout is not None:
        yield f"timeout {one.timeout}"
    for word, has in (("counters", one.counters), ("comment", one.comments), ("skbinfo", one.info)):
        if has:
            yield word
    if one.forces:
        yield "forceadd"
    if one.type.method == "hash":
        yield f"bucketsize {one.bucket_size}"
        if one.initval is not None:
            yield f"initval 0x{one.initval:08x}"
    if len(one.type.parts) > 1:
        yield from _masks(one)


def _masks(one: IpSet) -> Iterator[str]:
    if one.netmask is not None:
        yield f"netmask {one.netmask}"
    if one.bitmask is not None:
        yield f"bitmask {address_text(one.bitmask, one.family)}"


def _address(value: int, length: int | None, family: int) -> str:
    text = address_text(value, family)
    return text if length is None or length == FULL_MASK[family].bit_length() else f"{text}/{length}"


def element_text(one: IpSet, element: Element, mac: bytes = b"") -> str:
    """An element as a line names it; `mac` is what is kept of bitmap:ip,mac's."""
    parts = []
    family = one.family or 4
    for place, part in enumerate(one.type.parts):
        if part in ("ip", "net"):
            value, length = element[2:4] if place else element[:2]
            parts.append(_address(value, length, family))
        elif part == "port":
            parts.append(_port(one, element))
        elif part == "mark":
            parts.append(f"0x{element.mark:08x}")
        elif part == "mac":
            if element.mac or mac:
                parts.append((element.mac or mac).hex(":").upper())
        elif part == "iface":
            parts.append("physdev:" * element.bridge_port + element.interface)
        else:
            parts.append(element.set_name)
    return ",".join(parts)


def _port(one: IpSet, element: Element) -> str:
    if one.type.method == "bitmap":
        return str(element.port)
    named = message_text(element.protocol, element.port)
    return f"{protocol_name(element.protocol)}:{element.port if named is None else named}"


def kept_text(one: IpSet, element: Element, kept: Kept) -> Iterator[str]:
    """What a line says of an element."""
    if one.timeout is not None:
        yield f"timeout {kept.timeout}"
    if kept.nomatch:
        yield "nomatch"
    if element.beginning:
        yield "wildcard"
    if one.counters:
        yield f"packets {kept.packets} bytes {kept.bytes}"
    if one.comments and kept.comment:
        yield f'comment "{kept.comment}"'
    if one.info:
        if kept.mark or kept.mask:
            yield f"skbmark {kept.mark:#x}" + (f"/{kept.mask:#x}" if kept.mask != FULL else "")
        if kept.priority:
            yield f"skbprio {kept.priority >> 16:x}:{kept.priority & 0xFFFF:x}"
        if kept.queue:
            yield f"skbqueue {kept.queue}"


def lines(one: IpSet) -> Iterator[str]:
    """A set's lines."""
    yield " ".join((f"create {one.name} {one.type.name}", *_options(one)))
    for element, kept in one.elements.items():
        yield " ".join((f"add {one.name} {element_text(one, element, kept.mac)}", *kept_text(one, element, kept)))
