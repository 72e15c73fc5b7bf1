"""Two threads, each with an engine and a capture of its own, against one; and two on one engine.

Wall time, alternating rounds in one process: what two cores give is the ratio of medians.
"""

from __future__ import annotations

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
    alone: list[float] = []
    together: list[float] = []
    with ThreadPoolExecutor(2) as pool:

        def once() -> None:
            for threads, times in ((1, alone), (2, together)):
                began = time.perf_counter()
                for job in [pool.submit(work) for work in works[:threads]]:
                    job.result()
                times.append(time.perf_counter() - began)

        benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=1)
    gain = 2 * float(np.median(np.array(alone[1:]) / np.array(together[1:])))
    kind = "one engine" if shared else "an engine each"
    goal = None if shared else 1.8
    reporter.value(benchmark, f"two threads, {kind}", gain, "times one thread", goal=goal)
    for threads, times in ((1, alone), (2, together)):
        rate = threads * PACKETS / float(np.median(times[1:]))
        reporter.value(
            benchmark, f"{threads} thread{'s' * (threads > 1)}, {kind}", rate / 1e6, "Mpackets/s", plot="threads",
            series=kind, x=threads,
        )  # fmt: skip
