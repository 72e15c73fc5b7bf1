"""How fast a capture file is indexed: records per second and bytes per second, from a file in the page cache.

FASTFW_BENCH_CAPTURE_MB sets the size of the file (default 256).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report import Reporter

from fastfw.drivers.capture import Capture

SIZE = int(os.environ.get("FASTFW_BENCH_CAPTURE_MB", "256")) << 20
FRAME = bytes(12) + b"\x08\x00\x45" + bytes(45)
MIXED = (60, 1514, 60, 1514, 576, 60, 60, 1514)


def pcap_record(size: int) -> bytes:
    return struct.pack("<IIII", 1_700_000_000, 123456, size, size) + FRAME.ljust(size, b"\1")


def pcapng_record(size: int) -> bytes:
    total = 32 + size + 3 & ~3
    head = struct.pack("<IIIIIII", 6, total, 0, 0x000600D3, 0x12345678, size, size)
    return (head + FRAME.ljust(size, b"\1")).ljust(total - 4, b"\0") + struct.pack("<I", total)


PCAP_HEAD = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
PCAPNG_HEAD = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    "<IIHHII", 1, 20, 1, 0, 0, 20
)
FILES = {
    "pcap-60": (PCAP_HEAD, pcap_record(60)),
    "pcap-mixed": (PCAP_HEAD, b"".join(map(pcap_record, MIXED))),
    "pcapng-60": (PCAPNG_HEAD, pcapng_record(60)),
    "pcapng-mixed": (PCAPNG_HEAD, b"".join(map(pcapng_record, MIXED))),
}


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    head, unit = FILES[request.param]
    path = tmp_path / request.param
    chunk = unit * ((1 << 20) // len(unit))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(SIZE // len(chunk)):
            file.write(chunk)
    yield path
    path.unlink()


def test_index(path: Path, benchmark: Any, reporter: Reporter) -> None:
    """Opening a capture indexes every record of it."""
    count = benchmark.pedantic(lambda: len(Capture(path)), rounds=5, warmup_rounds=1)
    assert count > 0
    rate = count / benchmark.stats.stats.median
    reporter.value(benchmark, f"opening a capture, {path.name}", rate / 1e6, "Mrecords/s")
