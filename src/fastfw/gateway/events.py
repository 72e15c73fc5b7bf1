"""Events of the engine's connections, and of its expectations, handed to all who follow them."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from fastfw.core.snapshot import take_events, watch
from fastfw.engine import Engine

ROOM = 65536
"""Events that the engine keeps until they are taken."""

BEHIND = 65536
"""Events that a follower may be behind; it loses what comes beyond."""


class Follower:
    """One who follows: batches of EVENT records, and how many events it lost."""

    def __init__(self) -> None:
        self.batches: deque[npt.NDArray[np.void]] = deque()
        self.behind = 0
        self.lost = 0

    def give(self, batch: npt.NDArray[np.void], lost: int) -> None:
        """Take a batch, as far as there is room."""
        room = max(0, BEHIND - self.behind)
        self.lost += lost + max(0, len(batch) - room)
        kept = batch[:room]
        if len(kept):
            self.batches.append(kept)
            self.behind += len(kept)

    def take(self) -> tuple[npt.NDArray[np.void] | None, int]:
        """The next batch, if there is one, and how many events were lost since the last."""
        lost, self.lost = self.lost, 0
        if not self.batches:
            return None, lost
        batch = self.batches.popleft()
        self.behind -= len(batch)
        return batch, lost


class Hub:
    """The engine keeps events of connections, or of expectations, only while somebody follows. All from one thread."""

    def __init__(self, engine: Engine, expectations: bool = False) -> None:
        self.engine = engine
        self.expectations = expectations
        self.followers: set[Follower] = set()

    def join(self) -> Follower:
        """Begin to follow."""
        if not self.followers:
            watch(self.engine, ROOM, self.expectations)
        follower = Follower()
        self.followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Follow no longer."""
        self.followers.discard(follower)
        if not self.followers:
            watch(self.engine, 0, self.expectations)

    def pump(self) -> None:
        """Hand on what happened."""
        batch, lost = take_events(self.engine, self.expectations)
        if len(batch) or lost:
            for follower in self.followers:
                follower.give(batch, lost)
