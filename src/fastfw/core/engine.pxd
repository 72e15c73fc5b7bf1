"""The engine's C face: what drivers written in Cython call."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from fastfw.core.decision cimport Decision
from fastfw.core.machine cimport LATEST, Machine, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.wire cimport Packet


cdef enum:
    BATCH = 128              # packets that go through the stages together


# One packet's decision in a result array; the layout is DECISION's.
ctypedef struct Outcome:     # 16 bytes
    uint8_t verdict
    uint8_t state
    uint8_t direction
    uint8_t assured
    uint8_t seen_reply
    uint8_t expected
    uint16_t reason
    int32_t rule
    uint32_t mark


cdef class Core(Machine):
    # Judge n <= BATCH packets whose data, have, length, hook, iif, oif, now, mark, no_verify, link and stray are set.
    # The lock is held.
    cdef void run(self, Packet *batch, uint32_t n) noexcept nogil
    cdef void call_helper(self, Packet *p, bint begun) noexcept with gil
    cdef Decision decision(self, const Packet *p)
