"""What predicates about declared facts are made of; see declared.pxd."""

from enum import IntEnum

class RangeBit(IntEnum):
    """How a predicate about ranges of addresses is asked."""

    RANGE_TARGET = 1
    RANGE_OUTGOING = 2
    RANGE_REVERSE = 4

class LinkBit(IntEnum):
    """Which addresses a frame told."""

    LINK_SOURCE = 1
    LINK_TARGET = 2

class LinkType(IntEnum):
    """Linux's packet types."""

    LINK_HOST = 0
    LINK_BROADCAST = 1
    LINK_MULTICAST = 2
    LINK_OTHERHOST = 3
