"""ipvs: connections of the IP virtual server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import upper
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import (
    any_port,
    connection_direction,
    host_mask,
    parse_protocol,
    show_host_mask,
    show_number,
    show_plain,
)

HostMask = tuple[int, int]

METHODS = ("GATE", "IPIP", "MASQ")


def _proto(text: str, context: Context) -> int:
    return parse_protocol(text)


def _port(text: str, context: Context) -> int:
    return any_port(text)


def _method(text: str, context: Context) -> str:
    if upper(text) not in METHODS:
        raise Refusal(f"unknown method `{text}': expected {', '.join(METHODS)}")
    return upper(text)


@dataclass(slots=True)
class Ipvs(Match):
    """Any option asks for a connection of the virtual server; None: not asked."""

    name: ClassVar[str] = "ipvs"

    ipvs: bool = False
    ipvs_invert: bool = False
    proto: int | None = None
    proto_invert: bool = False
    address: HostMask | None = None
    address_invert: bool = False
    port: int | None = None
    port_invert: bool = False
    direction: str | None = None
    method: str | None = None
    method_invert: bool = False
    control_port: int | None = None
    control_port_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("ipvs", "ipvs", None, None, "ipvs_invert"),
        Option("vproto", "proto", _proto, show_number, "proto_invert"),
        Option("vaddr", "address", host_mask, show_host_mask, "address_invert"),
        Option("vport", "port", _port, show_number, "port_invert"),
        Option("vdir", "direction", connection_direction, show_plain),
        Option("vmethod", "method", _method, show_plain, "method_invert"),
        Option("vportctl", "control_port", _port, show_number, "control_port_invert"),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("ipvs needs at least one option")
