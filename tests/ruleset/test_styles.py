"""Rulesets in the manner of the programs that write them load, print as they were, and decide as in the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.counted import judged_otherwise, way_out
from tests.kernel.oracle import Oracle, missing
from tests.traffic.generate import generate

import fastfw
from fastfw.ruleset import Ruleset
from ruleset import judge

STYLES = sorted((Path(__file__).parents[2] / "examples" / "rulesets").glob("*.rules*"))
real = [
    pytest.mark.kernel,
    pytest.mark.skipif(bool(judge.unavailable()), reason=judge.unavailable() or "available"),
]


def family_of(path: Path) -> int:
    return 6 if path.suffix == ".rules6" else 4


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
def test_style(path: Path) -> None:
    """What iptables-save printed comes back byte for byte, user chains in its order."""
    ruleset = Ruleset.parse(path.read_text(), family_of(path), filename=path.name)
    written = judge.without_comments(ruleset.save())
    assert written == path.read_text()
    again = Ruleset.parse(ruleset.save(), family_of(path))
    assert again.save() == ruleset.save()


class TestRealTool:
    """The real iptables and the kernel."""

    pytestmark = real

    @pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
    def test_loads(self, path: Path) -> None:
        """The real iptables-restore loads it, and iptables-save prints each table as we do."""
        family = family_of(path)
        assert not judge.restore(path.read_text(), family)
        ruleset = Ruleset.parse(path.read_text(), family)
        for name, table in ruleset.tables.items():
            alone = Ruleset(family, {name: table})
            assert judge.save(name, family) == judge.without_comments(alone.save())

    @pytest.mark.skipif(missing() is not None, reason=str(missing()))
    @pytest.mark.parametrize("path", STYLES, ids=lambda path: path.stem)
    def test_decides(self, path: Path) -> None:
        """Every packet of some traffic gets the kernel's verdict, and every rule the kernel's counters."""
        family = family_of(path)
        rules = Ruleset.parse(path.read_text(), family)
        rules.tables.pop("nat", None)  # rewritten packets would be others than those that were sent
        for table in rules.tables.values():
            for name in {"OUTPUT", "POSTROUTING"} & set(table.chains):
                table.chains[name].rules = []  # the kernel's own rejections pass there
        text = rules.save()
        packets = generate(3700, 1_500, families=(family,))
        with Oracle() as oracle:
            routes = way_out(oracle)
            oracle.load(*((text, None) if family == 4 else (None, text)))
            answers = oracle.ask(packets)
            counted = {family: Ruleset.parse(oracle.counters(family), family)}
        found = judged_otherwise(
            lambda: fastfw.Engine(routes=routes, **{f"rules{family}": Ruleset.parse(text, family)}),
            packets,
            answers,
            counted,
        )
        assert not found, "\n".join(found[:20])
