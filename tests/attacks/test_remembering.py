"""What rules remember of senders: floods of forged ones, each seen once."""

from __future__ import annotations

import numpy as np
import pytest
from tests.attacks import crowd
from tests.attacks.crowd import SECOND
from tests.traffic import packets as p

import fastfw

CEILING = 10_000
ROUND = 20_000
ROUNDS = 20
SERVER = crowd.address("10.2.0.1")
MATCHES = {
    "recent": "-m recent --set --name seen",
    "hashlimit": "-m hashlimit --hashlimit-above 9/s --hashlimit-mode srcip --hashlimit-name seen "
    "--hashlimit-htable-max 20000",
    "connlimit": "-p tcp -m connlimit --connlimit-above 9 --connlimit-mask 32",
}


@pytest.mark.parametrize("match", MATCHES)
def test_forged_sources_fill_no_memory(match: str, seed: int) -> None:
    """400 000 forged sources, of whom a rule remembers each, take no more memory once what it may remember is full, and
    a packet of them is at most four times as dear at the end as at the beginning."""
    rng = np.random.default_rng(seed)
    rules = f"*filter\n-A FORWARD {MATCHES[match]} -j RETURN\nCOMMIT\n"
    settings = {"nf_conntrack_max": CEILING, "nf_conntrack_checksum": 0}
    engine = fastfw.Engine(fastfw.Ruleset.parse(rules), settings=settings)
    sizes, costs = [], []
    for number in range(ROUNDS):
        flood = crowd.tcp(rng.integers(0x0B000000, 0x7F000000, ROUND), SERVER, rng.integers(1, 65536, ROUND), 80,
                          p.SYN, rng.integers(0, 1 << 32, ROUND))  # fmt: skip
        costs.append(crowd.cost(lambda now=(1 + number) * SECOND, flood=flood: flood.into(engine, now), 1))
        sizes.append(crowd.resident())
    slower = float(np.median(costs[-5:])) / float(np.median(costs[1:6]))
    grown = sizes[-1] - sizes[4]
    print(f"{match}: {slower:.2f} times as dear, memory grew by {grown} bytes after the first fifth")
    assert engine.conntrack_count <= CEILING
    assert grown < 4 << 20
    assert slower < 4
