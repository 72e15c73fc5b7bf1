"""What sets are made of, and how rules ask them; see sets.pxd."""

from enum import IntEnum

class SetBit(IntEnum):
    """What a set's elements are made of, and what is kept of each."""

    SET_FIRST = 1
    SET_FIRST_NET = 2
    SET_PORT = 4
    SET_BARE_PORT = 8
    SET_MARK = 16
    SET_MAC = 32
    SET_INTERFACE = 64
    SET_SECOND = 128
    SET_SECOND_NET = 256
    SET_BITMAP = 512
    SET_LIST = 1024
    SET_TIMEOUT = 2048
    SET_COUNTERS = 4096
    SET_INFO = 8192
    SET_FORCE = 16384

class AskBit(IntEnum):
    """How a rule asks."""

    ASK_SIDES = 63
    ASK_PARTS = 64
    ASK_PARTS_MASK = 448
    ASK_NOMATCH = 512
    ASK_STILL = 1024
    ASK_STILL_BELOW = 2048
    ASK_PACKETS = 4096
    ASK_PACKETS_MASK = 28672
    ASK_BYTES = 32768
    ASK_BYTES_MASK = 229376
    ASK_EXIST = 262144

class SetCompare(IntEnum):
    """How a counter is compared."""

    COMPARE_NONE = 0
    COMPARE_EQUAL = 1
    COMPARE_OTHER = 2
    COMPARE_LESS = 3
    COMPARE_MORE = 4
