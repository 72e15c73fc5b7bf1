"""What each ICMP type means to connection tracking, as icmp_types.h has it."""
from libc.stdint cimport uint8_t


cdef extern from "icmp_types.h" nogil:
    bint icmp_is_error(uint8_t family, uint8_t type)
    bint icmp_is_untracked(uint8_t family, uint8_t type)
    int icmp_request_of(uint8_t family, uint8_t type)
