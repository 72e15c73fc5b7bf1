"""What a connection waits for, as a helper is told of it."""

from __future__ import annotations

from typing import NamedTuple


class Awaited(NamedTuple):
    """A connection that is waited for; None: any."""

    protocol: int
    source: bytes | None
    source_port: int | None
    destination: bytes
    port: int
