"""ICMP and ICMPv6 queries. Errors never get here: they speak of another connection."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


cdef bint icmp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step icmp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
