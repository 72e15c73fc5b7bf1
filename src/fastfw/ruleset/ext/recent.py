"""recent: lists of addresses seen lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import host, number, show_host, show_number, show_plain, text
from fastfw.ruleset.numbers import UINT32

ACTIONS = ("set", "rcheck", "update", "remove")
HIT_LIMIT = 65_535
NAME_LIMIT = 199


def _show_seconds(value: int, family: int) -> str:
    """The real tool prints these 32 bits with a sign."""
    return str(value - (1 << 32) if value >> 31 else value)


@dataclass(slots=True)
class Recent(Match):
    """`action` is one of `ACTIONS`; 0 seconds or hits: not asked; `mask` None: all bits; `side` is rsource or rdest."""

    name: ClassVar[str] = "recent"

    action: str = ""
    invert: bool = False
    seconds: int = 0
    reap: bool = False
    hitcount: int = 0
    rttl: bool = False
    list_name: str = "DEFAULT"
    mask: int | None = None
    side: str = "rsource"

    options: ClassVar[tuple[Option, ...]] = (
        Option("set", "action", None, None, "invert", value="set", excludes=("rcheck", "update", "remove", "rttl")),
        Option("rcheck", "action", None, None, "invert", value="rcheck", excludes=("update", "remove")),
        Option("update", "action", None, None, "invert", value="update", excludes=("remove",)),
        Option("remove", "action", None, None, "invert", value="remove", excludes=("rttl",)),
        Option("seconds", "seconds", number(UINT32, 1), _show_seconds, hide=0),
        Option("reap", "reap", requires=("seconds",)),
        Option("hitcount", "hitcount", number(UINT32), show_number, hide=0),
        Option("rttl", "rttl"),
        Option("name", "list_name", text(NAME_LIMIT), show_plain),
        Option("mask", "mask", host, show_host),
        Option("rsource", "side", value="rsource"),
        Option("rdest", "side", value="rdest"),
    )

    def finish(self, context: Context) -> None:
        """One action must be given."""
        if not self.action:
            raise Refusal("recent needs one of --set, --rcheck, --update and --remove")
        if self.mask is None:
            self.mask = FULL_MASK[context.family]
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """Times and hits go with looking up; a list is a file's name."""
        if self.action in ("set", "remove") and (self.seconds or self.hitcount or self.reap):
            raise Refusal("recent --seconds and --hitcount need --rcheck or --update")
        if self.hitcount > HIT_LIMIT:
            raise Refusal(f"recent --hitcount is at most {HIT_LIMIT}")
        if not self.list_name or "/" in self.list_name:
            raise Refusal(f"`{self.list_name}' cannot be a list's name")

    def save(self, family: int) -> str:
        """A mask that was not given is printed in full."""
        if self.mask is None:
            self.mask = FULL_MASK[family]
        return Match.save(self, family)
