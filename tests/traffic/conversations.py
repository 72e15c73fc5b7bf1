"""Endless conversations as real stacks hold them: Python generators that yield one IP packet at a time.

Each conversation takes a random source and a world (the few addresses and ports all share, so that conversations
collide and reuse one another's tuples) and ends when its script does. What they have sent is remembered by the
generator in ``generate.py``, which turns it into anomalies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import packets as p

PAYLOAD = Random(2026).randbytes(4096)
CLIENT_PORTS = tuple(range(40000, 40006))
TCP_PORTS = (22, 80, 443)
UDP_PORTS = (53, 123, 5060)

Packets = Iterator[bytes]


@dataclass(frozen=True)
class World:
    """The addresses of one family: two nets and a router that speaks for neither."""

    clients: tuple[bytes, ...]
    servers: tuple[bytes, ...]
    routers: tuple[bytes, ...]

    def pair(self, random: Random) -> tuple[bytes, bytes]:
        return random.choice(self.clients), random.choice(self.servers)


WORLDS = {
    4: World(
        tuple(p.address(f"10.1.0.{n}") for n in (1, 2, 3, 4)),
        tuple(p.address(f"10.2.0.{n}") for n in (1, 2, 3)),
        tuple(p.address(f"10.3.0.{n}") for n in (1, 2)),
    ),
    6: World(
        tuple(p.address(f"fd00:1::{n}") for n in (1, 2, 3, 4)),
        tuple(p.address(f"fd00:2::{n}") for n in (1, 2, 3)),
        tuple(p.address(f"fd00:3::{n}") for n in (1, 2)),
    ),
}


class Side:
    """One end of a TCP connection: what it sends next, what it has received, what window it offers."""

    __slots__ = ("address", "next", "port", "received", "scale", "stamped", "wide", "window")

    def __init__(self, random: Random, address: bytes, port: int) -> None:
        self.address, self.port = address, port
        # A third of the connections wrap around within their first few segments.
        self.next = random.getrandbits(32) if random.random() < 0.67 else (-random.randrange(1, 6000)) & 0xFFFFFFFF
        self.received = 0
        self.scale = random.choice((None, None, 0, 1, 2, 4, 7, 7, 8, 10, 13, 14, 15, 255))
        self.window = random.choice((65535, 65535, 29200, 8192, 1024, 512, 64))
        self.stamped = random.random() < 0.4
        self.wide = random.random() < 0.7


class TcpConversation:
    """A TCP connection between two well-behaved stacks, opened and closed in one of the ways stacks do."""

    def __init__(self, random: Random, world: World) -> None:
        client, server = world.pair(random)
        ports = random.choice(CLIENT_PORTS), random.choice(TCP_PORTS)
        if random.random() < 0.004:
            server, ports = client, (ports[0], ports[0])  # a connection to itself
        elif random.random() < 0.05:
            client, server, ports = server, client, (ports[1], ports[0])
        self.random = random
        self.sides = (Side(random, client, ports[0]), Side(random, server, ports[1]))

    def segment(self, end: int, flags: int, payload: bytes = b"", options: bytes = b"", shift: int = 0) -> bytes:
        """One segment from ``end``; ``shift`` moves its sequence number without counting as sent."""
        side, other = self.sides[end], self.sides[1 - end]
        seq = side.next + shift
        if not shift:
            side.next = side.next + len(payload) + (flags & p.SYN and 1) + (flags & p.FIN) & 0xFFFFFFFF
        if side.stamped and not options and not flags & p.RST:
            options = p.timestamps(seq, other.next)
        ack = side.received if flags & p.ACK else 0
        return p.tcp_packet(
            side.address, other.address, side.port, other.port, flags, seq, ack, side.window, options, payload
        )

    def hear(self, end: int) -> None:
        """The end has received everything the other one sent."""
        self.sides[end].received = self.sides[1 - end].next

    def opening(self, end: int) -> bytes:
        """The options of this end's SYN."""
        side = self.sides[end]
        options = p.maximum_segment(1460)
        if side.wide:
            options += p.sack_permitted()
        if side.scale is not None:
            options += b"\x01" + p.window_scale(side.scale)
        if side.stamped:
            options += p.timestamps(side.next, 0)
        return options

    def open(self) -> Packets:
        yield self.segment(0, p.SYN, options=self.opening(0))
        self.hear(1)
        yield self.segment(1, p.SYN | p.ACK, options=self.opening(1))
        self.hear(0)
        yield self.segment(0, p.ACK)

    def open_both(self) -> Packets:
        """Both ends call at once (RFC 9293 section 3.5)."""
        starts = [side.next for side in self.sides]
        yield self.segment(0, p.SYN, options=self.opening(0))
        yield self.segment(1, p.SYN, options=self.opening(1))
        for end in (0, 1):
            self.hear(end)
        for end in (1, 0):
            self.sides[end].next = starts[end]
            yield self.segment(end, p.SYN | p.ACK, options=self.opening(end))
        yield self.segment(0, p.ACK)

    def talk(self) -> Packets:
        random = self.random
        for _ in range(random.choice((0, 1, 2, 3, 5, 8, 13))):
            end = random.getrandbits(1)
            side, other = self.sides[end], self.sides[1 - end]
            kind = random.random()
            if kind < 0.55:
                sent = []
                for _ in range(random.choice((1, 1, 1, 2, 3))):
                    size = random.choice((1, 20, 60, 200, 536, 1440))
                    flags = p.ACK | (p.PSH if random.getrandbits(1) else 0)
                    sent.append(self.segment(end, flags, PAYLOAD[:size]))
                if len(sent) > 1 and random.random() < 0.3:
                    yield from self.out_of_order(end, sent)
                else:
                    yield from sent
                    self.hear(1 - end)
                    if random.random() < 0.8:
                        yield self.segment(1 - end, p.ACK)
            elif kind < 0.65:
                yield self.segment(end, p.ACK, shift=-1)  # a keep-alive
                yield self.segment(1 - end, p.ACK)
            elif kind < 0.75:
                usual, other.window = other.window, 0
                yield self.segment(1 - end, p.ACK)
                yield self.segment(end, p.ACK, shift=-1)  # a window probe
                yield self.segment(1 - end, p.ACK)
                other.window = usual
                yield self.segment(1 - end, p.ACK)
            elif kind < 0.85:
                lost = self.segment(end, p.ACK, PAYLOAD[:100])
                for _ in range(random.randrange(1, 5)):
                    yield lost
                self.hear(1 - end)
                yield self.segment(1 - end, p.ACK)
            elif kind < 0.92:
                side.window = random.choice((65535, 32768, 1000, 100, 1))
                yield self.segment(end, p.ACK)
            else:
                yield self.segment(end, p.ACK | p.URG, PAYLOAD[:10])
                self.hear(1 - end)
                yield self.segment(1 - end, p.ACK | p.ECE)

    def out_of_order(self, end: int, sent: list[bytes]) -> Packets:
        """The first segment comes last; the other end tells by SACK what it has beyond the gap."""
        other = self.sides[1 - end]
        first, *later = sent
        left = (other.received + (len(first) - p.transport(first)[0] - 20)) & 0xFFFFFFFF
        yield from later
        if self.sides[0].wide and self.sides[1].wide:
            yield self.segment(1 - end, p.ACK, options=p.selective_acks([(left, self.sides[end].next)]))
        else:
            yield self.segment(1 - end, p.ACK)
        yield first
        self.hear(1 - end)
        yield self.segment(1 - end, p.ACK)

    def close(self) -> Packets:
        random = self.random
        end = random.getrandbits(1)
        kind = random.random()
        if kind < 0.35:
            yield self.segment(end, p.FIN | p.ACK)
            self.hear(1 - end)
            yield self.segment(1 - end, p.ACK)
            if random.random() < 0.4:  # a half-closed connection still carries data one way
                yield self.segment(1 - end, p.ACK | p.PSH, PAYLOAD[:300])
                self.hear(end)
                yield self.segment(end, p.ACK)
            yield self.segment(1 - end, p.FIN | p.ACK)
            self.hear(end)
            yield self.segment(end, p.ACK)
        elif kind < 0.5:  # the answering FIN carries the acknowledgement
            yield self.segment(end, p.FIN | p.ACK)
            self.hear(1 - end)
            yield self.segment(1 - end, p.FIN | p.ACK)
            self.hear(end)
            yield self.segment(end, p.ACK)
        elif kind < 0.6:  # both close at once
            both = [self.segment(0, p.FIN | p.ACK), self.segment(1, p.FIN | p.ACK)]
            yield from both
            for each in (0, 1):
                self.hear(each)
                yield self.segment(each, p.ACK)
        elif kind < 0.75:
            yield self.segment(end, p.RST | (p.ACK if random.getrandbits(1) else 0))
        elif kind < 0.85:  # data meets a closed socket
            yield self.segment(end, p.FIN | p.ACK)
            yield self.segment(1 - end, p.ACK | p.PSH, PAYLOAD[:50])
            yield self.segment(end, p.RST)
        # otherwise it falls silent

    def __iter__(self) -> Packets:
        random = self.random
        kind = random.random()
        if kind < 0.08:  # nobody answers
            call = self.segment(0, p.SYN, options=self.opening(0))
            for _ in range(random.randrange(1, 6)):
                yield call
            return
        if kind < 0.16:  # nobody listens
            yield self.segment(0, p.SYN, options=self.opening(0))
            self.hear(1)
            self.sides[1].next = 0
            yield self.segment(1, p.RST | p.ACK)
            return
        if kind < 0.24:
            yield from self.open_both()
        elif kind < 0.86:
            yield from self.open()
        else:  # picked up in the middle
            for end in (0, 1):
                self.hear(end)
        while True:
            yield from self.talk()
            yield from self.close()
            if random.random() < 0.7:
                return
            # The same tuple once more, while the first connection still closes.
            for side in self.sides:
                side.next = (side.next + random.choice((1, 100_000, -100_000, 1 << 31))) & 0xFFFFFFFF
            yield from self.open()


def udp_conversation(random: Random, world: World) -> Packets:
    """A question and its answer, a stream both ways, or packets nobody answers."""
    client, server = world.pair(random)
    sport, dport = random.choice(CLIENT_PORTS), random.choice(UDP_PORTS)
    if random.random() < 0.02:
        server, dport = client, sport
    elif random.random() < 0.05:
        client, server, sport, dport = server, client, dport, sport
    there = p.udp_packet(client, server, sport, dport, PAYLOAD[: random.choice((0, 1, 30, 500))])
    back = p.udp_packet(server, client, dport, sport, PAYLOAD[: random.choice((0, 1, 90, 1200))])
    if len(client) == 4 and random.random() < 0.05:
        bare = bytearray(there)
        bare[26:28] = b"\0\0"  # no checksum at all
        there = bytes(bare)
    kind = random.random()
    if kind < 0.5:
        yield there
        yield back
    elif kind < 0.8:
        for _ in range(random.randrange(2, 12)):
            yield there if random.getrandbits(1) else back
    else:
        for _ in range(random.randrange(1, 5)):
            yield there


ICMP_REQUESTS = ((8, 0), (8, 0), (8, 0), (13, 14), (15, 16), (17, 18))


def icmp_conversation(random: Random, world: World) -> Packets:
    """Requests and replies of one identifier; sometimes the reply comes twice, or first, or of the wrong kind."""
    client, server = world.pair(random)
    if random.random() < 0.02:
        server = client
    identifier = random.choice((1, 2, 3, 0, 65535))
    if len(client) == 16:
        ask, answer = (128, 129) if random.random() < 0.85 else (139, 140)
    else:
        ask, answer = random.choice(ICMP_REQUESTS)
        answer = 0 if ask == 8 else answer
    size = random.choice((12, 12, 56, 4))
    code = 0 if random.random() < 0.9 else random.randrange(4)
    for sequence in range(random.randrange(1, 6)):
        rest = struct.pack(">HH", identifier, sequence)
        request = p.icmp_packet(client, server, ask, code, rest, PAYLOAD[:size])
        reply = p.icmp_packet(server, client, answer, code, rest, PAYLOAD[:size])
        kind = random.random()
        if kind < 0.7:
            yield request
            yield reply
        elif kind < 0.8:
            yield request
            yield reply
            yield reply
        elif kind < 0.9:
            yield request
        else:
            yield reply


def discovery_conversation(random: Random, world: World) -> Packets:
    """Messages that only link-local protocols use: neighbour discovery and MLD, or router discovery in IPv4."""
    client, server = world.pair(random)
    for _ in range(random.randrange(1, 4)):
        if len(client) == 16:
            kind = random.choice((130, 131, 132, 133, 134, 135, 136, 137, 143, 138, 141, 142, 144, 145, 147, 151, 200))
            yield p.icmp_packet(client, server, kind, 0, bytes(4), server + PAYLOAD[:8])
        else:
            yield p.icmp_packet(client, server, random.choice((9, 10, 1, 2, 6, 7, 19, 30, 40, 42, 255)), 0)
