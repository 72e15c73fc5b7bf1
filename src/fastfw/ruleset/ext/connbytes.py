"""connbytes: how much a connection has carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, show_plain
from fastfw.ruleset.numbers import UINT64, parse_range

MODES = ("packets", "bytes", "avgpkt")
DIRECTIONS = ("original", "reply", "both")


def _range(text: str, context: Context) -> Range:
    low, high = parse_range(text, UINT64)
    if ":" not in text:
        high = UINT64
    if high < low:
        raise Refusal(f"range `{text}' ends before it begins")
    return low, high


def _show_range(value: Range, family: int) -> str:
    return str(value[0]) if value[1] in (0, UINT64) else f"{value[0]}:{value[1]}"


def _mode(text: str, context: Context) -> str:
    if text not in MODES:
        raise Refusal(f"unknown mode `{text}': expected {', '.join(MODES)}")
    return text


def _direction(text: str, context: Context) -> str:
    if text not in DIRECTIONS:
        raise Refusal(f"unknown direction `{text}': expected {', '.join(DIRECTIONS)}")
    return text


@dataclass(slots=True)
class ConnBytes(Match):
    """Both ends of `count` count; `mode` and `direction` are words of `MODES` and `DIRECTIONS`."""

    name: ClassVar[str] = "connbytes"

    count: Range = (0, UINT64)
    invert: bool = False
    mode: str = ""
    direction: str = ""

    def finish(self, context: Context) -> None:
        """The kernel keeps `!` as a range in reverse, which a single number is not."""
        Match.finish(self, context)
        if self.count[0] == self.count[1]:
            self.invert = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("connbytes", "count", _range, _show_range, "invert", required=True),
        Option("connbytes-mode", "mode", _mode, show_plain, required=True),
        Option("connbytes-dir", "direction", _direction, show_plain, required=True),
    )
