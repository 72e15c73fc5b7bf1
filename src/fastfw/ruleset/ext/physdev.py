"""physdev: the ports of a bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import Interface, parse_interface
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site


def _port(text: str, context: Context) -> Interface:
    return parse_interface(text) if text else Interface("")


def _show(value: Interface, family: int) -> str:
    return str(value)


@dataclass(slots=True)
class PhysDev(Match):
    """Every option that is not None or False must hold."""

    name: ClassVar[str] = "physdev"

    is_in: bool = False
    is_in_invert: bool = False
    in_port: Interface | None = None
    in_invert: bool = False
    is_out: bool = False
    is_out_invert: bool = False
    out_port: Interface | None = None
    out_invert: bool = False
    is_bridged: bool = False
    is_bridged_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("physdev-is-in", "is_in", None, None, "is_in_invert"),
        Option("physdev-in", "in_port", _port, _show, "in_invert"),
        Option("physdev-is-out", "is_out", None, None, "is_out_invert"),
        Option("physdev-out", "out_port", _port, _show, "out_invert"),
        Option("physdev-is-bridged", "is_bridged", None, None, "is_bridged_invert"),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("physdev needs at least one option")

    def check(self, site: Site) -> None:
        """What is sent from here has no output port yet, unless it is bridged."""
        out = self.is_out or self.out_port is not None
        if out and not (self.is_bridged and not self.is_bridged_invert) and "OUTPUT" in site.hooks:
            raise Refusal("physdev cannot know the output port in OUTPUT of what is not bridged")
