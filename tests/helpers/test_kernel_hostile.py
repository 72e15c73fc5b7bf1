"""Hostile payload, to the kernel's helpers and to ours: nothing is let in that the kernel would not let in."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from tests.kernel.oracle import Oracle, pack
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import find

from . import hostile
from .kernel import ask_kernel, attach, differences, ends, missing
from .talks import cases

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

AT_ONCE = 800
"""Conversations put at once: what they leave expected stays below nf_conntrack_expect_max (4096)."""


def compare(name: str, protocol: int, port: int, family: int, *kinds: Callable[..., hostile.Said]) -> tuple[int, int]:
    """How many conversations of these kinds leave something expected in the kernel, and how many there are."""
    if name in ("RAS", "Q.931"):
        pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    numbers = itertools.count(1)
    talks = [one for kind in kinds for one in kind(name, lambda: ends(next(numbers) & 0xFFFF, family, port, protocol))]
    expecting = 0
    with Oracle({"nf_conntrack_tcp_be_liberal": 1}) as oracle:
        attach(oracle, name, protocol, port, family)
        for at in range(0, len(talks), AT_ONCE):
            some = talks[at : at + AT_ONCE]
            found = differences(oracle, find(name), some)
            assert not found, f"{len(found)} of {len(some)} differ, such as\n{found[0]}"
            expecting += sum(bool(heard.expected) for heard in ask_kernel(oracle, some))
    print(f"{name} over IPv{family}: {len(talks)} conversations, {expecting} leave something expected")
    return expecting, len(talks)


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(hostile.ANNOUNCING))
def test_strangers_and_privileged_ports(name: str, protocol: int, port: int, family: int) -> None:
    """Other addresses than the speaker's, ports below 1024 or that wrap to such: what the kernel expects, no more."""
    expecting, count = compare(name, protocol, port, family, hostile.strangers)
    assert 0 < expecting <= count


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(hostile.ANNOUNCING))
def test_cut_at_every_byte(name: str, protocol: int, port: int, family: int) -> None:
    """A command of which the rest is never said, or in the next packet, leaves what it leaves in the kernel."""
    compare(name, protocol, port, family, hostile.cut, hostile.crowded)


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(["sip"]))
def test_wrong_lengths(name: str, protocol: int, port: int, family: int) -> None:
    """SIP messages whose Content-Length is not theirs announce what the kernel takes from them."""
    assert compare(name, protocol, port, family, hostile.sip_lengths)[0] > 0


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(["RAS", "Q.931"]))
def test_asn1_bombs(name: str, protocol: int, port: int, family: int) -> None:
    """Octets that claim more than there is, or nest as deep as they can, announce what the kernel takes from them."""
    compare(name, protocol, port, family, hostile.bombs)


def test_more_connections_announce_than_may_be_awaited() -> None:
    """Five thousand clients announce a connection each: beyond nf_conntrack_expect_max the same packets are dropped,
    and neither expects more."""
    server = p.address("10.2.0.1")
    asked = [
        p.udp_packet(p.address("10.1.0.0")[:2] + number.to_bytes(2, "big"), server, 2000, 69, b"\0\1file\0octet\0")
        for number in range(1, 5001)
    ]
    with Oracle() as oracle:
        most = int(oracle.get("nf_conntrack_expect_max"))
        attach(oracle, "tftp", 17, 69, 4)
        passed = oracle.ask(asked)["answered"]
        expected = len(oracle.command("conntrack", "-L", "expect").splitlines())
    engine = fastfw.Engine(settings={"nf_conntrack_expect_max": most}, helpers=["tftp"])
    data, offsets, lengths = pack(asked)
    out = engine.process(data, offsets, lengths, np.full(len(asked), 10**18), iif="eth0", oif="eth1")
    ours = out["verdict"] == 1
    assert expected == len(list(engine.expectations())) == min(most, 5000) == int(passed.sum())
    assert (ours == passed).all()
