"""PPTP's tunnels against the kernel's: which GRE packets belong to a call, and what becomes of them when it ends."""

from __future__ import annotations

from random import Random

import pytest
from tests.kernel.compare import Setup, compare, report
from tests.kernel.oracle import Oracle
from tests.traffic import packets as p

from .kernel import Ends, attach, missing, packets
from .pptp_talk import disconnected, out_reply, out_request, start_reply, start_request

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

CLIENT, SERVER = p.address("10.1.0.1"), p.address("10.2.0.1")
HERS, HIS = 5, 7
"""Call numbers: packets to the client carry hers, packets to the server his."""


def tunnel(to_server: bool, call: int) -> bytes:
    source, destination = (CLIENT, SERVER) if to_server else (SERVER, CLIENT)
    return p.ip(source, destination, p.GRE, p.gre(call, b"ppp", version=1, protocol=0x880B))


def control(*, ended: bool) -> list[bytes]:
    """The control connection of one call, set up and perhaps ended."""
    talk = [start_request(), start_reply(), out_request(HERS), out_reply(HIS, HERS)]
    return packets(talk + [disconnected(HIS)] * ended, Ends(CLIENT, SERVER, 40000, 1723))


def agree(wire: list[bytes]) -> None:
    setup = Setup(helpers=(("pptp", "tcp", 1723),))
    with Oracle() as oracle:
        attach(oracle, "pptp", p.TCP, 1723, 4)
        found = compare(setup, oracle, wire)
    assert not found.differences, report(found)


@pytest.mark.parametrize("first", [True, False])
def test_a_tunnel_is_one_related_connection(first: bool) -> None:
    """Whichever way its first packet goes, both ways of a call are one connection, RELATED to the control one."""
    calls = {True: HIS, False: HERS}
    ways = [first, not first, first, not first]
    agree(control(ended=False) + [tunnel(way, calls[way]) for way in ways])


def test_other_calls_are_strangers() -> None:
    """Packets of calls nobody announced, in either direction, are connections of their own."""
    calls = [(True, HERS), (False, HIS), (True, 9), (False, 9), (True, HIS), (False, HERS), (True, 0), (True, HIS)]
    agree(control(ended=False) + [tunnel(*call) for call in calls])


def test_the_end_of_the_call_ends_the_tunnel() -> None:
    """After the control connection ended the call its packets belong to nothing any more."""
    before = [*control(ended=False), tunnel(True, HIS), tunnel(False, HERS)]
    agree([*before, *control(ended=True)[-1:], tunnel(True, HIS), tunnel(False, HERS)])
    agree([*control(ended=True), tunnel(True, HIS), tunnel(False, HERS)])


def test_an_error_about_a_tunnel_is_related() -> None:
    """An ICMP error that quotes a call's packet finds the connection by both keys."""
    inside = tunnel(True, HIS)
    agree([*control(ended=False), inside, p.icmp_packet(SERVER, CLIENT, 3, 2, payload=inside)])


def test_any_order(seed: int) -> None:
    """Calls, strangers and the end of the call, mixed."""
    random = Random(seed)
    for _ in range(5):
        wire = control(ended=False)
        for _ in range(30):
            wire.append(tunnel(random.random() < 0.5, random.choice((HERS, HIS, HERS, HIS, 9))))
        wire.insert(random.randrange(len(wire) - 20, len(wire)), control(ended=True)[-1])
        agree(wire)
