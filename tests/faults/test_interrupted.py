"""Signals at any moment, and output that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.test_engine import pack
from tests.traffic.generate import generate

import fastfw

ROOT = Path(__file__).parents[2]
CAPTURE, RULES = "examples/gateway.pcap", "examples/gateway.rules"
FASTFW = [sys.executable, "-m", "fastfw"]


def test_a_storm_of_signals_changes_nothing(tmp_path: Path) -> None:
    """With two thousand signals a second, packets are decided, a table is saved and loaded and a capture is read as
    without any."""
    data, offset, length = pack(generate(3, 20_000, 0.25))
    times = np.arange(len(length), dtype=np.int64) * 1_000_000 + 10**9

    def work() -> tuple[bytes, list[str], bytes]:
        engine = fastfw.Engine(settings={"nf_conntrack_max": 5000}, seed=bytes(88))
        out = engine.process(data, offset, length, times)
        engine.save_state(tmp_path / "state")
        copy = fastfw.Engine(settings={"nf_conntrack_max": 5000}, seed=bytes(88))
        copy.expire(engine.now)
        copy.load_state(tmp_path / "state")
        return out.tobytes(), sorted(map(str, copy.connections())), fastfw.Capture(ROOT / CAPTURE).data.tobytes()

    calm = work()
    came = 0

    def note(*_: object) -> None:
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGALRM, note)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(3):
            assert work() == calm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came > 10


def test_interrupted_replay_ends_at_once(tmp_path: Path) -> None:
    """SIGINT in the midst of a long replay ends it with status 130 and no traceback."""
    out = tmp_path / "out.csv"
    command = [*FASTFW, "replay", *[CAPTURE] * 5000, "--packets", str(out)]
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell has what it starts in the background ignore SIGINT, and so would the replay
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):
        if out.exists() or running.poll() is not None or any(tmp_path.iterdir()):
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", CAPTURE, "--rules", RULES],
        ["replay", CAPTURE, "--rules", RULES, "--json"],
        ["replay", CAPTURE, "--packets", "/dev/full"],
        ["replay", CAPTURE, "--conntrack", "/dev/full"],
        ["replay", CAPTURE, "--rules", RULES, "--counters", "/dev/full"],
        ["explain", CAPTURE, "--packet", "3"],
        ["diff", RULES, RULES, CAPTURE],
        ["rules", "save", RULES],
    ],
    ids=" ".join,
)
def test_full_disk_is_said(arguments: list[str]) -> None:
    """What cannot be written for want of room is one clear line and status 2."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*FASTFW, *arguments], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.strip().endswith("No space left on device")
    assert "Traceback" not in ended.stderr
