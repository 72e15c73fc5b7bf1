"""The C headers of core/, compiled for every kind of processor that this machine has a compiler for."""

from __future__ import annotations

import platform
import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARM = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64-static"
BUILDS = {
    "native": ["cc"],
    "portable": ["cc", "-DFASTFW_PORTABLE"],
    "arm64": [ARM, "-static"],
    "arm64-portable": [ARM, "-static", "-DFASTFW_PORTABLE"],
}


@pytest.mark.parametrize("name", BUILDS)
def test_headers_agree_with_the_plainest_code(name: str, tmp_path: Path) -> None:
    """Checksums, CRC32c, tags and bits come out alike on x86-64 and arm64, with and without SIMD."""
    compiler, *options = BUILDS[name]
    emulated = compiler == ARM and platform.machine() != "aarch64"
    for program in (compiler, EMULATOR) if emulated else (compiler,):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    binary = tmp_path / "check"
    source = Path(__file__).with_name("headers_check.c")
    include = f"-I{ROOT / 'src/fastfw/core'}"
    subprocess.run([compiler, *options, "-O2", "-Wall", "-Werror", include, source, "-o", binary], check=True)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    run = [EMULATOR, binary, str(seed)] if emulated else [binary, str(seed)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "20000 rounds\n"
