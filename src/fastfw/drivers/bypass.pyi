from typing import Final

import numpy as np
import numpy.typing as npt

from fastfw.core.engine import Core

BITS_OF_WAY: Final[int]
GENERATIONS: Final[int]
LEAST_SECONDS: Final[int]

class Bypass:
    mask: int
    shift: int
    granted: int
    def __init__(
        self, engine: Core, mask: int = 0, *, accounted: bool = False, maps: tuple[int, int] | None = None
    ) -> None: ...
    def grant(self, generation: int) -> None: ...
    def asked(self) -> tuple[tuple[tuple[int, str, str], tuple[int, str, str]], ...]: ...
    def open(self, count: int) -> None: ...
    def due(self, until: int, most: int = 65536) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint32]]: ...
    def heard(self, table: npt.NDArray[np.void]) -> npt.NDArray[np.int64]: ...
    def prolong(
        self, table: npt.NDArray[np.void], indices: npt.NDArray[np.uint32], deadlines: npt.ArrayLike
    ) -> None: ...
