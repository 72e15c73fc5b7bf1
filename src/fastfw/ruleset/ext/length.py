"""length: the packet's length in bytes, IP header included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import Range, number_range, show_range
from fastfw.ruleset.numbers import UINT16


@dataclass(slots=True)
class Length(Match):
    """Both ends of `length` count."""

    name: ClassVar[str] = "length"

    length: Range = (0, UINT16)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("length", "length", number_range(UINT16), show_range, "invert", required=True),
    )
