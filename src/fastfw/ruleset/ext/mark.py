"""mark and MARK: the packet's mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Target
from fastfw.ruleset.ext.values import masked, number, show_masked
from fastfw.ruleset.numbers import UINT32

Masked = tuple[int, int]
"""(value, mask), 32 bits each."""


@dataclass(slots=True)
class Mark(Match):
    """`mark` is (value, mask): packet mark & mask == value."""

    name: ClassVar[str] = "mark"

    mark: Masked = (0, UINT32)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("mark", "mark", masked(), show_masked, "invert", required=True),)


def set_mark(text: str, context: Context) -> Masked:
    """`value[/mask]` whose value's bits are cleared as well: the mask grows by the value."""
    value, mask = masked()(text, context)
    return value, value | mask


def and_mark(text: str, context: Context) -> Masked:
    """Bits to keep."""
    return 0, ~number(UINT32)(text, context) & UINT32


def or_mark(text: str, context: Context) -> Masked:
    """Bits to set."""
    value = number(UINT32)(text, context)
    return value, value


def xor_mark(text: str, context: Context) -> Masked:
    """Bits to turn over."""
    return number(UINT32)(text, context), 0


def show_xmark(value: Masked, family: int) -> str:
    """`0xvalue/0xmask`, the mask always."""
    return f"{value[0]:#x}/{value[1]:#x}"


_FORMS = ("set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark")


def _others(name: str) -> tuple[str, ...]:
    return tuple(form for form in _FORMS if form != name)


@dataclass(slots=True)
class SetMark(Target):
    """`mark` is (value, mask): mark = mark & ~mask ^ value."""

    name: ClassVar[str] = "MARK"

    mark: Masked = (0, UINT32)

    options: ClassVar[tuple[Option, ...]] = (
        Option("set-xmark", "mark", masked(), show_xmark, excludes=_others("set-xmark")),
        Option("set-mark", "mark", set_mark, silent=True, excludes=_others("set-mark")),
        Option("and-mark", "mark", and_mark, silent=True, excludes=_others("and-mark")),
        Option("or-mark", "mark", or_mark, silent=True, excludes=_others("or-mark")),
        Option("xor-mark", "mark", xor_mark, silent=True, excludes=_others("xor-mark")),
    )

    def finish(self, context: Context) -> None:
        """One form must be given."""
        if not context.seen:
            raise Refusal("MARK needs --set-xmark, --set-mark, --and-mark, --or-mark or --xor-mark")
        Target.finish(self, context)
