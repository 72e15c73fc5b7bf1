"""The engine and the running kernel agree about generated traffic: packet for packet, and the table at the end."""

from __future__ import annotations

import os
from typing import Any

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


SHORT = {
    "nf_conntrack_tcp_timeout_syn_sent": 1,
    "nf_conntrack_tcp_timeout_syn_recv": 2,
    "nf_conntrack_tcp_timeout_established": 3,
    "nf_conntrack_tcp_timeout_fin_wait": 1,
    "nf_conntrack_tcp_timeout_close_wait": 2,
    "nf_conntrack_tcp_timeout_last_ack": 1,
    "nf_conntrack_tcp_timeout_time_wait": 2,
    "nf_conntrack_tcp_timeout_close": 1,
    "nf_conntrack_tcp_timeout_max_retrans": 2,
    "nf_conntrack_tcp_timeout_unacknowledged": 2,
    "nf_conntrack_udp_timeout": 1,
    "nf_conntrack_udp_timeout_stream": 3,
    "nf_conntrack_icmp_timeout": 1,
    "nf_conntrack_icmpv6_timeout": 1,
    "nf_conntrack_generic_timeout": 1,
    "nf_conntrack_gre_timeout": 1,
    "nf_conntrack_gre_timeout_stream": 2,
    "nf_conntrack_sctp_timeout_closed": 1,
    "nf_conntrack_sctp_timeout_cookie_wait": 1,
    "nf_conntrack_sctp_timeout_cookie_echoed": 1,
    "nf_conntrack_sctp_timeout_established": 3,
    "nf_conntrack_sctp_timeout_shutdown_sent": 1,
    "nf_conntrack_sctp_timeout_shutdown_recd": 1,
    "nf_conntrack_sctp_timeout_shutdown_ack_sent": 1,
    "nf_conntrack_sctp_timeout_heartbeat_sent": 2,
}
EVERYTHING = ("tcp", "tcp", "udp", "icmp", "sctp", "gre", "other")


def agree(setup: Setup, seed: int, count: int = COUNT, **traffic: Any) -> None:
    """Fail with the shortest traffic that shows the first difference; on another kernel than the standard report it."""
    with setup.oracle() as oracle:
        print(f"kernel {oracle.kernel}, seed {seed}, {count} packets, {traffic}")
        found = compare(setup, oracle, generate(seed, count, **traffic))
        if not found.differences:
            return
        said = f"seed {seed}: {len(found.differences)} differences, first {found.differences[0]}"
        if setup.batches == 1:  # what real time has brought about does not come again at once
            said += "\n" + report(reduce(setup, oracle, found, found.differences[0]))
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


@pytest.mark.parametrize("protocols", [("sctp",), ("gre", "other"), EVERYTHING], ids=["sctp", "gre and others", "all"])
def test_same_answers_for_every_protocol(protocols: tuple[str, ...]) -> None:
    """Associations, tunnels and protocols known by address alone are tracked as the kernel tracks them."""
    agree(Setup(), seed=3000 + len(protocols), count=10_000, protocols=protocols)


@pytest.mark.parametrize("family", [4, 6])
def test_same_answers_for_packets_in_pieces(family: int) -> None:
    """Fragments in and out of order, doubled, missing and overlapping are joined and refused as by the kernel."""
    agree(Setup(), seed=4000 + family, count=8_000, fragments=0.1, families=[family], protocols=EVERYTHING)


def test_same_answers_while_timeouts_run_out() -> None:
    """With every timeout at one to three seconds and real pauses, connections end at the same tick on both sides."""
    setup = Setup(settings=SHORT, batches=30, pause=0.13)
    agree(setup, seed=5000, count=3_000, protocols=EVERYTHING)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6000, 6010))
def test_same_answers_over_a_minute_of_timeouts(seed: int) -> None:
    """Sparse traffic over many timeouts differs nowhere, whatever the protocol."""
    setup = Setup(settings=SHORT, batches=60, pause=0.1)
    agree(setup, seed=seed, count=2_000, protocols=EVERYTHING, fragments=0.02)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_same_answers_over_a_million_packets(seed: int) -> None:
    """A million packets over twenty seeds differ nowhere."""
    agree(Setup(), seed=seed, count=50_000)
