"""A table that is full for long is as one that is full for the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("connections", "entries"),
    [(20_000, 100_000), pytest.param(200_000, 2_000_000, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_soak(connections: int, entries: int) -> None:
    """With churn, expiry, reloads and saves nothing is lost, memory and the index's spread stay, and packets become no
    dearer than a shared machine makes them. In a process of its own, whose memory is the table's."""
    command = [sys.executable, "-m", "bench.soak", f"--connections={connections}", f"--entries={entries}"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [*command, "--seconds=0", "--slower=5"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
