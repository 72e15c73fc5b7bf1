"""One packet through an engine with every rule it comes to noted; and the connections that packets belong to."""

from mmap import mmap
from typing import Final

import numpy as np
import numpy.typing as npt

from fastfw.core.decision import Decision
from fastfw.core.engine import Core

# A rule that the packet came to: rule, mark, connmark, status, left, asked, held, hotdrop, state,
# tos, ttl, has_entry; 28 bytes.
VISIT: Final[np.dtype[np.void]]

class Watched:
    """What became of a watched packet, and everything that was asked of it on its way."""

    @property
    def decision(self) -> Decision: ...
    @property
    def visits(self) -> npt.NDArray[np.void]: ...
    @property
    def key(self) -> bytes: ...
    @property
    def ip(self) -> bytes: ...
    @property
    def transport(self) -> bytes: ...
    @property
    def family(self) -> int: ...
    @property
    def protocol(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def fragment(self) -> bool: ...
    @property
    def now(self) -> int: ...

def watched(
    core: Core,
    packet: npt.NDArray[np.uint8] | bytes | bytearray | memoryview | mmap,
    wire_length: int,
    hook: int,
    iif: str,
    oif: str,
    now: int,
    link: npt.NDArray[np.uint8] | None = None,
) -> Watched:
    """Judge one packet as the engine's next, and note its way."""

def keys(
    data: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.uint64],
    length: npt.NDArray[np.uint32],
    wire_length: npt.NDArray[np.uint32],
) -> npt.NDArray[np.void]:
    """Of packets in one buffer the connections they name, 40 bytes each; all zero where none can be named."""
