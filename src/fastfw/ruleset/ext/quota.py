"""quota: bytes that may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import number, show_number
from fastfw.ruleset.numbers import UINT64


@dataclass(slots=True)
class Quota(Match):
    """True until `quota` bytes have met the rule."""

    name: ClassVar[str] = "quota"

    quota: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("quota", "quota", number(UINT64), show_number, "invert", required=True),
    )
