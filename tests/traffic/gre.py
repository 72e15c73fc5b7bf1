"""GRE tunnels of both versions, UDP-Lite, and protocols that connection tracking knows by number alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

from . import packets as p
from .anomalies import Anomaly, Context, addresses
from .conversations import CLIENT_PORTS, PAYLOAD, World

UDPLITE = 136
PPP = 0x880B
OTHERS = (2, 4, 33, 41, 50, 51, 88, 89, 94, 103, 108, 112, 115, 135, 139, 140, 253, 254, 255)
ONLY_IPV4 = (0, 43, 44, 51, 59, 60, 58)
"""Protocol numbers that are extension headers, or another family's, where IPv6 is spoken."""


def gre_conversation(random: Random, world: World) -> Iterator[bytes]:
    """A tunnel by key, or a PPTP call, each direction of which has an id of its own."""
    client, server = world.pair(random)
    calls = random.sample((1, 2, 3, 0), 2)
    version = random.getrandbits(1)
    for _ in range(random.randrange(1, 10)):
        end = random.getrandbits(1)
        source, destination = (client, server) if end == 0 else (server, client)
        body = PAYLOAD[: random.choice((0, 1, 40, 400))]
        if version:
            packet = p.gre(calls[end], body, version=1, protocol=PPP)
        else:
            packet = p.gre(random.choice((None, 7)), body, protocol=random.choice((0x0800, 0x86DD, 0x6558, PPP)))
        yield p.ip(source, destination, p.GRE, packet)


def udplite(ends: tuple[bytes, bytes], ports: tuple[int, int], payload: bytes, coverage: int, number: int) -> bytes:
    """A UDP-Lite packet (RFC 3828) whose checksum's pseudo header carries protocol ``number``; for UDP's number in
    IPv4 the length is summed modulo 256, as Linux does."""
    source, destination = ends
    size = 8 + len(payload)
    head = struct.pack(">HHH", *ports, coverage)
    summed = size & 0xFF if number == p.UDP and len(source) == 4 else size
    covered = (head + b"\0\0" + payload)[: coverage if 8 <= coverage <= size else size]
    value = p.checksum(covered, p.pseudo_sum(source, destination, number, summed)) or 0xFFFF
    return p.ip(source, destination, UDPLITE, head + value.to_bytes(2, "big") + payload)


def udplite_conversation(random: Random, world: World) -> Iterator[bytes]:
    """UDP-Lite both ways; Linux wants UDP's number in the pseudo header, the RFC UDP-Lite's."""
    client, server = world.pair(random)
    port = random.choice(CLIENT_PORTS)
    for _ in range(random.randrange(1, 8)):
        back = random.getrandbits(1)
        ends, ports = ((server, client), (5000, port)) if back else ((client, server), (port, 5000))
        payload = PAYLOAD[: random.choice((0, 1, 30, 300))]
        coverage = random.choice((0, 8, 8 + len(payload), 8 + len(payload) // 2, 7, 9 + len(payload), 1))
        number = random.choice((p.UDP, p.UDP, p.UDP, UDPLITE))
        yield udplite(ends, ports, payload, coverage, number)


def other_conversation(random: Random, world: World) -> Iterator[bytes]:
    """Packets of one of the protocols without a tracker of their own."""
    client, server = world.pair(random)
    number = random.choice(OTHERS + ONLY_IPV4 if len(client) == 4 else OTHERS)
    if number == p.AH and len(client) == 16:
        number = p.ESP
    for _ in range(random.randrange(1, 8)):
        source, destination = (client, server) if random.getrandbits(1) else (server, client)
        yield p.ip(source, destination, number, PAYLOAD[: random.choice((0, 1, 3, 8, 60))])


def odd_header(context: Context, packet: bytes) -> list[bytes]:
    """Any flags, version and protocol, a header cut short, or bytes of no meaning."""
    random = context.random
    source, destination = addresses(packet)
    head = struct.pack(
        ">HHHH",
        random.choice((0x2001, 0x3081, 0x0001, 0x2000, 0x2007, 0xFFFF, random.getrandbits(16))),
        random.choice((PPP, PPP, 0x0800, random.getrandbits(16))),
        random.getrandbits(16),
        random.choice((0, 1, 2, 3)),
    )
    return [p.ip(source, destination, p.GRE, (head + PAYLOAD[:8])[: random.choice((16, 16, 16, 8, 7, 4, 3, 1, 0))])]


def conversation(random: Random, world: World) -> Iterator[bytes]:
    return gre_conversation(random, world)


ANOMALIES: tuple[Anomaly, ...] = (odd_header, odd_header)
