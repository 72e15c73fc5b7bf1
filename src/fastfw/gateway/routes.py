"""What kind of address the kernel's routes take one for: asked by rtnetlink, remembered for a moment."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections import OrderedDict
from typing import NamedTuple

from fastfw.gateway.netlink import ERROR, REQUEST, attribute, attributes, message, messages

UNICAST, LOCAL, BROADCAST, ANYCAST, MULTICAST = 1, 2, 3, 4, 5

NEW_ROUTE, GET_ROUTE = 24, 26
ROUTE = struct.Struct("=BBBBBBBBI")
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
        self._serial = self._serial + 1 & 0xFFFFFFFF
        body = ROUTE.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
        body += attribute(DESTINATION, address)
        self._socket.send(message(GET_ROUTE, REQUEST, self._serial, body))
        while True:
            for kind, serial, told in messages(self._socket.recv(65536)):
                if serial != self._serial:
                    continue
                if kind == ERROR:
                    return Route(None, 0)
                interface = dict(attributes(told[ROUTE.size :])).get(OUT_INTERFACE, bytes(4))
                return Route(ROUTE.unpack_from(told)[7], int.from_bytes(interface, sys.byteorder))
