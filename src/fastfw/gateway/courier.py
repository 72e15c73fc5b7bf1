"""Sends whole packets without raw sockets, for which CAP_NET_ADMIN is enough.

A datagram of our own is sent to where the packet is to go. It carries a mark by which the kernel's rules, before any
other, hand it to a queue that is read here; the verdict on it is to pass with other contents: those of the packet. The
kernel routes it anew, as the addresses have changed.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from collections.abc import Callable

from fastfw.drivers.netlink import open_queue
from fastfw.gateway.netlink import REQUEST, attribute, attributes, message, messages

SO_MARK = 36
PORT = 9
"""Discard: should a datagram ever get away as it is, nobody minds it."""

VERDICT, PACKET = 0x301, 0x300
HEADER, DECISION, PAYLOAD = 1, 2, 10
"""Attributes: what names a queued packet; a verdict; a packet's contents, old or new."""

ACCEPT, DROP = 1, 0
LENGTH = 64
"""Datagrams that the kernel holds: there is never more than one of ours."""

BUFFER = 1 << 16
COOKIE = 16
HEADERS = {4: 20 + 8, 6: 40 + 8}


class Courier:
    """Packets for one queue number and mark. OSError: the queue cannot be had. Not for several threads at once."""

    def __init__(self, queue: int, mark: int) -> None:
        self.queue = queue
        self._sockets: dict[int, socket.socket] = {}
        self._netlink = open_queue(queue, HEADERS[6] + COOKIE, LENGTH, False, False, 1 << 20)
        try:
            for family, number in ((4, socket.AF_INET), (6, socket.AF_INET6)):
                with contextlib.suppress(OSError) if family == 6 else contextlib.nullcontext():
                    made = socket.socket(number, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
                    self._sockets[family] = made
                    made.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))
                    hops = (socket.IPPROTO_IP, socket.IP_TTL) if family == 4 else (41, socket.IPV6_UNICAST_HOPS)
                    made.setsockopt(*hops, 1)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the queue back."""
        self._netlink.close()
        for made in self._sockets.values():
            made.close()

    def send(self, family: int, target: bytes, scope: int, fill: Callable[[bytes], bytes]) -> None:
        """Send to `target` (with an IPv6 scope) the packet that `fill` makes, given the address that the kernel would
        send from. OSError: there is no way there, or the kernel's rules are gone."""
        made = self._sockets.get(family)
        if made is None:
            raise OSError(97, "the kernel has no IPv6")
        cookie = secrets.token_bytes(COOKIE)
        host = socket.inet_ntop(made.family, target)
        made.sendto(cookie, (host, PORT) if family == 4 else (host, PORT, 0, scope))
        sent = False
        while not sent:  # it is in the queue by now; whatever else is there is nothing of ours
            try:
                data = self._netlink.recv(BUFFER)
            except BlockingIOError:
                raise OSError(11, "the kernel's rules for answers are gone") from None
            number, contents = packet_of(data)
            if number is None:
                continue
            sent = contents[HEADERS[family] :] == cookie
            source = contents[12:16] if family == 4 else contents[8:24]
            self._netlink.send(verdict(self.queue, number, fill(source) if sent else None))


def packet_of(data: bytes) -> tuple[bytes | None, bytes]:
    """A queued packet's number as the kernel wrote it, and its contents; None where the message is of none."""
    for kind, _, body in messages(data):
        told = dict(attributes(body[4:])) if kind == PACKET else {}
        if HEADER in told:
            return told[HEADER][:4], told.get(PAYLOAD, b"")
    return None, b""


def verdict(queue: int, number: bytes, contents: bytes | None) -> bytes:
    """The message that lets a packet pass with other contents, or without any drops it."""
    body = attribute(DECISION, struct.pack("=I", socket.htonl(DROP if contents is None else ACCEPT)) + number)
    if contents is not None:
        body += attribute(PAYLOAD, contents)
    return message(VERDICT, REQUEST, 0, struct.pack("=BBH", 0, 0, socket.htons(queue)) + body)
