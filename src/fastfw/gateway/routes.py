"""What kind of address the kernel's routes take one for: asked by rtnetlink, remembered for a moment."""

from __future__ import annotations

import socket
import struct
import time
from collections import OrderedDict
from typing import NamedTuple

UNICAST, LOCAL, BROADCAST, ANYCAST, MULTICAST = 1, 2, 3, 4, 5

NEW_ROUTE, GET_ROUTE, ERROR = 24, 26, 2
REQUEST = 1
HEADER = struct.Struct("=IHHII")
ROUTE = struct.Struct("=BBBBBBBBI")
ATTRIBUTE = struct.Struct("=HH")
DESTINATION, SOURCE, IN_INTERFACE, OUT_INTERFACE, PREFERRED = 1, 2, 3, 4, 7

KEPT = 1.0
"""Seconds that an answer is good for."""

ROOM = 4096


class Route(NamedTuple):
    """Where packets to an address go: `kind` is the kernel's RTN_..., None where there is no route; `interface` an
    index, 0 for none."""

    kind: int | None
    interface: int


class Routes:
    """One thread's questions to the routing tables; no right is needed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._socket.settimeout(1)
        self._serial = 0
        self._known: OrderedDict[bytes, tuple[float, Route]] = OrderedDict()

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def kind(self, address: bytes) -> int | None:
        """What the address is to this machine; None where no route leads there."""
        return self.to(address).kind

    def to(self, address: bytes) -> Route:
        """The route to a packed address, by this machine's own routing rules."""
        now = time.monotonic()
        found = self._known.get(address)
        if found is not None and found[0] > now:
            return found[1]
        route = self._ask(address)
        self._known[address] = (now + KEPT, route)
        self._known.move_to_end(address)
        if len(self._known) > ROOM:
            self._known.popitem(last=False)
        return route

    def _ask(self, address: bytes) -> Route:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        self._serial += 1
        body = ROUTE.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
        body += ATTRIBUTE.pack(4 + len(address), DESTINATION) + address
        self._socket.send(HEADER.pack(HEADER.size + len(body), GET_ROUTE, REQUEST, self._serial, 0) + body)
        while True:
            came = self._socket.recv(65536)
            size, kind, _flags, serial, _port = HEADER.unpack_from(came)
            if serial != self._serial:
                continue
            if kind == ERROR:
                return Route(None, 0)
            at = HEADER.size + ROUTE.size
            route_kind = ROUTE.unpack_from(came, HEADER.size)[7]
            interface = 0
            while at + 4 <= size:
                length, attribute = ATTRIBUTE.unpack_from(came, at)
                if length < 4:
                    break
                if attribute == OUT_INTERFACE:
                    interface = struct.unpack_from("=I", came, at + 4)[0]
                at += (length + 3) & ~3
            return Route(route_kind, interface)
