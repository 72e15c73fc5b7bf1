"""hashlimit's tables; see rates.pxd."""

from enum import IntEnum

class RateBit(IntEnum):
    """Of a rule and of its table."""

    RATE_TARGET = 1
    RATE_TARGET_PORT = 2
    RATE_SOURCE = 4
    RATE_SOURCE_PORT = 8
    RATE_BYTES = 16
    RATE_WINDOW = 32
    RATE_ABOVE = 64
