"""Where the engine meets Python: when a helper is called, what it is told, and what it cannot break."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import DROP, Helper

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")


class Listener(Helper):
    """Writes down what it is told, and does what it is given to do."""

    name = "listener"
    ports = ((17, 999), (6, 999))

    def __init__(self, act: Callable[[bytes, Any], Any] = lambda payload, flow: None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.act = act
        self.kept: list[Any] = []

    def on_payload(self, payload: memoryview, flow: Any) -> Any:
        self.heard.append(
            (bytes(payload), flow.direction, flow.family, flow.protocol, flow.source_port, flow.destination_port)
        )
        self.kept += [payload, flow]
        return self.act(bytes(payload), flow)


def engine_with(helper: Helper, **settings: int) -> fastfw.Engine:
    return fastfw.Engine(helpers=[helper], settings=settings)


def question(text: bytes = b"hello", sport: int = 5000, dport: int = 999) -> bytes:
    return p.udp_packet(A, B, sport, dport, text)


def test_payload_of_both_directions() -> None:
    """A helper hears the datagrams of its connection, whoever sends them, empty ones too, and no other's."""
    helper = Listener()
    engine = engine_with(helper)
    engine.decide(question(), now=SECOND)
    engine.decide(p.udp_packet(B, A, 999, 5000, b"answer"), now=SECOND)
    engine.decide(question(b""), now=SECOND)
    engine.decide(question(dport=998), now=SECOND)
    assert helper.heard == [
        (b"hello", 0, 4, 17, 5000, 999),
        (b"answer", 1, 4, 17, 999, 5000),
        (b"", 0, 4, 17, 5000, 999),
    ]


def test_tcp_payload_behind_options() -> None:
    """TCP's payload begins behind its options; its sequence number is told."""
    numbers = []
    helper = Listener(lambda payload, flow: numbers.append((flow.sequence, flow.established)))
    engine = engine_with(helper)
    for end, flags, seq, ack, payload in (
        (0, p.SYN, 9, 0, b""),
        (1, p.SYN | p.ACK, 5, 10, b""),
        (0, p.ACK, 10, 6, b"x"),
    ):
        one, two = ((A6, 5000), (B6, 999)) if end == 0 else ((B6, 999), (A6, 5000))
        packet = p.tcp_packet(
            one[0], two[0], one[1], two[1], flags, seq, ack, options=p.timestamps(1, 2), payload=payload
        )
        engine.decide(packet, now=SECOND)
    assert helper.heard == [(b"x", 0, 6, 6, 5000, 999)]
    assert numbers == [(10, True)]


def test_cut_packets_are_not_read() -> None:
    """Of a packet that the capture cut there is no payload to read: the helper is not called."""
    helper = Listener()
    engine = engine_with(helper)
    packet = question(b"hello")
    engine.process(packet[:-1], [0], [len(packet) - 1], [SECOND], wire_length=[len(packet)])
    assert helper.heard == []
    assert engine.conntrack_count == 1


def test_invalid_packets_are_not_read() -> None:
    """What belongs to no connection reaches no helper."""
    helper = Listener()
    engine = engine_with(helper)
    engine.decide(p.ip(A, B, p.UDP, p.udp(A, B, 5000, 999, b"x", datagram_checksum=1)), now=SECOND)
    engine.decide(p.tcp_packet(A, B, 5000, 999, p.FIN, payload=b"x"), now=SECOND)
    assert helper.heard == []


def test_dropped_packets_end_what_they_began() -> None:
    """A packet the helper refuses is dropped with a reason; a connection it began is forgotten, an older one stays."""
    helper = Listener(lambda payload, flow: DROP if payload == b"bad" else None)
    engine = engine_with(helper)
    d = engine.decide(question(b"bad"), now=SECOND)
    assert (d.verdict, d.reason, engine.conntrack_count) == ("DROP", "helper_drop", 0)
    engine.decide(question(b"good"), now=SECOND)
    assert engine.decide(question(b"bad"), now=SECOND).verdict == "DROP"
    assert engine.conntrack_count == 1


def test_an_exception_detaches(caplog: pytest.LogCaptureFixture) -> None:
    """A helper that fails is detached from that connection, with one line in the log; the packet and others go on."""

    def fail(payload: bytes, flow: Any) -> None:
        if payload == b"fail":
            raise RuntimeError("on purpose")

    helper = Listener(fail)
    engine = engine_with(helper)
    engine.decide(question(b"fine"), now=SECOND)
    with caplog.at_level(logging.ERROR):
        assert engine.decide(question(b"fail"), now=SECOND).verdict == "ACCEPT"
    assert [record.name for record in caplog.records] == ["fastfw.helpers"]
    assert "listener failed" in caplog.text
    engine.decide(question(b"unheard"), now=SECOND)
    engine.decide(question(b"heard", sport=5001), now=SECOND)
    assert [heard[0] for heard in helper.heard] == [b"fine", b"fail", b"heard"]
    assert {each.source_port: each.helper for each in engine.connections()} == {5000: "", 5001: "listener"}


def test_memory_lives_as_long_as_the_connection() -> None:
    """What a helper notes of a connection is there for its next packet, and gone for the next connection."""
    counts = []

    def count(payload: bytes, flow: Any) -> None:
        flow.memory["n"] = flow.memory.get("n", 0) + 1
        counts.append((flow.source_port, flow.memory["n"]))

    engine = engine_with(Listener(count))
    for sport in (1, 2, 1, 1, 2):
        engine.decide(question(sport=sport), now=SECOND)
    engine.decide(question(sport=1), now=100 * SECOND)
    assert counts == [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (1, 1)]


def test_memory_does_not_pile_up() -> None:
    """The notes on connections that are over are thrown away in time."""
    dead = []

    class Note:
        def __del__(self) -> None:
            dead.append(1)

    helper = Listener(lambda payload, flow: flow.memory.update(note=Note()))
    engine = engine_with(helper, nf_conntrack_max=5000)
    for number in range(20_000):
        engine.decide(question(sport=number % 60_000 + 1), now=SECOND * (1 + number // 100))
        helper.kept.clear()
    assert engine.conntrack_count < 5000
    assert len(dead) > 10_000


def test_nothing_outlives_the_call() -> None:
    """Flow and payload are of no use after the call: both refuse instead of reading what is no longer theirs."""
    helper = Listener()
    engine = engine_with(helper)
    engine.decide(question(), now=SECOND)
    payload, flow = helper.kept
    with pytest.raises(ValueError, match="released"):
        bytes(payload)
    for name in ("direction", "source", "sequence", "destination_port"):
        with pytest.raises(RuntimeError, match="during on_payload"):
            getattr(flow, name)
    with pytest.raises(RuntimeError, match="during on_payload"):
        flow.expect(destination=A, port=1)


def test_addresses_of_the_wrong_size() -> None:
    """An expectation's address must be of the packet's family; the helper's mistake harms nobody."""
    errors = []

    def wrong(payload: bytes, flow: Any) -> None:
        for address in (b"", A6, A + b"\0"):
            with pytest.raises(ValueError, match="addresses of 4 bytes"):
                flow.expect(destination=address, port=1)
            errors.append(address)
        with pytest.raises(ValueError, match="no helper is called"):
            flow.expect(destination=A, port=1, helper="nobody")
        with pytest.raises(ValueError, match="a source mask goes with an IPv4 source"):
            flow.expect(destination=A, port=1, source_mask=A)
        with pytest.raises(ValueError, match="hold: at most the payload of a stream"):
            flow.hold(1)

    engine = engine_with(Listener(wrong))
    assert engine.decide(question(), now=SECOND).verdict == "ACCEPT"
    assert len(errors) == 3
    assert [each.helper for each in engine.connections()] == ["listener"]


def test_a_helper_may_use_its_engine() -> None:
    """A helper that asks its own engine for a decision, the table or a setting gets it and breaks nothing."""
    engine: fastfw.Engine

    def meddle(payload: bytes, flow: Any) -> None:
        assert engine.decide(p.udp_packet(A, B, 1, 2), now=SECOND).verdict == "ACCEPT"
        assert len(list(engine.connections())) == engine.conntrack_count
        engine.settings["nf_conntrack_max"] = engine.settings["nf_conntrack_max"] * 4 + 50_000
        engine.expire(SECOND)
        if payload == b"fail":
            raise RuntimeError("on purpose")

    engine = engine_with(Listener(meddle), nf_conntrack_max=10)
    data = [question(b"fail" if number & 1 else b"x", sport=number) for number in range(1, 6)]
    length = np.array([len(each) for each in data], np.uint32)
    out = engine.process(b"".join(data), np.cumsum(length, dtype=np.uint64) - length, length, np.full(5, SECOND))
    assert (out["state"] == 1).all()
    assert engine.conntrack_count == 6
    helped = {each.source_port for each in engine.connections() if each.helper}
    assert helped == {2, 4}


@pytest.mark.parametrize("verdict", [None, DROP], ids=["accepts", "drops"])
def test_a_helper_may_end_its_connection(verdict: object, caplog: pytest.LogCaptureFixture) -> None:
    """A helper that flushes the table, and then accepts, drops or fails, leaves a sound and empty table."""
    engine: fastfw.Engine

    def flush(payload: bytes, flow: Any) -> object:
        engine.flush()
        if payload == b"fail":
            raise RuntimeError("on purpose")
        return verdict

    engine = engine_with(Listener(flush), nf_conntrack_max=10)
    for number in range(1, 30):
        engine.decide(question(b"fail" if number % 3 == 0 else b"x", sport=number), now=SECOND)
        assert engine.conntrack_count == 0
        assert engine._table_statistics()["fullest"] == 0
    for number in range(1, 11):
        engine.decide(question(dport=1, sport=number), now=SECOND)
    assert engine.conntrack_count == 10
    assert len(list(engine.connections())) == 10


def test_a_helper_of_an_announced_tunnel() -> None:
    """What has no ports is read from its transport's header on."""
    tunnel = p.gre(1)

    def announce(payload: bytes, flow: Any) -> None:
        if flow.protocol == p.UDP:
            flow.expect(protocol=p.GRE, source=A, source_port=None, destination=B, port=0, helper="listener")

    helper = Listener(announce)
    engine = engine_with(helper)
    assert engine.decide(question(), now=SECOND).state == "NEW"
    assert engine.decide(p.ip(A, B, p.GRE, tunnel), now=SECOND).state == "RELATED"
    assert [(heard[0], heard[3]) for heard in helper.heard] == [(b"hello", p.UDP), (tunnel, p.GRE)]


def test_no_more_helpers_than_numbers() -> None:
    """An engine carries 255 helpers; the next is refused, and those it has go on."""
    engine = fastfw.Engine()
    helpers = [Listener() for _ in range(255)]
    for helper in helpers:
        engine.attach(helper)
    with pytest.raises(ValueError, match="at most 255 helpers"):
        engine.attach(Listener())
    engine.attach(helpers[0])
    engine.decide(question(), now=SECOND)
    assert [len(helper.heard) for helper in helpers] == [1] + [0] * 254


def test_ports_beside_its_own() -> None:
    """A helper is attached to the ports it is given, and to no other."""
    helper = Listener()
    engine = fastfw.Engine()
    engine.attach(fastfw.helpers.Spec(helper, ((17, 5),)))
    engine.decide(question(dport=5), now=SECOND)
    engine.decide(question(dport=999), now=SECOND)
    engine.decide(p.tcp_packet(A, B, 1, 5, p.SYN, payload=b"x"), now=SECOND)
    assert [heard[5] for heard in helper.heard] == [5]
