"""dccp: ports, packet types and options (RFC 4340)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import Range, any_port_range, bits, number, show_bits, show_number, show_range

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
        Option("sport", "sport", any_port_range, show_range, "sport_invert", ("source-port",)),
        Option("dport", "dport", any_port_range, show_range, "dport_invert", ("destination-port",)),
        Option("dccp-types", "types", bits(TYPES, "DCCP type", False), show_bits(TYPES), "types_invert"),
        Option("dccp-option", "option", number(255, 1), show_number, "option_invert"),
    )
