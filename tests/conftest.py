"""What every test shares: a seed that is always told, and a line about the machine that ran them."""

from __future__ import annotations

import os
import platform
import secrets

import hypothesis
import pytest

import fastfw

# The machine may be slow and shared: time never fails a test. A failure prints the blob that repeats it.
hypothesis.settings.register_profile("fastfw", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fastfw")


def pytest_configure() -> None:
    """A sanitizer build is what is tested when one is asked for, and leaks are looked for in this process alone: the
    compilers and tools that tests start are not ours to judge.
    """
    wanted = os.environ.get("FASTFW_BUILD")
    if wanted:
        if not fastfw.__file__.startswith(wanted):
            raise pytest.UsageError(f"fastfw was imported from {fastfw.__file__}, not from {wanted}")
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")


def pytest_report_header() -> str:
    """Linux 6.18.0, x86_64, root."""
    user = "root" if os.geteuid() == 0 else "no root: tests that need it are skipped"
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {user}"


@pytest.fixture
def patience() -> int:
    """How many times longer than a test says something may take: ten where a sanitizer, which is slow, watches."""
    return 10 if os.environ.get("FASTFW_BUILD") else 1


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed where the test fails; FASTFW_TEST_SEED repeats one."""
    chosen = int(os.environ.get("FASTFW_TEST_SEED") or secrets.randbits(32))
    print(f"FASTFW_TEST_SEED={chosen}")
    return chosen
