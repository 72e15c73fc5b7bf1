"""TCP: states, and windows after van Rooij. tcp_states.h holds the state tables."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


cdef bint tcp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step tcp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef bint tcp_is_closing(const Entry *e) noexcept nogil
