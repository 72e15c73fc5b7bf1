"""An engine that is told one packet at a time and answers in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from tests.kernel.compare import ours_in_words

import fastfw

SECOND = 1_000_000_000


class Talk:
    """An engine with a clock of its own, seconds from 1000."""

    def __init__(self, helpers: Sequence[str] = (), **settings: int) -> None:
        self.engine = fastfw.Engine(settings=settings, helpers=helpers)
        self.now = 1000 * SECOND

    def say(self, packet: bytes, wait: float = 0, hook: str = "FORWARD", have: int | None = None) -> str:
        """What the engine makes of a packet, ``wait`` seconds after the one before: ``ESTABLISHED REPLY SEEN_REPLY``.
        Of a packet cut short by its capture only ``have`` bytes are there."""
        self.now += int(wait * SECOND)
        data = packet[:have]
        out = self.engine.process(
            data, [0], [len(data)], [self.now], hook=hook, wire_length=np.array([len(packet)], np.uint32)
        )
        return ours_in_words(out[0])

    def all(self, packets: Iterable[bytes]) -> list[str]:
        """What it makes of each of several packets at once, as one batch."""
        batch = list(packets)
        lengths = np.array([len(packet) for packet in batch], np.uint32)
        offsets = np.cumsum(lengths, dtype=np.uint64) - lengths
        out = self.engine.process(b"".join(batch), offsets, lengths, np.full(len(batch), self.now))
        return [ours_in_words(record) for record in out]

    def table(self) -> list[str]:
        """The table's lines, as /proc/net/nf_conntrack prints them."""
        return [str(connection) for connection in self.engine.connections()]
