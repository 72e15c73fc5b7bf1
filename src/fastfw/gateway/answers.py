"""What REJECT says to a packet's sender: a TCP reset or an ICMP error, and when it says nothing.

Sources: RFC 793 section 3.4 and RFC 9293 section 3.5.2 (resets), RFC 1122 section 3.2.2 and RFC 1812 section 4.3.2
(ICMP errors), RFC 4443 section 2.4 (ICMPv6 errors).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from fastfw.core.terms import Hook
from fastfw.drivers.rejected import Rejected
from fastfw.ruleset.ext.reject import TCP_RESET

ICMP, TCP, UDP, UDPLITE, ICMPV6 = 1, 6, 17, 136, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16

# Answer -> code of destination unreachable: ICMP type 3, ICMPv6 type 1.
CODES = {
    "icmp-net-unreachable": 0,
    "icmp-host-unreachable": 1,
    "icmp-proto-unreachable": 2,
    "icmp-port-unreachable": 3,
    "icmp-net-prohibited": 9,
    "icmp-host-prohibited": 10,
    "icmp-admin-prohibited": 13,
    "icmp6-no-route": 0,
    "icmp6-adm-prohibited": 1,
    "icmp6-addr-unreachable": 3,
    "icmp6-port-unreachable": 4,
    "icmp6-policy-fail": 5,
    "icmp6-reject-route": 6,
}
UNREACHABLE = {4: 3, 6: 1}

# ICMP messages that are no errors: errors of any other kind are never answered (RFC 1122, 3.2.2).
ICMP_QUERIES = frozenset((0, 8, 9, 10, 13, 14, 15, 16, 17, 18))

QUOTED = {4: 576 - 28, 6: 1280 - 48}
"""Bytes of the refused packet that an error repeats at most."""

HOP_LIMIT = 64
REDIRECT = 137

EXTENSIONS = frozenset((0, 43, 60, 135))
FRAGMENT, AUTHENTICATION = 44, 51


@dataclass(frozen=True, slots=True)
class Answer:
    """A packet to send to `target`: `kind` is reset or unreachable.

    `data` is a whole IP packet, whose IPv4 source may be zero for the kernel to choose; for an ICMPv6 error it is the
    ICMPv6 message alone, its checksum left to the kernel, and `source` the address it is to come from, None for the
    kernel's choice.
    """

    family: int
    kind: str
    data: bytes
    target: bytes
    source: bytes | None = None

    def whole(self, usual: bytes) -> bytes:
        """The whole packet, from the kernel's usual source address where that is its choice."""
        if self.family == 4:
            if any(self.data[12:16]):
                return self.data
            head = self.data[:10] + b"\0\0" + usual + self.data[16:20]
            return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + self.data[20:]
        if self.kind == "reset":
            return self.data
        source = self.source or usual
        cover = pseudo(source, self.target, ICMPV6, len(self.data))
        message = self.data[:2] + checksum(cover + self.data).to_bytes(2, "big") + self.data[4:]
        return struct.pack(">IHBB", 6 << 28, len(message), ICMPV6, HOP_LIMIT) + source + self.target + message


class Silence(Exception):
    """Why a packet gets no answer."""


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of bytes in network order."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source: bytes, destination: bytes, protocol: int, size: int) -> bytes:
    """The pseudo header that transport checksums cover."""
    if len(source) == 4:
        return source + destination + struct.pack(">BBH", 0, protocol, size)
    return source + destination + struct.pack(">II", size, protocol)


@dataclass(frozen=True, slots=True)
class View:
    """A refused packet's headers."""

    packet: bytes
    family: int
    source: bytes
    destination: bytes
    protocol: int
    transport: int
    length: int


def view(packet: bytes, family: int) -> View:
    """The packet's headers. Silence: it is none that may be answered at all."""
    if family == 4:
        if len(packet) < 20:
            raise Silence("cut")
        if struct.unpack_from(">H", packet, 6)[0] & 0x1FFF:
            raise Silence("fragment")
        length = struct.unpack_from(">H", packet, 2)[0]
        return View(packet, 4, packet[12:16], packet[16:20], packet[9], (packet[0] & 15) * 4, length)
    if len(packet) < 40:
        raise Silence("cut")
    following, at = packet[6], 40
    length = struct.unpack_from(">H", packet, 4)[0] + 40
    while following in EXTENSIONS or following in (FRAGMENT, AUTHENTICATION):
        if at + 8 > len(packet):
            raise Silence("cut")
        if following == FRAGMENT and struct.unpack_from(">H", packet, at + 2)[0] & 0xFFF8:
            raise Silence("fragment")
        size = {FRAGMENT: 8, AUTHENTICATION: (packet[at + 1] + 2) * 4}.get(following, (packet[at + 1] + 1) * 8)
        following, at = packet[at], at + size
    return View(packet, 6, packet[8:24], packet[24:40], following, at, length)


def single_host(address: bytes) -> bool:
    """Whether an address can be one host's: neither unspecified nor multicast nor the limited broadcast."""
    if len(address) == 4:
        return address[0] not in (0, 255) and not 224 <= address[0] <= 239
    return any(address) and address[0] != 255


def verify(seen: View, vouched: bool) -> None:
    """Silence: the transport checksum is wrong, or cannot be known because the packet was cut."""
    covered = seen.protocol in (TCP, UDP, ICMPV6 if seen.family == 6 else ICMP)
    if vouched or not covered:
        return
    if seen.length > len(seen.packet):
        raise Silence("unverified")
    body = seen.packet[seen.transport : seen.length]
    if seen.protocol == UDP and body[6:8] == b"\0\0" and seen.family == 4:
        return
    head = b"" if seen.protocol == ICMP else pseudo(seen.source, seen.destination, seen.protocol, len(body))
    if checksum(head + body):
        raise Silence("checksum")


def answer(rejected: Rejected, kind: str) -> Answer:
    """The answer that `--reject-with kind` gives. Silence: none may be given, and why."""
    seen = view(rejected.packet, rejected.family)
    if not single_host(seen.source):
        raise Silence("source")
    if not single_host(seen.destination):
        raise Silence("group")
    if kind == TCP_RESET:
        return reset(seen, rejected.vouched)
    return unreachable(seen, rejected, CODES[kind])


def reset(seen: View, vouched: bool) -> Answer:
    """A reset that the sender of the segment accepts: it takes its place from the acknowledgement, or acknowledges."""
    at = seen.transport
    if seen.protocol != TCP:
        raise Silence("protocol")
    if len(seen.packet) < at + 20:
        raise Silence("cut")
    sport, dport, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", seen.packet, at)
    if flags & RST:
        raise Silence("reset")
    verify(seen, vouched)
    carried = max(0, seen.length - at - (offset >> 4) * 4) + bool(flags & SYN) + bool(flags & FIN)
    if flags & ACK:
        fields = (dport, sport, ack, 0, 5 << 4, RST, 0, 0, 0)
    else:
        fields = (dport, sport, 0, (seq + carried) & 0xFFFFFFFF, 5 << 4, RST | ACK, 0, 0, 0)
    segment = bytearray(struct.pack(">HHIIBBHHH", *fields))
    total = checksum(pseudo(seen.destination, seen.source, TCP, 20) + segment)
    segment[16:18] = total.to_bytes(2, "big")
    if seen.family == 4:
        head = ipv4_header(seen.destination, seen.source, TCP, 20)
    else:
        head = struct.pack(">IHBB", 6 << 28, 20, TCP, HOP_LIMIT) + seen.destination + seen.source
    return Answer(seen.family, "reset", head + segment, seen.source)


def ipv4_header(source: bytes, destination: bytes, protocol: int, size: int, tos: int = 0) -> bytes:
    """A header with don't-fragment set and its checksum; `size` bytes follow it."""
    head = struct.pack(">BBHHHBBH", 0x45, tos, 20 + size, 0, 0x4000, HOP_LIMIT, protocol, 0) + source + destination
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]


def unreachable(seen: View, rejected: Rejected, code: int) -> Answer:
    """A destination unreachable that quotes the packet, from its destination where that is this machine."""
    at = seen.transport
    icmp = ICMP if seen.family == 4 else ICMPV6
    if len(seen.packet) < min(at + 8, seen.length):
        raise Silence("cut")
    if seen.protocol == icmp:
        if len(seen.packet) <= at:
            raise Silence("cut")
        number = seen.packet[at]
        error = number not in ICMP_QUERIES if icmp == ICMP else number < 128 or number == REDIRECT
        if error:
            raise Silence("error")
    verify(seen, rejected.vouched)
    local = rejected.hook == Hook.HOOK_INPUT
    quoted = seen.packet[: min(seen.length, QUOTED[seen.family])]
    message = struct.pack(">BBHI", UNREACHABLE[seen.family], code, 0, 0) + quoted
    if seen.family == 6:
        return Answer(6, "unreachable", message, seen.source, seen.destination if local else None)
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    # precedence as RFC 1812, 4.3.2.5 wants it: internetwork control, other bits as they came
    tos = seen.packet[1] & 0x1E | 0xC0
    head = ipv4_header(seen.destination if local else bytes(4), seen.source, ICMP, len(message), tos)
    return Answer(4, "unreachable", head + message, seen.source)


def family_of(address: bytes) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6
