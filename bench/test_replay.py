"""How fast `fastfw replay` is from end to end: a capture file in, a line of CSV a packet and a summary out.

FASTFW_BENCH_REPLAY_PACKETS sets the number of packets (default 2 000 000, in 20 000 connections).
"""

import contextlib
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report import Reporter

from fastfw import cli

PACKETS = int(os.environ.get("FASTFW_BENCH_REPLAY_PACKETS", "2000000"))
CONNECTIONS = 20_000


def udp(port: int, reply: bool) -> bytes:
    """A UDP datagram of 4 bytes without a checksum, between 10.0.0.1:port and 10.0.0.2:53."""
    ends = (0x0A000002, 0x0A000001) if reply else (0x0A000001, 0x0A000002)
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 32, 1, 0, 64, 17, 0, *ends)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF) + head[12:]
    ports = (53, port) if reply else (port, 53)
    return head + struct.pack(">HHHHI", *ports, 12, 0, 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "bench.pcap"
    frames = []
    for port in range(1, CONNECTIONS + 1):
        for reply in (False, True):
            frame = (bytes(12) + b"\x08\x00" + udp(port, reply)).ljust(60, b"\0")
            frames.append(struct.pack("<IIII", 1_700_000_000, 0, 60, 60) + frame)
    unit = b"".join(frames)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for _ in range(max(1, PACKETS // len(frames))):
            file.write(unit)
    return path


@pytest.mark.parametrize("csv", [False, True], ids=["summary", "packets"])
def test_replay(
    path: Path, csv: bool, tmp_path: Path, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """A replay judges every packet and says so."""
    argv = ["replay", str(path), "--json", *(["--packets", str(tmp_path / "out.csv")] if csv else [])]

    def run() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert cli.main(argv) == 0
        return out.getvalue()

    text = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert f'"ip": {PACKETS // (2 * CONNECTIONS) * 2 * CONNECTIONS}' in text
    what = "a line of CSV each" if csv else "decisions only"
    reporter.rate(
        benchmark, f"fastfw replay, {what}", PACKETS / benchmark.stats.stats.median, read_lines(),
        goal=2e6 if csv else 8e6,
    )  # fmt: skip
