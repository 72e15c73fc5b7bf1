"""What one rule asks of a packet."""
from libc.stdint cimport uint32_t

from fastfw.core.program cimport Look, Predicate


# Whether all `count` predicates hold. Sets look.hotdrop where a header could not be read.
cdef bint predicates_hold(const Predicate *q, uint32_t count, Look *look) noexcept nogil
