"""The kernel's own connection tracking, asked by netlink: what time a connection has left there, and marks that are to
go."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

NETLINK_NETFILTER = 12
GET, NEW = 1 << 8 | 1, 1 << 8
"""Messages of the connection table's."""

ERROR, DONE = 2, 3
REQUEST, ACK, DUMP = 1, 4, 0x300
NESTED = 0x8000

TUPLE, TIMEOUT, MARK, MARK_MASK = 1, 7, 8, 21
"""Attributes of an entry; the tuple is that of its first packet."""

ADDRESSES, PROTOCOL = 1, 2
"""Attributes of a tuple."""

FAMILIES = {4: (socket.AF_INET, 1, 2), 6: (socket.AF_INET6, 3, 4)}
"""Number of a family, and the attributes of its addresses."""

BUFFER = 1 << 18
PIPELINED = 128
"""Questions that are on their way at once: their answers fit the socket's buffer."""

PATIENCE = 10
"""Seconds."""

Ends = tuple[int, bytes, bytes, int, int, int]
"""Family, source, destination, protocol, source port and destination port of a connection's first packet."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes that bytes consist of, as far as they do."""
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4 or at + size > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += size + 3 & ~3


def tuple_of(ends: Ends) -> bytes:
    """A connection's name, as an attribute."""
    family, source, destination, protocol, sport, dport = ends
    _, from_kind, to_kind = FAMILIES[family]
    places = attribute(from_kind, source) + attribute(to_kind, destination)
    ports = attribute(2, sport.to_bytes(2, "big")) + attribute(3, dport.to_bytes(2, "big"))
    inner = attribute(ADDRESSES | NESTED, places)
    inner += attribute(PROTOCOL | NESTED, attribute(1, bytes([protocol])) + ports)
    return attribute(TUPLE | NESTED, inner)


class HostConntrack:
    """The kernel's table in this network namespace. OSError where it cannot be asked."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BUFFER)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Ask no more."""
        self.socket.close()

    def check(self) -> None:
        """OSError: the kernel has no table that can be asked."""
        for _ in self._dump(socket.AF_INET, attribute(MARK, b"\xff" * 4) + attribute(MARK_MASK, b"\xff" * 4)):
            pass

    def left(self, connections: Sequence[Ends], mask: int) -> list[int]:
        """Seconds that each has left in the kernel's table; 0 where it has none there, or no mark under `mask`."""
        found = [0] * len(connections)
        for start in range(0, len(connections), PIPELINED):
            part = connections[start : start + PIPELINED]
            first = self._sequence + 1
            self.socket.send(b"".join(self._message(GET, REQUEST, ends[0], tuple_of(ends)) for ends in part))
            waiting = len(part)
            while waiting:
                for kind, sequence, body in self._receive():
                    waiting -= 1
                    if kind == NEW:
                        told = dict(attributes(body[4:]))
                        if int.from_bytes(told.get(MARK, b""), "big") & mask:
                            found[start + sequence - first] = int.from_bytes(told.get(TIMEOUT, b""), "big")
        return found

    def clear(self, mask: int) -> int:
        """Take the mark's bits under `mask` from every connection; how many had some."""
        marked = [
            (family, value)
            for family in (4, 6)
            for body in self._dump(FAMILIES[family][0])
            if int.from_bytes((told := dict(attributes(body[4:]))).get(MARK, b""), "big") & mask
            and (value := told.get(TUPLE))
        ]
        for start in range(0, len(marked), PIPELINED):
            part = marked[start : start + PIPELINED]
            bits = attribute(MARK, bytes(4)) + attribute(MARK_MASK, mask.to_bytes(4, "big"))
            self.socket.send(
                b"".join(
                    self._message(NEW, REQUEST | ACK, family, attribute(TUPLE | NESTED, name) + bits)
                    for family, name in part
                )
            )
            waiting = len(part)
            while waiting:  # one that has gone meanwhile is none the less clear
                waiting -= sum(1 for _ in self._receive())
        return len(marked)

    def _message(self, kind: int, flags: int, family: int, body: bytes) -> bytes:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        number = FAMILIES[family][0] if family in FAMILIES else family
        head = struct.pack("=IHHII", 20 + len(body), kind, flags, self._sequence, 0)
        return head + bytes([number, 0, 0, 0]) + body

    def _dump(self, family: int, body: bytes = b"") -> Iterator[bytes]:
        self.socket.send(self._message(GET, REQUEST | DUMP, family, body))
        while True:
            for kind, _, told in self._receive():
                if kind == DONE:
                    return
                if kind == ERROR and (number := -int.from_bytes(told[:4], "little", signed=True)):
                    raise OSError(number, os.strerror(number))
                if kind == NEW:
                    yield told

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, sequence number and body of each message that came."""
        data = self.socket.recv(BUFFER)
        at = 0
        while at + 16 <= len(data):
            size, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, at)
            if size < 16 or at + size > len(data):
                return
            yield kind, sequence, data[at + 16 : at + size]
            at += size + 3 & ~3
