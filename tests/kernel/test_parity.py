"""The engine and the running kernel agree about generated traffic: packet for packet, and the table at the end."""

from __future__ import annotations

import os

import pytest
from tests.kernel.compare import Setup, compare, reduce, report
from tests.kernel.oracle import missing
from tests.traffic.generate import generate

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STANDARD = "6.18."
COUNT = 20_000

SETTINGS: dict[str, dict[str, int]] = {
    "defaults": {},
    "strict about pick-up": {"nf_conntrack_tcp_loose": 0},
    "liberal about windows": {"nf_conntrack_tcp_be_liberal": 1},
    "invalid resets ignored": {"nf_conntrack_tcp_ignore_invalid_rst": 1},
    "checksums not looked at": {"nf_conntrack_checksum": 0},
    "accounting": {"nf_conntrack_acct": 1},
}


def agree(setup: Setup, seed: int, anomalies: float = 0.25, count: int = COUNT) -> None:
    """Fail with the shortest traffic that shows the first difference; on another kernel than the standard report it."""
    with setup.oracle() as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {count} packets, anomalies {anomalies}")
        found = compare(setup, oracle, generate(seed, count, anomalies))
        if not found.differences:
            return
        small = reduce(setup, oracle, found, found.differences[0])
        said = f"seed {seed}: {len(found.differences)} differences, first {found.differences[0]}\n{report(small)}"
    if os.uname().release.startswith(STANDARD):
        pytest.fail(said)
    pytest.xfail(f"this is not Linux {STANDARD}x: {said}")


@pytest.mark.parametrize("name", SETTINGS)
def test_same_answers_under_every_switch(name: str) -> None:
    """State, direction, flags and table are the kernel's own whatever its switches say."""
    agree(Setup(settings=SETTINGS[name]), seed=1000 + list(SETTINGS).index(name))


@pytest.mark.parametrize("anomalies", [0.0, 0.1, 0.6])
def test_same_answers_at_every_rate_of_anomalies(anomalies: float) -> None:
    """Clean traffic and traffic that is mostly wrong are judged as the kernel judges them."""
    agree(Setup(), seed=2000 + int(anomalies * 10), anomalies=anomalies)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_same_answers_over_a_million_packets(seed: int) -> None:
    """A million packets over twenty seeds differ nowhere."""
    agree(Setup(), seed=seed, count=50_000)
