"""Targets that change TCP's header for the rules behind them: on a copy, because the packet is its caller's."""
from fastfw.core.program cimport Look, Rewrite, Rule
from fastfw.core.wire cimport Packet


cdef enum:
    COPY_ROOM = 65536 + 64   # the longest packet (RFC 791, RFC 8200 without jumbograms) and what may be added


cdef int rewrite_reserve(Rewrite *w) noexcept nogil
cdef void rewrite_free(Rewrite *w) noexcept nogil

# Let the packet be its caller's again.
cdef void rewrite_undo(Rewrite *w, Packet *p) noexcept nogil

# What ACT_TCP_MSS, ACT_TCP_STRIP and ACT_TCP_ECN do; 1: the packet is dropped because its header cannot be read.
cdef bint rewrite_act(Look *look, const Rule *rule) noexcept nogil
