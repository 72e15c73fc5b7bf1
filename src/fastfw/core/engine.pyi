"""Packets in, decisions out, stage by stage."""

from mmap import mmap
from typing import Final

import numpy as np
import numpy.typing as npt

from fastfw.core.decision import Decision
from fastfw.core.machine import Machine

# One packet's decision: verdict, state, direction, assured, seen_reply, expected, rule, reason, mark; 16 bytes.
DECISION: Final[np.dtype[np.void]]

# What the link layer says of a packet: target, source (both 6 bytes), type (a LinkType), known (LinkBits); 16 bytes.
LINK: Final[np.dtype[np.void]]

class Core(Machine):
    """The engine without its Python comforts."""

    def decide(
        self,
        packet: npt.NDArray[np.uint8] | bytes | bytearray | memoryview | mmap,
        hook: str = "FORWARD",
        iif: str = "",
        oif: str = "",
        now: int | None = None,
    ) -> Decision:
        """Judge one IP packet, any bytes-like object; `now` is the clock in ns, the wall clock without it."""

    def _process(
        self,
        data: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.uint64],
        length: npt.NDArray[np.uint32],
        time_ns: npt.NDArray[np.int64],
        wire_length: npt.NDArray[np.uint32] | None,
        hooks: npt.NDArray[np.uint8] | None,
        hook: int,
        iif: str,
        oif: str,
        out: npt.NDArray[np.uint8],
        links: npt.NDArray[np.uint8] | None = None,
    ) -> None: ...
