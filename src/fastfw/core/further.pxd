"""The predicates beyond those that most rules ask: which module answers them."""
from fastfw.core.program cimport Look, Predicate


# Whether one holds, its inversion taken into account.
cdef bint further_holds(const Predicate *q, Look *look) noexcept nogil
