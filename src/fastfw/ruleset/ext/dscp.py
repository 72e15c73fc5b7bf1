"""dscp and DSCP: the differentiated services codepoint (RFC 2474)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Target
from fastfw.ruleset.ext.values import keyword, number, show_hex

# Class selectors (RFC 2474), assured forwarding (RFC 2597), expedited forwarding (RFC 3246).
CLASSES = (
    {f"cs{n}": 8 * n for n in range(8)}
    | {"be": 0}
    | {f"af{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)}
    | {"ef": 46}
)


@dataclass(slots=True)
class Dscp(Match):
    """`dscp` is the codepoint, 6 bits."""

    name: ClassVar[str] = "dscp"

    dscp: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("dscp", "dscp", number(63), show_hex(2), "invert", excludes=("dscp-class",)),
        Option("dscp-class", "dscp", keyword(CLASSES, "DiffServ class"), None, "invert", silent=True),
    )

    def finish(self, context: Context) -> None:
        """One form must be given."""
        if not context.seen:
            raise Refusal("dscp needs --dscp or --dscp-class")
        Match.finish(self, context)


@dataclass(slots=True)
class SetDscp(Target):
    """`dscp` is the codepoint to set, 6 bits."""

    name: ClassVar[str] = "DSCP"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    dscp: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("set-dscp", "dscp", number(63), show_hex(2), excludes=("set-dscp-class",)),
        Option("set-dscp-class", "dscp", keyword(CLASSES, "DiffServ class"), silent=True),
    )

    def finish(self, context: Context) -> None:
        """One form must be given."""
        if not context.seen:
            raise Refusal("DSCP needs --set-dscp or --set-dscp-class")
        Target.finish(self, context)
