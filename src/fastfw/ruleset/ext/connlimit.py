"""connlimit: how many connections a host or network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import number, prefix
from fastfw.ruleset.numbers import UINT32


@dataclass(slots=True)
class ConnLimit(Match):
    """More than `limit` connections of one network if `above`, else at most so many. `length` None: single hosts."""

    name: ClassVar[str] = "connlimit"

    limit: int = 0
    above: bool = False
    length: int | None = None
    destination: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("connlimit-upto", "limit", number(UINT32), None, "above", excludes=("connlimit-above",)),
        Option("connlimit-above", "limit", number(UINT32), None, "above"),
        Option("connlimit-mask", "length", prefix),
        Option("connlimit-saddr", "destination", value=False, excludes=("connlimit-daddr",)),
        Option("connlimit-daddr", "destination"),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """`!` exchanges the two limits."""
        Match.read(self, option, text, invert, context)
        if option.field == "limit":
            self.above = (option.name == "connlimit-above") != invert

    def finish(self, context: Context) -> None:
        """A limit must be given."""
        if not {"connlimit-upto", "connlimit-above"} & context.seen:
            raise Refusal("connlimit needs --connlimit-upto or --connlimit-above")
        Match.finish(self, context)

    def save(self, family: int) -> str:
        """All of it, always."""
        length = FULL_MASK[family].bit_length() if self.length is None else self.length
        return (
            f" --connlimit-{'above' if self.above else 'upto'} {self.limit} --connlimit-mask {length}"
            f" --connlimit-{'daddr' if self.destination else 'saddr'}"
        )
