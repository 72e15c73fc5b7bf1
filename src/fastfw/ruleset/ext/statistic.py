"""statistic: one packet in so many, by chance or by turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import BLANKS, lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import number
from fastfw.ruleset.numbers import UINT32

ONE = 0x80000000
"""The probability 1 in units of the kernel."""


def _mode(text: str, context: Context) -> str:
    if text not in ("random", "nth"):
        raise Refusal(f"unknown mode `{text}': expected random or nth")
    return text


def _probability(text: str, context: Context) -> int:
    """As strtod(3) reads it; what is no number at all, "nan", is 0."""
    try:
        bare = lower(text.lstrip(BLANKS))
        value = float.fromhex(bare) if bare.lstrip("+-").startswith("0x") else float(bare.replace("_", "x"))
    except (ValueError, OverflowError):
        value = -1.0
    if value < 0 or value > 1 or not text.isascii() or text.endswith(tuple(BLANKS)):
        raise Refusal(f"`{text}' is not a probability from 0 to 1")
    return int(value * ONE + 0.5) if value == value else 0


@dataclass(slots=True)
class Statistic(Match):
    """random: `probability` in units of 2**-31. nth: every `every`-th packet, beginning with number `packet`."""

    name: ClassVar[str] = "statistic"

    mode: str = ""
    probability: int = 0
    every: int = 0
    packet: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("mode", "mode", _mode, required=True),
        Option("probability", "probability", _probability, None, "invert", requires=("mode",)),
        Option("every", "every", number(UINT32, 1), None, "invert", requires=("mode", "packet")),
        Option("packet", "packet", number(UINT32), requires=("mode",)),
    )

    def finish(self, context: Context) -> None:
        """Each mode has its options."""
        seen = context.seen
        if self.mode == "random" and "probability" not in seen:
            raise Refusal("statistic --mode random needs --probability")
        if self.mode == "nth" and not {"every", "packet"} <= seen:
            raise Refusal("statistic --mode nth needs --every and --packet")
        if self.mode == "nth" and self.packet >= self.every:
            raise Refusal("statistic --packet must be less than --every")
        Match.finish(self, context)

    def save(self, family: int) -> str:
        """The mode's own options."""
        no = " !" * self.invert
        if self.mode == "random":
            return f" --mode random{no} --probability {self.probability / ONE:.11f}"
        return f" --mode nth{no} --every {self.every} --packet {self.packet}"
