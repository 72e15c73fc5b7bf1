"""Writes pcap files, for the project's own tools and examples."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

__all__ = ["write_pcap"]


def write_pcap(
    path: str | os.PathLike[str],
    packets: Iterable[bytes | bytearray | memoryview],
    time_ns: Iterable[int],
    linktype: int = 101,
    *,
    wire_length: Iterable[int] | None = None,
) -> int:
    """Writes a little-endian pcap file with nanosecond times and returns the number of records.

    packets : the records' bytes, as `linktype` frames them (101: they begin at the IP header).
    time_ns : nanoseconds since 1970-01-01 UTC, 0 <= time < 2**32 seconds, as many as there are packets.
    wire_length : bytes each had on the wire; by default what is written.

    Raises ValueError for a time out of range or sequences of different length. Source: draft-ietf-opsawg-pcap.
    """
    header = struct.Struct("<IIII")
    count = 0
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, linktype))
        rows = (
            zip(packets, time_ns, strict=True)
            if wire_length is None
            else zip(packets, time_ns, wire_length, strict=True)
        )
        for packet, time, *original in rows:
            seconds, fraction = divmod(int(time), 1_000_000_000)
            if not 0 <= seconds < 1 << 32:
                raise ValueError(f"time_ns[{count}] = {time} is outside what pcap can hold")
            size = len(packet)
            file.write(header.pack(seconds, fraction, size, max(size, *original) if original else size))
            file.write(packet)
            count += 1
    return count
