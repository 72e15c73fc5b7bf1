"""Packets that LOG, NFLOG and TRACE rules tell of, in order, for those who read them: a ring that forgets the
oldest."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from fastfw.core.program cimport Logs, Look


cpdef enum LogKind:
    LOG_RULE = 1             # a LOG rule
    LOG_PACKET = 2           # an NFLOG rule
    LOG_TRACE = 3            # a rule, policy or return that a traced packet met


ctypedef struct Log:         # 32 bytes, the packet's first bytes behind it
    int64_t time             # ns
    uint32_t rule            # of the ruleset then in force
    uint32_t mark            # the packet's
    uint32_t length          # of the packet
    uint32_t have            # bytes of it that were kept
    uint16_t iif             # interned interface names, 0: none known at this point of the way
    uint16_t oif
    uint8_t kind             # a LogKind
    uint8_t family
    uint8_t point            # a Point
    uint8_t state            # a State


cdef int logs_open(Logs *v, uint32_t room, uint32_t snap) noexcept nogil
cdef void logs_free(Logs *v) noexcept nogil
# Keep one record of the packet as it is by now. Somebody reads.
cdef void logs_note(Look *look, uint32_t rule, int kind) noexcept nogil
# What was kept since the last call, oldest first: records of dtype LOG, and of each the packet's bytes. Nobody writes.
cdef tuple logs_take(Logs *v)
