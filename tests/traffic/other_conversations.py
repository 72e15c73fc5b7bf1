"""Conversations of rarer protocols: SCTP, GRE, UDP-Lite and those known by their addresses alone; and fragments."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

from . import packets as p
from .anomalies import Context, addresses
from .conversations import CLIENT_PORTS, PAYLOAD, World

Packets = Iterator[bytes]

SCTP_PORTS = (2905, 3868, 36412)
UDP_LITE = 136
DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK = range(9)
COOKIE_ECHO, COOKIE_ACK = 10, 11
SHUTDOWN_COMPLETE = 14
BY_ADDRESS = (p.ESP, 4, 33, 41, 50, 89, 103, 253, 255)


class Association:
    """An SCTP association (RFC 9260): each end has the verification tag that packets sent to it must carry."""

    def __init__(self, random: Random, world: World) -> None:
        client, server = world.pair(random)
        self.random = random
        self.ends = ((client, random.choice(CLIENT_PORTS)), (server, random.choice(SCTP_PORTS)))
        self.tags = [random.randrange(1, 1 << 32), random.randrange(1, 1 << 32)]

    def packet(self, end: int, *chunks: bytes, tag: int | None = None) -> bytes:
        """A packet from ``end``, with the other end's tag unless another is given."""
        (source, sport), (destination, dport) = self.ends[end], self.ends[1 - end]
        number = self.tags[1 - end] if tag is None else tag
        return p.ip(source, destination, p.SCTP, p.sctp(sport, dport, number, b"".join(chunks)))

    def init(self, end: int, kind: int = INIT) -> bytes:
        """An INIT or INIT ACK chunk, which tells ``end``'s own tag."""
        body = struct.pack(">IIHHI", self.tags[end], 65536, 10, 10, 1)
        return p.chunk(kind, 0, body + (b"\0\7\0\10cook" if kind == INIT_ACK else b""))

    def data(self) -> bytes:
        return p.chunk(DATA, 3, struct.pack(">IHHI", 1, 0, 0, 0) + PAYLOAD[:20])

    def open(self) -> Packets:
        yield self.packet(0, self.init(0), tag=0)
        yield self.packet(1, self.init(1, INIT_ACK))
        yield self.packet(0, p.chunk(COOKIE_ECHO, 0, b"cook"))
        yield self.packet(1, p.chunk(COOKIE_ACK))

    def collide(self) -> Packets:
        """Both ends send an INIT at once (RFC 9260 section 5.2)."""
        yield self.packet(0, self.init(0), tag=0)
        yield self.packet(1, self.init(1), tag=0)
        yield self.packet(0, self.init(0, INIT_ACK))
        yield self.packet(1, self.init(1, INIT_ACK))
        yield self.packet(0, p.chunk(COOKIE_ECHO, 0, b"cook"))
        yield self.packet(1, p.chunk(COOKIE_ACK), p.chunk(COOKIE_ECHO, 0, b"cook"))
        yield self.packet(0, p.chunk(COOKIE_ACK))

    def talk(self) -> Packets:
        random = self.random
        for _ in range(random.randrange(6)):
            end = random.getrandbits(1)
            kind = random.random()
            if kind < 0.5:
                yield self.packet(end, self.data())
                yield self.packet(1 - end, p.chunk(SACK, 0, bytes(12)))
            elif kind < 0.8:
                yield self.packet(end, p.chunk(HEARTBEAT, 0, b"\0\1\0\10beat"))
                yield self.packet(1 - end, p.chunk(HEARTBEAT_ACK, 0, b"\0\1\0\10beat"))
            else:
                yield self.packet(end, p.chunk(SACK, 0, bytes(12)), self.data())

    def close(self) -> Packets:
        end = self.random.getrandbits(1)
        kind = self.random.random()
        if kind < 0.6:
            yield self.packet(end, p.chunk(SHUTDOWN, 0, bytes(4)))
            yield self.packet(1 - end, p.chunk(SHUTDOWN_ACK))
            yield self.packet(end, p.chunk(SHUTDOWN_COMPLETE))
        elif kind < 0.8:
            yield self.packet(end, p.chunk(ABORT))

    def __iter__(self) -> Packets:
        kind = self.random.random()
        if kind < 0.7:
            yield from self.open()
        elif kind < 0.8:
            yield from self.collide()
        elif kind < 0.9:  # another path of an association that began elsewhere
            yield self.packet(0, p.chunk(HEARTBEAT, 0, b"\0\1\0\10beat"))
            yield self.packet(1, p.chunk(HEARTBEAT_ACK, 0, b"\0\1\0\10beat"))
        yield from self.talk()
        yield from self.close()


def other_chunks(context: Context, packet: bytes) -> list[bytes]:
    """Another first chunk: any type, a wrong length, several at once, or none."""
    random = context.random
    offset, _ = p.transport(packet)
    if len(packet) < offset + 16:
        return [packet]
    edited = bytearray(packet)
    kind = random.randrange(5)
    if kind == 0:
        edited[offset + 12] = random.choice((*range(16), 0x80, 0xC0, 255))
    elif kind == 1:
        edited[offset + 14 : offset + 16] = random.choice((0, 1, 3, 4, 5, 400)).to_bytes(2, "big")
    elif kind == 2:
        edited += p.chunk(random.randrange(16), 0, bytes(random.randrange(8)))
    elif kind == 3:
        edited = edited[: offset + 12] + p.chunk(random.randrange(16), random.getrandbits(1)) + edited[offset + 12 :]
    else:
        edited = edited[: offset + 12]
    return [p.repair(edited, offset, p.SCTP)]


def other_tag(context: Context, packet: bytes) -> list[bytes]:
    """Another verification tag, with or without the flag that says it is the sender's own."""
    random = context.random
    offset, _ = p.transport(packet)
    if len(packet) < offset + 14:
        return [packet]
    edited = bytearray(packet)
    edited[offset + 4 : offset + 8] = random.choice((bytes(4), random.randbytes(4)))
    edited[offset + 13] ^= random.getrandbits(1)
    return [p.repair(edited, offset, p.SCTP)]


def gre_conversation(random: Random, world: World) -> Packets:
    """A tunnel of plain GRE, of keyed GRE, or of PPTP's, both ways."""
    client, server = world.pair(random)
    version = 1 if random.random() < 0.4 else 0
    protocol = 0x880B if version else 0x0800
    keys = (random.choice((1, 2)), random.choice((1, 2))) if version or random.getrandbits(1) else (None, None)
    for _ in range(random.randrange(1, 8)):
        end = random.getrandbits(1)
        source, destination = (client, server) if end == 0 else (server, client)
        body = p.gre(keys[end], PAYLOAD[: random.choice((0, 20, 60))], version=version, protocol=protocol)
        yield p.ip(source, destination, p.GRE, body)


def odd_gre(context: Context, packet: bytes) -> list[bytes]:
    """Other flags or another version in the first two bytes, or a header cut short."""
    random = context.random
    offset, _ = p.transport(packet)
    edited = bytearray(packet)
    if len(edited) > offset + 1 and random.random() < 0.7:
        edited[offset] = random.choice((0, 0x20, 0x30, 0xB0, 0x80))
        edited[offset + 1] = random.choice((0, 1, 2, 7, 0x81))
    else:
        edited = edited[: offset + random.randrange(13)]
    return [p.repair(edited, offset, p.GRE)]


def other_conversation(random: Random, world: World) -> Packets:
    """Packets of protocols known by their addresses alone, and of UDP-Lite."""
    client, server = world.pair(random)
    if random.random() < 0.02:
        server = client
    number = random.choice((*BY_ADDRESS, UDP_LITE, UDP_LITE))
    if number == 41 and len(client) == 16:
        number = 253
    sport, dport = random.choice(CLIENT_PORTS), 9
    for _ in range(random.randrange(1, 6)):
        end = random.getrandbits(1)
        source, destination = (client, server) if end == 0 else (server, client)
        body = PAYLOAD[: random.choice((0, 1, 8, 20))]
        if number == UDP_LITE:
            ports = (sport, dport) if end == 0 else (dport, sport)
            covered = struct.pack(">HHHH", *ports, 0, 0) + body
            value = p.checksum(covered, p.pseudo_sum(source, destination, UDP_LITE, len(covered)))
            body = covered[:6] + value.to_bytes(2, "big") + covered[8:]
        yield p.ip(source, destination, number, body)


def in_pieces(random: Random, packet: bytes, identification: int) -> list[bytes]:
    """The packet in fragments: in order, shuffled, doubled, with one missing, overlapping, or cut oddly."""
    offset, _ = p.transport(packet)
    if (packet[0] >> 4 == 4 and offset != 20) or (packet[0] >> 4 == 6 and offset != 40):
        return [packet]
    size = random.choice((8, 16, 24, 64, 512))
    if len(packet) - offset > 32 * size:
        size = (len(packet) - offset) // 4 & ~7
    pieces = p.fragments(packet, max(8, size), identification)
    kind = random.random()
    if kind < 0.5:
        return pieces
    if kind < 0.7:
        random.shuffle(pieces)
    elif kind < 0.8:
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(pieces))
    elif kind < 0.88:
        del pieces[random.randrange(len(pieces))]
    elif kind < 0.96:
        other = p.fragments(packet, random.choice((8, 16, 32)), identification)
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(other))
    else:
        pieces.append(last_of_other_length(random, packet, identification))
    return pieces


def last_of_other_length(random: Random, packet: bytes, identification: int) -> bytes:
    """A last fragment that says the datagram ends elsewhere."""
    source, destination = addresses(packet)
    _, protocol = p.transport(packet)
    place = random.randrange(0, 400) & ~7
    body = PAYLOAD[: random.randrange(1, 30)]
    if packet[0] >> 4 == 4:
        return p.ipv4(source, destination, protocol, body, identification=identification, fragment=place // 8)
    header = p.fragment_header(place, False, identification)
    return p.ipv6(source, destination, protocol, body, extensions=[(p.FRAGMENT, header)])
