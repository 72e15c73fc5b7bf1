"""Programs that run with the injector, and what becomes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = shutil.which("cc") or shutil.which("gcc")

PRELUDE = """
import ctypes, errno, os, sys
import fastfw
faults = ctypes.CDLL(None)
OFF, KILL_BEFORE, KILL_HALFWAY, FAIL, NO_MEMORY = range(5)
arm = lambda mode, nth, error=0: faults.fault_arm(mode, ctypes.c_long(nth), error)
faults.fault_disarm.restype = ctypes.c_long
disarm = faults.fault_disarm
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled injector."""
    if COMPILER is None:
        pytest.skip("a C compiler is needed")
    if os.environ.get("LD_PRELOAD"):
        pytest.skip("a sanitizer's allocator cannot be made to fail")
    built = tmp_path_factory.mktemp("injector") / "injector.so"
    command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(built), str(HERE / "injector.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return built


@pytest.fixture
def program(injector: Path) -> Run:
    """Runs Python text with the injector in front of the C library."""

    def run(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        package = os.environ.get("FASTFW_BUILD", "")  # the build under test, not the one that is installed
        paths = [*filter(None, [package]), str(ROOT), str(ROOT / "tests")]
        environment = dict(os.environ, LD_PRELOAD=str(injector), PYTHONPATH=":".join(paths))
        command = [sys.executable, "-c", PRELUDE + text, *map(str, arguments)]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300
        )

    return run
