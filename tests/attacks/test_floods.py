"""Floods of new connections at the table's ceiling: what was there before them lives, and is served as fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.attacks import crowd
from tests.attacks.crowd import SECOND, Crowd
from tests.traffic import packets as p

import fastfw

CEILING = 20_000
RESIDENTS = 10_000
CLIENTS = crowd.address("10.1.0.0") + np.arange(RESIDENTS)
SERVER = crowd.address("10.2.0.1")
ROUND = 20_000
"""Packets of the flood between two of every resident."""


def segments(flags: int, seq: int, ack: int, *, back: bool = False) -> Crowd:
    """One segment of every resident connection."""
    if back:
        return crowd.tcp(SERVER, CLIENTS, 80, 4000, flags, seq, ack)
    return crowd.tcp(CLIENTS, SERVER, 4000, 80, flags, seq, ack)


def inhabited() -> fastfw.Engine:
    """A table half full of established TCP connections."""
    engine = fastfw.Engine(settings={"nf_conntrack_max": CEILING, "nf_conntrack_checksum": 0})
    segments(p.SYN, 100, 0).into(engine, SECOND)
    segments(p.SYN | p.ACK, 500, 101, back=True).into(engine, SECOND)
    assert segments(p.ACK, 101, 501).into(engine, SECOND)["assured"].all()
    return engine


def syns(rng: np.random.Generator) -> Crowd:
    return crowd.tcp(rng.integers(0x0B000000, 0x7F000000, ROUND), SERVER, rng.integers(1, 65536, ROUND), 80, p.SYN,
                     rng.integers(0, 1 << 32, ROUND))  # fmt: skip


def datagrams(rng: np.random.Generator) -> Crowd:
    ports = rng.integers(1, 65536, (2, ROUND))
    return crowd.udp(rng.integers(0x0B000000, 0x7F000000, ROUND), SERVER, ports[0], ports[1])


def echoes(rng: np.random.Generator) -> Crowd:
    return crowd.echo(rng.integers(0x0B000000, 0x7F000000, ROUND), SERVER, rng.integers(0, 65536, ROUND))


def strays(rng: np.random.Generator) -> Crowd:
    """Segments from the middle of connections that are not there: picked up one by one."""
    return crowd.tcp(rng.integers(0x0B000000, 0x7F000000, ROUND), SERVER, rng.integers(1, 65536, ROUND), 80, p.ACK,
                     rng.integers(0, 1 << 32, ROUND), rng.integers(0, 1 << 32, ROUND))  # fmt: skip


@pytest.mark.parametrize("flood", [syns, datagrams, echoes, strays])
def test_established_connections_outlive_a_flood(flood: Callable[[np.random.Generator], Crowd], seed: int) -> None:
    """Three hundred thousand packets from forged addresses end none of 10 000 established connections, take no memory
    beyond the ceiling's, and leave a packet of an established connection at most four times as dear."""
    rng = np.random.default_rng(seed)
    engine = inhabited()
    data = segments(p.ACK | p.PSH, 101, 501)
    alone = crowd.cost(lambda: data.into(engine, 2 * SECOND), 9)
    during, sizes = [], []
    for number in range(15):
        out = flood(rng).into(engine, (3 + number) * SECOND)
        assert engine.conntrack_count <= CEILING
        if number > 2:
            # a legitimate client among the flood's is let in as often as one of the flood
            assert (out["verdict"] == 1).mean() > 0.95
        sizes.append(crowd.resident())
        during.append(crowd.cost(lambda now=(3 + number) * SECOND: check(data, engine, now), 1))
    slower = float(np.median(during)) / alone
    print(f"established packets are {slower:.2f} times as dear, memory grew by {sizes[-1] - sizes[2]} bytes")
    assert slower < 4
    assert sizes[-1] - sizes[2] < 4 << 20
    assert sum(each.assured for each in engine.connections()) == RESIDENTS
    assert engine.counters["early_drop"] > 10 * ROUND


def check(data: Crowd, engine: fastfw.Engine, now: int) -> None:
    out = data.into(engine, now)
    assert (out["verdict"] == 1).all()
    assert (out["state"] == 2).all()


# -- connections that collide --------------------------------------------------------------------------------------

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def multipliers(seed: bytes) -> list[np.uint64]:
    """The hash's multipliers, as anybody can make them of a seed they know: splitmix64's finisher over its words."""
    found = []
    for number in range(11):
        x = int.from_bytes(seed[8 * number : 8 * number + 8], "little") + (number + 1) * GOLDEN & MASK
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
        found.append(np.uint64((x ^ x >> 31) | 1))
    return found


def hashes(seed: bytes, source: crowd.Numbers, sport: crowd.Numbers) -> crowd.Numbers:
    """The table's hash of UDP connections from `source` to port 53 of SERVER under a known seed."""
    with np.errstate(over="ignore"):
        a = source.astype(">u4").view("<u4").astype(np.uint64)
        a_port = sport.astype(">u2").view("<u2").astype(np.uint64)
        b = np.full_like(a, int.from_bytes(SERVER.to_bytes(4, "big"), "little"))
        b_port = np.full_like(a, int.from_bytes((53).to_bytes(2, "big"), "little"))
        turned = (a << np.uint64(16) | a_port) > (b << np.uint64(16) | b_port)
        lo, hi = np.where(turned, b, a), np.where(turned, a, b)
        ports = np.where(turned, b_port | a_port << np.uint64(16), a_port | b_port << np.uint64(16))
        k = multipliers(seed)
        rest = np.uint64(17 << 16 | 4 << 24)
        total = k[10] + k[0] * lo + k[4] * hi + k[8] * ports + k[9] * rest
        high = total >> np.uint64(32)
        return (((high ^ high >> np.uint64(16)) * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)).astype(np.int64)


def test_who_does_not_know_the_seed_cannot_make_collisions(seed: int) -> None:
    """3 000 connections chosen to share 32 buckets under one seed do so under it, and are refused a place; under any
    other seed they spread like connections chosen by chance, and all are served."""
    rng = np.random.default_rng(seed)
    known = rng.bytes(88)
    settings = {"nf_conntrack_max": 50_000, "nf_conntrack_checksum": 0}
    buckets = fastfw.Engine(settings=settings, seed=known)._table_statistics()["bucket_count"]
    source, sport = rng.integers(0x0B000000, 0x7F000000, 1_500_000), rng.integers(1, 65536, 1_500_000)
    bucket = hashes(known, source, sport) * buckets >> 32
    chosen = np.flatnonzero(bucket < 32)[:3000]
    assert len(chosen) > 2000
    attack = crowd.udp(source[chosen], SERVER, sport[chosen], 53)

    crowded = fastfw.Engine(settings=settings, seed=known)
    attack.into(crowded, SECOND)
    found = crowded._table_statistics()
    assert found["fullest"] == 12
    assert found["spilled"] > len(chosen) / 3

    for _ in range(10):
        engine = fastfw.Engine(settings=settings)
        assert (attack.into(engine, SECOND)["verdict"] == 1).all()
        found = engine._table_statistics()
        assert found["spilled"] == 0, "3 000 of 50 000 never fill a bucket unless they were made to"
        assert found["fullest"] < 12


def homes(seed: bytes, source: crowd.Numbers, sport: crowd.Numbers, buckets: int) -> tuple[crowd.Numbers, ...]:
    """The two buckets each of those connections may stand in: its home, and the other."""
    hash_ = hashes(seed, source, sport)
    home = hash_ * buckets >> 32
    other = ((hash_ * 0x9E3779B1 & 0xFFFFFFFF) ^ 0x5BD1E995) * buckets >> 32
    return home, np.where(other == home, (home + 1) % buckets, other)


def test_no_room_where_all_collide(seed: int, tmp_path: Path) -> None:
    """Of connections that share two buckets of twelve the 25th finds no room and is dropped, one that may push another
    aside elsewhere finds its place, and none that was there is lost, nor those of a table that is taken over."""
    rng = np.random.default_rng(seed)
    known, settings = rng.bytes(88), {"nf_conntrack_max": 50, "nf_conntrack_checksum": 0}
    engine = fastfw.Engine(settings=settings, seed=known)
    buckets = engine._table_statistics()["bucket_count"]
    assert buckets == 7
    source, sport = rng.integers(0x0B000000, 0x7F000000, 10_000), rng.integers(1, 65536, 10_000)
    home, other = homes(known, source, sport, buckets)
    shared = np.flatnonzero((home + other == 1) & (home != other))[:26]
    elsewhere = np.flatnonzero((home == 2) & (other == 3))[:12]
    between = np.flatnonzero((home == 0) & (other == 2))[:1]
    last = shared[24:25]

    def sent(chosen: crowd.Numbers, to: fastfw.Engine = engine, back: bool = False) -> list[int]:
        if back:
            return crowd.udp(SERVER, source[chosen], 53, sport[chosen]).into(to, SECOND)["state"].tolist()
        return crowd.udp(source[chosen], SERVER, sport[chosen], 53).into(to, SECOND)["verdict"].tolist()

    assert sent(shared[:24]) == [1] * 24
    assert sent(elsewhere) == [1] * 12
    assert sent(last) == [2]
    assert engine.counters["insert_failed"] == 1
    assert sent(between) == [1]
    everyone = np.concatenate([shared[:24], elsewhere, between])
    assert sent(everyone, back=True) == [2] * 37
    engine.settings["nf_conntrack_max"] = 0  # no ceiling: where there is no room more is made
    assert sent(last) == [1]
    assert engine._table_statistics()["capacity"] == 100
    assert sent(np.append(everyone, last), back=True) == [2] * 38

    scattered = fastfw.Engine(settings=settings)
    assert sent(shared[:25], scattered) == [1] * 25
    scattered.save_state(tmp_path / "state")
    copy = fastfw.Engine(settings=settings, seed=known)
    copy.expire(SECOND)
    assert copy.load_state(tmp_path / "state") == (24, 1, 0)
    assert sorted(sent(shared[:25], copy, back=True)) == [1] + [2] * 24
