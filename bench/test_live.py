"""The gateway on live packets beside what else could stand there; live/measure.py says how it is measured."""

from __future__ import annotations

import os
from typing import Any

import pytest
from live.measure import missing, results, stand
from report import Reporter

ROUNDS = int(os.environ.get("FASTFW_BENCH_LIVE_ROUNDS", "5"))
SECONDS = 0.3


def test_live(benchmark: Any, reporter: Reporter) -> None:
    """Packets a second without loss and bulk TCP: the drivers, the bypass, the kernel, a loop that accepts all."""
    if reason := missing():
        pytest.skip(reason)
    with stand() as bench:
        benchmark.pedantic(lambda: bench.round(SECONDS), rounds=ROUNDS, warmup_rounds=0)
    for result in results(bench.forms):
        reporter.value(benchmark, f"on the queue, {result.name}", result.value, result.unit, goal=result.goal)
