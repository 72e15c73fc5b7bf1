"""The sets that one engine's rules name, as the core keeps them."""

from typing import Self

import numpy as np
import numpy.typing as npt

STORED: np.dtype[np.void]
"""An element with all that is kept of it; see sets.pxd."""

BITS: dict[str, int]
"""What a set's elements are made of, and what is kept of them, by name."""

ASK: dict[str, int]
"""How a rule asks, by name."""

COMPARE: dict[str, int]
"""How a counter is compared: none, equal, other, less, more."""

NONE: int
"""In place of a set's number: none."""

USUAL: int
"""In place of seconds: the set's own."""

BEGINNING: int
"""Added to the number of a beginning of interfaces' names."""

class SetStore:
    """The sets of one engine; whoever reads or changes them once packets come holds the engine's lock."""

    def __new__(cls, count: int, beginnings: list[str]) -> Self: ...
    def shape(
        self,
        number: int,
        bits: int,
        family: int,
        parts: int,
        most: int,
        timeout: int,
        mask: bytes,
        mark_mask: int,
        low: int,
        high: int,
    ) -> None:
        """Say what a set is, before it is filled: `family` 4, 6 or 0 for both, `timeout` in seconds, `mask` of its
        addresses as they stand in packets, the ends of its range in host order."""

    def fill(self, number: int, elements: npt.NDArray[np.uint8]) -> None:
        """Enter elements, the bytes of STORED records; `expires` in ticks of 4 ms from the first packet on."""

    def content(self, number: int) -> npt.NDArray[np.void]:
        """The elements, STORED records; a list's in order. `expires` is the last tick of the engine's clock once the
        first packet has come."""

    @property
    def begun(self) -> bool:
        """Whether the first packet has come."""

    def interface(self, name: str) -> int:
        """The number of an interface's name."""

    def interface_name(self, number: int) -> str:
        """The name, or beginning of names, of a number."""

    def bind_interface(self, number: int, name: str) -> None:
        """Say which number packets carry of an interface."""
