"""What the table costs and bears: memory, a flood at the ceiling, the longest batch, saving and loading."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk import ACK, START, SYN, Batch, Connections, establish
from report import Measure, Reporter
from workloads import MOST, SEED, SIZES

from fastfw import Engine


def resident() -> int:
    """Bytes of this process's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [size for size in SIZES if size >= 100_000])
def test_memory(count: int, benchmark: Any, reporter: Reporter) -> None:
    """What a connection costs: growth of the process over so many of them, divided."""
    rows = Connections(count).packets(SYN, True, 1000, 0)
    batches = [Batch(rows[start : start + 10_000]) for start in range(0, count, 10_000)]
    for batch in batches:
        batch.out.fill(0)  # where decisions go is memory of this test's, not of the table's: it is there before
    del rows
    gc.collect()
    grown = []

    def once() -> None:
        before = resident()
        engine = Engine(settings={"nf_conntrack_max": count})
        for batch in batches:
            batch.judge(engine)
        assert engine.conntrack_count == count
        grown.append((resident() - before) / count)

    benchmark.pedantic(once, rounds=1)
    reporter.value(
        benchmark, f"memory, {count:,} connections", grown[0], "bytes a connection", goal=136.0, plot="memory",
        series="all included", x=count,
    )  # fmt: skip
    assert grown[0] <= 160


def test_flood(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """SYNs of ever new connections at a table full of established ones: none of those is lost."""
    connections = Connections(MOST)
    engine = Engine(settings={"nf_conntrack_max": MOST})
    establish(engine, connections)
    batch = Batch(Connections(MOST, first=MOST).packets(SYN, True, 1000, 0), now=START + 1_000_000)
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine))
    assert engine.conntrack_count == MOST
    kept = Batch(connections.packets(ACK, True, 1001, 5001), now=START + 1_000_000).judge(engine)
    assert bool((kept["state"] == 2).all()), "an established connection was lost"
    reporter.rate(benchmark, f"SYN flood at a full table of {MOST:,}", MOST / seconds, yardstick, goal=5e6)


def test_worst_batch(benchmark: Any, reporter: Reporter) -> None:
    """The longest of many calls of 128 packets while the table is at its ceiling and its connections expire.

    SYNs come in at a rate at which a full table of half-open connections runs out of time. The figure is CPU time, in
    which interrupts and what a virtual machine is not given are counted too. So everything is done three times, of one
    seed: what the engine needs for a call it needs every time, and of each call the shortest counts.
    """
    size, calls = 128, 4 * MOST // 128
    rows = Connections(MOST).packets(SYN, True, 1000, 0)
    batch = Batch(Connections(4 * MOST, first=MOST).packets(SYN, True, 1000, 0))
    batch.time[:] = START + np.arange(len(batch.time), dtype=np.int64) * (2 * 10**9 // MOST)
    runs: list[np.ndarray[Any, np.dtype[np.float64]]] = []

    def full() -> tuple[tuple[Engine], dict[str, Any]]:
        engine = Engine(settings={"nf_conntrack_max": MOST, "nf_conntrack_tcp_timeout_syn_sent": 1}, seed=SEED)
        Batch(rows).judge(engine)
        return (engine,), {}

    def work(engine: Engine) -> None:
        took = np.zeros(calls)
        gc.disable()
        for call in range(calls):
            at = slice(call * size, (call + 1) * size)
            began = time.thread_time_ns()
            engine.process(batch.data, batch.offset[at], batch.length[at], batch.time[at], out=batch.out[at])
            took[call] = time.thread_time_ns() - began
        gc.enable()
        expired = engine.counters["expired"]
        assert expired > MOST // 2, f"only {expired} connections expired"
        runs.append(took)

    benchmark.pedantic(work, setup=full, rounds=3)
    took = np.minimum.reduce(runs)
    reporter.value(benchmark, "worst call of 128 packets, full table, expiring", took.max() / 1e6, "ms", goal=1.0)
    reporter.value(benchmark, "the same, the longest of all runs", np.maximum.reduce(runs).max() / 1e6, "ms")
    reporter.value(benchmark, "median call of 128 packets, full table, expiring", float(np.median(took)) / 1e6, "ms")


def test_state(tmp_path: Path, benchmark: Any, reporter: Reporter) -> None:
    """A table is saved to a file and loaded again; wall time, the file in the page cache."""
    engine = Engine(settings={"nf_conntrack_max": MOST})
    establish(engine, Connections(MOST))
    other = Engine(settings={"nf_conntrack_max": MOST})
    path = tmp_path / "state"
    saving, loading = [], []

    def once() -> None:
        other.flush()
        began = time.perf_counter()
        assert engine.save_state(path) == MOST
        saved = time.perf_counter()
        other.load_state(path)
        loading.append(time.perf_counter() - saved)
        saving.append(saved - began)
        assert other.conntrack_count == MOST

    benchmark.pedantic(once, rounds=5, warmup_rounds=1)
    reporter.value(benchmark, f"saving {MOST:,} connections", float(np.median(saving[1:])), "s", goal=1.0)
    reporter.value(benchmark, f"loading {MOST:,} connections", float(np.median(loading[1:])), "s", goal=1.0)
