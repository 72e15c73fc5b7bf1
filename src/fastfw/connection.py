"""A connection as /proc/net/nf_conntrack tells of it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.core.terms import Status

IP_PROTOCOL_NAMES = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}

# ICMP requests and what answers them, by family.
ICMP_REPLIES = {4: {8: 0, 13: 14, 15: 16, 17: 18}, 6: {128: 129, 139: 140}}

KERNEL_STATUS = (1 << 15) - 1
"""The status bits that nf_conntrack has too."""

ICMP, TCP, UDP, GRE, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 47, 58, 132, 136


@dataclass(frozen=True, slots=True)
class Connection:
    """One tracked connection, as it was when it was read.

    Addresses are packed, 4 or 16 bytes in network order, from the original direction's point of view; ports are
    numbers. For ICMP `source_port` is the identifier and `destination_port` is type << 8 | code of the request.
    `timeout` and `age` are seconds; `accounting` is (packets, bytes) of either direction, if they are counted;
    `tags` are SCTP's verification tags (RFC 9260 section 3.1) of packets in either direction, 0 where not known.
    """

    family: int
    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    state: str
    status: int
    timeout: int
    mark: int
    zone: int
    helper: str
    index: int
    accounting: tuple[tuple[int, int], tuple[int, int]] | None = None
    age: int | None = None
    gre_timeouts: tuple[int, int] = (0, 0)
    tags: tuple[int, int] = (0, 0)

    @property
    def assured(self) -> bool:
        """Whether it survives when the table is full."""
        return bool(self.status & Status.STATUS_ASSURED)

    @property
    def seen_reply(self) -> bool:
        """Whether the other side has answered."""
        return bool(self.status & Status.STATUS_SEEN_REPLY)

    @property
    def expected(self) -> bool:
        """Whether a helper announced it."""
        return bool(self.status & Status.STATUS_EXPECTED)

    def __str__(self) -> str:
        """The line /proc/net/nf_conntrack prints for it, `use` as for an entry nobody else holds."""
        parts = [f"{'ipv4' if self.family == 4 else 'ipv6':<8} {2 if self.family == 4 else 10} "]
        parts.append(f"{IP_PROTOCOL_NAMES.get(self.protocol, 'unknown'):<8} {self.protocol} {self.timeout} ")
        if self.protocol in (TCP, SCTP):
            parts.append(f"{self.state} ")
        elif self.protocol == GRE:
            parts.append("timeout={}, stream_timeout={} ".format(*self.gre_timeouts))
        parts.append(self._tuple(reply=False))
        if self.accounting:
            parts.append("packets={} bytes={} ".format(*self.accounting[0]))
        if not self.seen_reply:
            parts.append("[UNREPLIED] ")
        parts.append(self._tuple(reply=True))
        if self.accounting:
            parts.append("packets={} bytes={} ".format(*self.accounting[1]))
        if self.assured:
            parts.append("[ASSURED] ")
        parts.append(f"mark={self.mark} zone={self.zone} ")
        if self.age is not None:
            parts.append(f"delta-time={self.age} ")
        parts.append("use=2")
        return "".join(parts)

    def _tuple(self, reply: bool) -> str:
        first, second = self.source, self.destination
        first_port, second_port = self.source_port, self.destination_port
        if reply:
            first, second = second, first
        text = f"src={_address(first)} dst={_address(second)} "
        if self.protocol in (TCP, UDP, SCTP, UDPLITE):
            if reply:
                first_port, second_port = second_port, first_port
            return f"{text}sport={first_port} dport={second_port} "
        if self.protocol in (ICMP, ICMPV6):
            kind, code = second_port >> 8, second_port & 0xFF
            if reply:
                kind = ICMP_REPLIES[self.family][kind]
            return f"{text}type={kind} code={code} id={first_port} "
        if self.protocol == GRE:
            if reply:
                first_port, second_port = second_port, first_port
            return f"{text}srckey=0x{first_port:x} dstkey=0x{second_port:x} "
        return text


def from_entry(
    row: tuple[Any, ...],
    index: int,
    now: int,
    helper_names: list[str],
    counted: tuple[Any, ...] | None = None,
) -> Connection:
    """A Connection from one record of `core.snapshot.entries` at time `now` (ns).

    `row` is of dtype ENTRY and `counted` of dtype EXTRA, as tuples; None where the engine counts nothing.
    """
    lo, hi, lo_port, hi_port, zone, protocol, family, expires, status, mark, private, _master, state, helper, _ = row
    size = 4 if family == 4 else 16
    ends = [(lo[:size], lo_port), (hi[:size], hi_port)]
    if status & Status.STATUS_ORIGIN_HI:
        ends.reverse()
    (source, source_port), (destination, destination_port) = ends
    if protocol == TCP:
        name = TCP_STATES[state]
    elif protocol == SCTP:
        name = SCTP_STATES[state]
    else:
        name = ""
    accounting = None
    if counted and status & Status.STATUS_COUNTED:
        packets, lengths = counted[:2]
        accounting = (packets[0], lengths[0]), (packets[1], lengths[1])
    return Connection(
        family=family,
        protocol=protocol,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        state=name,
        status=status & KERNEL_STATUS,
        timeout=max(0, (expires - now) // 1_000_000_000),
        mark=mark,
        zone=zone,
        helper=helper_names[helper],
        index=index,
        accounting=accounting,
        age=(now - counted[2]) // 1_000_000_000 if counted and status & Status.STATUS_TIMED else None,
        gre_timeouts=struct.unpack_from("=II", private) if protocol == GRE else (0, 0),
        tags=struct.unpack_from(">II", private) if protocol == SCTP else (0, 0),
    )


PERMANENT, ANY_PORT, ANY_SOURCE, INACTIVE, MASKED = 1, 2, 4, 8, 16
"""core.expect's flags of an expectation."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A connection that a helper has announced. Addresses are packed; an absent source or port is None."""

    family: int
    protocol: int
    source: bytes | None
    destination: bytes
    source_port: int | None
    destination_port: int
    timeout: int
    class_: int
    helper: str
    master: int
    permanent: bool
    inactive: bool = False
    """It is kept, but no connection meets it yet."""
    source_mask: bytes | None = None
    """Which bits of the source count; None: all of them, or none where there is no source."""
    class_name: str = ""
    """What the helper calls the class, if it names any."""

    def __str__(self) -> str:
        """The line /proc/net/nf_conntrack_expect prints for it."""
        size = 4 if self.family == 4 else 16
        flags = f"{self.flags} " if self.flags else ""
        ports = self.ports_text(self.source_port or 0, self.destination_port)
        owner = f"{self.helper}/{self.class_name}" if self.class_name else self.helper
        return (
            f"{self.timeout} l3proto = {2 if self.family == 4 else 10} proto={self.protocol} "
            f"src={_address(self.source or bytes(size))} dst={_address(self.destination)} {ports} {flags}{owner}"
        )

    @property
    def flags(self) -> str:
        """PERMANENT, INACTIVE, both with a comma between, or nothing."""
        return ",".join(word for word, has in (("PERMANENT", self.permanent), ("INACTIVE", self.inactive)) if has)

    def ports_text(self, source: int, destination: int) -> str:
        """A pair of ports as listings show it, or of keys where GRE is expected."""
        if self.protocol == GRE:
            return f"srckey=0x{source:x} dstkey=0x{destination:x}"
        return f"sport={source} dport={destination}"


def _address(packed: bytes) -> str:
    return socket.inet_ntoa(packed) if len(packed) == 4 else IPv6Address(packed).exploded


def from_expect(
    row: tuple[Any, ...],
    now: int,
    helper_names: list[str],
    class_names: Sequence[Sequence[str]] = (),
) -> Expectation:
    """An Expectation from one record of `core.snapshot.expectations` (dtype EXPECT, as a tuple) at time `now` (ns).

    `class_names` are each helper's own names of its classes, by the helper's number.
    """
    source, destination, sport, dport, _zone, protocol, family, flags, class_, helper, *rest = row
    _child, master, expires, _serial = rest
    size = 4 if family == 4 else 16
    named = class_names[helper] if helper < len(class_names) else ()
    return Expectation(
        family=family,
        protocol=protocol,
        source=None if flags & ANY_SOURCE else source[:size],
        destination=destination[:size],
        source_port=None if flags & ANY_PORT else sport,
        destination_port=dport,
        timeout=max(0, (expires - now) // 1_000_000_000),
        class_=class_,
        helper=helper_names[helper],
        master=master,
        permanent=bool(flags & PERMANENT),
        inactive=bool(flags & INACTIVE),
        source_mask=source[4:8] if flags & MASKED else None,
        class_name=named[class_] if class_ < len(named) else "",
    )


EVENT_KINDS = ("", "NEW", "UPDATE", "DESTROY")
EVENT_REASONS = ("", "timeout", "closed", "reopened", "evicted", "deleted", "refused by its helper")
"""Why a connection was destroyed, by core.events' numbers."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a connection: NEW, UPDATE or DESTROY, and why it ended; `time` is the engine's clock, ns.

    `changed` names what an UPDATE tells of: "reply" (the first), "assured", "protoinfo" (the protocol's state),
    "helper", "mark", "label"; of a NEW the last two, where its first packet's rules have set them.
    """

    kind: str
    reason: str
    time: int
    connection: Connection
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpectationEvent:
    """What happened to an expectation: NEW or DESTROY; `master` is the connection that announced it, as it was."""

    kind: str
    time: int
    expectation: Expectation
    master: Connection


CHANGES = {8: "reply", 16: "assured", 32: "protoinfo", 64: "helper", 128: "mark", 1024: "label"}


def changes(bits: int) -> tuple[str, ...]:
    """The names of core.conntrack's TELL_... bits that an event may have."""
    return tuple(name for bit, name in CHANGES.items() if bits & bit)


def from_event(row: tuple[Any, ...], helper_names: list[str]) -> Event:
    """An Event from one record of `core.snapshot.take_events`, of dtype EVENT, as a tuple."""
    moment, kind, why, what, entry, extra = row
    connection = from_entry(entry, 0, moment, helper_names, extra)
    return Event(EVENT_KINDS[kind], EVENT_REASONS[why], moment, connection, changes(what))


EXPECTATION_EVENT_KINDS = {1: "NEW", 2: "DESTROY"}


def from_expectation_event(
    event: tuple[Any, ...],
    helper_names: list[str],
    class_names: Sequence[Sequence[str]] = (),
) -> ExpectationEvent:
    """An ExpectationEvent from one record of `core.snapshot.take_events` of expectations, of dtype EXPECTATION_EVENT,
    as a tuple."""
    moment, kind, master, expectation = event
    return ExpectationEvent(
        EXPECTATION_EVENT_KINDS[kind],
        moment,
        from_expect(expectation, moment, helper_names, class_names),
        from_entry(master, expectation[11], moment, helper_names),
    )
