"""The compiled ruleset as the engine sees it."""
from libc.stdint cimport int64_t, uint16_t, uint32_t

from fastfw.core.conntrack cimport Tracker
from fastfw.core.wire cimport Packet


ctypedef struct Program:
    uint32_t generation


cdef class Rules:
    cdef Program program
    cpdef void bind_interface(self, int number, str name)


# Before connection tracking (table raw) and after it (mangle, filter, security). Both set p.verdict and p.rule.
cdef void rules_before(Program *program, Tracker *t, Packet *p) noexcept nogil
cdef void rules_judge(Program *program, Tracker *t, Packet *p) noexcept nogil
