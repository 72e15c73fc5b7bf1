"""Others on the same packets: what Python programs use to look at packets and connections, from PyPI or Debian.

None of them does the same: each line says what is done. Those that are not installed are left out, by name.
"""

from __future__ import annotations

import importlib
import statistics
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpdk
import pytest
from bulk import START, Batch, Connections, Rows, establish
from report import Measure, Reporter
from workloads import THOUSAND, engine_for

COUNT = 100_000
"""Connections; the packets are as many, in random order."""


def mixed(count: int = COUNT) -> Rows:
    """Packets of established connections."""
    return Connections(COUNT).mixed(count, seed=1)


def needs(name: str) -> Any:
    """A module, or the test is skipped."""
    return pytest.importorskip(name, reason=f"{name} is not installed: left out of the comparison")


def note(
    reporter: Reporter, benchmark: Any, name: str, what: str, rate: float, read_lines: Callable[[], float]
) -> None:
    """A peer's rate."""
    reporter.rate(benchmark, f"{name}: {what}", rate, read_lines(), plot="peers", series=name)


def test_fastfw(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """This package, with everything it does."""
    engine = engine_for(COUNT, THOUSAND)
    establish(engine, Connections(COUNT))
    batch = Batch(mixed(), now=START + 1_000_000)
    rate = COUNT / cpu_time(lambda: batch.judge(engine))
    note(reporter, benchmark, "fastfw", "tracked, windows and checksums held, 1 000 rules", rate, read_lines)


def test_dict(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """A Python dict of connections, its keys cut out of the packets by hand; no state, no check."""
    packets = [row.tobytes() for row in mixed()]
    known: dict[bytes, int] = {}
    ends = struct.Struct("12x 4s 4s 2s 2s")

    def work() -> None:
        for packet in packets:
            source, target, sport, dport = ends.unpack_from(packet)
            one, two = source + sport, target + dport
            key = one + two if one < two else two + one
            known[key] = known.get(key, 0) + 1

    rate = COUNT / cpu_time(work, rounds=5)
    note(reporter, benchmark, "dict", "packets counted by addresses and ports", rate, read_lines)


def test_dpkt(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """dpkt reads the headers; a dict counts by its fields."""
    dpkt = needs("dpkt")
    packets = [row.tobytes() for row in mixed(20_000)]
    known: dict[tuple[Any, ...], int] = {}

    def work() -> None:
        for packet in packets:
            ip = dpkt.ip.IP(packet)
            key = (ip.src, ip.data.sport, ip.dst, ip.data.dport)
            known[key] = known.get(key, 0) + 1

    rate = len(packets) / cpu_time(work, rounds=5)
    note(reporter, benchmark, "dpkt", "headers read, packets counted", rate, read_lines)


def test_scapy(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """scapy reads the headers; a dict counts by its fields."""
    needs("scapy")
    inet = importlib.import_module("scapy.layers.inet")
    packets = [row.tobytes() for row in mixed(1_000)]
    known: dict[tuple[Any, ...], int] = {}

    def work() -> None:
        for packet in packets:
            ip = inet.IP(packet)
            key = (ip.src, ip.payload.sport, ip.dst, ip.payload.dport)
            known[key] = known.get(key, 0) + 1

    rate = len(packets) / cpu_time(work, rounds=3)
    note(reporter, benchmark, "scapy", "headers read, packets counted", rate, read_lines)


def test_nfstream(
    tmp_path: Path, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """nfstream gathers flows from a capture; wall time is what its processes take, CPU time cannot be asked of them."""
    nfstream = needs("nfstream")
    path = tmp_path / "peers.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number, row in enumerate(mixed()):
            frame = bytes(12) + b"\x08\x00" + row.tobytes()
            file.write(struct.pack("<IIII", 1_700_000_000, number, len(frame), len(frame)) + frame)
    took = []

    def work() -> None:
        began = time.perf_counter()
        streamer = nfstream.NFStreamer(
            source=str(path), n_dissections=0, statistical_analysis=False, accounting_mode=0, n_meters=1
        )
        assert sum(flow.bidirectional_packets for flow in streamer) == COUNT
        took.append(time.perf_counter() - began)

    cpu_time(work, rounds=3)
    rate = COUNT / statistics.median(took)
    note(reporter, benchmark, "nfstream", "flows of a capture gathered, one meter, no dissection", rate, read_lines)


def test_rte_hash(tmp_path: Path, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """DPDK's rte_hash: one million keys of 16 bytes looked up in random order, 64 a call; nothing else."""
    program = dpdk.program("rte_hash", tmp_path)
    rates = []

    def once() -> None:
        run = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=120)
        rates.append(float(run.stdout.split()[-1]))

    benchmark.pedantic(once, rounds=3)
    note(reporter, benchmark, "rte_hash", "lookups alone, 1 M keys", sorted(rates)[1], read_lines)
