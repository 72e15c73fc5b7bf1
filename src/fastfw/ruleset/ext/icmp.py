"""icmp and icmp6: type and code of an ICMP message (RFC 792, RFC 4443)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range
from fastfw.ruleset.numbers import parse_number

Message = tuple[int, Range]
"""A type and the codes it may have."""

ANY_CODE: Range = (0, 255)
ANY_TYPE = 255

ICMP: dict[str, Message] = {
    "any": (ANY_TYPE, ANY_CODE),
    "echo-reply": (0, ANY_CODE),
    "pong": (0, ANY_CODE),
    "destination-unreachable": (3, ANY_CODE),
    "network-unreachable": (3, (0, 0)),
    "host-unreachable": (3, (1, 1)),
    "protocol-unreachable": (3, (2, 2)),
    "port-unreachable": (3, (3, 3)),
    "fragmentation-needed": (3, (4, 4)),
    "source-route-failed": (3, (5, 5)),
    "network-unknown": (3, (6, 6)),
    "host-unknown": (3, (7, 7)),
    "network-prohibited": (3, (9, 9)),
    "host-prohibited": (3, (10, 10)),
    "TOS-network-unreachable": (3, (11, 11)),
    "TOS-host-unreachable": (3, (12, 12)),
    "communication-prohibited": (3, (13, 13)),
    "host-precedence-violation": (3, (14, 14)),
    "precedence-cutoff": (3, (15, 15)),
    "source-quench": (4, ANY_CODE),
    "redirect": (5, ANY_CODE),
    "network-redirect": (5, (0, 0)),
    "host-redirect": (5, (1, 1)),
    "TOS-network-redirect": (5, (2, 2)),
    "TOS-host-redirect": (5, (3, 3)),
    "echo-request": (8, ANY_CODE),
    "ping": (8, ANY_CODE),
    "router-advertisement": (9, ANY_CODE),
    "router-solicitation": (10, ANY_CODE),
    "time-exceeded": (11, ANY_CODE),
    "ttl-exceeded": (11, ANY_CODE),
    "ttl-zero-during-transit": (11, (0, 0)),
    "ttl-zero-during-reassembly": (11, (1, 1)),
    "parameter-problem": (12, ANY_CODE),
    "ip-header-bad": (12, (0, 0)),
    "required-option-missing": (12, (1, 1)),
    "timestamp-request": (13, ANY_CODE),
    "timestamp-reply": (14, ANY_CODE),
    "address-mask-request": (17, ANY_CODE),
    "address-mask-reply": (18, ANY_CODE),
}

ICMPV6: dict[str, Message] = {
    "destination-unreachable": (1, ANY_CODE),
    "no-route": (1, (0, 0)),
    "communication-prohibited": (1, (1, 1)),
    "beyond-scope": (1, (2, 2)),
    "address-unreachable": (1, (3, 3)),
    "port-unreachable": (1, (4, 4)),
    "failed-policy": (1, (5, 5)),
    "reject-route": (1, (6, 6)),
    "packet-too-big": (2, ANY_CODE),
    "time-exceeded": (3, ANY_CODE),
    "ttl-exceeded": (3, ANY_CODE),
    "ttl-zero-during-transit": (3, (0, 0)),
    "ttl-zero-during-reassembly": (3, (1, 1)),
    "parameter-problem": (4, ANY_CODE),
    "bad-header": (4, (0, 0)),
    "unknown-header-type": (4, (1, 1)),
    "unknown-option": (4, (2, 2)),
    "echo-request": (128, ANY_CODE),
    "ping": (128, ANY_CODE),
    "echo-reply": (129, ANY_CODE),
    "pong": (129, ANY_CODE),
    "router-solicitation": (133, ANY_CODE),
    "router-advertisement": (134, ANY_CODE),
    "neighbour-solicitation": (135, ANY_CODE),
    "neighbor-solicitation": (135, ANY_CODE),
    "neighbour-advertisement": (136, ANY_CODE),
    "neighbor-advertisement": (136, ANY_CODE),
    "redirect": (137, ANY_CODE),
}


def _message(text: str, names: Mapping[str, Message]) -> Message:
    """`type[/code[:code]]`, or a name or the beginning of one, in any case."""
    low = lower(text)
    found = [name for name in names if name.lower().startswith(low)]
    if len(found) == 1:
        return names[found[0]]
    if found:
        raise Refusal(f"`{text}' may be {found[0]} or {found[1]}: expected one type")
    kind, slash, code = text.partition("/")
    if ":" in kind:
        raise Refusal(f"`{text}' is a range of types: expected one type")
    number = parse_number(kind, 255)
    if not slash:
        return number, ANY_CODE
    low_code, colon, high_code = code.partition(":")
    first = parse_number(low_code, 255)
    return number, (first, parse_number(high_code, 255) if colon else first)


def _icmp(text: str, context: Context) -> Message:
    return _message(text, ICMP)


def _icmpv6(text: str, context: Context) -> Message:
    return _message(text, ICMPV6)


def _show_icmpv6(value: Message, family: int) -> str:
    kind, codes = value
    return str(kind) if codes == ANY_CODE else f"{kind}/{codes[0]}"


def _show_icmp(value: Message, family: int) -> str:
    return "any" if value[0] == ANY_TYPE else _show_icmpv6(value, family)


@dataclass(slots=True)
class Icmp(Match):
    """`type` is (type, codes); type 255 is any message."""

    name: ClassVar[str] = "icmp"
    families: ClassVar[tuple[int, ...]] = (4,)
    protocols: ClassVar[tuple[int, ...]] = (1,)

    type: Message = (ANY_TYPE, ANY_CODE)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("icmp-type", "type", _icmp, _show_icmp, "invert", required=True),)


@dataclass(slots=True)
class Icmp6(Match):
    """`type` is (type, codes)."""

    name: ClassVar[str] = "icmp6"
    families: ClassVar[tuple[int, ...]] = (6,)
    aliases: ClassVar[tuple[str, ...]] = ("icmpv6", "ipv6-icmp")
    protocols: ClassVar[tuple[int, ...]] = (58,)

    type: Message = (0, ANY_CODE)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("icmpv6-type", "type", _icmpv6, _show_icmpv6, "invert", required=True),
    )
