"""What the benchmarks share: the machine's line-read rate, and a report that puts a ratio to it beside every figure."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report import Measure, Reporter

LINES = 1 << 21  # 128 MiB, as a table of a million connections has


@pytest.fixture(scope="session")
def read_lines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], float]:
    """A function that measures independent random cache-line reads per second, compiled from linereads.c."""
    library = tmp_path_factory.mktemp("linereads") / "linereads.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    source = Path(__file__).with_name("linereads.c")
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    function = ctypes.CDLL(str(library)).line_reads
    function.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    function.restype = ctypes.c_double

    def measure() -> float:
        count = 2_000_000
        return count / statistics.median(function(LINES, count) for _ in range(3))

    return measure


REPORTER = pytest.StashKey[Reporter]()


@pytest.fixture
def cpu_time(benchmark: Any) -> Measure:
    """A function that runs `work` a number of rounds, each after `before`, and gives the median of its CPU time on
    this thread in seconds; the first round is not counted."""

    def measure(work: Callable[[], object], before: Callable[[], object] = lambda: None, rounds: int = 7) -> float:
        times = []

        def once() -> None:
            before()
            began = time.thread_time()
            work()
            times.append(time.thread_time() - began)

        benchmark.pedantic(once, rounds=rounds, warmup_rounds=1)
        return float(np.median(times[1:]))

    return measure


@pytest.fixture(scope="session")
def reporter(request: pytest.FixtureRequest) -> Reporter:
    """Where benchmarks leave their figures."""
    return request.config.stash.setdefault(REPORTER, Reporter())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the figures are to be written."""
    parser.addoption("--results", metavar="FILE", help="write all figures to FILE, as JSON")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the collected figures, a line each, with their ratio to random line reads."""
    collected = config.stash.get(REPORTER, None)
    if collected is None or not collected.figures:
        return
    terminalreporter.section("figures, and their ratio to this machine's random cache-line reads")
    lines = [figure.line() for figure in collected.figures]
    width = max(len(name) for name, _, _ in lines)
    for name, shown, ratio in lines:
        terminalreporter.write_line(f"{name:<{width}}  {shown:>26}  {ratio}")
    if config.getoption("--results"):
        collected.write(Path(config.getoption("--results")))
