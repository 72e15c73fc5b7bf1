"""dccp: ports, packet types and options (RFC 4340)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, bits, number, parse_port, show_bits, show_number, show_range

TYPES = {
    "REQUEST": 1,
    "RESPONSE": 2,
    "DATA": 4,
    "ACK": 8,
    "DATAACK": 16,
    "CLOSEREQ": 32,
    "CLOSE": 64,
    "RESET": 128,
    "SYNC": 256,
    "SYNCACK": 512,
    "INVALID": 1024,
}
"""A bit for each packet type's number."""


def _ports(text: str, context: Context) -> Range:
    parts = text.split(":")
    if len(parts) > 2:
        raise Refusal(f"`{text}' has too many parts: expected port[:port]")
    low = parse_port(parts[0], None) if parts[0] else 0
    if len(parts) == 1:
        return low, low
    return low, parse_port(parts[1], None) if parts[1] else 0xFFFF


@dataclass(slots=True)
class Dccp(Match):
    """Ports are inclusive ranges; `types` is an OR of `TYPES`; `option` an option's kind. None: not asked."""

    name: ClassVar[str] = "dccp"
    protocols: ClassVar[tuple[int, ...]] = (33,)

    sport: Range | None = None
    sport_invert: bool = False
    dport: Range | None = None
    dport_invert: bool = False
    types: int | None = None
    types_invert: bool = False
    option: int | None = None
    option_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sport", "sport", _ports, show_range, "sport_invert", ("source-port",)),
        Option("dport", "dport", _ports, show_range, "dport_invert", ("destination-port",)),
        Option("dccp-types", "types", bits(TYPES, "DCCP type", False), show_bits(TYPES), "types_invert"),
        Option("dccp-option", "option", number(255, 1), show_number, "option_invert"),
    )
