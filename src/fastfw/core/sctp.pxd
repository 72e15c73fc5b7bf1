"""SCTP: states, verification tags and heartbeats of an association's path."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


cdef bint sctp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step sctp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
