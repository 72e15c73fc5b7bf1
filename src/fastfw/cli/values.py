"""What a condition of a rule was compared with: the packet's own value, in words."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastfw.cli.headers import WITH_PORTS, Headers
from fastfw.cli.names import STATES, protocol_name
from fastfw.core.declared import LinkBit
from fastfw.core.program import OPS
from fastfw.core.reasons import flag_names
from fastfw.core.terms import State, Status
from fastfw.ruleset.ext.conntrack import STATUSES
from fastfw.ruleset.ext.pkttype import TYPES
from fastfw.ruleset.lower.matches import SIDES
from fastfw.ruleset.lower.program import Predicate

NAMES = {number: name for name, number in OPS.items()}

ENDS = ("original source", "original destination", "reply source", "reply destination")


@dataclass(frozen=True, slots=True)
class Facts:
    """A packet as one rule met it: its headers, the record of the visit, its interfaces there, its connection's key;
    `link`, of dtype LINK, what its frame said."""

    headers: Headers
    visit: np.void
    in_interface: str
    out_interface: str
    direction: str
    key: bytes
    link: np.void | None = None


def value(predicate: Predicate, held: bool, facts: Facts) -> str:
    """The value that a predicate was compared with; "" where there is nothing to say that its answer does not say."""
    op = NAMES.get(predicate[0], "")
    if op.startswith("CT_") and not facts.visit["has_entry"]:
        return "no connection"
    describe = _VALUES.get(op)
    return describe(predicate, held, facts) if describe is not None else ""


def _state(predicate: Predicate, held: bool, facts: Facts) -> str:
    state = int(facts.visit["state"])
    return f"state {STATES[state]}" if state != State.STATE_NONE else "state INVALID, as nothing is tracked yet"


def _header(predicate: Predicate, held: bool, facts: Facts) -> str:
    if held:
        return ""
    if facts.headers.fragment:
        return "a later fragment has no transport header"
    return f"{len(facts.headers.transport)} bytes of transport header, where {predicate[3]} are to be read"


def _ports(predicate: Predicate, held: bool, facts: Facts) -> str:
    source, destination = _port("SPORT", facts), _port("DPORT", facts)
    sides = {SIDES["source"]: source, SIDES["destination"]: destination}
    return sides.get(predicate[4], f"{source}, {destination}")


def _port(op: str, facts: Facts) -> str:
    """The bytes in a port's place, whatever the protocol makes of them."""
    at = 0 if op == "SPORT" else 2
    number = int.from_bytes(facts.headers.transport[at : at + 2], "big")
    return f"{'source' if op == 'SPORT' else 'destination'} port {number}"


def _icmp(predicate: Predicate, held: bool, facts: Facts) -> str:
    kind = facts.headers.icmp
    return "type {} code {}".format(*kind) if kind else ""


def _status(predicate: Predicate, held: bool, facts: Facts) -> str:
    status = int(facts.visit["status"])
    return "status " + (",".join(name for name, bit in STATUSES.items() if status & bit) or "NONE")


def _ends(end: int, facts: Facts) -> tuple[bytes, int]:
    """Address and port of one end of the connection's two tuples."""
    key, family = facts.key, facts.key[39]
    first, second = (key[0:16], key[32:34]), (key[16:32], key[34:36])
    high = bool(int(facts.visit["status"]) & Status.STATUS_ORIGIN_HI) ^ (end in (1, 2))
    address, port = second if high else first
    return address[: 4 if family == 4 else 16], int.from_bytes(port, "big")


def _ct_address(predicate: Predicate, held: bool, facts: Facts) -> str:
    end = predicate[5]
    return f"{ENDS[end]} {ipaddress.ip_address(_ends(end, facts)[0])}" if facts.key else ""


def _ct_port(predicate: Predicate, held: bool, facts: Facts) -> str:
    end = predicate[5]
    if not facts.key or facts.key[38] not in WITH_PORTS:
        return ""
    return f"{ENDS[end]} port {_ends(end, facts)[1]}"


def _options(predicate: Predicate, held: bool, facts: Facts) -> str:
    return f"options {','.join(map(str, facts.headers.tcp_options)) or 'none'}"


def _interface(name: str, what: str) -> str:
    return f"{what} {name}" if name else f"no {what}"


def _source(predicate: Predicate, held: bool, facts: Facts) -> str:
    return f"source {facts.headers.source}"


def _destination(predicate: Predicate, held: bool, facts: Facts) -> str:
    return f"destination {facts.headers.destination}"


def _mac(predicate: Predicate, held: bool, facts: Facts) -> str:
    if facts.link is None or not facts.link["known"] & LinkBit.LINK_SOURCE:
        return "no frame's source is known"
    return f"source {facts.link['source'].tobytes().hex(':')}"


def _packet_type(predicate: Predicate, held: bool, facts: Facts) -> str:
    return f"packet type {tuple(TYPES)[int(facts.link['type']) if facts.link is not None else 0]}"


_VALUES: dict[str, Callable[[Predicate, bool, Facts], str]] = {
    "SOURCE4": _source,
    "SOURCE6": _source,
    "SOURCE_RANGE4": _source,
    "SOURCE_RANGE6": _source,
    "TARGET4": _destination,
    "TARGET6": _destination,
    "TARGET_RANGE4": _destination,
    "TARGET_RANGE6": _destination,
    "IIF": lambda p, h, f: _interface(f.in_interface, "incoming interface"),
    "OIF": lambda p, h, f: _interface(f.out_interface, "outgoing interface"),
    "PROTOCOL": lambda p, h, f: f"protocol {protocol_name(f.headers.protocol)}",
    "FRAGMENT": lambda p, h, f: "a later fragment" if f.headers.fragment else "no later fragment",
    "HEADER": _header,
    "SPORT": lambda p, h, f: _port("SPORT", f),
    "DPORT": lambda p, h, f: _port("DPORT", f),
    "PORTS": _ports,
    "ICMP": _icmp,
    "STATE": _state,
    "CT_DIRECTION": lambda p, h, f: f"direction {f.direction}",
    "CT_PROTOCOL": lambda p, h, f: f"connection's protocol {protocol_name(f.key[38])}" if f.key else "",
    "CT_ADDRESS4": _ct_address,
    "CT_ADDRESS6": _ct_address,
    "CT_PORT": _ct_port,
    "CT_STATUS": _status,
    "CT_EXPIRE": lambda p, h, f: f"{f.visit['left']} s left",
    "MAC": _mac,
    "EUI64": _mac,
    "PACKET_TYPE": _packet_type,
    "MARK": lambda p, h, f: f"mark {int(f.visit['mark']):#x}",
    "CONNMARK": lambda p, h, f: (
        f"connection mark {int(f.visit['connmark']):#x}" if f.visit["has_entry"] else "no connection"
    ),
    "NEVER": lambda p, h, f: "no value can be so",
    "TCP_FLAGS": lambda p, h, f: f"flags {flag_names(f.headers.flags)}" if f.headers.flags is not None else "",
    "TCP_OPTION": _options,
    "LENGTH": lambda p, h, f: f"length {f.headers.length}",
    "TTL": lambda p, h, f: f"{'time to live' if f.headers.family == 4 else 'hop limit'} {f.visit['ttl']}",
    "TOS": lambda p, h, f: f"traffic class {int(f.visit['tos']):#04x}",
    "LIMIT": lambda p, h, f: "within the rate" if h else "the rate is used up",
}
