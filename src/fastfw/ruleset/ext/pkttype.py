"""pkttype: to whom the link layer sent the packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import keyword

TYPES = {"unicast": 0, "broadcast": 1, "multicast": 2, "otherhost": 3}
"""Linux's packet types."""

_WORDS = TYPES | {"bcast": 1, "mcast": 2, "host": 0}
_NAMES = {number: name for name, number in TYPES.items()}


def _show(value: int, family: int) -> str:
    return _NAMES[value]


@dataclass(slots=True)
class PktType(Match):
    """`type` is one of `TYPES`."""

    name: ClassVar[str] = "pkttype"

    type: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("pkt-type", "type", keyword(_WORDS, "packet type"), _show, "invert", required=True),
    )
