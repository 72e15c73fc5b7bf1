"""Connections as conntrack(8) prints them, and its `-o save` lines read back."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import sys
from collections.abc import Iterable

from fastfw.connection import (
    GRE,
    ICMP,
    ICMP_REPLIES,
    ICMPV6,
    IP_PROTOCOL_NAMES,
    SCTP,
    TCP,
    UDP,
    UDPLITE,
    Connection,
    Event,
    Expectation,
    ExpectationEvent,
)
from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.core.terms import Status

DCCP = 33
NAMES = IP_PROTOCOL_NAMES | {DCCP: "dccp"}
"""Protocols as conntrack(8) names them: it knows one that nf_conntrack no longer does."""

PROTOCOL_NUMBERS = {name: number for number, name in NAMES.items()}

SAVED_STATUS = {
    "ASSURED": Status.STATUS_ASSURED,
    "SEEN_REPLY": Status.STATUS_SEEN_REPLY,
    "EXPECTED": Status.STATUS_EXPECTED,
    "FIXED_TIMEOUT": Status.STATUS_FIXED_TIMEOUT,
    "CONFIRMED": Status.STATUS_CONFIRMED,
    "HELPER": Status.STATUS_HELPER,
}


class SaveLineError(ValueError):
    """A line that is none of `conntrack -o save`; the message says what was expected."""


def address(packed: bytes) -> str:
    """An address as conntrack prints it: IPv6 in its short form, an IPv4 address within it with dots."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def tuple_text(connection: Connection, *, reply: bool) -> str:
    """One direction's addresses and ports, without a blank at the end."""
    source, destination = connection.source, connection.destination
    sport, dport = connection.source_port, connection.destination_port
    protocol = connection.protocol
    if reply:
        source, destination = destination, source
    text = f"src={address(source)} dst={address(destination)}"
    if protocol in (ICMP, ICMPV6):
        kind, code = dport >> 8, dport & 0xFF
        if reply:
            kind = ICMP_REPLIES[connection.family][kind]
        return f"{text} type={kind} code={code} id={sport}"
    if reply:
        sport, dport = dport, sport
    if protocol in (TCP, UDP, SCTP, UDPLITE, DCCP):
        return f"{text} sport={sport} dport={dport}"
    if protocol == GRE:
        return f"{text} srckey=0x{sport:x} dstkey=0x{dport:x}"
    return text


def counted(connection: Connection, direction: int) -> str:
    """` packets=N bytes=N` where they are counted."""
    if connection.accounting is None:
        return ""
    packets, size = connection.accounting[direction]
    return f" packets={packets} bytes={size}"


def line(connection: Connection, *, extended: bool = False, with_id: bool = False) -> str:
    """A line of `conntrack -L`, or of `-o extended`, or of `-o id`."""
    name = NAMES.get(connection.protocol, "unknown")
    parts = [f"{name:<8} {connection.protocol} {connection.timeout}"]
    if extended:
        family = "ipv4     2" if connection.family == 4 else "ipv6     10"
        parts.insert(0, family)
    if connection.protocol in (TCP, SCTP):
        parts.append(connection.state)
    parts.append(tuple_text(connection, reply=False) + counted(connection, 0))
    if not connection.seen_reply:
        parts.append("[UNREPLIED]")
    parts.append(tuple_text(connection, reply=True) + counted(connection, 1))
    if connection.assured:
        parts.append("[ASSURED]")
    parts.append(f"mark={connection.mark}")
    if connection.zone:
        parts.append(f"zone={connection.zone}")
    if connection.helper:
        parts.append(f"helper={connection.helper}")
    if connection.age is not None:
        parts.append(f"delta-time={connection.age}")
    parts.append("use=1")
    if with_id:
        parts.append(f"id={connection.index}")
    return " ".join(parts)


def expectation_line(expectation: Expectation, master: Connection | None) -> str:
    """A line of `conntrack -L expect`; without its master where that is not known."""
    e = expectation
    size = 4 if e.family == 4 else 16
    none, every = bytes(size), b"\xff" * size
    mask = e.source_mask or (every if e.source else none)
    any_port = e.source_port is None
    parts = [
        f"{e.timeout} proto={e.protocol} src={address(e.source or none)} dst={address(e.destination)}",
        e.ports_text(e.source_port or 0, e.destination_port),
        f"mask-src={address(mask)} mask-dst={address(every)}",
        e.ports_text(0 if any_port else 0xFFFF, 0xFFFF),
    ]
    if master is not None:
        parts.append(f"master-src={address(master.source)} master-dst={address(master.destination)}")
        parts.append(f"sport={master.source_port} dport={master.destination_port}")
    if e.flags:
        parts.append(e.flags)
    return " ".join([*parts, f"class={e.class_} helper={e.helper}"])


EVENT_TAGS = {"NEW": "    [NEW]", "UPDATE": " [UPDATE]", "DESTROY": "[DESTROY]"}


def event_line(event: Event) -> str:
    """A line of `conntrack -E`."""
    connection = event.connection
    parts = [
        EVENT_TAGS[event.kind],
        f"{NAMES.get(connection.protocol, 'unknown'):<8} {connection.protocol}",
    ]
    if event.kind != "DESTROY" or connection.timeout:
        parts.append(str(connection.timeout))
    if connection.protocol in (TCP, SCTP) and (event.kind != "UPDATE" or "protoinfo" in event.changed):
        parts.append(connection.state)
    parts.append(tuple_text(connection, reply=False) + counted(connection, 0))
    if not connection.seen_reply:
        parts.append("[UNREPLIED]")
    parts.append(tuple_text(connection, reply=True) + counted(connection, 1))
    if connection.assured:
        parts.append("[ASSURED]")
    if connection.mark or "mark" in event.changed:
        parts.append(f"mark={connection.mark}")
    if connection.zone:
        parts.append(f"zone={connection.zone}")
    if connection.helper and event.kind != "DESTROY":
        parts.append(f"helper={connection.helper}")
    return " ".join(parts)


def expectation_event_line(event: ExpectationEvent) -> str:
    """A line of `conntrack -E expect`."""
    return f"{EVENT_TAGS[event.kind]} {expectation_line(event.expectation, event.master)}"


def tag_number(tag: int) -> int:
    """A verification tag as conntrack prints and reads it, a number of the machine's own byte order, and back."""
    return int.from_bytes(tag.to_bytes(4, "big"), sys.byteorder)


def save_line(connection: Connection) -> str:
    """A line of `conntrack -L -o save`, which `conntrack -R` and `read_save` take. It does not tell the mark."""
    names = [name for name in ("SEEN_REPLY", "ASSURED", "EXPECTED", "FIXED_TIMEOUT") if _has(connection, name)]
    source, destination = address(connection.source), address(connection.destination)
    parts = [f"-A -t {connection.timeout} -u {','.join(names) or 'UNSET'}"]
    if connection.zone:
        parts.append(f"-w {connection.zone}")
    parts.append(f"-s {source} -d {destination} -r {destination} -q {source}")
    name = NAMES.get(connection.protocol, str(connection.protocol))
    parts.append(f"-p {name}")
    sport, dport = connection.source_port, connection.destination_port
    if connection.protocol in (TCP, UDP, SCTP, UDPLITE):
        parts.append(f"--sport {sport} --dport {dport} --reply-port-src {dport} --reply-port-dst {sport}")
    elif connection.protocol in (ICMP, ICMPV6):
        parts.append(f"--{name}-type {dport >> 8} --{name}-code {dport & 0xFF} --{name}-id {sport}")
    elif connection.protocol == GRE:
        parts.append(f"--srckey {sport} --dstkey {dport} --reply-key-src {dport} --reply-key-dst {sport}")
    if connection.protocol in (TCP, SCTP):
        parts.append(f"--state {connection.state}")
    if connection.protocol == SCTP:
        parts.append("--orig-vtag {} --reply-vtag {}".format(*map(tag_number, connection.tags)))
    return " ".join(parts)


def _has(connection: Connection, name: str) -> bool:
    return bool(connection.status & SAVED_STATUS[name])


OPTIONS = {
    "-t": "timeout", "--timeout": "timeout", "-u": "status", "--status": "status",
    "-s": "source", "--src": "source", "--orig-src": "source",
    "-d": "destination", "--dst": "destination", "--orig-dst": "destination",
    "-r": "reply_source", "--reply-src": "reply_source", "-q": "reply_destination", "--reply-dst": "reply_destination",
    "-p": "protocol", "--proto": "protocol", "--sport": "sport", "--orig-port-src": "sport",
    "--dport": "dport", "--orig-port-dst": "dport", "--reply-port-src": "reply_sport",
    "--reply-port-dst": "reply_dport", "--state": "state", "-m": "mark", "--mark": "mark",
    "-w": "zone", "--zone": "zone",
    "--icmp-type": "type", "--icmp-code": "code", "--icmp-id": "id",
    "--icmpv6-type": "type", "--icmpv6-code": "code", "--icmpv6-id": "id",
    "--srckey": "sport", "--dstkey": "dport", "--reply-key-src": "reply_sport", "--reply-key-dst": "reply_dport",
    "--orig-vtag": "tag", "--reply-vtag": "reply_tag",
}  # fmt: skip
"""Options of a saved line; what a name stands for is looked up by it below."""


ALIASES = {(TCP, "LISTEN"): "SYN_SENT2", (SCTP, "(null)"): "HEARTBEAT_SENT"}
"""Other words of conntrack's for states; the last is what it prints for one that it does not know."""


def number(text: str | None, name: str, highest: int) -> int:
    """A whole number of an option, 0 where it is absent."""
    if text is None:
        return 0
    value = int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[1-9][0-9]{0,9}|0", text) else -1
    if not 0 <= value <= highest:
        raise SaveLineError(f"{name}: a whole number from 0 to {highest} expected, not {text!r}")
    return value


def read_address(found: dict[str, str], name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of an option."""
    name, text = name.replace("_", " "), found.get(name)
    if text is None:
        raise SaveLineError(f"{name} address: missing")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise SaveLineError(f"{name} address: IPv4 or IPv6 expected, not {text!r}") from None


def read_save_line(text: str) -> Connection:
    """The connection that one `-A ...` line tells of. Raises SaveLineError.

    A line does not tell of TCP's windows: they are learned anew from the packets that come.
    """
    words = shlex.split(text)
    if not words or words[0] != "-A":
        raise SaveLineError(f"-A expected at the line's start, not {words[0] if words else 'nothing'!r}")
    found: dict[str, str] = {}
    rest = iter(words[1:])
    for option in rest:
        if option not in OPTIONS:
            raise SaveLineError(f"{option!r}: an option of conntrack -o save expected")
        value = next(rest, None)
        if value is None:
            raise SaveLineError(f"{option}: a value expected")
        if OPTIONS[option] in found:
            raise SaveLineError(f"{option}: given twice")
        found[OPTIONS[option]] = value
    source, destination = (read_address(found, name) for name in ("source", "destination"))
    if source.version != destination.version:
        raise SaveLineError("source and destination must be of one family")
    for mirror, of in (("reply_source", destination), ("reply_destination", source)):
        if mirror in found and read_address(found, mirror) != of:
            raise SaveLineError(f"{mirror.replace('_', ' ')}: {of} expected: addresses are not translated here")
    name = found.get("protocol", "")
    other = int(name) if re.fullmatch("[0-9]{1,3}", name) and int(name) < 256 else -1
    protocol = PROTOCOL_NUMBERS.get(name, other)
    if protocol < 0:
        raise SaveLineError(f"protocol: a name or a number up to 255 expected, not {name!r}")
    sport = number(found.get("sport"), "source port", 65535)
    dport = number(found.get("dport"), "destination port", 65535)
    if protocol in (ICMP, ICMPV6):
        kind = number(found.get("type"), "type", 255)
        if kind not in ICMP_REPLIES[source.version] or (protocol == ICMP) != (source.version == 4):
            raise SaveLineError(f"type: a request's expected, not {kind}")
        sport, dport = number(found.get("id"), "id", 65535), kind << 8 | number(found.get("code"), "code", 255)
    states = {TCP: TCP_STATES, SCTP: SCTP_STATES}.get(protocol, ())
    found["state"] = ALIASES.get((protocol, found.get("state", "")), found.get("state", ""))
    if states and found["state"] not in states[1:]:
        raise SaveLineError(f"state: one of {', '.join(states[1:])} expected, not {found['state'] or None!r}")
    status = int(Status.STATUS_CONFIRMED)
    for word in found.get("status", "UNSET").split(","):
        if word != "UNSET" and word not in SAVED_STATUS:
            raise SaveLineError(f"status: UNSET or some of {', '.join(SAVED_STATUS)} expected, not {word!r}")
        status |= SAVED_STATUS.get(word, 0)
    return Connection(
        family=source.version,
        protocol=protocol,
        source=source.packed,
        destination=destination.packed,
        source_port=sport,
        destination_port=dport,
        state=found["state"],
        status=status,
        timeout=number(found.get("timeout"), "timeout", 2**31 - 1),
        mark=number(found.get("mark"), "mark", 2**32 - 1),
        zone=number(found.get("zone"), "zone", 65535),
        helper="",
        index=0,
        tags=(_read_tag(found, "tag"), _read_tag(found, "reply_tag")),
    )


def _read_tag(found: dict[str, str], name: str) -> int:
    return tag_number(number(found.get(name), "verification tag", 2**32 - 1))


def read_save(lines: Iterable[str]) -> list[Connection]:
    """The connections of `conntrack -o save` text; blank lines and comments are passed over. Raises SaveLineError."""
    found = []
    for place, text in enumerate(lines, 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            found.append(read_save_line(text))
        except ValueError as error:
            raise SaveLineError(f"line {place}: {error}") from None
    return found
