"""Rulesets in the manner of the programs that write them load and are printed as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastfw.ruleset import Ruleset
from ruleset import judge

STYLES = sorted((Path(__file__).parent / "styles").glob("*.rules*"))


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
def test_style(path: Path) -> None:
    """What iptables-save printed comes back byte for byte, user chains in its order."""
    family = 6 if path.suffix == ".rules6" else 4
    ruleset = Ruleset.parse(path.read_text(), family, filename=path.name)
    written = judge.without_comments(ruleset.save())
    assert written == path.read_text()
    again = Ruleset.parse(ruleset.save(), family)
    assert again.save() == ruleset.save()


@pytest.mark.kernel
@pytest.mark.skipif(bool(judge.unavailable()), reason=judge.unavailable() or "available")
@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
def test_style_in_the_real_tool(path: Path) -> None:
    """The real iptables-restore loads it, and iptables-save prints each table as we do."""
    family = 6 if path.suffix == ".rules6" else 4
    assert not judge.restore(path.read_text(), family)
    ruleset = Ruleset.parse(path.read_text(), family)
    for name, table in ruleset.tables.items():
        alone = Ruleset(family, {name: table})
        assert judge.save(name, family) == judge.without_comments(alone.save())
