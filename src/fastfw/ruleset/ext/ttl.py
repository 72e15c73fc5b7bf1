"""ttl and TTL, hl and HL: the IPv4 time to live, the IPv6 hop limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Target
from fastfw.ruleset.ext.values import number


@dataclass(slots=True)
class _HopMatch(Match):
    mode: str = ""
    value: int = 0
    invert: bool = False

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """The option's name says how to compare."""
        Match.read(self, option, text, invert, context)
        self.mode = option.name[-2:]

    def finish(self, context: Context) -> None:
        """One comparison must be given."""
        if not context.seen:
            raise Refusal(f"{self.name} needs --{self.name}-eq, --{self.name}-lt or --{self.name}-gt")
        Match.finish(self, context)

    def save(self, family: int) -> str:
        """One comparison."""
        return f" {'! ' * self.invert}--{self.name}-{self.mode} {self.value}"


@dataclass(slots=True)
class Ttl(_HopMatch):
    """`mode` is eq, lt or gt; `invert` goes with eq alone."""

    name: ClassVar[str] = "ttl"
    families: ClassVar[tuple[int, ...]] = (4,)

    options: ClassVar[tuple[Option, ...]] = (
        Option("ttl-eq", "value", number(255), None, "invert", ("ttl",), excludes=("ttl-lt", "ttl-gt")),
        Option("ttl-lt", "value", number(255), excludes=("ttl-gt",)),
        Option("ttl-gt", "value", number(255)),
    )


@dataclass(slots=True)
class Hl(_HopMatch):
    """`mode` is eq, lt or gt; `invert` goes with eq alone."""

    name: ClassVar[str] = "hl"
    families: ClassVar[tuple[int, ...]] = (6,)

    options: ClassVar[tuple[Option, ...]] = (
        Option("hl-eq", "value", number(255), None, "invert", ("hl",), excludes=("hl-lt", "hl-gt")),
        Option("hl-lt", "value", number(255), excludes=("hl-gt",)),
        Option("hl-gt", "value", number(255)),
    )


@dataclass(slots=True)
class _HopTarget(Target):
    mode: str = ""
    value: int = 0

    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """The option's name says what to do."""
        Target.read(self, option, text, invert, context)
        self.mode = option.name[-3:]

    def finish(self, context: Context) -> None:
        """One action must be given, and a step of zero is none."""
        if not context.seen:
            low = self.name.lower()
            raise Refusal(f"{self.name} needs --{low}-set, --{low}-inc or --{low}-dec")
        Target.finish(self, context)

    def save(self, family: int) -> str:
        """One action."""
        return f" --{self.name.lower()}-{self.mode} {self.value}"


@dataclass(slots=True)
class SetTtl(_HopTarget):
    """`mode` is set, inc or dec."""

    name: ClassVar[str] = "TTL"
    families: ClassVar[tuple[int, ...]] = (4,)

    options: ClassVar[tuple[Option, ...]] = (
        Option("ttl-set", "value", number(255), excludes=("ttl-inc", "ttl-dec")),
        Option("ttl-inc", "value", number(255, 1), excludes=("ttl-dec",)),
        Option("ttl-dec", "value", number(255, 1)),
    )


@dataclass(slots=True)
class SetHl(_HopTarget):
    """`mode` is set, inc or dec."""

    name: ClassVar[str] = "HL"
    families: ClassVar[tuple[int, ...]] = (6,)

    options: ClassVar[tuple[Option, ...]] = (
        Option("hl-set", "value", number(255), excludes=("hl-inc", "hl-dec")),
        Option("hl-inc", "value", number(255, 1), excludes=("hl-dec",)),
        Option("hl-dec", "value", number(255, 1)),
    )
