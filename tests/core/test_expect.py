"""Expectations: who may meet one, how many there may be, and when they end."""

from __future__ import annotations

import json
from random import Random

import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import Helper

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}
THIRD = {4: p.address("10.3.0.1"), 6: p.address("fd00:3::1")}
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
PORT = 999


class Obedient(Helper):
    """Expects what a datagram tells it to, as JSON; addresses are `client` and `server`."""

    name = "obedient"
    ports = ((17, PORT),)
    limit = 3
    timeout = 60

    def __init__(self) -> None:
        self.said: list[bool] = []

    def on_payload(self, payload: memoryview, flow: object) -> None:
        wanted = json.loads(bytes(payload))
        for name in ("source", "destination"):
            if name in wanted:
                wanted[name] = bytes.fromhex(wanted[name])
        self.said.append(flow.expect(**wanted))  # type: ignore[attr-defined]


class Talk:
    """One engine with an obedient helper, and its clock."""

    def __init__(self, family: int = 4, **settings: int) -> None:
        self.family, self.now = family, 1000 * SECOND
        self.helper = Obedient()
        self.engine = fastfw.Engine(settings=settings, helpers=[self.helper])

    def order(self, sport: int = 5000, **wanted: object) -> bool:
        """Have the helper of the master connection from `sport` expect something; whether it may."""
        client, server = ENDS[self.family]
        wanted = {"destination": client.hex(), "port": 7000, "protocol": 17, **wanted}
        text = json.dumps({key: each.hex() if isinstance(each, bytes) else each for key, each in wanted.items()})
        self.engine.decide(p.udp_packet(client, server, sport, PORT, text.encode()), now=self.now)
        return self.helper.said.pop()

    def arrive(self, source: bytes | None = None, sport: int = 6000, dport: int = 7000, **_: object) -> fastfw.Decision:
        """A datagram from the server, or another, to the client."""
        client, server = ENDS[self.family]
        return self.engine.decide(p.udp_packet(source or server, client, sport, dport), now=self.now)


@FAMILIES
def test_the_expected_is_related(family: int) -> None:
    """A connection that was announced is RELATED and EXPECTED, once; its answer is ESTABLISHED; the next is NEW."""
    talk = Talk(family)
    assert talk.order()
    first = talk.arrive()
    assert (first.state, first.expected) == ("RELATED", True)
    again = talk.arrive()
    assert (again.state, again.expected) == ("RELATED", True)
    client, server = ENDS[family]
    back = talk.engine.decide(p.udp_packet(client, server, 7000, 6000), now=talk.now)
    assert (back.state, back.expected) == ("ESTABLISHED", True)
    assert talk.arrive(sport=6001).state == "NEW"


@FAMILIES
def test_any_source_or_one(family: int) -> None:
    """Without a source anybody may come, with one only that host and port."""
    _, server = ENDS[family]
    talk = Talk(family)
    talk.order()
    assert talk.arrive(THIRD[family]).state == "RELATED"
    talk.order(port=7001, source=server, source_port=6000)
    assert talk.arrive(THIRD[family], dport=7001).state == "NEW"
    assert talk.arrive(server, sport=6001, dport=7001).state == "NEW"
    assert talk.arrive(server, dport=7001).state == "RELATED"


@FAMILIES
def test_destination_port_and_protocol_count(family: int) -> None:
    """Another port, protocol or destination is not the one announced."""
    client, server = ENDS[family]
    talk = Talk(family)
    talk.order()
    assert talk.arrive(dport=7001).state == "NEW"
    assert talk.engine.decide(p.tcp_packet(server, client, 6000, 7000, p.SYN), now=talk.now).state == "NEW"
    assert talk.engine.decide(p.udp_packet(client, THIRD[family], 6000, 7000), now=talk.now).state == "NEW"
    assert talk.arrive().state == "RELATED"


def test_permanent_serves_many() -> None:
    """A permanent expectation is met by any number of connections."""
    talk = Talk()
    talk.order(permanent=True)
    for sport in range(6000, 6010):
        assert talk.arrive(sport=sport).state == "RELATED"


def test_time_is_up() -> None:
    """An expectation ends when its own time or the helper's is up."""
    for given, lasts in ((None, 60), (5, 5)):
        talk = Talk(nf_conntrack_udp_timeout=1000)
        talk.order(timeout=given)
        talk.now += lasts * SECOND - 1
        assert talk.arrive().state == "RELATED"
        talk.order(timeout=given)
        talk.now += lasts * SECOND
        assert talk.arrive(sport=6001).state == "NEW"


def test_ends_with_its_master() -> None:
    """When the connection that announced it ends, nobody is expected any more."""
    talk = Talk()
    talk.order(timeout=600)
    talk.now += 31 * SECOND
    talk.engine.expire(talk.now)
    assert talk.arrive().state == "NEW"


def test_flush_ends_all() -> None:
    """A flush forgets expectations too."""
    talk = Talk()
    talk.order()
    talk.engine.flush()
    assert talk.arrive().state == "NEW"


def test_oldest_gives_way() -> None:
    """Beyond the helper's limit for one connection the oldest expectation makes room."""
    talk = Talk()
    for port in range(7000, 7004):
        assert talk.order(port=port)
    assert talk.arrive(dport=7000).state == "NEW"
    for port in range(7001, 7004):
        assert talk.arrive(dport=port).state == "RELATED"


def test_limit_is_of_one_connection() -> None:
    """Each connection has its own limit."""
    talk = Talk()
    for sport in (5000, 5001):
        for port in range(3):
            assert talk.order(sport, port=sport * 3 + port)
    for sport in (5000, 5001):
        for port in range(3):
            assert talk.arrive(dport=sport * 3 + port).state == "RELATED"


def test_renewed_by_its_own() -> None:
    """The same announced again by the same connection begins its time anew and counts once."""
    talk = Talk(nf_conntrack_udp_timeout=1000)
    talk.order(timeout=10)
    talk.now += 9 * SECOND
    assert talk.order(timeout=10)
    talk.now += 9 * SECOND
    assert talk.arrive().state == "RELATED"
    assert talk.arrive(sport=6001).state == "NEW"


def test_clash_with_anothers() -> None:
    """What another connection waits for already cannot be announced again; what is told apart by a fixed source can."""
    _, server = ENDS[4]
    talk = Talk()
    assert talk.order(5000)
    assert not talk.order(5001)
    assert not talk.order(5001, source=server)
    talk = Talk()
    assert talk.order(5000, source=server, source_port=1)
    assert talk.order(5001, source=server, source_port=2)
    assert talk.order(5002, source=THIRD[4], source_port=1)
    assert not talk.order(5003, source=server)


def test_shared_with_anothers() -> None:
    """What may be shared is not announced again while another connection waits for the same, whatever else is waited
    for at that end."""
    _, server = ENDS[4]
    talk = Talk()
    assert talk.order(5000, source=server, source_port=1)
    assert talk.order(5001, source=server, source_port=2)
    assert not talk.order(5002, source=server, source_port=1)
    assert talk.order(5002, source=server, source_port=1, shared=True)
    assert len(list(talk.engine.expectations())) == 2
    assert talk.order(5002, source=server, source_port=3, shared=True)
    assert len(list(talk.engine.expectations())) == 3


def test_expect_max() -> None:
    """No more than nf_conntrack_expect_max wait at once."""
    talk = Talk(nf_conntrack_expect_max=2)
    assert talk.order(5000, port=7000)
    assert talk.order(5001, port=7001)
    assert not talk.order(5002, port=7002)
    assert talk.arrive(dport=7000).state == "RELATED"
    assert talk.order(5002, port=7002)


def test_many_wait() -> None:
    """Hundreds of expectations are each met by the one they are for."""
    talk = Talk()
    for number in range(300):
        assert talk.order(number + 1000, port=number + 10_000)
    for number in reversed(range(300)):
        assert talk.arrive(dport=number + 10_000).state == "RELATED"
    assert talk.arrive(dport=10_300).state == "NEW"


def test_child_takes_its_masters_mark_and_helper() -> None:
    """A connection announced with a helper carries it: it may announce in its turn."""
    talk = Talk()
    talk.order(helper="obedient")
    client, server = ENDS[4]
    text = json.dumps({"destination": client.hex(), "port": 8000, "protocol": 17}).encode()
    talk.engine.decide(p.udp_packet(server, client, 6000, 7000, text), now=talk.now)
    assert talk.arrive(dport=8000).state == "RELATED"


def test_existing_connection_is_not_expected() -> None:
    """A connection that was there before its announcement stays what it is."""
    talk = Talk()
    assert talk.arrive().state == "NEW"
    talk.order()
    assert talk.arrive().state == "NEW"
    assert talk.arrive(sport=6001).state == "RELATED"


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_events(seed: int) -> None:
    """Announced, met, run out and given way in any order, those wait whom a plain list of them says wait."""
    print(f"FASTFW_SEED={seed}")
    random = Random(seed)
    talk = Talk(nf_conntrack_udp_timeout=100_000, nf_conntrack_udp_timeout_stream=100_000, nf_conntrack_expect_max=40)
    waiting: list[tuple[int, int, int]] = []  # port, master's port, when its time is up; the oldest first
    met = 0
    for _ in range(3_000):
        talk.now += random.randrange(3) * SECOND
        waiting = [each for each in waiting if each[2] > talk.now]
        port, master = 10_000 + random.randrange(200), 5000 + random.randrange(20)
        if random.random() < 0.7:
            clash = any(each[0] == port and each[1] != master for each in waiting)
            if not clash:
                waiting = [each for each in waiting if each[0] != port]
                own = [each for each in waiting if each[1] == master]
                if len(own) >= Obedient.limit:
                    waiting.remove(own[0])
            fits = not clash and len(waiting) < 40
            assert talk.order(master, port=port, timeout=60) == fits
            if fits:
                waiting.append((port, master, talk.now + 60 * SECOND))
        else:
            expected = [each for each in waiting if each[0] == port]
            sport = 10_000 + met
            met += 1
            assert (talk.arrive(sport=sport, dport=port).state == "RELATED") == bool(expected)
            waiting = [each for each in waiting if each not in expected]
    assert len(list(talk.engine.expectations())) == len(waiting)
