"""What is still to be asked of a rule that the classifier names."""
from libc.stdint cimport uint16_t

from fastfw.core.program cimport Program


# Give every rule the predicates that its being a candidate leaves open. `told` has for every rule and fact which
# predicate the classifier went by, counted from 1; 0: none. 0, or -1 without memory.
cdef int classifier_find_rest(Program *program, const uint16_t *told) noexcept nogil
