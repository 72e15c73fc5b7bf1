"""Packets that rules tell of, by the hundred thousand."""

from __future__ import annotations

import json

import numpy as np
from tests.attacks import crowd
from tests.attacks.crowd import SECOND

import fastfw

RULES = '*filter\n-A FORWARD -p udp -j LOG --log-prefix "flood "\n-A FORWARD -p udp -j DROP\nCOMMIT\n'
ROOM = 4096
SERVER = crowd.address("10.2.0.1")


def test_a_flood_of_logged_packets(seed: int) -> None:
    """Of three hundred thousand packets that a rule logs the last 4 096 are told of and the others are counted; memory
    stays, and a packet is at most four times as dear as where nobody listens."""
    rng = np.random.default_rng(seed)
    quiet, told = (fastfw.Engine(fastfw.Ruleset.parse(RULES)) for _ in range(2))
    told.watch_logs(ROOM)
    flood = crowd.udp(rng.integers(0x0B000000, 0x7F000000, 20_000), SERVER, 7, 8)
    alone = crowd.cost(lambda: flood.into(quiet, SECOND), 15)
    before = crowd.resident()
    slower = crowd.cost(lambda: flood.into(told, SECOND), 15) / alone
    grown = crowd.resident() - before
    records, lost = told.logs()
    assert (len(records), lost) == (ROOM, 300_000 - ROOM)
    assert told.logs() == ([], 0)
    print(f"a logged packet is {slower:.2f} times as dear, memory grew by {grown} bytes")
    assert slower < 4
    assert grown < 4 << 20


def test_what_packets_say_forges_no_line() -> None:
    """What a packet carries is told as numbers: no byte of it ends a line or begins another, in the kernel's words or
    in JSON."""
    engine = fastfw.Engine(fastfw.Ruleset.parse(RULES))
    engine.watch_logs(ROOM)
    flood = crowd.udp(np.arange(0x0B000000, 0x0B000000 + 256), SERVER, 7, 8)
    flood.rows[:, 1] = np.arange(256)
    flood.rows[:, 4:8] = np.frombuffer(b"\n\r\x1b\0", np.uint8)
    flood.put(6, 2, 0).put(10, 2, 0)
    flood.ends(np.arange(0x0B000000, 0x0B000000 + 256), SERVER)
    flood.into(engine, SECOND)
    records, _ = engine.logs()
    assert len(records) == 256
    for record in records:
        assert str(record).isprintable()
        assert str(record).startswith("flood IN= OUT= SRC=11.0.0.")
        assert json.dumps(record.as_dict()).isascii()
