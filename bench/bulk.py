"""Packets by the million, made with NumPy: TCP over IPv4, checksums right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastfw import Engine
from fastfw.core.engine import DECISION

SYN, ACK = 0x02, 0x10
START = 10**18  # ns: the clock the benchmarks begin at

Words = npt.NDArray[np.uint32]


class Connections:
    """`count` different client and server endpoints."""

    def __init__(self, count: int) -> None:
        number = np.arange(count, dtype=np.uint32)
        self.count = count
        self.client = (0x0A000000 + number * np.uint32(2654435761) % np.uint32(1 << 24)).astype(np.uint32)
        self.server = (0xC0A80000 + number % 250).astype(np.uint32)
        self.client_port = (1024 + (number >> 8) % 60000).astype(np.uint32)
        self.server_port = np.full(count, 443, np.uint32)

    def packets(self, flags: int, to_server: bool, seq: int, ack: int) -> npt.NDArray[np.uint8]:
        """One segment of every connection."""
        ends = (self.client, self.server, self.client_port, self.server_port)
        if not to_server:
            ends = (self.server, self.client, self.server_port, self.client_port)
        return tcp(*ends, np.full(self.count, seq, np.uint32), np.full(self.count, ack, np.uint32), flags)

    def mixed(self, count: int, seed: int) -> npt.NDArray[np.uint8]:
        """`count` ACKs of random connections in random directions, as they fit behind `establish`."""
        random = np.random.default_rng(seed)
        which = random.integers(0, self.count, count)
        up = random.random(count) < 0.5
        return tcp(
            np.where(up, self.client[which], self.server[which]),
            np.where(up, self.server[which], self.client[which]),
            np.where(up, self.client_port[which], self.server_port[which]),
            np.where(up, self.server_port[which], self.client_port[which]),
            np.where(up, 1001, 5001).astype(np.uint32),
            np.where(up, 5001, 1001).astype(np.uint32),
            ACK,
        )


def folded(sums: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The Internet checksum of sums of 16-bit words (RFC 1071)."""
    for _ in range(2):
        sums = (sums & 0xFFFF) + (sums >> 16)
    return ~sums & 0xFFFF


def tcp(
    source: Words, destination: Words, sport: Words, dport: Words, seq: Words, ack: Words, flags: int
) -> npt.NDArray[np.uint8]:
    """Segments without payload or options, one row of 40 bytes each."""
    head = np.zeros((len(source), 20), ">u2")
    head[:, 0], head[:, 1], head[:, 4] = 0x4500, 40, 0x4006
    for column, value in ((6, source), (8, destination), (12, seq), (14, ack)):
        head[:, column], head[:, column + 1] = value >> 16, value & 0xFFFF
    head[:, 10], head[:, 11], head[:, 16], head[:, 17] = sport, dport, 0x5000 | flags, 65535
    head[:, 5] = folded(head[:, :10].astype(np.uint64).sum(axis=1))
    head[:, 18] = folded(head[:, 6:20].astype(np.uint64).sum(axis=1) + 6 + 20)
    return head.view(np.uint8).reshape(len(source), 40)


class Batch:
    """Rows of packets, ready to be judged again and again: nothing but the engine's own work is done then."""

    def __init__(self, rows: npt.NDArray[np.uint8], now: int = START) -> None:
        count, size = rows.shape
        self.data = rows.reshape(-1)
        self.offset = np.arange(count, dtype=np.uint64) * np.uint64(size)
        self.length = np.full(count, size, np.uint32)
        self.time = np.full(count, now, np.int64)
        self.out = np.zeros(count, DECISION)

    def judge(self, engine: Engine) -> npt.NDArray[np.void]:
        """Put the packets through an engine."""
        return engine.process(self.data, self.offset, self.length, self.time, out=self.out)


def establish(engine: Engine, connections: Connections) -> None:
    """Shake hands for every connection; all are ASSURED afterwards."""
    Batch(connections.packets(SYN, True, 1000, 0)).judge(engine)
    Batch(connections.packets(SYN | ACK, False, 5000, 1001)).judge(engine)
    out = Batch(connections.packets(ACK, True, 1001, 5001)).judge(engine)
    assert bool(out["assured"].all()), "a handshake failed"
