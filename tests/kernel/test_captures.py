"""Recorded traffic of real programs is judged by the engine as by the running kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.compare import Setup, compare, report
from tests.kernel.oracle import missing

import fastfw

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

ROOT = Path(__file__).parents[2]
CAPTURES = sorted(path for folder in ("examples", "tests") for path in (ROOT / folder).rglob("*.pcap*"))
HELPERS = (("ftp", "tcp", 21), ("tftp", "udp", 69), ("pptp", "tcp", 1723))


@pytest.mark.parametrize("helpers", [(), HELPERS], ids=["without helpers", "with helpers"])
@pytest.mark.parametrize("path", CAPTURES, ids=[path.name for path in CAPTURES])
def test_recorded_packets_get_the_same_answers(path: Path, helpers: tuple[tuple[str, str, int], ...]) -> None:
    """Every packet of a recorded capture, sent again through both, differs nowhere; nor does the table."""
    capture = fastfw.Capture(str(path))
    packets = [
        bytes(capture.data[start : start + size])
        for start, size in zip(capture.offset.tolist(), capture.length.tolist(), strict=True)
        if size
    ]
    setup = Setup(helpers=helpers)
    with setup.oracle() as oracle:
        found = compare(setup, oracle, packets)
    print(f"{path.name}: {len(packets)} packets")
    assert not found.differences, report(found)
