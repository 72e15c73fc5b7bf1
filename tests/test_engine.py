"""The engine as its users meet it: batches, the ceiling, the clock, settings, and input that makes no sense."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest

import fastfw
from traffic import packets as p

CLIENT, SERVER = p.address("10.1.0.1"), p.address("10.2.0.1")
SECOND = 1_000_000_000


def pack(packets: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """One buffer, offsets and lengths."""
    length = np.fromiter(map(len, packets), np.uint32, len(packets))
    offset = np.zeros(len(packets), np.uint64)
    np.cumsum(length[:-1], out=offset[1:])
    return np.frombuffer(b"".join(packets) or b"\0", np.uint8), offset, length


def datagrams(numbers: npt.NDArray[np.int64], *, reply: bool = False) -> tuple[npt.NDArray[np.uint8], ...]:
    """UDP datagrams, one of connection `n` for each number below 2^40: address and port are made of it."""
    head = np.zeros((len(numbers), 28), np.uint8)
    head[:] = np.frombuffer(struct.pack(">BBHHHBBHII", 0x45, 0, 28, 0, 0, 64, 17, 0, 0, 0) + bytes(8), np.uint8)
    ends = [10 << 24 | numbers & 0xFFFFFF, np.full(len(numbers), 0xC0A80001)]
    ports = [1024 + (numbers >> 24), np.full(len(numbers), 53)]
    if reply:
        ends.reverse()
        ports.reverse()
    for place, end in zip((12, 16), ends, strict=True):
        head[:, place : place + 4] = end.astype(">u4").view(np.uint8).reshape(-1, 4)
    for place, port in zip((20, 22), ports, strict=True):
        head[:, place : place + 2] = port.astype(">u2").view(np.uint8).reshape(-1, 2)
    head[:, 25] = 8
    total = head[:, :20].astype(np.uint64).reshape(-1, 10, 2)
    total = (total[:, :, 0] * 256 + total[:, :, 1]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    head[:, 10:12] = (0xFFFF - ((total & 0xFFFF) + (total >> 16))).astype(">u2").view(np.uint8).reshape(-1, 2)
    offset = np.arange(len(numbers), dtype=np.uint64) * 28
    return head.reshape(-1), offset, np.full(len(numbers), 28, np.uint32)


def send(
    engine: fastfw.Engine, numbers: npt.ArrayLike, now: int = SECOND, *, reply: bool = False
) -> npt.NDArray[np.void]:
    """Hand the engine a batch of datagrams, all at one time."""
    data, offset, length = datagrams(np.asarray(numbers, np.int64), reply=reply)
    return engine.process(data, offset, length, np.full(len(length), now, np.int64))


class TestUnlimited:
    def test_table_without_limit_grows(self) -> None:
        """With nf_conntrack_max 0 the table takes and keeps every connection, however small it was before."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 100})
        engine.settings["nf_conntrack_max"] = 0
        out = send(engine, np.arange(5000))
        assert (out["verdict"] == 1).all()
        assert (out["state"] == 1).all()
        assert engine.conntrack_count == 5000
        assert engine.counters["insert_failed"] == 0
        assert engine._table_statistics()["capacity"] >= 5000
        assert (send(engine, np.arange(5000), reply=True)["state"] == 2).all()

    @pytest.mark.long
    def test_table_without_limit_grows_past_its_start(self) -> None:
        """An engine made without a limit holds more than the million entries it makes room for at first."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 0})
        count = engine._table_statistics()["capacity"] + 1000
        assert (send(engine, np.arange(count))["verdict"] == 1).all()
        assert engine.conntrack_count == count
        assert (send(engine, np.arange(count), reply=True)["state"] == 2).all()
