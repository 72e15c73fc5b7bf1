"""How fast the engine decides: established packets, new connections, batches of every size, single packets.

CPU time of one thread, medians of several rounds; the ratio is to random cache-line reads measured right before.
FASTFW_BENCH_CONNECTIONS lists the table sizes (default 1000,10000,100000,1000000,10000000).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bulk import ACK, START, SYN, Batch, Connections, establish, forget
from report import Measure, Reporter
from workloads import MOST, SIZES, THOUSAND, engine_for

PACKETS = 1_000_000
GOALS = {100_000: 25e6, 1_000_000: 14.88e6, 10_000_000: 10e6}


@pytest.mark.parametrize("rules", [True, False], ids=["rules", "no-rules"])
@pytest.mark.parametrize("count", SIZES)
def test_established(
    count: int, rules: bool, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """Packets of established TCP connections in random order, both directions."""
    connections = Connections(count)
    engine = engine_for(count, THOUSAND if rules else None)
    establish(engine, connections)
    batch = Batch(connections.mixed(PACKETS, seed=1), now=START + 1_000_000)
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine))
    assert bool((batch.out["state"] == 2).all() and (batch.out["verdict"] == 1).all())
    series = "1 000 rules" if rules else "no rules"
    reporter.rate(
        benchmark, f"established TCP, {count:,} connections, {series}", PACKETS / seconds, yardstick,
        goal=GOALS.get(count) if rules else None, plot="connections", series=series, x=count,
    )  # fmt: skip


def test_mixed(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """TCP and UDP over IPv4 and IPv6, a quarter of the connections each, in random order."""
    kinds = [Connections(MOST // 4, family, udp) for family in (4, 6) for udp in (False, True)]
    engine = engine_for(MOST, [*THOUSAND, "-A FORWARD -p udp -j ACCEPT"])
    for number, kind in enumerate(kinds):
        establish(engine, kind, START + number * 4 * 10**9)
    rows = [kind.mixed(PACKETS // 4, seed) for seed, kind in enumerate(kinds)]
    batch = Batch(*rows, now=START + 16 * 10**9)
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine))
    assert bool((batch.out["state"] == 2).all())
    reporter.rate(
        benchmark, f"established TCP and UDP, IPv4 and IPv6, {MOST:,} connections, 1 000 rules", PACKETS / seconds,
        yardstick, goal=12e6,
    )  # fmt: skip


@pytest.mark.parametrize("rules", [True, False], ids=["rules", "no-rules"])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "had"])
def test_new(
    rules: bool, fresh: bool, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """First packets: rules walked, entry made; in a table that has held as many before, or in memory that the system
    has yet to give."""
    connections = Connections(PACKETS)
    batch = Batch(connections.packets(SYN, True, 1000, 0))
    engine = engine_for(PACKETS, THOUSAND if rules else None)
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine), before=engine.flush if fresh else lambda: forget(engine, batch))
    assert engine.conntrack_count == PACKETS
    name = f"new connections, {'1 000 rules' if rules else 'no rules'}{', fresh memory' if fresh else ''}"
    reporter.rate(benchmark, name, PACKETS / seconds, yardstick, goal=6e6 if rules and not fresh else None)


@pytest.mark.parametrize("size", [1, 4, 16, 64, 128, 1024])
def test_batch_size(
    size: int, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """Established packets in calls of so many packets each; what a call costs is in it."""
    connections = Connections(MOST)
    engine = engine_for(MOST, THOUSAND)
    establish(engine, connections)
    calls = min(PACKETS // size, 20_000)
    batch = Batch(connections.mixed(calls * size, seed=1), now=START + 1_000_000)
    parts = [
        (batch.offset[at : at + size], batch.length[at : at + size], batch.time[at : at + size])
        for at in range(0, calls * size, size)
    ]
    yardstick = read_lines()

    def work() -> None:
        process, data = engine.process, batch.data
        for part in parts:
            process(data, *part)

    seconds = cpu_time(work)
    reporter.rate(
        benchmark, f"established TCP, {MOST:,} connections, {size} packets a call", calls * size / seconds, yardstick,
        plot="batch", series="process()", x=size,
    )  # fmt: skip


def test_decide(cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]) -> None:
    """One packet from Python, of an established connection."""
    connections = Connections(1000)
    engine = engine_for(1000)
    establish(engine, connections)
    packet = connections.packets(ACK, True, 1001, 5001)[0].tobytes()
    yardstick = read_lines()
    calls = 200_000

    def work() -> None:
        decide = engine.decide
        for _ in range(calls):
            decide(packet)

    reporter.rate(benchmark, "decide(), one packet a call", calls / cpu_time(work), yardstick, goal=2.5e6)
