"""A crowded table is thinned out before it is full, and connections of a fixed time are left to it."""

from __future__ import annotations

import dataclasses

from fastfw import Engine, Ruleset, TimeoutPolicy
from fastfw.core.terms import Status
from traffic.packets import ACK, FIN, SYN, address, tcp_packet, udp_packet

SECOND = 10**9
NOW = 10**18
A, B = address("10.0.0.1"), address("10.0.0.2")


def fill(engine: Engine, count: int, *, closing: bool = False) -> None:
    """Connections that are ASSURED, or those that are and have begun to close."""
    for port in range(1, count + 1):
        engine.decide(tcp_packet(A, B, port, 80, SYN, 1), now=NOW)
        engine.decide(tcp_packet(B, A, 80, port, SYN | ACK, 1, 2), now=NOW)
        engine.decide(tcp_packet(A, B, port, 80, ACK, 2, 2), now=NOW)
        if closing:
            engine.decide(tcp_packet(A, B, port, 80, FIN | ACK, 2, 2), now=NOW)


def test_above_the_mark_what_nobody_answered_is_collected() -> None:
    """Of a table above 95 % of its ceiling for more than a second, unanswered connections go, down to the mark; nothing
    goes before, and of ASSURED ones nothing at all."""
    engine = Engine(settings={"nf_conntrack_max": 1000})
    fill(engine, 900)
    for port in range(90):
        engine.decide(udp_packet(A, B, 5000 + port, 53), now=NOW)
    assert engine.conntrack_count == 990
    engine.expire(NOW + SECOND // 2)
    assert engine.conntrack_count == 990
    engine.expire(NOW + 2 * SECOND)
    assert engine.conntrack_count == 949
    assert engine.counters["early_drop"] == 41
    assert sum(connection.assured for connection in engine.connections()) == 900


def test_above_the_mark_closing_connections_are_collected() -> None:
    """Connections that are about to end go as those nobody answered do; live ones stay."""
    engine = Engine(settings={"nf_conntrack_max": 1000})
    fill(engine, 980, closing=True)
    engine.expire(NOW + 2 * SECOND)
    assert engine.conntrack_count == 949
    live = Engine(settings={"nf_conntrack_max": 1000})
    fill(live, 980)
    live.expire(NOW + 2 * SECOND)
    assert live.conntrack_count == 980


def test_a_fixed_time_runs_out_whatever_comes() -> None:
    """Packets do not lengthen the time of a connection whose status says that it is fixed."""
    engine = Engine()
    engine.decide(udp_packet(A, B, 1, 2), now=NOW)
    (one,) = engine.connections()
    engine.flush()
    assert engine.insert(dataclasses.replace(one, status=one.status | Status.STATUS_FIXED_TIMEOUT, timeout=20))
    for second in (5, 10, 15):
        engine.decide(udp_packet(A, B, 1, 2), now=NOW + second * SECOND)
    assert [connection.timeout for connection in engine.connections()] == [5]
    engine.expire(NOW + 21 * SECOND)
    assert engine.conntrack_count == 0


def test_a_policy_outlasts_a_change_of_the_settings() -> None:
    """A policy's timeouts are its own; switches that are none follow the settings."""
    rules = Ruleset.parse("*raw\n-A PREROUTING -p udp -j CT --timeout slow\nCOMMIT\n")
    engine = Engine(rules4=rules, timeouts={"slow": TimeoutPolicy("udp", {"unreplied": 7})})
    engine.settings["nf_conntrack_udp_timeout"] = 99
    engine.settings["nf_conntrack_udp_timeout_stream"] = 98
    engine.decide(udp_packet(A, B, 1, 2), now=NOW)
    engine.decide(udp_packet(B, A, 2, 1), now=NOW + SECOND)
    engine.decide(udp_packet(A, B, 1, 2), now=NOW + 3 * SECOND)
    assert [connection.timeout for connection in engine.connections()] == [120]
