"""What the README shows works as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_runs(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python example runs from the root of the repository and prints what its comments say."""
    monkeypatch.chdir(ROOT)
    exec(compile(BLOCKS[number], f"README.md, example {number + 1}", "exec"), {})
    said = capsys.readouterr().out
    if "ACCEPT NEW" in BLOCKS[number]:
        assert said.startswith("ACCEPT NEW filter:INPUT:rule:4\nipv4 ")


def test_links_lead_somewhere() -> None:
    """Every relative link of the README and the documents names a file."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_exist() -> None:
    """Every `make` command that a document shows is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.M)}
    assert {"run", "test", "lint", "bench"} <= shown
    assert shown <= targets
