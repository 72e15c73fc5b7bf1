"""What the rules of one ruleset remember in tables that grow."""
from libc.stdint cimport uint32_t

from fastfw.core.crowds cimport Crowds
from fastfw.core.rates cimport RateTable


ctypedef struct Amounts:
    RateTable *rates
    Crowds *crowds
    uint32_t rate_count
    uint32_t crowd_count


cdef class Kept:
    """Owns the tables."""
    cdef Amounts amounts
