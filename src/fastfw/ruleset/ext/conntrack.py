"""conntrack and state: what connection tracking knows of a packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Parser
from fastfw.ruleset.ext.values import (
    Range,
    any_port_range,
    bits,
    connection_direction,
    host_mask,
    number_range,
    protocol,
    show_bits,
    show_host_mask,
    show_number,
    show_range,
)
from fastfw.ruleset.numbers import UINT32

STATES = {"INVALID": 1, "NEW": 8, "RELATED": 4, "ESTABLISHED": 2, "UNTRACKED": 16}
CT_STATES = STATES | {"SNAT": 32, "DNAT": 64}
STATUSES = {"EXPECTED": 1, "SEEN_REPLY": 2, "ASSURED": 4, "CONFIRMED": 8}

HostMask = tuple[int, int]


def _protocol(text: str, context: Context) -> int:
    return int(protocol(text, context))


def _show_ports(value: Range, family: int) -> str:
    return str(value[0]) if not value[1] else show_range(value, family)


def _show_status(value: int, family: int) -> str:
    return show_bits(STATUSES)(value, family) or "NONE"


def _show_direction(value: str, family: int) -> str:
    return value


def _address(name: str) -> Option:
    return Option(f"ct{name}", name, host_mask, show_host_mask, f"{name}_invert")


def _ports(name: str) -> Option:
    return Option(f"ct{name}", name, any_port_range, _show_ports, f"{name}_invert")


_state: Parser = bits(CT_STATES, "state")


@dataclass(slots=True)
class Conntrack(Match):
    """Every option that is not None must hold.

    `state` is an OR of `CT_STATES`, `status` of `STATUSES` (0: none of them). Addresses are (address, mask), compared
    under the mask; ports and `expire` (seconds left) are inclusive ranges; `direction` is ORIGINAL or REPLY.
    """

    name: ClassVar[str] = "conntrack"

    state: int | None = None
    state_invert: bool = False
    proto: int | None = None
    proto_invert: bool = False
    origsrc: HostMask | None = None
    origsrc_invert: bool = False
    origdst: HostMask | None = None
    origdst_invert: bool = False
    replsrc: HostMask | None = None
    replsrc_invert: bool = False
    repldst: HostMask | None = None
    repldst_invert: bool = False
    origsrcport: Range | None = None
    origsrcport_invert: bool = False
    origdstport: Range | None = None
    origdstport_invert: bool = False
    replsrcport: Range | None = None
    replsrcport_invert: bool = False
    repldstport: Range | None = None
    repldstport_invert: bool = False
    status: int | None = None
    status_invert: bool = False
    expire: Range | None = None
    expire_invert: bool = False
    direction: str | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("ctstate", "state", _state, show_bits(CT_STATES), "state_invert"),
        Option("ctproto", "proto", _protocol, show_number, "proto_invert"),
        _address("origsrc"),
        _address("origdst"),
        _address("replsrc"),
        _address("repldst"),
        _ports("origsrcport"),
        _ports("origdstport"),
        _ports("replsrcport"),
        _ports("repldstport"),
        Option("ctstatus", "status", bits(STATUSES | {"NONE": 0}, "status"), _show_status, "status_invert"),
        Option("ctexpire", "expire", number_range(UINT32), show_range, "expire_invert"),
        Option("ctdir", "direction", connection_direction, _show_direction),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("conntrack needs at least one option")


@dataclass(slots=True)
class State(Match):
    """`state` is an OR of `STATES`."""

    name: ClassVar[str] = "state"

    state: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("state", "state", bits(STATES, "state"), show_bits(STATES), "invert", required=True),
    )
