"""What SCTP and DCCP packets are made of, and fields of other transport headers."""
from fastfw.core.program cimport Look, Predicate


# 1 or 0, and -1 where the rule does not hold whether inverted or not.
cdef int chunks_hold(const Predicate *q, Look *look) noexcept nogil
