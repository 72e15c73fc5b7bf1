"""tos and TOS: the IPv4 type of service or IPv6 traffic class, all eight bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Target
from fastfw.ruleset.ext.values import number
from fastfw.ruleset.numbers import UINT8, parse_masked, strtoul

SYMBOLS = {
    "minimize-delay": 0x10,
    "maximize-throughput": 0x08,
    "maximize-reliability": 0x04,
    "minimize-cost": 0x02,
    "normal-service": 0x00,
}
"""RFC 1349."""

SYMBOL_MASK = 0x3F

Masked = tuple[int, int]


def _tos(text: str, context: Context) -> Masked:
    value = strtoul(text)
    if value is not None and value[0] <= UINT8:
        return parse_masked(text, UINT8)
    symbol = SYMBOLS.get(lower(text))
    if symbol is None:
        raise Refusal(f"`{text}' is neither value[/mask] from 0 to 255 nor one of {', '.join(SYMBOLS)}")
    return symbol, SYMBOL_MASK


def _show(value: Masked, family: int) -> str:
    return f"0x{value[0]:02x}/0x{value[1]:02x}"


@dataclass(slots=True)
class Tos(Match):
    """`tos` is (value, mask): field & mask == value."""

    name: ClassVar[str] = "tos"

    tos: Masked = (0, UINT8)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("tos", "tos", _tos, _show, "invert", required=True),)


def _and(text: str, context: Context) -> Masked:
    return 0, ~number(UINT8)(text, context) & UINT8


def _or(text: str, context: Context) -> Masked:
    value = number(UINT8)(text, context)
    return value, value


def _xor(text: str, context: Context) -> Masked:
    return number(UINT8)(text, context), 0


@dataclass(slots=True)
class SetTos(Target):
    """`tos` is (value, mask): field = field & ~mask ^ value."""

    name: ClassVar[str] = "TOS"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    tos: Masked = (0, UINT8)

    options: ClassVar[tuple[Option, ...]] = (
        Option("set-tos", "tos", _tos, _show, excludes=("and-tos", "or-tos", "xor-tos")),
        Option("and-tos", "tos", _and, silent=True, excludes=("or-tos", "xor-tos")),
        Option("or-tos", "tos", _or, silent=True, excludes=("xor-tos",)),
        Option("xor-tos", "tos", _xor, silent=True),
    )

    def finish(self, context: Context) -> None:
        """One form must be given."""
        if not context.seen:
            raise Refusal("TOS needs --set-tos, --and-tos, --or-tos or --xor-tos")
        Target.finish(self, context)
