"""UDP: a pair of timeouts, and ASSURED for a stream."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


cdef bint udp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step udp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
