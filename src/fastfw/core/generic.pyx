"""Tracking by address pair alone, with one timeout."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport STEP_ACCEPT, Step, refresh
from fastfw.core.settings cimport SET_GENERIC, Settings
from fastfw.core.wire cimport Packet


cdef bint generic_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    return True


cdef Step generic_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    refresh(e, p, s.of[SET_GENERIC])
    return STEP_ACCEPT
