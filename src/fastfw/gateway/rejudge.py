"""Live connections judged anew: would the rules in force let each begin?

The question is put to an engine of its own with the same rules and settings and an empty table: a packet as the
connection's first one, where this machine's routes say it enters and leaves. Connections that a helper announced share
the fate of nobody: they are kept while what announced them lives.
"""

from __future__ import annotations

import socket
import struct
import warnings
from typing import NamedTuple

from fastfw.connection import GRE, ICMP, ICMPV6, SCTP, TCP, UDP, Connection
from fastfw.engine import Engine
from fastfw.gateway.answers import checksum, ipv4_header, pseudo
from fastfw.gateway.routes import LOCAL, Route, Routes
from fastfw.ruleset import RulesetNotice

FIRST_ROOM = 16


class Judged(NamedTuple):
    """How many connections were judged, and how many of them are forgotten."""

    judged: int
    forgotten: int


def first_packet(connection: Connection) -> bytes | None:
    """A packet as the one that began a connection; None for a protocol whose first packet cannot be told."""
    sport, dport = connection.source_port, connection.destination_port
    protocol = connection.protocol
    if protocol == TCP:
        body = struct.pack(">HHIIBBHHH", sport, dport, 0, 0, 5 << 4, 2, 65535, 0, 0)
    elif protocol == UDP:
        body = struct.pack(">HHHH", sport, dport, 8, 0)
    elif protocol in (ICMP, ICMPV6):
        body = struct.pack(">BBHHH", dport >> 8, dport & 0xFF, 0, sport, 0)
    elif protocol == GRE:
        body = struct.pack(">HHHH", 0x2001, 0x880B, 0, dport) + bytes(4) if dport else struct.pack(">HH", 0, 0x0800)
    elif protocol == SCTP:
        return None
    else:
        body = b""
    if connection.family == 4:
        head = ipv4_header(connection.source, connection.destination, protocol, len(body))
    else:
        head = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + connection.source + connection.destination
    at = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}.get(protocol)
    if at is not None:
        cover = b"" if protocol == ICMP else pseudo(connection.source, connection.destination, protocol, len(body))
        total = checksum(cover + body) or 0xFFFF
        body = body[:at] + total.to_bytes(2, "big") + body[at + 2 :]
    return head + body


def place(source: Route, destination: Route) -> tuple[str, str, str]:
    """The chain a packet meets and its interfaces, by the routes to its two ends."""
    if destination.kind == LOCAL:
        return "INPUT", "lo" if source.kind == LOCAL else name(source.interface), ""
    if source.kind == LOCAL:
        return "OUTPUT", "", name(destination.interface)
    return "FORWARD", name(source.interface), name(destination.interface)


def name(interface: int) -> str:
    """An interface's name; "" for one that is gone."""
    try:
        return socket.if_indextoname(interface)
    except OSError:
        return ""


def rejudge(engine: Engine) -> Judged:
    """Forget the connections that the rules in force would not let begin."""
    with warnings.catch_warnings(action="ignore", category=RulesetNotice):
        trial = engine.twin(engine.ruleset(4), engine.ruleset(6), FIRST_ROOM)
    routes = Routes()
    judged = 0

    def refused(connection: Connection) -> bool:
        nonlocal judged
        packet = None if connection.expected else first_packet(connection)
        if packet is None:
            return False
        judged += 1
        hook, into, onto = place(routes.to(connection.source), routes.to(connection.destination))
        trial.flush()
        return trial.decide(packet, hook=hook, iif=into, oif=onto).verdict in ("DROP", "REJECT")

    try:
        gone = engine.delete(refused)
    finally:
        routes.close()
    return Judged(judged, len(gone))
