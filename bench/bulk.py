"""Packets by the million, made with NumPy: TCP and UDP over IPv4 and IPv6, checksums right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw import Engine
from fastfw.core.engine import DECISION

SYN, ACK = 0x02, 0x10
START = 10**18  # ns: the clock the benchmarks begin at

Words = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.uint8]


class Connections:
    """`count` different client and server endpoints, of TCP over IPv4 unless said otherwise."""

    def __init__(self, count: int, family: int = 4, udp: bool = False, first: int = 0) -> None:
        number = np.arange(first, first + count, dtype=np.uint32)
        self.count = count
        self.family = family
        self.udp = udp
        self.client = (0x0A000000 + number * np.uint32(2654435761) % np.uint32(1 << 24)).astype(np.uint32)
        self.server = (0xC0A80000 + number % 250).astype(np.uint32)
        self.client_port = (1024 + (number >> 8) % 60000).astype(np.uint32)
        self.server_port = np.full(count, 443, np.uint32)

    def packets(self, flags: int, to_server: bool, seq: int, ack: int, payload: int = 0) -> Rows:
        """One packet of every connection."""
        return self._made(np.arange(self.count), np.full(self.count, to_server), seq, ack, flags, payload)

    def mixed(self, count: int, seed: int, payload: int = 0) -> Rows:
        """`count` packets of random connections in random directions, as they fit behind `establish`."""
        random = np.random.default_rng(seed)
        up = random.random(count) < 0.5
        seq, ack = np.where(up, 1001, 5001), np.where(up, 5001, 1001)
        return self._made(random.integers(0, self.count, count), up, seq, ack, ACK, payload)

    def _made(
        self, which: npt.NDArray[np.int64], up: npt.NDArray[np.bool_], seq: Any, ack: Any, flags: int, payload: int
    ) -> Rows:
        ends = (
            np.where(up, self.client[which], self.server[which]),
            np.where(up, self.server[which], self.client[which]),
            np.where(up, self.client_port[which], self.server_port[which]),
            np.where(up, self.server_port[which], self.client_port[which]),
        )
        if self.udp:
            return udp(*ends, payload, self.family)
        numbers = (np.broadcast_to(np.asarray(word, np.uint32), len(which)) for word in (seq, ack))
        return tcp(*ends, *numbers, flags, payload, self.family)


def folded(sums: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The Internet checksum of sums of 16-bit words (RFC 1071)."""
    for _ in range(2):
        sums = (sums & 0xFFFF) + (sums >> 16)
    return ~sums & 0xFFFF


def headed(source: Words, destination: Words, size: int, protocol: int, family: int) -> npt.NDArray[np.uint16]:
    """Rows of 16-bit words: an IP header, and `size` bytes behind it that are zero."""
    words = 10 if family == 4 else 20
    head = np.zeros((len(source), words + (size + 1) // 2), ">u2")
    if family == 4:
        head[:, 0], head[:, 1], head[:, 4] = 0x4500, 20 + size, 0x4000 | protocol
        columns = (6, 8)
    else:
        head[:, 0], head[:, 2], head[:, 3] = 0x6000, size, protocol << 8 | 0x40
        head[:, 4], head[:, 12] = 0x2001, 0x2001
        head[:, 5], head[:, 13] = 0x0DB8, 0x0DB8
        columns = (10, 18)
    for column, value in zip(columns, (source, destination), strict=True):
        head[:, column], head[:, column + 1] = value >> 16, value & 0xFFFF
    if family == 4:
        head[:, 5] = folded(head[:, :10].astype(np.uint64).sum(axis=1))
    return head


def summed(head: npt.NDArray[np.uint16], size: int, protocol: int, family: int) -> npt.NDArray[np.uint64]:
    """The transport's checksum with its pseudo header."""
    first = 6 if family == 4 else 4
    return folded(head[:, first:].sum(axis=1, dtype=np.uint64) + protocol + size)


def as_bytes(head: npt.NDArray[np.uint16], size: int) -> Rows:
    """Rows of words as rows of bytes, cut to `size`."""
    return np.ascontiguousarray(head.view(np.uint8).reshape(len(head), -1)[:, :size])


def tcp(
    source: Words, destination: Words, sport: Words, dport: Words, seq: Words, ack: Words, flags: int,
    payload: int = 0, family: int = 4,
) -> Rows:  # fmt: skip
    """Segments without options, `payload` zero bytes each."""
    size = 20 + payload
    head = headed(source, destination, size, 6, family)
    at = 10 if family == 4 else 20
    for column, value in ((at + 2, seq), (at + 4, ack)):
        head[:, column], head[:, column + 1] = value >> 16, value & 0xFFFF
    head[:, at], head[:, at + 1], head[:, at + 6], head[:, at + 7] = sport, dport, 0x5000 | flags, 65535
    head[:, at + 8] = summed(head, size, 6, family)
    return as_bytes(head, 2 * at + size)


def udp(source: Words, destination: Words, sport: Words, dport: Words, payload: int = 0, family: int = 4) -> Rows:
    """Datagrams of `payload` zero bytes."""
    size = 8 + payload
    head = headed(source, destination, size, 17, family)
    at = 10 if family == 4 else 20
    head[:, at], head[:, at + 1], head[:, at + 2] = sport, dport, size
    total = summed(head, size, 17, family)
    head[:, at + 3] = np.where(total == 0, 0xFFFF, total)
    return as_bytes(head, 2 * at + size)


class Batch:
    """Packets, ready to be judged again and again: nothing but the engine's own work is done then.

    All rows are of one length, or several arrays of rows are put one behind the other and mixed.
    """

    def __init__(self, *rows: Rows, now: int = START, seed: int = 0) -> None:
        counts = [len(row) for row in rows]
        self.data = np.concatenate([row.reshape(-1) for row in rows])
        self.length = np.repeat(np.array([row.shape[1] for row in rows], np.uint32), counts)
        self.offset = np.zeros(sum(counts), np.uint64)
        np.cumsum(self.length[:-1], out=self.offset[1:])
        if len(rows) > 1:
            order = np.random.default_rng(seed).permutation(sum(counts))
            self.length, self.offset = self.length[order], self.offset[order]
            self._in_order()
        self.time = np.full(sum(counts), now, np.int64)
        self.out = np.zeros(sum(counts), DECISION)

    def _in_order(self) -> None:
        """Lay the packets into memory in the order they come in, as a capture does."""
        starts = np.zeros(len(self.length), np.uint64)
        np.cumsum(self.length[:-1], out=starts[1:])
        shift = np.repeat(self.offset - starts, self.length)
        self.data = self.data[np.arange(len(shift), dtype=np.uint64) + shift]
        self.offset = starts

    def judge(self, engine: Engine) -> npt.NDArray[np.void]:
        """Put the packets through an engine."""
        return engine.process(self.data, self.offset, self.length, self.time, out=self.out)


def establish(engine: Engine, connections: Connections, now: int = START, chunk: int = 1_000_000) -> None:
    """Shake hands for every connection, in chunks; all are ASSURED afterwards. UDP is answered, and asks again 3 s
    late: the clock stands there then."""
    for start in range(0, connections.count, chunk):
        part = Connections(min(chunk, connections.count - start), connections.family, connections.udp, first=start)
        Batch(part.packets(SYN, True, 1000, 0), now=now).judge(engine)
        Batch(part.packets(SYN | ACK, False, 5000, 1001), now=now).judge(engine)
        if part.udp:
            now += 3 * 10**9
        out = Batch(part.packets(ACK, True, 1001, 5001), now=now).judge(engine)
        assert bool(out["assured"].all()), "a handshake failed"


def forget(engine: Engine, batch: Batch) -> None:
    """Let every connection that began with this batch run out, and move the batch behind that time.

    The table's memory stays, as in a gateway that has run for a while; flush() gives it back to the system, which
    zeroes what it gives again.
    """
    batch.time += 1000 * 10**9
    engine.expire(int(batch.time[0]))
    assert engine.conntrack_count == 0
