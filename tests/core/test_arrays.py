"""Columns of any make may be handed in: strided, unaligned, of other types."""

from __future__ import annotations

import numpy as np

import fastfw

PACKET = bytes.fromhex("4500001c00010000401166ce0a0000010a00000203e8003500080000")


def test_unaligned_and_strided_columns_are_taken() -> None:
    """The fields of a packed record array decide like columns of their own."""
    records = np.zeros(9, np.dtype([("one", "u1"), ("offset", "<u8"), ("time", "<i8"), ("length", "<u4")]))
    records["length"] = len(PACKET)
    records["time"] = np.arange(9) * 1_000_000_000
    single = records[:1]
    assert not single["time"].flags.aligned
    engine = fastfw.Engine()
    for chosen in (single, records):
        out = engine.process(PACKET, chosen["offset"], chosen["length"], chosen["time"])
        assert out["verdict"].tolist() == [1] * len(chosen)
    assert engine.conntrack_count == 1
