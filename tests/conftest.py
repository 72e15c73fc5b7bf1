"""What every test shares: a seed that is always told, and a line about the machine that ran them."""

from __future__ import annotations

import os
import platform
import secrets

import hypothesis
import pytest

# The machine may be slow and shared: time never fails a test. A failure prints the blob that repeats it.
hypothesis.settings.register_profile("fastfw", deadline=None, print_blob=True)
hypothesis.settings.load_profile("fastfw")


def pytest_report_header() -> str:
    """Linux 6.18.0, x86_64, root."""
    user = "root" if os.geteuid() == 0 else "no root: tests that need it are skipped"
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {user}"


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed where the test fails; FASTFW_TEST_SEED repeats one."""
    chosen = int(os.environ.get("FASTFW_TEST_SEED") or secrets.randbits(32))
    print(f"FASTFW_TEST_SEED={chosen}")
    return chosen
