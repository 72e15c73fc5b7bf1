"""One who sees no packet of a connection, but knows its ends, cannot end it, change it or slip into it."""

from __future__ import annotations

import numpy as np
from tests.attacks import crowd
from tests.attacks.crowd import SECOND
from tests.traffic import packets as p

import fastfw

A, B, ROUTER = (crowd.address(text) for text in ("10.1.0.1", "10.2.0.1", "10.3.0.1"))
SEQ, ACK = 0x12345678, 0x9ABCDEF0
"""What the two ends have come to: A's next sequence number and B's."""
SETTINGS = {"nf_conntrack_checksum": 0}
STEP = 4096
"""Between two guesses of a sequence number: sixteen in every window of 65 535."""


def established() -> fastfw.Engine:
    """A connection of A's port 4000 with B's port 80, a window of 65 535 each way."""
    engine = fastfw.Engine(settings=SETTINGS)
    crowd.tcp(A, B, 4000, 80, p.SYN, SEQ - 1).into(engine, SECOND)
    crowd.tcp(B, A, 80, 4000, p.SYN | p.ACK, ACK - 1, SEQ).into(engine, SECOND)
    assert crowd.tcp(A, B, 4000, 80, p.ACK, SEQ, ACK).into(engine, SECOND)["assured"].all()
    return engine


def goes_on(engine: fastfw.Engine, now: int) -> None:
    """Data passes both ways on the one connection there is."""
    for data in (
        crowd.tcp(A, B, 4000, 80, p.ACK | p.PSH, SEQ, ACK),
        crowd.tcp(B, A, 80, 4000, p.ACK | p.PSH, ACK, SEQ),
    ):
        out = data.into(engine, now)
        assert (out["verdict"][0], out["state"][0], out["assured"][0]) == (1, 2, 1)
    (connection,) = engine.connections()
    assert (connection.state, connection.assured) == ("ESTABLISHED", True)


def guesses(exactly: int) -> crowd.Numbers:
    """Sequence numbers all round, without the one that is right."""
    found = np.arange(0, 1 << 32, STEP)
    return found[found != exactly]


def test_blind_resets() -> None:
    """A million RSTs, sixteen in every window, sent for each end in turn, end nothing: only the very next sequence
    number would, which is one guess in 4 294 967 296. (As in the kernel, one that falls into the window leaves the two
    ends ten seconds to show that they live.)"""
    engine = established()
    for ends, right in (((A, B, 4000, 80), SEQ), ((B, A, 80, 4000), ACK)):
        for flags in (p.RST, p.RST | p.ACK):
            numbers = guesses(right)
            crowd.tcp(*ends, flags, numbers, 0 if flags == p.RST else 7).into(engine, 2 * SECOND)
            goes_on(engine, 2 * SECOND)
    engine = established()
    assert crowd.tcp(A, B, 4000, 80, p.RST, SEQ).into(engine, 3 * SECOND)["state"][0] == 2
    (connection,) = engine.connections()
    assert connection.state == "CLOSE", "the right number does end it: the guesses were worth a try"


def test_blind_opening() -> None:
    """Half a million SYNs and SYN-ACKs with guessed numbers neither end a connection nor begin it anew."""
    engine = established()
    for ends in ((A, B, 4000, 80), (B, A, 80, 4000)):
        for flags in (p.SYN, p.SYN | p.ACK):
            numbers = np.arange(0, 1 << 32, 8 * STEP)
            crowd.tcp(*ends, flags, numbers, 7 if flags != p.SYN else 0).into(engine, 2 * SECOND)
            goes_on(engine, 2 * SECOND)
    assert engine.counters["insert"] == 1


def test_blind_data_and_closing() -> None:
    """Of a million FINs and a million segments with guessed numbers none closes a connection or moves its windows."""
    engine = established()
    numbers = guesses(SEQ)
    # no acknowledgement is near the right one: both numbers together are a guess in 4 000 000
    acks = (ACK + (1 << 20) + numbers // 8 * 7) & 0xFFFFFFFF
    for flags in (p.FIN | p.ACK, p.ACK | p.PSH):
        crowd.tcp(A, B, 4000, 80, flags, numbers, acks).into(engine, 2 * SECOND)
        goes_on(engine, 2 * SECOND)


def test_errors_about_guessed_connections() -> None:
    """Of 300 000 ICMP errors that quote guessed connections, those that quote none are INVALID and enter nothing; the
    few that hit are RELATED, and leave their connection as it was: state, time and counters."""
    engine = fastfw.Engine(settings={**SETTINGS, "nf_conntrack_acct": 1})
    ports = np.arange(4000, 4100)
    crowd.tcp(A, B, ports, 80, p.SYN, SEQ - 1).into(engine, SECOND)
    crowd.tcp(B, A, 80, ports, p.SYN | p.ACK, ACK - 1, SEQ).into(engine, SECOND)
    crowd.tcp(A, B, ports, 80, p.ACK, SEQ, ACK).into(engine, SECOND)
    before = sorted(map(str, engine.connections()))
    quoted = p.tcp_packet(p.address("10.1.0.1"), p.address("10.2.0.1"), 0, 80, p.ACK, 0, 0)
    hits = 0
    for kind, code in ((3, 0), (3, 1), (3, 3), (11, 0), (12, 0)):
        guessed = np.arange(1, 60_000)
        error = p.icmp_packet(p.address("10.3.0.1"), p.address("10.1.0.1"), kind, code, payload=quoted)
        flood = crowd.Crowd(error, len(guessed)).put(48, 2, guessed)
        out = flood.into(engine, SECOND)
        known = np.isin(guessed, ports)
        assert (out["state"][known] == 3).all()
        assert (out["state"][~known] == 4).all()
        hits += int(known.sum())
    assert hits == 500
    assert sorted(map(str, engine.connections())) == before
    assert engine.conntrack_count == 100
