"""Packets by the hundred thousand: arrays of one form of packet, each of other ends."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tests.traffic import packets as p

import fastfw

SECOND = 1_000_000_000
Numbers = npt.NDArray[np.int64]


class Crowd:
    """Packets of one length, one after another in one buffer."""

    def __init__(self, form: bytes, count: int) -> None:
        self.rows = np.tile(np.frombuffer(form, np.uint8), (count, 1))

    def put(self, at: int, size: int, values: npt.ArrayLike) -> Crowd:
        """Write a big-endian number of `size` (2 or 4) bytes into every packet; its checksums are left as they are."""
        of = np.asarray(values).astype(f">u{size}")
        self.rows[:, at : at + size] = np.broadcast_to(of, len(self.rows)).copy().view(np.uint8).reshape(-1, size)
        return self

    def ends(self, source: npt.ArrayLike, destination: npt.ArrayLike) -> Crowd:
        """Write IPv4 addresses, and the header checksum that goes with them."""
        self.put(12, 4, source).put(16, 4, destination).put(10, 2, 0)
        total = self.rows[:, :20].astype(np.uint64).reshape(-1, 10, 2)
        total = (total[:, :, 0] * 256 + total[:, :, 1]).sum(axis=1)
        total = (total & 0xFFFF) + (total >> 16)
        return self.put(10, 2, 0xFFFF - ((total & 0xFFFF) + (total >> 16)))

    def into(self, engine: fastfw.Engine, now: int) -> npt.NDArray[np.void]:
        """What the engine makes of them, all at one time."""
        count, size = self.rows.shape
        offset = np.arange(count, dtype=np.uint64) * size
        return engine.process(self.rows.reshape(-1), offset, np.full(count, size, np.uint32), np.full(count, now))


def address(text: str) -> int:
    return int.from_bytes(p.address(text), "big")


def tcp(source: npt.ArrayLike, destination: npt.ArrayLike, sport: npt.ArrayLike, dport: npt.ArrayLike, flags: int,
        seq: npt.ArrayLike, ack: npt.ArrayLike = 0) -> Crowd:  # fmt: skip
    """Segments without options; their checksum is not made."""
    count = max(np.size(each) for each in (source, destination, sport, dport, seq, ack))
    form = p.tcp_packet(bytes(4), bytes(4), 0, 0, flags, 0, 0, window=65535)
    crowd = Crowd(form, count).put(20, 2, sport).put(22, 2, dport).put(24, 4, seq).put(28, 4, ack)
    return crowd.ends(source, destination)


def udp(source: npt.ArrayLike, destination: npt.ArrayLike, sport: npt.ArrayLike, dport: npt.ArrayLike) -> Crowd:
    """Empty datagrams without a checksum."""
    count = max(np.size(each) for each in (source, destination, sport, dport))
    form = p.ipv4(bytes(4), bytes(4), p.UDP, bytes(4) + b"\0\x08\0\0")
    return Crowd(form, count).put(20, 2, sport).put(22, 2, dport).ends(source, destination)


def echo(source: npt.ArrayLike, destination: npt.ArrayLike, number: npt.ArrayLike) -> Crowd:
    """Echo requests; their checksum is not made."""
    count = max(np.size(each) for each in (source, destination, number))
    return Crowd(p.echo(bytes(4), bytes(4), 0, 0), count).put(24, 2, number).ends(source, destination)


def resident() -> int:
    """Bytes of memory that the process needs now. The address sanitizer keeps what is freed: then those allocated; the
    C library, too, keeps arrays that tests made and freed, until it is told to give them back."""
    library = ctypes.CDLL(None)
    sanitizer = getattr(library, "__sanitizer_get_current_allocated_bytes", None)
    if sanitizer is not None:
        sanitizer.restype = ctypes.c_size_t
        return int(sanitizer())
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def cost(call: Callable[[], object], times: int = 5) -> float:
    """The median processor time of a call, seconds: what other processes do does not count."""
    taken = []
    for _ in range(times):
        before = time.process_time()
        call()
        taken.append(time.process_time() - before)
    return float(np.median(taken))
