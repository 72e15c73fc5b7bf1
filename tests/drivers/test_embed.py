"""The engine's C face, and the C program that shows how it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastfw
from fastfw.core.terms import State, Verdict
from fastfw.drivers import embed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_header_is_shipped() -> None:
    """The header lies where the package says, with the version the package has."""
    text = (Path(embed.include_directory()) / "fastfw.h").read_text()
    assert "FASTFW_API_VERSION = 1" in text
    assert "fastfw.drivers.embed.api" in repr(embed.api)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """examples/embed, built by CMake."""
    if shutil.which("cmake") is None:
        pytest.skip("the example is built by cmake, which is not installed")
    place = tmp_path_factory.mktemp("embed")
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(place), "-DFASTFW_EMBED=ON", f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", str(place)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if "Development.Embed" in done.stderr:
            pytest.skip("this Python has no library to embed")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stderr
    # the program's Python is the one that runs the tests, and finds what that one finds
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(place / "embed"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return run


def test_decides_as_python_does(program: Run) -> None:
    """A C program without Python on its packets' path decides a capture as Engine.process does."""
    done = program(EXAMPLES / "gateway.rules", EXAMPLES / "gateway.pcap", "INPUT")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    capture = fastfw.Capture(EXAMPLES / "gateway.pcap")
    engine = fastfw.Engine(fastfw.Ruleset.parse((EXAMPLES / "gateway.rules").read_text()))
    out = engine.process(
        capture.data, capture.offset, capture.length, capture.time_ns, hook="INPUT", wire_length=capture.wire_length
    )
    same = 0
    for number, (line, record, link) in enumerate(zip(lines, out, capture.link_reason, strict=True)):
        if link:
            continue  # no IP: the program does not read types of frames
        verdict = Verdict(int(record["verdict"])).name.removeprefix("VERDICT_")
        state = State(int(record["state"])).name.removeprefix("STATE_").replace("NONE", "-")
        assert line == f"{number} {verdict} {state} {record['direction']}"
        same += 1
    assert same > 500
    assert last == f"connections {engine.conntrack_count}"
    assert len(np.unique(out["verdict"])) > 1


@pytest.mark.parametrize(
    ("rules", "capture", "said"),
    [
        ("gateway.rules", "gateway.rules", "a pcap file"),
        ("gateway.pcap", "gateway.pcap", "Error"),
        ("none", "gateway.pcap", "none"),
    ],
)
def test_unusable_input(program: Run, rules: str, capture: str, said: str) -> None:
    """What cannot be read is said, with exit status 2."""
    done = program(EXAMPLES / rules, EXAMPLES / capture)
    assert done.returncode == 2
    assert said in done.stderr
