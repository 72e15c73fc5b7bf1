"""The sets that one engine's rules name."""
from libc.stdint cimport uint32_t

from fastfw.core.sets cimport Sets


cdef class SetStore:
    cdef Sets sets
    cdef dict names                  # of interfaces -> number here
    cdef list beginnings             # of interfaces' names, by number
    cdef uint32_t named_room
    cdef void know(self, str name) except *
    cpdef void bind_interface(self, int number, str name)
