"""One packet's decision as a Python object."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t


cdef class Decision:
    cdef readonly bint assured           # the connection survives a full table
    cdef readonly bint seen_reply        # the other side has answered
    cdef readonly bint expected          # a helper announced it
    cdef readonly uint32_t mark          # the packet's mark after the rules
    cdef uint8_t verdict_code
    cdef uint8_t state_code
    cdef uint8_t direction_code
    cdef uint16_t reason_code
    cdef int32_t rule_index
    cdef uint32_t answer
    cdef uint8_t family
    cdef uint32_t detail_a
    cdef uint32_t detail_b
    cdef object rules                    # names the rule; None without one
