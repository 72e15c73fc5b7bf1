"""SCTP associations as stacks hold them (RFC 9260), and the ways they go wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

from . import packets as p
from .anomalies import Anomaly, Context, addresses
from .conversations import CLIENT_PORTS, PAYLOAD, World

PORTS = (2905, 5000)
DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK = range(9)
ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 9, 10, 11, 14
KINDS = (*range(16), 0x80, 0xC0, 0xC1, 0xFF)
TAG_REFLECTED = 1


def body_of(kind: int, tag: int) -> bytes:
    """A sound body for a chunk; ``tag`` is the one an INIT or INIT ACK chooses."""
    if kind in (INIT, INIT_ACK):
        return struct.pack(">IIHHI", tag, 65535, 10, 10, 1) + (PAYLOAD[:8] if kind == INIT_ACK else b"")
    if kind == DATA:
        return struct.pack(">IHHI", 1, 0, 0, 0) + PAYLOAD[:9]
    return {SHUTDOWN: bytes(4), SHUTDOWN_ACK: b"", COOKIE_ACK: b"", SHUTDOWN_COMPLETE: b"", SACK: bytes(12)}.get(
        kind, PAYLOAD[:6]
    )


class Association:
    """Two ends, each with the tag it wants to be addressed by."""

    def __init__(self, random: Random, world: World) -> None:
        client, server = world.pair(random)
        self.random = random
        self.addresses = (client, server)
        self.ports = (random.choice(CLIENT_PORTS[:3]), random.choice(PORTS))
        # few tags, so that associations of the same ports meet one another's
        self.tags = [random.choice((1, 2, 0x01020304, random.getrandbits(32) or 1)) for _ in range(2)]

    def packet(self, end: int, *kinds: int, tag: int | None = None, flags: int = 0, chosen: int | None = None) -> bytes:
        """A packet from ``end`` with chunks of these kinds, carrying the other end's tag unless one is given."""
        if tag is None:
            tag = 0 if INIT in kinds else self.tags[1 - end]
        chosen = self.tags[end] if chosen is None else chosen
        chunks = b"".join(p.chunk(kind, flags, body_of(kind, chosen)) for kind in kinds)
        packet = p.sctp(self.ports[end], self.ports[1 - end], tag, chunks)
        return p.ip(self.addresses[end], self.addresses[1 - end], p.SCTP, packet)

    def open(self) -> Iterator[bytes]:
        random = self.random
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            yield self.packet(0, INIT)
        yield self.packet(1, INIT_ACK)
        yield self.packet(0, COOKIE_ECHO, *random.choice(((), (DATA,), (DATA, DATA))))
        yield self.packet(1, COOKIE_ACK, *random.choice(((), (SACK,), (DATA,))))

    def collide(self) -> Iterator[bytes]:
        """Both ends call at once (RFC 9260 section 5.2.1), the messages crossing in any order."""
        random = self.random
        yield self.packet(0, INIT)
        yield self.packet(1, INIT)
        answers = [self.packet(0, INIT_ACK), self.packet(1, INIT_ACK)]
        random.shuffle(answers)
        yield from answers
        rest = [self.packet(end, kind) for end in (0, 1) for kind in (COOKIE_ECHO, COOKIE_ACK)]
        random.shuffle(rest)
        yield from rest[: random.randrange(1, 5)]

    def beat(self) -> Iterator[bytes]:
        """A second path between the ends: nothing but a HEARTBEAT opens it."""
        end = self.random.choice((0, 0, 0, 1))
        yield self.packet(end, HEARTBEAT)
        if self.random.random() < 0.8:
            yield self.packet(1 - end, HEARTBEAT_ACK)

    def restart(self) -> Iterator[bytes]:
        """An end lost its state and calls anew with another tag."""
        end = self.random.getrandbits(1)
        self.tags[end] = self.random.getrandbits(32) or 1
        yield self.packet(end, INIT)
        if self.random.getrandbits(1):
            self.tags[1 - end] = self.random.getrandbits(32) or 1
        yield self.packet(1 - end, INIT_ACK)
        yield self.packet(end, COOKIE_ECHO)
        yield self.packet(1 - end, COOKIE_ACK)

    def talk(self) -> Iterator[bytes]:
        random = self.random
        for _ in range(random.choice((0, 1, 2, 4, 8))):
            end = random.getrandbits(1)
            kind = random.random()
            if kind < 0.6:
                yield self.packet(end, *random.choice(((DATA,), (SACK, DATA), (DATA, DATA, DATA))))
                yield self.packet(1 - end, SACK)
            elif kind < 0.8:
                yield self.packet(end, HEARTBEAT)
                yield self.packet(1 - end, HEARTBEAT_ACK)
            elif kind < 0.9:
                # the path's tag changed: the HEARTBEAT carries another, its acknowledgement as well
                other = random.choice((1, 2, 77))
                yield self.packet(end, HEARTBEAT, tag=other)
                yield self.packet(1 - end, HEARTBEAT_ACK, tag=random.choice((other, 5, self.tags[end])))
            elif kind < 0.95:
                yield self.packet(end, ERROR)
            else:
                yield from self.restart()

    def close(self) -> Iterator[bytes]:
        random = self.random
        end = random.getrandbits(1)
        kind = random.random()
        if kind < 0.6:
            yield self.packet(end, SHUTDOWN)
            if random.random() < 0.2:
                yield self.packet(1 - end, SHUTDOWN)
            yield self.packet(1 - end, SHUTDOWN_ACK)
            if random.getrandbits(1):
                yield self.packet(end, SHUTDOWN_COMPLETE)
            else:
                yield self.packet(end, SHUTDOWN_COMPLETE, tag=self.tags[end], flags=TAG_REFLECTED)
        elif kind < 0.75:
            yield self.packet(end, ABORT)
        elif kind < 0.85:
            yield self.packet(end, ABORT, tag=self.tags[end], flags=TAG_REFLECTED)
        # otherwise it falls silent

    def __iter__(self) -> Iterator[bytes]:
        random = self.random
        kind = random.random()
        if kind < 0.08:  # nobody answers, or nobody listens
            yield self.packet(0, INIT)
            if random.getrandbits(1):
                yield self.packet(1, ABORT)
            return
        if kind < 0.14:  # out of the blue
            first = random.choice((SHUTDOWN_ACK, HEARTBEAT_ACK, DATA, COOKIE_ECHO, INIT_ACK, ABORT, SHUTDOWN_COMPLETE))
            yield self.packet(0, first)
            answer = random.choice((ABORT, SHUTDOWN_COMPLETE))
            yield self.packet(1, answer, tag=random.choice((self.tags[1], self.tags[0])), flags=TAG_REFLECTED)
            return
        while True:
            start = random.random()
            yield from self.beat() if start < 0.2 else self.collide() if start < 0.35 else self.open()
            yield from self.talk()
            yield from self.close()
            if random.random() < 0.7:
                return
            if random.getrandbits(1):
                self.tags = [random.getrandbits(32) or 1 for _ in range(2)]


def parts(packet: bytes) -> tuple[bytes, bytes, int, int, int, bytes]:
    """Addresses, ports, tag and chunks of an SCTP packet; what is missing counts as zeros."""
    offset, _ = p.transport(packet)
    head = packet[offset : offset + 8].ljust(8, b"\0")
    return (*addresses(packet), *struct.unpack(">HHI", head), packet[offset + 12 :])


def rebuilt(source: bytes, destination: bytes, sport: int, dport: int, tag: int, chunks: bytes) -> bytes:
    return p.ip(source, destination, p.SCTP, p.sctp(sport, dport, tag & 0xFFFFFFFF, chunks))


def other_tag(context: Context, packet: bytes) -> list[bytes]:
    """Another verification tag: none, a near one, or one that belongs elsewhere."""
    source, destination, sport, dport, tag, chunks = parts(packet)
    other = parts(context.random.choice(context.memory))[4]
    tag = context.random.choice((0, tag + 1, 1, 2, other))
    return [rebuilt(source, destination, sport, dport, tag, chunks)]


def other_chunks(context: Context, packet: bytes) -> list[bytes]:
    """Chunks of any kind in the place of those there were, or behind or before them, the tag as it was."""
    random = context.random
    source, destination, sport, dport, tag, chunks = parts(packet)
    kinds = random.choices(KINDS, k=random.choice((1, 1, 1, 2, 3)))
    chosen = random.choice((1, 2, tag))
    flags = random.choice((0, 0, TAG_REFLECTED, 0xFF))
    made = b"".join(p.chunk(kind, flags, body_of(kind, chosen)) for kind in kinds)
    return [
        rebuilt(source, destination, sport, dport, tag, random.choice((made, made, made, chunks + made, made + chunks)))
    ]


def answered_at_once(context: Context, packet: bytes) -> list[bytes]:
    """The other end sends a chunk of any kind, with either end's tag."""
    random = context.random
    source, destination, sport, dport, tag, _ = parts(packet)
    kind = random.choice(KINDS)
    flags = random.choice((0, TAG_REFLECTED))
    tag = random.choice((tag, 0, 1, 2, parts(random.choice(context.memory))[4]))
    chunk = p.chunk(kind, flags, body_of(kind, random.choice((1, 2, tag))))
    return [rebuilt(destination, source, dport, sport, tag, chunk)]


def odd_length(context: Context, packet: bytes) -> list[bytes]:
    """A chunk whose length is none, too short for its header, or runs past the packet."""
    random = context.random
    source, destination, sport, dport, tag, chunks = parts(packet)
    edited = bytearray(chunks)
    if len(edited) < 4:
        return [packet]
    length = random.choice((0, 1, 2, 3, 4, 5, 8, 19, 20, len(edited), len(edited) + 1, 65535, 65533))
    edited[2:4] = length.to_bytes(2, "big")
    return [rebuilt(source, destination, sport, dport, tag, bytes(edited) + random.choice((b"", b"", b"\x03\0\0\4")))]


def cut_chunks(context: Context, packet: bytes) -> list[bytes]:
    """The last bytes are missing, or a few follow that make no chunk."""
    random = context.random
    source, destination, sport, dport, tag, chunks = parts(packet)
    if random.getrandbits(1):
        chunks = chunks[: random.randrange(len(chunks) + 1)]
    else:
        chunks += PAYLOAD[: random.randrange(1, 6)]
    return [rebuilt(source, destination, sport, dport, tag, chunks)]


def wrong_crc(context: Context, packet: bytes) -> list[bytes]:
    """The checksum does not fit: none, Adler's, or off by a bit."""
    offset, _ = p.transport(packet)
    edited = bytearray(packet)
    if len(edited) < offset + 12:
        return [packet]
    edited[offset + 8 : offset + 12] = context.random.choice(
        (bytes(4), b"\xff\xff\xff\xff", bytes([edited[offset + 8] ^ 1]) + edited[offset + 9 : offset + 12])
    )
    return [bytes(edited)]


ANOMALIES: tuple[Anomaly, ...] = (
    other_tag,
    other_tag,
    other_chunks,
    other_chunks,
    other_chunks,
    answered_at_once,
    answered_at_once,
    answered_at_once,
    odd_length,
    cut_chunks,
    wrong_crc,
)


def conversation(random: Random, world: World) -> Iterator[bytes]:
    return iter(Association(random, world))
