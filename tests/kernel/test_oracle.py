"""The oracle answers rightly where the answer is known from the documentation of connection tracking."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.kernel.namespace import marking_rules
from tests.kernel.oracle import Oracle, missing
from tests.traffic import packets as p
from tests.traffic.rulesets import ruleset, tables

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

FAMILIES = pytest.mark.parametrize(("a", "b"), [("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1")])


@pytest.fixture(scope="module")
def shared() -> Iterator[Oracle]:
    with Oracle() as oracle:
        yield oracle


@pytest.fixture
def oracle(shared: Oracle) -> Oracle:
    shared.flush()
    return shared


@FAMILIES
def test_handshake_is_new_then_established_then_assured(oracle: Oracle, a: str, b: str) -> None:
    """A SYN is NEW, the SYN-ACK already ESTABLISHED, and the ACK makes the connection ASSURED."""
    one, two = p.address(a), p.address(b)
    assert oracle.say(p.tcp_packet(one, two, 40000, 80, p.SYN, 1000)) == "NEW"
    assert oracle.say(p.tcp_packet(two, one, 80, 40000, p.SYN | p.ACK, 5000, 1001)) == "ESTABLISHED REPLY SEEN_REPLY"
    assert oracle.say(p.tcp_packet(one, two, 40000, 80, p.ACK, 1001, 5001)) == "ESTABLISHED SEEN_REPLY ASSURED"
    (line,) = oracle.table()
    assert " ESTABLISHED src=" in line
    assert "[ASSURED]" in line
    assert oracle.say(p.tcp_packet(two, one, 80, 40000, p.RST, 5001)) == "ESTABLISHED REPLY SEEN_REPLY ASSURED"
    assert " CLOSE src=" in oracle.table()[0]


@FAMILIES
def test_flags_that_mean_nothing_are_invalid(oracle: Oracle, a: str, b: str) -> None:
    """A segment with SYN, ACK and RST all set belongs to no connection and makes none."""
    one, two = p.address(a), p.address(b)
    assert oracle.say(p.tcp_packet(one, two, 40000, 80, p.SYN | p.ACK | p.RST)) == "INVALID"
    assert oracle.table() == []


@FAMILIES
def test_udp_and_echo_requests_are_answered(oracle: Oracle, a: str, b: str) -> None:
    """UDP and echo are NEW until a packet comes back, ESTABLISHED from then on."""
    one, two = p.address(a), p.address(b)
    for there, back in (
        (p.udp_packet(one, two, 40000, 53, b"?"), p.udp_packet(two, one, 53, 40000, b"!")),
        (p.echo(one, two, 7, 1), p.echo(two, one, 7, 1, reply=True)),
    ):
        assert oracle.say(there) == "NEW"
        assert oracle.say(back) == "ESTABLISHED REPLY SEEN_REPLY"
        assert oracle.say(there) == "ESTABLISHED SEEN_REPLY"
    assert len(oracle.table()) == 2


@FAMILIES
def test_error_about_a_connection_is_related(oracle: Oracle, a: str, b: str) -> None:
    """An ICMP error that quotes a known packet is RELATED, one that quotes an unknown packet is INVALID."""
    one, two, router = p.address(a), p.address(b), p.address(a[:-1] + "9")
    known, unknown = p.udp_packet(one, two, 40000, 53, b"????"), p.udp_packet(one, two, 40001, 53, b"????")
    kind, code = (3, 3) if len(one) == 4 else (1, 4)
    oracle.say(known)
    assert oracle.say(p.icmp_packet(router, one, kind, code, payload=known)).startswith("RELATED")
    assert oracle.say(p.icmp_packet(router, one, kind, code, payload=unknown)) == "INVALID"


def test_neighbour_discovery_is_untracked(oracle: Oracle) -> None:
    """IPv6 neighbour solicitations are left alone by connection tracking."""
    one, two = p.address("fd00:1::1"), p.address("fd00:2::1")
    assert oracle.say(p.icmp_packet(one, two, 135, 0, payload=two)) == "UNTRACKED"


def test_answers_belong_to_their_own_packets(oracle: Oracle) -> None:
    """Packets that come out in pieces or not at all do not shift the answers of those after them."""
    one, two = p.address("10.1.0.1"), p.address("10.2.0.1")
    whole = p.udp_packet(one, two, 1, 2, bytes(4000))
    refused = p.ipv4(one, two, p.UDP, p.udp(one, two, 5, 6), header_checksum=1)
    bad_flags = p.tcp_packet(one, two, 40000, 80, 0)
    batch = [refused, *p.fragments(whole, 1480), bad_flags, refused, b"", b"\x45", p.udp_packet(two, one, 2, 1)]
    answers = oracle.ask(batch)
    assert answers["answered"].tolist() == [False, False, False, True, True, False, False, False, True]
    assert answers["state"].tolist() == [0, 0, 0, 1, 4, 0, 0, 0, 2]
    assert np.all(np.diff(answers["time_ns"]) >= 0)


def test_rules_of_the_user_decide_and_count() -> None:
    """A user's ruleset is loaded as it is: what it drops has no answer and its rules count the packets."""
    rules = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n"
    )
    one, two = p.address("10.1.0.1"), p.address("10.2.0.1")
    with Oracle(rules4=rules) as oracle:
        assert oracle.say(p.udp_packet(one, two, 1, 2)) == "NEW"
        assert oracle.say(p.tcp_packet(one, two, 1, 2, p.SYN)) == "-"
        assert len(oracle.table()) == 1
        assert "[1:28] -A FORWARD -p udp -j ACCEPT" in oracle.counters(4)


def test_helper_expects_a_connection() -> None:
    """An attached FTP helper turns a PORT command into an expectation, whose connection is RELATED."""
    one, two = p.address("10.1.0.1"), p.address("10.2.0.1")
    with Oracle(helpers=[("ftp", "tcp", 21)]) as oracle:
        oracle.say(p.tcp_packet(one, two, 40000, 21, p.SYN, 99))
        oracle.say(p.tcp_packet(two, one, 21, 40000, p.SYN | p.ACK, 199, 100))
        oracle.say(p.tcp_packet(one, two, 40000, 21, p.ACK, 100, 200))
        seq = 100
        for command in (b"USER anonymous\r\n", b"PORT 10,1,0,1,200,10\r\n"):
            oracle.say(p.tcp_packet(one, two, 40000, 21, p.ACK | p.PSH, seq, 200, payload=command))
            seq += len(command)
        assert len(oracle.expectations()) == 1
        assert oracle.say(p.tcp_packet(two, one, 20, 200 * 256 + 10, p.SYN)) == "RELATED EXPECTED"


def test_shared_settings_are_put_back() -> None:
    """A setting that all namespaces share is what it was once the oracle is closed."""
    with Oracle() as oracle:
        before = oracle.get("nf_conntrack_max")
        oracle.set("nf_conntrack_max", 300_000)
        assert oracle.get("nf_conntrack_max") == "300000"
    with Oracle() as oracle:
        assert oracle.get("nf_conntrack_max") == before


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [ruleset, tables])
def test_random_rulesets_are_the_real_iptables_own_language(make: Callable[[int, int], str], seed: int) -> None:
    """Every generated ruleset is one the real iptables loads and prints back with all its rules."""
    texts = {family: make(seed, family) for family in (4, 6)}
    with Oracle(rules4=texts[4], rules6=texts[6]) as oracle:
        for family, text in texts.items():
            answering = len(marking_rules("eth1").split("-A ")) - 1
            assert oracle.counters(family).count("-A ") == text.count("\n-A ") + answering
