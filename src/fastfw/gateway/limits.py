"""Token buckets: how often something may be said or sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Bucket:
    """`rate` tokens a second, `burst` at most at once; a rate of 0 has no limit. Not for several threads at once."""

    __slots__ = ("at", "burst", "level", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.level = burst
        self.at: float | None = None

    def take(self, now: float) -> bool:
        """Whether there is a token at `now` (seconds of any clock); it is used up then."""
        if not self.rate:
            return True
        if self.at is not None:
            self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Buckets:
    """A bucket a key, for the `room` keys used last: one who invents keys can exhaust neither memory nor the others'
    allowance for long."""

    def __init__(self, rate: float, burst: float, room: int = 4096) -> None:
        self.rate = rate
        self.burst = burst
        self.room = room
        self.of: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, now: float) -> bool:
        """Whether the key's bucket has a token at `now`; it is used up then."""
        bucket = self.of.get(key)
        if bucket is None:
            bucket = self.of[key] = Bucket(self.rate, self.burst)
            if len(self.of) > self.room:
                self.of.popitem(last=False)
        else:
            self.of.move_to_end(key)
        return bucket.take(now)
