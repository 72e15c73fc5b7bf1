"""Predicates about what the engine was told: routes and addresses of its own, groups, nodes, the link layer."""
from fastfw.core.program cimport Look, Predicate


cpdef enum RangeBit:
    RANGE_TARGET = 1        # the packet's destination, not its source
    RANGE_OUTGOING = 2      # the interface it leaves by, not the one it came in by
    RANGE_REVERSE = 4       # as rpfilter asks: some packets pass whatever the routes say


# Why a record of the link layer's says something; the record is engine.pxd's.
cpdef enum LinkBit:
    LINK_SOURCE = 1         # its source address is known
    LINK_TARGET = 2         # its destination address is


# Linux's packet types.
cpdef enum LinkType:
    LINK_HOST = 0
    LINK_BROADCAST = 1
    LINK_MULTICAST = 2
    LINK_OTHERHOST = 3


# 1 or 0, and -1 where the rule does not hold whether inverted or not.
cdef int declared_holds(const Predicate *q, const Look *look) noexcept nogil
