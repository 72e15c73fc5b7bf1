"""connlabel: labels of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import number
from fastfw.ruleset.numbers import UINT16, strtoul

LABEL_LIMIT = 127


def _label(text: str, context: Context) -> int:
    if strtoul(text) is None:
        raise Refusal(f"`{text}' is not a label's number; names are not looked up")
    return int(number(UINT16)(text, context))


def _show(value: int, family: int) -> str:
    return f'"{value}"'


@dataclass(slots=True)
class ConnLabel(Match):
    """`label` is a bit's number; `set`: set it."""

    name: ClassVar[str] = "connlabel"

    label: int = 0
    invert: bool = False
    set: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("label", "label", _label, _show, "invert", required=True),
        Option("set", "set"),
    )

    def check(self, site: Site) -> None:
        """A connection has 128 labels."""
        if self.label > LABEL_LIMIT:
            raise Refusal(f"connlabel --label is at most {LABEL_LIMIT}")
