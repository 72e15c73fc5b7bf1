from typing import Any

import numpy as np
import numpy.typing as npt

LINK_KINDS: dict[int, int]
DONE: int
MORE: int
SECTION: int
INTERFACE: int
CUT: int
BROKEN: int

class Scanner:
    """Indexes one capture held in a contiguous buffer, a step at a time. Internal: use fastfw.Capture."""

    position: int
    count: int
    shortened: int
    damaged: int
    strays: int
    def __new__(cls, buffer: Any) -> Scanner: ...
    def start_pcap(self, swapped: bool, header: int, swapped_lengths: bool) -> None: ...
    def start_section(self, swapped: bool, position: int) -> None: ...
    def skip(self, size: int) -> None: ...
    def add_interface(self, kind: int, snaplen: int, tsresol: int, offset_ns: int) -> None: ...
    def step(self, records: int) -> int: ...
    def take(self) -> tuple[Any, Any, Any, Any, Any, Any, Any]: ...

def links(
    data: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.uint64],
    link_size: npt.NDArray[np.uint8],
    interface: npt.NDArray[np.uint16],
    kinds: npt.NDArray[np.uint8],
    out: npt.NDArray[np.uint8],
) -> None:
    """What the frames of some of a capture's records say, into `out`: 16 bytes of LINK each."""
