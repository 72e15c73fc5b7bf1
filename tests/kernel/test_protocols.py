"""The engine and the running kernel agree about SCTP, GRE, UDP-Lite and protocols known by number alone."""

from __future__ import annotations

import os

import pytest
from tests.kernel.compare import Setup, compare, reduce, report
from tests.kernel.oracle import missing
from tests.traffic.generate import generate

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

STANDARD = "6.18."
TRAFFIC = {
    "sctp": ("sctp",),
    "gre": ("gre",),
    "udplite": ("udplite",),
    "other": ("other",),
    "all": ("sctp", "gre", "udplite", "other", "tcp", "udp", "icmp"),
}


def agree(setup: Setup, seed: int, protocols: tuple[str, ...], anomalies: float, count: int) -> None:
    """Fail with the shortest traffic that shows the first difference; on another kernel than the standard report it."""
    with setup.oracle() as oracle:
        print(f"kernel {oracle.kernel}, {protocols}, seed {seed}, {count} packets, anomalies {anomalies}")
        packets = generate(seed, count, anomalies, protocols)
        found = compare(setup, oracle, packets)
        if not found.differences:
            return
        # A loaded machine may take a packet in late, and its answer is then missed: what is real comes again.
        found = compare(setup, oracle, packets)
        if not found.differences:
            return
        small = reduce(setup, oracle, found, found.differences[0])
        said = f"seed {seed}: {len(found.differences)} differences, first {found.differences[0]}\n{report(small)}"
    if os.uname().release.startswith(STANDARD):
        pytest.fail(said)
    pytest.xfail(f"this is not Linux {STANDARD}x: {said}")


@pytest.mark.parametrize("anomalies", [0.05, 0.5])
@pytest.mark.parametrize("name", TRAFFIC)
def test_same_answers(name: str, anomalies: float) -> None:
    """State, direction, flags and table are the kernel's own, for mostly sound and for mostly broken traffic."""
    agree(Setup(), 4000 + list(TRAFFIC).index(name), TRAFFIC[name], anomalies, 8_000)


def test_same_answers_without_checksums() -> None:
    """With nf_conntrack_checksum off the same packets are let in as the kernel lets in."""
    agree(Setup(settings={"nf_conntrack_checksum": 0}), 4100, TRAFFIC["all"], 0.4, 10_000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5000, 5020))
def test_same_answers_over_a_million_packets(seed: int) -> None:
    """A million packets of these protocols over twenty seeds differ nowhere."""
    agree(Setup(), seed, ("sctp", "sctp", "gre", "udplite", "other", "icmp"), 0.1 + seed % 5 * 0.1, 50_000)
