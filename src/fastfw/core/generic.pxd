"""Every protocol without a tracker of its own: a connection is a pair of addresses and a protocol number."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


cdef bint generic_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step generic_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
