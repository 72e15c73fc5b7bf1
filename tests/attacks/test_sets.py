"""Sets that packets fill: a flood of forged sources at a set that is full."""

from __future__ import annotations

import numpy as np
from tests.attacks import crowd
from tests.attacks.crowd import SECOND

import fastfw

MOST = 65_536
RULES = "*filter\n-A FORWARD -j SET --add-set seen src\n-A FORWARD -j DROP\nCOMMIT\n"
SERVER = crowd.address("10.2.0.1")


def engine(most: int) -> fastfw.Engine:
    """One that notes every source for ten seconds, in a set of so many."""
    text = f"create seen hash:ip timeout 10 maxelem {most}\n"
    return fastfw.Engine(fastfw.Ruleset.parse(RULES), sets=text)


def test_a_flood_at_a_full_set() -> None:
    """A packet whose source finds no room is at most four times as dear as one whose source does, whatever the set's
    size; when the time of what is in it is over, there is room again."""
    roomy, full = engine(4 * MOST), engine(MOST)
    sources = crowd.address("11.0.0.0") + np.arange(2 * MOST)
    crowd.udp(sources[:MOST], SERVER, 7, 8).into(full, SECOND)
    assert len(full.sets["seen"].elements) == MOST
    at = iter(range(0, 2 * MOST, 5000))

    def into_room() -> None:
        first = next(at)
        crowd.udp(sources[first : first + 5000], SERVER, 7, 8).into(roomy, SECOND)

    flood = crowd.udp(sources[MOST : MOST + 5000], SERVER, 7, 8)
    slower = crowd.cost(lambda: flood.into(full, 2 * SECOND)) / crowd.cost(into_room)
    print(f"a packet is {slower:.2f} times as dear where the set is full")
    assert slower < 4
    assert len(full.sets["seen"].elements) == MOST
    flood.into(full, 12 * SECOND)
    assert len(full.sets["seen"].elements) == 5000
