"""Packets that LOG, NFLOG and TRACE rules tell of; see logs.pxd."""

from enum import IntEnum

import numpy as np

LOG: np.dtype[np.void]
"""One record's head."""

class LogKind(IntEnum):
    """What told of the packet."""

    LOG_RULE = 1
    LOG_PACKET = 2
    LOG_TRACE = 3
