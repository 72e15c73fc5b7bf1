"""addrtype: what routing says an address is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import bits, show_bits

TYPES = {
    "UNSPEC": 1,
    "UNICAST": 2,
    "LOCAL": 4,
    "BROADCAST": 8,
    "ANYCAST": 16,
    "MULTICAST": 32,
    "BLACKHOLE": 64,
    "UNREACHABLE": 128,
    "PROHIBIT": 256,
    "THROW": 512,
    "NAT": 1024,
    "XRESOLVE": 2048,
}

_NOT_IPV6 = TYPES["BLACKHOLE"] | TYPES["PROHIBIT"] | TYPES["THROW"] | TYPES["NAT"] | TYPES["XRESOLVE"]


@dataclass(slots=True)
class AddrType(Match):
    """`source` and `destination` are ORs of `TYPES` (0: not asked); the limits ask only one interface's addresses."""

    name: ClassVar[str] = "addrtype"

    source: int = 0
    source_invert: bool = False
    destination: int = 0
    destination_invert: bool = False
    limit_in: bool = False
    limit_out: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("src-type", "source", bits(TYPES, "address type"), show_bits(TYPES), "source_invert", hide=0),
        Option("dst-type", "destination", bits(TYPES, "address type"), show_bits(TYPES), "destination_invert", hide=0),
        Option("limit-iface-in", "limit_in", excludes=("limit-iface-out",)),
        Option("limit-iface-out", "limit_out"),
    )

    def finish(self, context: Context) -> None:
        """At least one side must be given."""
        if "src-type" not in context.seen and "dst-type" not in context.seen:
            raise Refusal("addrtype needs --src-type or --dst-type")
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """An interface's addresses can only be asked where the packet has that interface."""
        if self.limit_in and site.hooks & {"OUTPUT", "POSTROUTING"}:
            raise Refusal("addrtype --limit-iface-in is not valid in OUTPUT and POSTROUTING")
        if self.limit_out and site.hooks & {"PREROUTING", "INPUT"}:
            raise Refusal("addrtype --limit-iface-out is not valid in PREROUTING and INPUT")
        if site.family == 6:
            types = self.source | self.destination
            if types & TYPES["BROADCAST"]:
                raise Refusal("IPv6 has no BROADCAST addresses")
            if types & _NOT_IPV6:
                raise Refusal("IPv6 routing does not know BLACKHOLE, PROHIBIT, THROW, NAT and XRESOLVE addresses")
