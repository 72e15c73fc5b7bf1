"""Every helper against the kernel's own: same packets dropped, same expectations left."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import pytest
from tests.kernel.oracle import Oracle
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import find
from fastfw.listing import expectation_line

from . import h323_talk
from .kernel import (
    Ends,
    Expectation,
    FakeFlow,
    Say,
    ask_kernel,
    attach,
    differences,
    ends,
    missing,
    packets,
    parse_expectation,
)
from .talks import TALKS, cases

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CONVERSATIONS = 800
"""A helper, family and seed; what they leave expected stays below nf_conntrack_expect_max (4096)."""


@pytest.mark.parametrize(("name", "protocol", "port", "family"), cases(TALKS))
def test_same_drops_and_expectations(name: str, protocol: int, port: int, family: int, seed: int) -> None:
    """Right, odd, mutated and cut messages in either direction leave what the kernel's helper leaves."""
    chance = random.Random(f"{seed} {name} {family}")
    talks = []
    for number in range(1, CONVERSATIONS + 1):
        who = ends(number, family, port, protocol)
        talks.append((who, TALKS[name](chance, who)))
    with Oracle({"nf_conntrack_tcp_be_liberal": 1}) as oracle:
        attach(oracle, name, protocol, port, family)
        found = differences(oracle, find(name), talks)
        expecting = sum(bool(heard.expected) for heard in ask_kernel(oracle, talks))
    assert not found, f"seed {seed}: {len(found)} of {len(talks)} differ, such as\n{found[0]}"
    assert expecting > CONVERSATIONS // 10, "the kernel expects something often enough to compare"


H323 = [("RAS", p.UDP, 1719, h323_talk.ras), ("Q.931", p.TCP, 1720, h323_talk.q931)]


@pytest.mark.parametrize("odd", [False, True], ids=["right", "mutated"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("name", "protocol", "port", "talk"), H323, ids=[case[0] for case in H323])
def test_h323_expects_the_same(
    name: str, protocol: int, port: int, talk: Callable[..., list[Say]], family: int, odd: bool, seed: int
) -> None:
    """Whole messages, mutated and cut ones leave what the kernel's helper leaves."""
    pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    chance = random.Random(f"{seed} {name} {family} {odd}")
    talks = []
    for number in range(1, 301):
        who = ends(number, family, port, protocol)
        talks.append((who, talk(chance, who, odd)))
    with Oracle({"nf_conntrack_tcp_be_liberal": 1}) as oracle:
        attach(oracle, name, protocol, port, family)
        found = differences(oracle, find(name), talks)
        expecting = sum(bool(heard.expected) for heard in ask_kernel(oracle, talks))
    assert not found, f"seed {seed}: {len(found)} differ, such as\n{found[0]}"
    assert expecting > 100


def test_a_registration_lasts_as_long_as_the_kernels() -> None:
    """Connections live as long, or not at all, whatever a registration says; the kernel's ticks have 32 bits."""
    said = [1, 256, 70_000, 8_589_900, 8_589_935, 17_179_169, 17_179_900, 2**30 + 60, 2**31 - 1, 2**31, 2**31 + 300]
    said += [2**32 - 1, 2**32]
    talks = []
    for number, seconds in enumerate(said, 1):
        who = ends(number, 4, 1719, p.UDP)
        talks.append((who, [Say(0, b"\x0e"), Say(1, h323_talk.confirmation(who, seconds))]))
    engine = fastfw.Engine(helpers=["RAS"])
    for packet in (packet for who, talk in talks for packet in packets(talk, who)):
        engine.decide(packet, now=10**18)
    ours = {str(one).split()[5]: one.timeout for one in engine.connections()}
    with Oracle() as oracle:
        attach(oracle, "RAS", p.UDP, 1719, 4)
        ask_kernel(oracle, talks)
        kernel = {line.split()[5]: int(line.split()[4]) for line in oracle.table()}
    kernel.pop("src=10.1.0.1", None)  # a second, which may have passed
    del ours["src=10.1.0.1"]
    assert ours.keys() == kernel.keys()
    assert all(0 <= ours[one] - kernel[one] <= 5 for one in ours), (ours, kernel)


@pytest.mark.parametrize("family", [4, 6])
def test_amanda_lets_the_connection_wait(family: int) -> None:
    """A reply keeps Amanda's own connection for 300 s, and not for UDP's 30."""
    who = ends(1, family, 10080, 17)
    with Oracle() as oracle:
        attach(oracle, "amanda", 17, 10080, family)
        ask_kernel(oracle, [(who, [Say(0, b"REQ\n"), Say(1, b"ACK\n")])])
        (line,) = oracle.table()
    assert int(line.split()[4]) in range(290, 301)


@pytest.mark.parametrize("name", ["netbios-ns", "snmp"])
def test_a_broadcast_is_answered_by_any_of_the_network(name: str) -> None:
    """What this host sends to its network's broadcast address leaves what an engine leaves that knows the network; to a
    neighbour, none. An answer from any host of the network, and from nowhere else, is RELATED."""
    helper = find(name)
    ((_, port),) = helper.ports
    own, everyone, neighbour = "10.9.0.1", "10.9.15.255", "10.9.0.77"
    send = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind((sys.argv[1], 5000));"
        "s.sendto(b'?', (sys.argv[2], int(sys.argv[3])))"
    )
    with Oracle() as oracle:
        oracle.command("ip", "address", "add", f"{own}/20", "broadcast", everyone, "dev", "eth1")
        rule = f"-t raw -A OUTPUT -p udp --dport {port} -j CT --helper {name}"
        oracle.command("iptables-legacy", *rule.split())
        kernel: dict[str, list[Expectation]] = {}
        for target in (neighbour, everyone):
            oracle.command(sys.executable, "-c", send, own, target, str(port))
            lines = oracle.command("conntrack", "-L", "expect").splitlines()
            kernel[target] = [parse_expectation(line)[1] for line in lines]
        (age,) = (int(line.split()[4]) for line in oracle.table() if everyone in line)
    engine = fastfw.Engine(local=[f"{own}/20%eth1"], helpers=[name])
    now = 1_700_000_000 * 10**9
    for target in (neighbour, everyone):
        asked = p.udp_packet(p.address(own), p.address(target), 5000, port, b"?")
        assert engine.decide(asked, hook="OUTPUT", oif="eth1", now=now).state == "NEW"
        masters = {one.index: one for one in engine.connections()}
        lines = [expectation_line(one, masters.get(one.master)) for one in engine.expectations()]
        assert [parse_expectation(line)[1]._replace(timeout=0) for line in lines] == [
            one._replace(timeout=0) for one in kernel[target]
        ]
    (lives,) = (int(str(one).split()[4]) for one in engine.connections() if everyone in str(one))
    assert 0 <= lives - age <= 2
    for source, state in (("10.9.7.7", "RELATED"), ("10.9.16.7", "NEW"), ("10.9.8.1", "RELATED")):
        answer = p.udp_packet(p.address(source), p.address(own), port, 5000, b"!")
        assert engine.decide(answer, hook="INPUT", iif="eth1", now=now).state == state
    flow = FakeFlow(helper, Ends(p.address(own), p.address(everyone), 5000, port, p.UDP))
    helper.on_payload(memoryview(b"?"), flow)
    assert flow.waiting == []
    flow.broadcast_mask = p.address("255.255.240.0")
    helper.on_payload(memoryview(b"?"), flow)
    assert kernel[neighbour] == []
    assert [one._replace(timeout=0) for one in kernel[everyone]] == [one._replace(timeout=0) for one in flow.waiting]
    assert flow.lives is not None
    assert 0 <= flow.lives - age <= 2
