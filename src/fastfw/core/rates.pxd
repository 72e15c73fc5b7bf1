"""hashlimit's tables: a bucket of credits, or a count, for each group of packets."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.maps cimport Map
from fastfw.core.program cimport Look, Predicate


# Of a rule and of its table.
cpdef enum RateBit:
    RATE_TARGET = 1         # packets are grouped by destination, and so on
    RATE_TARGET_PORT = 2
    RATE_SOURCE = 4
    RATE_SOURCE_PORT = 8
    RATE_BYTES = 16
    RATE_WINDOW = 32        # --hashlimit-rate-match: counted in windows of time
    RATE_ABOVE = 64         # the rule holds beyond the rate


ctypedef struct Group:      # 40 bytes
    uint64_t source[2]      # as they stand in packets; IPv4: the low half of the first word
    uint64_t target[2]
    uint32_t ports
    uint32_t unused


ctypedef struct Rate:
    Group group
    int64_t seen            # tick of the last look at the clock
    int64_t expires         # tick from which on it may be thrown out
    uint64_t credit         # in a window: what has been counted
    uint64_t refills        # of bytes: how often the credit may be filled up
    uint8_t over            # the last window's rate was too high


ctypedef struct RateTable:
    Map map
    uint64_t source_mask[2]
    uint64_t target_mask[2]
    uint64_t cost           # of a packet, or of 16 bytes; in a window: what it may carry a second
    uint64_t cap            # credits of a full bucket; in a window: what it may carry at once
    uint64_t refills
    uint32_t bits
    uint32_t most           # groups at a time
    int64_t keep            # ticks that a group is kept
    int64_t window          # ticks
    int64_t collect         # ticks between two turns of throwing out
    int64_t collected       # tick of the last turn


cdef int rate_init(RateTable *table, const uint64_t *form) noexcept nogil
cdef void rate_free(RateTable *table) noexcept nogil
cdef int rate_holds(RateTable *table, const Predicate *q, Look *look) noexcept nogil
