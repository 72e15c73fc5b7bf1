"""A clock that jumps, as one that is set or a machine that slept makes it."""

from __future__ import annotations

import numpy as np
from tests.attacks import crowd
from tests.attacks.crowd import SECOND
from tests.traffic import packets as p

import fastfw

COUNT = 10_000
CLIENTS = crowd.address("10.1.0.0") + np.arange(COUNT)
SERVER = crowd.address("10.2.0.1")
DAY = 86_400 * SECOND
NOW = 1_700_000_000 * SECOND


def inhabited() -> fastfw.Engine:
    """An engine with established TCP connections, each kept for five days."""
    engine = fastfw.Engine(settings={"nf_conntrack_checksum": 0})
    crowd.tcp(CLIENTS, SERVER, 4000, 80, p.SYN, 100, 0).into(engine, NOW)
    crowd.tcp(SERVER, CLIENTS, 80, 4000, p.SYN | p.ACK, 500, 101).into(engine, NOW)
    crowd.tcp(CLIENTS, SERVER, 4000, 80, p.ACK, 101, 501).into(engine, NOW)
    return engine


def goes_on(engine: fastfw.Engine, now: int) -> bool:
    """Whether every connection takes its next segment, and what answers it, for its own."""
    there = crowd.tcp(CLIENTS, SERVER, 4000, 80, p.ACK, 101, 501).into(engine, now)
    back = crowd.tcp(SERVER, CLIENTS, 80, 4000, p.ACK, 501, 101).into(engine, now)
    return all(bool((out["state"] == 2).all() and (out["verdict"] == 1).all()) for out in (there, back))


def test_backwards() -> None:
    """Set back to any time, 1970 and before included, the clock stands still until it has caught up: none of 10 000
    connections is lost, and none lives the longer for it."""
    engine = inhabited()
    for past in (NOW - SECOND, NOW - DAY, NOW - 365 * DAY, 0, -1, -(2**63)):
        assert goes_on(engine, past)
        assert engine.now == NOW
    assert engine.conntrack_count == COUNT
    assert goes_on(engine, NOW + 4 * DAY)
    assert not goes_on(engine, NOW + 10 * DAY)


def test_forwards() -> None:
    """By less than the timeout nothing is lost; by more all are gone as if they had been silent for so long, at once
    and at a bounded cost a packet, and the next ones are tracked as ever."""
    engine = inhabited()
    for step in range(1, 5):
        assert goes_on(engine, NOW + step * DAY)
    stray = crowd.udp(CLIENTS, SERVER, 7, 8)
    alone = crowd.cost(lambda: stray.into(engine, NOW + 4 * DAY), 1)
    after = crowd.cost(lambda: stray.into(engine, NOW + 3650 * DAY), 1) / alone
    print(f"a packet after the jump is {after:.2f} times as dear")
    assert after < 10
    engine.expire(NOW + 3650 * DAY)
    assert engine.conntrack_count == COUNT
    assert all(connection.protocol == p.UDP for connection in engine.connections())
    engine.expire(2**63 - 1)
    assert engine.conntrack_count == 0
    assert (stray.into(engine, 2**63 - 1)["state"] == 1).all()
