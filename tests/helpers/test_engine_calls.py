"""When the engine enters a helper, with what, and what it makes of the answer."""

from __future__ import annotations

import logging

import pytest
from tests.traffic import packets as p

from fastfw import Engine, Ruleset
from fastfw.helpers import DROP, TCP, UDP, Flow, Helper, Spec, Verdict, find, known
from fastfw.helpers.base import Awaited

CLIENT, SERVER = p.address("10.0.0.1"), p.address("10.0.0.2")


class Listener(Helper):
    """Keeps what it is given, and does as a test tells it."""

    name = "listener"
    ports = ((TCP, 7000), (UDP, 7000))
    limit = 0

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.answer: object = lambda flow: None

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        self.heard.append(bytes(payload))
        return self.answer(flow)  # type: ignore[operator, no-any-return]


class Prefixed(Listener):
    prefixes = (b"Open ", b"close")


class Containing(Listener):
    contains = b"=PORT="


def udp(payload: bytes, reply: bool = False, port: int = 7000) -> bytes:
    return (
        p.udp_packet(SERVER, CLIENT, port, 4000, payload)
        if reply
        else p.udp_packet(CLIENT, SERVER, 4000, port, payload)
    )


def test_only_payload_of_interest_enters_python() -> None:
    """A prefix counts in either case and at the beginning only; contents anywhere and as they are."""
    said = [b"open x", b"OPEN y", b"CLOSE", b"clos", b" open x", b"ope", b"", b"a=PORT=", b"=port=", b"=PORT"]
    for helper, heard in (
        (Prefixed(), [b"open x", b"OPEN y", b"CLOSE"]),
        (Containing(), [b"a=PORT="]),
        (Listener(), said),
    ):
        engine = Engine(helpers=[helper])
        for payload in said:
            assert engine.decide(udp(payload)).verdict == "ACCEPT"
        assert helper.heard == heard


class Answering(Listener):
    directions = (1,)


def test_only_directions_of_interest_enter_python() -> None:
    """A helper that reads replies alone is shown no request, over UDP or TCP."""
    helper = Answering()
    engine = Engine(helpers=[helper])
    for said, reply in ((b"1", False), (b"2", True), (b"3", False), (b"4", True)):
        engine.decide(udp(said, reply))
    assert helper.heard == [b"2", b"4"]


def test_more_prefixes_than_an_engine_takes_are_refused() -> None:
    """Nine prefixes are an error when the engine is made, not a surprise later."""

    class Many(Listener):
        prefixes = tuple(bytes([letter]) for letter in b"abcdefghi")

    with pytest.raises(ValueError, match="at most 8 patterns"):
        Engine(helpers=[Many()])


def test_what_a_helper_drops_leaves_no_connection() -> None:
    """DROP on the first packet forgets the connection; on a later one only that packet is lost."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    helper.answer = lambda flow: DROP
    assert engine.decide(udp(b"1")).verdict == "DROP"
    assert engine.conntrack_count == 0
    helper.answer = lambda flow: None
    assert engine.decide(udp(b"2")).verdict == "ACCEPT"
    helper.answer = lambda flow: DROP
    assert engine.decide(udp(b"3")).verdict == "DROP"
    assert engine.conntrack_count == 1


def test_expectations_can_be_listed_refreshed_and_taken_back() -> None:
    """A flow lists its own by class, the oldest first; what it takes back is not RELATED when it comes."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    seen: list[list[Awaited]] = []

    def announce(flow: Flow) -> None:
        for port, class_ in ((9001, 0), (9002, 1), (9003, 0)):
            assert flow.expect(protocol=UDP, source=SERVER, destination=CLIENT, port=port, class_=class_)
        seen.append(flow.awaiting(0))
        flow.cancel(protocol=UDP, source=SERVER, source_port=None, destination=CLIENT, port=9001)
        seen.append(flow.awaiting(0))
        assert not flow.expected

    helper.answer = announce
    engine.decide(udp(b"x"))
    assert [[one.port for one in each] for each in seen] == [[9001, 9003], [9003]]
    assert seen[1] == [Awaited(UDP, SERVER, None, CLIENT, 9003)]
    for port, state in ((9001, "NEW"), (9002, "RELATED"), (9003, "RELATED")):
        assert engine.decide(p.udp_packet(SERVER, CLIENT, 5, port, b"data")).state == state


def test_an_inactive_expectation_is_met_once_it_is_active() -> None:
    """Kept, but nothing meets it until it is expected again without."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    common = {"protocol": UDP, "source": SERVER, "destination": CLIENT, "port": 9001, "permanent": True}
    helper.answer = lambda flow: None if flow.expect(**common, inactive=True) else DROP
    engine.decide(udp(b"x"))
    assert engine.decide(p.udp_packet(SERVER, CLIENT, 5, 9001, b"")).state == "NEW"
    helper.answer = lambda flow: None if flow.expect(**common) else DROP
    engine.decide(udp(b"y"))
    for source_port in (6, 7):
        assert engine.decide(p.udp_packet(SERVER, CLIENT, source_port, 9001, b"")).state == "RELATED"


def test_a_masked_source_admits_its_network() -> None:
    """Any host of the network meets it, from the one port; none beside the network does."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    network, mask = p.address("10.0.15.255"), p.address("255.255.240.0")
    helper.answer = lambda flow: (
        None
        if flow.expect(
            protocol=UDP, source=network, source_mask=mask, source_port=137, destination=CLIENT, port=9, permanent=True
        )
        else DROP
    )
    engine.decide(udp(b"x"))
    for text, port, state in (("10.0.3.4", 137, "RELATED"), ("10.0.3.4", 138, "NEW"), ("10.0.16.1", 137, "NEW")):
        assert engine.decide(p.udp_packet(p.address(text), CLIENT, port, 9, b"")).state == state


def test_shared_expectations_do_not_clash() -> None:
    """What another connection already waits for is refused, unless sharing it will do."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    common = {"protocol": UDP, "source": SERVER, "destination": CLIENT, "port": 9001}
    said: list[bool] = []
    helper.answer = lambda flow: said.append(flow.expect(**common))
    engine.decide(udp(b"x"))
    engine.decide(p.udp_packet(CLIENT, SERVER, 4001, 7000, b"x"))
    helper.answer = lambda flow: said.append(flow.expect(**common, shared=True))
    engine.decide(p.udp_packet(CLIENT, SERVER, 4002, 7000, b"x"))
    assert said == [True, False, True]


def test_refresh_lengthens_the_connections_life() -> None:
    """The controlling connection lives as long as its helper says."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    helper.answer = lambda flow: flow.refresh(3600)
    engine.decide(udp(b"x"), now=0)
    (connection,) = engine.connections()
    assert connection.timeout == 3600


def test_a_failing_helper_is_detached_and_the_packet_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """One traceback, and the connection carries the helper no longer."""
    helper = Listener()
    engine = Engine(helpers=[helper])
    helper.answer = lambda flow: 1 // 0
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert engine.decide(udp(b"x")).verdict == "ACCEPT"
    assert len(helper.heard) == 1
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_helper_brings_those_its_connections_will_carry() -> None:
    """A helper that has no port of its own comes with the one that hands connections to it."""
    engine = Engine(helpers=["RAS"])
    assert {"RAS", "Q.931", "H.245"} <= set(engine.helper_names())


def test_helpers_attach_by_themselves_where_the_setting_says_so() -> None:
    """nf_conntrack_helper gives connections that begin while it is 1 the kernel's helper of their port, and no other;
    where one was asked for, before or since, that one stays, and goes when it is 0 again."""
    engine = Engine(settings={"nf_conntrack_helper": 1}, helpers=[Spec(Listener(), ((UDP, 10080),))])
    ports = iter(range(20_000, 30_000))

    def helper_of(port: int, protocol: int = UDP) -> str:
        number = next(ports)
        said = (CLIENT, SERVER, number, port)
        engine.decide(p.udp_packet(*said, b"") if protocol == UDP else p.tcp_packet(*said, p.SYN, 1))
        return next(one.helper for one in engine.connections() if one.source_port == number)

    kernels = {name: find(name).ports for name in known() if name != "rtsp"}
    for name, served in kernels.items():
        for protocol, port in served:
            assert helper_of(port, protocol) == ("listener" if name == "amanda" else name)
    assert helper_of(70) == helper_of(554, TCP) == helper_of(21, UDP) == ""
    engine.attach(Spec(Listener(), ((UDP, 69),)))
    assert helper_of(69) == "listener"
    engine.settings["nf_conntrack_helper"] = 0
    assert [helper_of(10080), helper_of(69), helper_of(21, TCP), helper_of(5060)] == ["listener", "listener", "", ""]
    engine.settings["nf_conntrack_helper"] = 1
    assert [helper_of(10080), helper_of(69), helper_of(21, TCP), helper_of(5060)] == [
        "listener", "listener", "ftp", "sip",
    ]  # fmt: skip


def test_a_rule_says_more_than_the_setting() -> None:
    """With nf_conntrack_helper a rule's own helper is the connection's; one that names none leaves it the port's."""
    rules = "*raw\n-A PREROUTING -p udp --sport 1 -j CT --helper amanda\n-A PREROUTING -j CT --zone 3\nCOMMIT\n"
    engine = Engine(Ruleset.parse(rules), settings={"nf_conntrack_helper": 1})
    for port, name in ((1, "amanda"), (2, "tftp")):
        engine.decide(p.udp_packet(CLIENT, SERVER, port, 69, b""))
        assert [one.helper for one in engine.connections() if one.source_port == port] == [name]


def test_without_the_setting_none_attaches() -> None:
    """As in today's kernels."""
    engine = Engine()
    engine.decide(p.tcp_packet(CLIENT, SERVER, 1, 21, p.SYN, 1))
    assert [one.helper for one in engine.connections()] == [""]
    assert engine.helper_names() == [""]
