"""The kernel's own connection tracking, asked by netlink: what time a connection has left there, and marks that are to
go."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence

from fastfw.gateway.netlink import ACK, DONE, DUMP, ERROR, NESTED, REQUEST, attribute, attributes, message, messages

NETLINK_NETFILTER = 12
GET, NEW = 1 << 8 | 1, 1 << 8
"""Messages of the connection table's."""

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
    """The kernel's table in this network namespace, for several threads. OSError where it cannot be asked."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BUFFER)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((0, 0))
        self._sequence = 0
        self._first = 0
        """Of the questions at hand. What comes for earlier ones, which were given up, is not read."""
        self._lock = threading.Lock()
        """Held from a question to its last answer."""

    def close(self) -> None:
        """Ask no more."""
        self.socket.close()

    def check(self) -> None:
        """OSError: the kernel has no table that can be asked."""
        with self._lock:
            for _ in self._dump(socket.AF_INET, attribute(MARK, b"\xff" * 4) + attribute(MARK_MASK, b"\xff" * 4)):
                pass

    def left(self, connections: Sequence[Ends], mask: int) -> list[int]:
        """Seconds that each has left in the kernel's table; 0 where it has none there, or no mark under `mask`."""
        found = [0] * len(connections)
        with self._lock:
            for start in range(0, len(connections), PIPELINED):
                part = connections[start : start + PIPELINED]
                for place, kind, body in self._ask(GET, REQUEST, [(ends[0], tuple_of(ends)) for ends in part]):
                    told = dict(attributes(body[4:])) if kind == NEW else {}
                    if int.from_bytes(told.get(MARK, b""), "big") & mask:
                        found[start + place] = int.from_bytes(told.get(TIMEOUT, b""), "big")
        return found

    def clear(self, mask: int) -> int:
        """Take the mark's bits under `mask` from every connection; how many had some."""
        bits = attribute(MARK, bytes(4)) + attribute(MARK_MASK, mask.to_bytes(4, "big"))
        with self._lock:
            marked = [
                (family, attribute(TUPLE | NESTED, name) + bits)
                for family in (4, 6)
                for body in self._dump(FAMILIES[family][0])
                if int.from_bytes((told := dict(attributes(body[4:]))).get(MARK, b""), "big") & mask
                and (name := told.get(TUPLE))
            ]
            for start in range(0, len(marked), PIPELINED):
                for _ in self._ask(NEW, REQUEST | ACK, marked[start : start + PIPELINED]):
                    pass  # one that has gone meanwhile is none the less clear
        return len(marked)

    def _begin(self) -> None:
        """The questions that follow are those at hand. Their numbers begin anew before 32 bits no longer hold them."""
        if self._sequence > 1 << 31:
            self._sequence = 0
        self._first = self._sequence + 1

    def _message(self, kind: int, flags: int, number: int, body: bytes) -> bytes:
        """The next question; `number` is the address family's."""
        self._sequence += 1
        return message(kind, flags, self._sequence, bytes([number, 0, 0, 0]) + body)

    def _ask(self, kind: int, flags: int, questions: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
        """Ask all of these (family, attributes) at once: of each answer which question's it is, its kind and body."""
        self._begin()
        self.socket.send(b"".join(self._message(kind, flags, FAMILIES[family][0], body) for family, body in questions))
        waiting = len(questions)
        while waiting:
            for told, sequence, body in self._receive():
                waiting -= 1
                yield sequence - self._first, told, body

    def _dump(self, number: int, body: bytes = b"") -> Iterator[bytes]:
        self._begin()
        self.socket.send(self._message(GET, REQUEST | DUMP, number, body))
        while True:
            for kind, _, told in self._receive():
                if kind == DONE:
                    return
                if kind == ERROR and (number := -int.from_bytes(told[:4], "little", signed=True)):
                    raise OSError(number, os.strerror(number))
                if kind == NEW:
                    yield told

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, sequence number and body of each message that came for the questions at hand."""
        return (one for one in messages(self.socket.recv(BUFFER)) if self._first <= one[1] <= self._sequence)
