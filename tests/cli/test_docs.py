"""docs/cli.md shows what the commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastfw.cli import VERBS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(commands: list[str], directory: Path) -> str:
    """What a shell prints for the commands, in a directory where examples/ is this tree's."""
    fastfw = f'fastfw() {{ "{sys.executable}" -m fastfw "$@"; }}'
    done = subprocess.run(
        ["bash", "-c", "\n".join([fastfw, *commands])],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return done.stdout.decode()


@pytest.mark.parametrize("block", BLOCKS)
def test_shown_output_is_real(block: str, tmp_path: Path) -> None:
    """Every command of the page prints exactly what is shown under it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "build").mkdir()
    lines = block.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    shown = [line for line in lines if not line.startswith("$ ")]
    assert shown == [line.rstrip() for line in run(commands, tmp_path).rstrip().splitlines()]


def test_every_offline_verb_is_described() -> None:
    """The page has a section for each verb that works on files."""
    assert BLOCKS
    for verb in ("replay", "explain", "diff", "rules check", "rules save"):
        assert verb.partition(" ")[0] in VERBS
        assert f"\n## {verb}\n" in PAGE
