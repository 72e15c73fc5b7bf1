"""How fast the engine is: established packets, new connections, single packets, and what a connection costs in memory.

CPU time of one thread, medians of several rounds; the ratio is to random cache-line reads measured right before.
FASTFW_BENCH_CONNECTIONS lists the table sizes (default 1000,100000,1000000).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bulk import ACK, START, SYN, Batch, Connections, establish
from report import Reporter

from fastfw import Engine, Ruleset

SIZES = [int(size) for size in os.environ.get("FASTFW_BENCH_CONNECTIONS", "1000,100000,1000000").split(",")]
PACKETS = 1_000_000
ROUNDS = 7

STATEFUL_RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -p tcp -m tcp --dport 443 --syn -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""


def engine_for(count: int, rules: bool = False) -> Engine:
    loaded = Ruleset.parse(STATEFUL_RULES) if rules else None
    return Engine(rules4=loaded, settings={"nf_conntrack_max": count + count // 100 + 1000})


@pytest.mark.parametrize("rules", [False, True], ids=["no-rules", "stateful"])
@pytest.mark.parametrize("count", SIZES)
def test_established(
    count: int, rules: bool, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """Packets of established connections in random order, both directions."""
    connections = Connections(count)
    engine = engine_for(count, rules)
    establish(engine, connections)
    batch = Batch(connections.mixed(PACKETS, seed=1), START + 1_000_000)
    yardstick = read_lines()
    times = []

    def once() -> None:
        began = time.thread_time()
        out = batch.judge(engine)
        times.append(time.thread_time() - began)
        assert bool((out["state"] == 2).all())

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    name = f"established, {count} connections{', stateful rules' if rules else ''}"
    reporter.rate(benchmark, name, PACKETS / float(np.median(times[1:])), yardstick)


@pytest.mark.parametrize("rules", [False, True], ids=["no-rules", "stateful"])
def test_new(rules: bool, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """First packets: rules walked, entry made, in a table that has held as many before."""
    connections = Connections(PACKETS)
    batch = Batch(connections.packets(SYN, True, 1000, 0))
    engine = engine_for(PACKETS, rules)
    yardstick = read_lines()
    times = []

    def once() -> None:
        engine.flush()
        began = time.thread_time()
        batch.judge(engine)
        times.append(time.thread_time() - began)
        assert engine.conntrack_count == PACKETS

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    name = f"new connections{', stateful rules' if rules else ''}"
    reporter.rate(benchmark, name, PACKETS / float(np.median(times[1:])), yardstick)


def resident() -> int:
    """Bytes of this process's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory(benchmark: Any, reporter: Reporter) -> None:
    """What a connection costs: growth of the process over a million of them, divided."""
    connections = Connections(PACKETS)
    rows = connections.packets(SYN, True, 1000, 0)
    batches = [Batch(rows[start : start + 10_000]) for start in range(0, PACKETS, 10_000)]
    grown = []

    def once() -> None:
        before = resident()
        engine = Engine(settings={"nf_conntrack_max": PACKETS})
        for batch in batches:
            batch.judge(engine)
        assert engine.conntrack_count == PACKETS
        grown.append((resident() - before) / PACKETS)

    benchmark.pedantic(once, rounds=1)
    reporter.value(benchmark, "memory of a million connections", grown[0], "bytes_per_connection")
    assert grown[0] <= 160


def test_decide(benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """One packet from Python, of an established connection."""
    connections = Connections(1000)
    engine = engine_for(1000)
    establish(engine, connections)
    packet = connections.packets(ACK, True, 1001, 5001)[0].tobytes()
    yardstick = read_lines()
    decide = engine.decide
    calls = 200_000
    times = []

    def once() -> None:
        began = time.thread_time()
        for _ in range(calls):
            decide(packet)
        times.append(time.thread_time() - began)

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    reporter.rate(benchmark, "decide()", calls / float(np.median(times[1:])), yardstick)
