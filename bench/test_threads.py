"""Two threads, each with an engine and a capture of its own, against one; and two on one engine. Beside them two
threads that only hash bytes: what the machine gives at all.

Wall time, alternating rounds in one process: what two cores give is the ratio of medians.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from bulk import START, Batch, Connections, establish
from report import Reporter
from workloads import THOUSAND, engine_for

from fastfw import Engine

CONNECTIONS = 100_000
PACKETS = 1_000_000
ROUNDS = 9


def gain_of(works: list[Callable[[], object]], rounds: int, benchmark: Any = None) -> tuple[float, list[list[float]]]:
    """How many times as much two threads do as one, and the seconds of the rounds of one and of two."""
    times: list[list[float]] = [[], []]
    with ThreadPoolExecutor(2) as pool:

        def once() -> None:
            for threads in (1, 2):
                began = time.perf_counter()
                for job in [pool.submit(work) for work in works[:threads]]:
                    job.result()
                times[threads - 1].append(time.perf_counter() - began)

        if benchmark is None:
            for _ in range(rounds):
                once()
        else:
            benchmark.pedantic(once, rounds=rounds, warmup_rounds=1)
    return 2 * float(np.median(np.array(times[0][1:]) / np.array(times[1][1:]))), times


def prepared(engine: Engine, seed: int) -> Callable[[], object]:
    """Established packets for an engine."""
    batch = Batch(Connections(CONNECTIONS).mixed(PACKETS, seed), now=START + 1_000_000)
    return lambda: batch.judge(engine)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two threads need two cores")
@pytest.mark.parametrize("shared", [False, True], ids=["two-engines", "one-engine"])
def test_threads(shared: bool, benchmark: Any, reporter: Reporter) -> None:
    """Two threads judge twice as much in the time of one."""
    engines = [engine_for(CONNECTIONS, THOUSAND) for _ in range(1 if shared else 2)]
    for engine in engines:
        establish(engine, Connections(CONNECTIONS))
    works = [prepared(engines[0], 1), prepared(engines[-1], 2)]
    data = bytes(16 << 20)
    machine, _ = gain_of([lambda: hashlib.sha256(data).digest()] * 2, ROUNDS)
    gain, times = gain_of(works, ROUNDS, benchmark)
    kind = "one engine" if shared else "an engine each"
    goal = None if shared else 1.8
    reporter.value(benchmark, "two threads that hash bytes: what the machine gives", machine, "times one thread")
    reporter.value(benchmark, f"two threads, {kind}", gain, "times one thread", goal=goal)
    for threads in (1, 2):
        rate = threads * PACKETS / float(np.median(times[threads - 1][1:]))
        reporter.value(
            benchmark, f"{threads} thread{'s' * (threads > 1)}, {kind}", rate / 1e6, "Mpackets/s", plot="threads",
            series=kind, x=threads,
        )  # fmt: skip
