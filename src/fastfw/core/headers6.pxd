"""IPv6's extension headers, one after another as they stand in the packet."""
from libc.stdint cimport uint8_t

from fastfw.core.program cimport Look, Predicate


# 1 or 0, and -1 where the rule does not hold whether inverted or not.
cdef int headers6_hold(const Predicate *q, Look *look) noexcept nogil
