"""Predicates that remember being asked: every n-th packet, chance, a quota, addresses seen lately."""
from libc.stdint cimport uint32_t, uint64_t

from fastfw.core.program cimport Look, Predicate, Recent


cdef bint memory_holds(const Predicate *q, Look *look) noexcept nogil
cdef int recent_init(Recent *list, uint32_t stamps, const uint64_t *mask) noexcept nogil
cdef void recent_free(Recent *list) noexcept nogil
