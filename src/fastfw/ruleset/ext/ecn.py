"""ecn and ECN: explicit congestion notification (RFC 3168)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site, Target
from fastfw.ruleset.ext.values import number, show_number


def _needs_tcp(name: str, site: Site) -> None:
    if site.rule.protocol != 6 or site.rule.protocol_invert:
        raise Refusal(f"{name}'s TCP options need -p tcp")


@dataclass(slots=True)
class Ecn(Match):
    """`ect` is the two bits of the IP header, None: not asked."""

    name: ClassVar[str] = "ecn"

    ece: bool = False
    ece_invert: bool = False
    cwr: bool = False
    cwr_invert: bool = False
    ect: int | None = None
    ect_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("ecn-tcp-ece", "ece", None, None, "ece_invert"),
        Option("ecn-tcp-cwr", "cwr", None, None, "cwr_invert"),
        Option("ecn-ip-ect", "ect", number(3), show_number, "ect_invert"),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("ecn needs at least one option")

    def check(self, site: Site) -> None:
        """Two of the bits are TCP's."""
        if self.ece or self.cwr:
            _needs_tcp(self.name, site)


@dataclass(slots=True)
class SetEcn(Target):
    """`remove` clears both TCP bits; the others set one field, None: left alone."""

    name: ClassVar[str] = "ECN"
    families: ClassVar[tuple[int, ...]] = (4,)
    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    remove: bool = False
    ece: int | None = None
    cwr: int | None = None
    ect: int | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("ecn-tcp-remove", "remove", excludes=("ecn-tcp-ece", "ecn-tcp-cwr")),
        Option("ecn-tcp-ece", "ece", number(1), show_number),
        Option("ecn-tcp-cwr", "cwr", number(1), show_number),
        Option("ecn-ip-ect", "ect", number(3), show_number),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("ECN needs at least one option")
        Target.finish(self, context)

    def check(self, site: Site) -> None:
        """Two of the bits are TCP's."""
        Target.check(self, site)
        if self.remove or self.ece is not None or self.cwr is not None:
            _needs_tcp(self.name, site)
