"""ICMP queries (RFC 792, RFC 950, RFC 4443, RFC 4620): only a request begins a connection, and it is never ASSURED."""
from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport STEP_ACCEPT, Step, refresh
from fastfw.core.settings cimport SET_ICMP, SET_ICMPV6, Settings
from fastfw.core.terms cimport ICMP_NO_REQUEST
from fastfw.core.wire cimport Packet


cdef bint icmp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    if p.flip:      # an ICMP key puts the requester first
        p.reason = ICMP_NO_REQUEST
        return False
    return True


cdef Step icmp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    refresh(e, p, s.of[SET_ICMP] if p.family == 4 else s.of[SET_ICMPV6])
    return STEP_ACCEPT
