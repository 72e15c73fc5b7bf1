"""multiport: up to fifteen ports or ranges of ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import Range, parse_port
from fastfw.ruleset.names import protocol_name

LIMIT = 15
"""Slots; a range takes two."""

PROTOCOLS = (6, 17, 136, 132, 33)

SIDES = {"sports": "source", "dports": "destination", "ports": "either"}


def _ports(text: str, context: Context) -> tuple[Range, ...]:
    rule = context.rule
    if rule.protocol not in PROTOCOLS or rule.protocol_invert:
        raise Refusal("multiport needs -p tcp, udp, udplite, sctp or dccp in front of it")
    protocol = protocol_name(rule.protocol)
    ports: list[Range] = []
    slots = 0
    for part in text.split(","):
        first, colon, last = part.partition(":")
        low = high = parse_port(first, protocol)
        if colon:
            high = parse_port(last, protocol)
            if low >= high:
                raise Refusal(f"port range `{part}' must end after it begins")
        slots += 2 if colon else 1
        if slots > LIMIT:
            raise Refusal(f"more than {LIMIT} ports (a range counts as two)")
        ports.append((low, high))
    return tuple(ports)


@dataclass(slots=True)
class Multiport(Match):
    """`side` says which port must be in one of the ranges: source, destination or either."""

    name: ClassVar[str] = "multiport"

    side: str = ""
    ports: tuple[Range, ...] = ()
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sports", "ports", _ports, None, "invert", ("source-ports",), excludes=("dports", "ports")),
        Option("dports", "ports", _ports, None, "invert", ("destination-ports",), excludes=("ports",)),
        Option("ports", "ports", _ports, None, "invert"),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """The option's name says which side."""
        Match.read(self, option, text, invert, context)
        self.side = SIDES[option.name]

    def finish(self, context: Context) -> None:
        """One of the three must be given."""
        if not context.seen:
            raise Refusal("multiport needs --sports, --dports or --ports")
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """The rule's protocol must have ports."""
        if site.rule.protocol not in PROTOCOLS or site.rule.protocol_invert:
            raise Refusal("multiport needs -p tcp, udp, udplite, sctp or dccp")

    def save(self, family: int) -> str:
        """The short option names."""
        option = next((name for name, side in SIDES.items() if side == self.side), "ports")
        ports = ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ports)
        return f" {'! ' * self.invert}--{option} {ports}"
