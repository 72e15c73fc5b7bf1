"""devgroup and realm: groups of interfaces and of routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Parser, Printer, Site
from fastfw.ruleset.numbers import UINT32, masked_text, parse_masked, strtoul

Masked = tuple[int, int]

# The names every iproute2 installation begins with.
GROUPS = {"default": 0}
REALMS = {"cosmos": 0}


def _named(names: dict[str, int]) -> Parser:
    def parse(text: str, context: Context) -> Masked:
        if strtoul(text) is not None:
            return parse_masked(text)
        if text not in names:
            raise Refusal(f"unknown name `{text}': expected value[/mask] or {', '.join(names)}")
        return names[text], UINT32

    return parse


def _shown(names: dict[str, int]) -> Printer:
    numbers = {number: name for name, number in names.items()}

    def show(value: Masked, family: int) -> str:
        if value[1] == UINT32 and value[0] in numbers:
            return numbers[value[0]]
        return masked_text(*value)

    return show


@dataclass(slots=True)
class DevGroup(Match):
    """(value, mask) of the interfaces' groups; None: not asked."""

    name: ClassVar[str] = "devgroup"

    source: Masked | None = None
    source_invert: bool = False
    destination: Masked | None = None
    destination_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("src-group", "source", _named(GROUPS), _shown(GROUPS), "source_invert"),
        Option("dst-group", "destination", _named(GROUPS), _shown(GROUPS), "destination_invert"),
    )

    def finish(self, context: Context) -> None:
        """At least one side must be given."""
        if not context.seen:
            raise Refusal("devgroup needs --src-group or --dst-group")

    def check(self, site: Site) -> None:
        """Each side only where the packet has that interface."""
        if self.source is not None and site.hooks & {"OUTPUT", "POSTROUTING"}:
            raise Refusal("devgroup --src-group is valid only in PREROUTING, INPUT and FORWARD")
        if self.destination is not None and site.hooks & {"PREROUTING", "INPUT"}:
            raise Refusal("devgroup --dst-group is valid only in FORWARD, OUTPUT and POSTROUTING")


@dataclass(slots=True)
class Realm(Match):
    """`realm` is (value, mask) of the route's realm."""

    name: ClassVar[str] = "realm"
    families: ClassVar[tuple[int, ...]] = (4,)
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

    realm: Masked = (0, UINT32)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("realm", "realm", _named(REALMS), _shown(REALMS), "invert", required=True),
    )
