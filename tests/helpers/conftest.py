"""Let these tests name their neighbours from the root of the repository; give the random ones a seed."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def seed(capsys: pytest.CaptureFixture[str]) -> int:
    """The seed of a randomised test: fixed, or FASTFW_SEED; printed with every failure."""
    number = int(os.environ.get("FASTFW_SEED", "1"))
    print(f"FASTFW_SEED={number}")
    return number
