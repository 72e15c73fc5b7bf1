"""Netlink's messages and attributes (RFC 3549 section 2.2), in the machine's byte order."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
"""Length, kind, flags, sequence number, port."""

ATTRIBUTE = struct.Struct("=HH")
"""Length, kind."""

ERROR, DONE = 2, 3
REQUEST, ACK, DUMP = 1, 4, 0x300
NESTED = 0x8000


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and body of each message, as far as bytes consist of such."""
    at = 0
    while at + HEADER.size <= len(data):
        size, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if size < HEADER.size or at + size > len(data):
            return
        yield kind, sequence, data[at + HEADER.size : at + size]
        at += size + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes that bytes consist of, as far as they do."""
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        size, kind = ATTRIBUTE.unpack_from(data, at)
        if size < ATTRIBUTE.size or at + size > len(data):
            return
        yield kind & 0x3FFF, data[at + ATTRIBUTE.size : at + size]
        at += size + 3 & ~3
