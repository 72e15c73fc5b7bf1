"""DPDK's own tables, as programs in C built against the system's libdpdk."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest


def program(name: str, folder: Path) -> Path:
    """`name`.c of this directory, built into `folder`; without libdpdk the test is skipped."""
    if shutil.which("pkg-config") is None or subprocess.run(["pkg-config", "--exists", "libdpdk"]).returncode:
        pytest.skip("libdpdk is not installed: left out of the comparison")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libdpdk"], capture_output=True, text=True, check=True
    ).stdout.split()
    built = folder / name
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([*compiler, "-O3", "-o", str(built), str(source), *flags], check=True)
    return built
