"""Building a classifier from a program's rules and predicates."""
from libc.stdint cimport uint32_t, uint64_t

from fastfw.core.classifier cimport Classifier
from fastfw.core.program cimport Program


# 0, or -1 without memory. A fact whose sets would take too much of it is left out.
cdef int classifier_build(Program *program) noexcept nogil
cdef void classifier_free(Classifier *c) noexcept nogil
# The sets of an interface that meets the patterns in `row`; -1 without memory.
cdef int classifier_bind(Program *program, uint32_t number, const uint64_t *row) noexcept nogil
# Forget what was bound of an interface that no packet has carried yet.
cdef void classifier_unbind(Program *program, uint32_t number) noexcept nogil
