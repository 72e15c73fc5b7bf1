"""What the rules of one ruleset remember in tables that grow; see amounts.pxd."""

from typing import Self

import numpy as np
import numpy.typing as npt

class Kept:
    """Owns the tables."""

    def __new__(cls, rates: npt.NDArray[np.uint64], crowds: npt.NDArray[np.uint64]) -> Self: ...
