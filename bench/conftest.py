"""What the benchmarks share: the machine's line-read rate, and a report that puts a ratio to it beside every figure."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from report import Reporter

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


@pytest.fixture(scope="session")
def reporter(request: pytest.FixtureRequest) -> Reporter:
    """Where benchmarks leave their figures."""
    return request.config.stash.setdefault(REPORTER, Reporter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the collected figures, a line each, with their ratio to random line reads."""
    collected = config.stash.get(REPORTER, None)
    if collected is None or not collected.rows:
        return
    terminalreporter.section("figures, and their ratio to this machine's random cache-line reads")
    width = max(len(row[0]) for row in collected.rows)
    for name, figure, ratio in collected.rows:
        terminalreporter.write_line(f"{name:<{width}}  {figure:>18}  {ratio}")
