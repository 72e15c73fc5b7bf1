"""Packets of the headers that few rules ask about: IPsec, DCCP, mobility, and IPv6's chains of extension headers."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from random import Random

from . import packets as p
from .conversations import WORLDS

DCCP, IPCOMP, MOBILITY = 33, 108, 135
SPIS = (0, 1, 100, 256, 0x1234, 0xFFFFFFFF)
SEGMENTS = tuple(IPv6Address(f"2001:db8:5::{n}").packed for n in range(1, 5))
OPTIONS = (b"\0", b"\1\0", b"\1\2\0\0", b"\x05\2\0\0", b"\xc2\4\0\0\xff\xff", b"\x1e\1\7", b"\x05\x08\0\0")


def maybe_cut(random: Random, body: bytes) -> bytes:
    """The bytes, now and then not all of them."""
    return body[: random.randrange(len(body) + 1)] if random.random() < 0.12 else body


def esp(random: Random) -> tuple[int, bytes]:
    return p.ESP, struct.pack(">II", random.choice(SPIS), 1) + bytes(16)


def ah(random: Random) -> tuple[int, bytes]:
    return p.AH, struct.pack(">BBHII", 59, 4, random.choice((0, 7)), random.choice(SPIS), 1) + bytes(12)


def ipcomp(random: Random) -> tuple[int, bytes]:
    return IPCOMP, struct.pack(">BBH", 6, random.choice((0, 1)), random.choice(SPIS) & 0xFFFF) + bytes(8)


def dccp(random: Random) -> tuple[int, bytes]:
    """A packet of any type with options or none, whose data offset may lie (RFC 4340 section 5)."""
    kind = random.randrange(12)
    long = random.getrandbits(1)
    more = {0: 4, 1: 12, 2: 0, 7: 12}.get(kind, 8)
    options = b"".join(random.choice((b"\0", b"\1", b"\x20\3\1", b"\x26\4\1\2")) for _ in range(random.randrange(4)))
    options += bytes(-len(options) % 4)
    words = (12 + 4 * long + more + len(options)) // 4
    if random.random() < 0.1:
        words = random.randrange(12)
    head = struct.pack(">HHBBHBB", *random.choices((0, 80, 5001, 65535), k=2), words, 0, 0, kind << 1 | long, 0)
    return DCCP, head + bytes(2 + 4 * long + more) + options


def mobility(random: Random) -> tuple[int, bytes]:
    proto = 59 if random.random() < 0.9 else 6
    return MOBILITY, struct.pack(">BBBBH", proto, 1, random.randrange(9), 0, 0) + bytes(10)


def udp(random: Random) -> tuple[int, bytes]:
    return 17, struct.pack(">HHHH", random.choice((53, 5000)), random.choice((53, 123)), 16, 0) + bytes(8)


def options(random: Random) -> bytes:
    length = None if random.random() < 0.9 else random.randrange(9)
    return p.extension(b"".join(random.choice(OPTIONS) for _ in range(random.randrange(4))), length)


def routing(random: Random) -> bytes:
    """Of type 0 with addresses, of type 4 with segments, or another's."""
    kind = random.choice((0, 0, 2, 4, 4))
    addresses = random.choices(SEGMENTS, k=random.randrange(4))
    left = random.randrange(len(addresses) + 1)
    fixed = bytes([kind, left]) + (bytes(4) if random.random() < 0.7 else b"\0\0\0\7")
    if kind == 4:
        fixed = struct.pack(">BBBBH", kind, left, max(len(addresses) - 1, 0), 0, random.choice((0, 0x1234)))
    length = None if random.random() < 0.9 else random.randrange(9)
    return p.extension(fixed + b"".join(addresses), length)


def extensions(random: Random) -> list[tuple[int, bytes]]:
    """A chain of up to four headers in any order; a fragment header among them is of a whole datagram."""
    made = []
    for _ in range(random.choice((0, 1, 1, 2, 3, 4))):
        kind = random.choice((p.HOP_BY_HOP, p.DESTINATION, p.ROUTING, p.AH, p.DESTINATION))
        if kind == p.ROUTING:
            body = routing(random)
        elif kind == p.AH:
            body = ah(random)[1][1:]
        else:
            body = options(random)
        made.append((kind, body))
    return made


def packet(random: Random, family: int) -> bytes:
    """One packet between two of the world's hosts."""
    world = WORLDS[family]
    source, target = random.choice(world.clients), random.choice(world.servers)
    if random.getrandbits(1):
        source, target = target, source
    makers = (esp, ah, ipcomp, dccp, dccp, udp) if family == 4 else (esp, ipcomp, dccp, dccp, mobility, mobility, udp)
    protocol, payload = random.choice(makers)(random)
    payload = maybe_cut(random, payload)
    if family == 4:
        return p.ipv4(source, target, protocol, payload)
    if random.random() < 0.1:
        protocol, payload = 59, b""
    return p.ipv6(source, target, protocol, payload, extensions=extensions(random))


def rare(seed: int, count: int) -> list[bytes]:
    """A pure function of its arguments."""
    random = Random(seed)
    return [packet(random, random.choice((4, 6, 6))) for _ in range(count)]
