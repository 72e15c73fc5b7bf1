"""limit: a token bucket for the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import number, show_number
from fastfw.ruleset.numbers import UINT32, atoi

SCALE = 10_000
"""Units of an interval in a second."""

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_PRINTED = (("day", 86400), ("hour", 3600), ("min", 60), ("sec", 1))


def parse_rate(text: str, scale: int = SCALE) -> int:
    """`n[/second|/minute|/hour|/day]` (units may be cut short) as the time between two packets in 1/scale s."""
    count, slash, unit = text.partition("/")
    seconds = 1
    if slash:
        seconds = next((s for word, s in _SECONDS.items() if unit and word.startswith(lower(unit))), 0)
    rate = atoi(count) & UINT32
    if not rate or not seconds:
        raise Refusal(f"bad rate `{text}': expected a number and /second, /minute, /hour or /day")
    interval = scale * seconds // rate
    if not interval:
        raise Refusal(f"rate `{text}' is too fast: at most {scale} a second")
    return interval


def rate_text(interval: int, scale: int = SCALE) -> str:
    """A rate in the finest unit that tells it without loss of more than rounding."""
    shown = _PRINTED[0]
    for unit in _PRINTED[1:]:
        width = unit[1] * scale
        if interval > width or width // interval < width % interval:
            break
        shown = unit
    return f"{shown[1] * scale // interval}/{shown[0]}"


def unit_of(text: str) -> int:
    """The seconds of a rate's unit; 1 without one."""
    unit = lower(text.partition("/")[2])
    return next((seconds for word, seconds in _SECONDS.items() if unit and word.startswith(unit)), 1)


def _rate(text: str, context: Context) -> int:
    return parse_rate(text)


def _show_rate(value: int, family: int) -> str:
    return rate_text(value)


_CREDITS = 32_000
"""The kernel's credits in a second, in its own arithmetic of 32 bits."""


def _credits(interval: int) -> int:
    if interval > UINT32 // _CREDITS:
        return interval // SCALE * _CREDITS & UINT32
    return interval * _CREDITS // SCALE


@dataclass(slots=True)
class Limit(Match):
    """One packet every `interval` / 10 000 seconds, `burst` at once after a rest."""

    name: ClassVar[str] = "limit"

    interval: int = 3600 * SCALE // 3
    burst: int = 5

    options: ClassVar[tuple[Option, ...]] = (
        Option("limit", "interval", _rate, _show_rate),
        Option("limit-burst", "burst", number(10_000), show_number, hide=5),
    )

    def check(self, site: Site) -> None:
        """The kernel keeps burst * interval in 32 bits and refuses what overflows them."""
        if not self.burst or _credits(self.interval * self.burst & UINT32) < _credits(self.interval):
            raise Refusal("limit's burst times its interval overflows the kernel's counter: lower the burst")
