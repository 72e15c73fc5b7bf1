"""iprange: addresses from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import address_text, parse_plain
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range


def _addresses(text: str, context: Context) -> Range:
    first, dash, last = text.partition("-")
    low = parse_plain(first, context.family)
    return low, parse_plain(last, context.family) if dash else low


def _show(value: Range, family: int) -> str:
    return f"{address_text(value[0], family)}-{address_text(value[1], family)}"


@dataclass(slots=True)
class IpRange(Match):
    """Addresses as integers, both ends included; a reversed range holds none."""

    name: ClassVar[str] = "iprange"

    source: Range | None = None
    source_invert: bool = False
    destination: Range | None = None
    destination_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("src-range", "source", _addresses, _show, "source_invert"),
        Option("dst-range", "destination", _addresses, _show, "destination_invert"),
    )

    def finish(self, context: Context) -> None:
        """At least one side must be given."""
        if not context.seen:
            raise Refusal("iprange needs --src-range or --dst-range")
