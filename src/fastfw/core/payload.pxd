"""Predicates that look beyond a packet's fixed headers or at the clock: options, payload, time of day, amounts."""
from libc.stdint cimport uint8_t, uint32_t

from fastfw.core.program cimport Look, Predicate


# Whether a predicate from OP_ROOM to OP_CONNBYTES holds; -1: what it asks for cannot be read, and the rule fails.
cdef int payload_holds(const Predicate *q, Look *look) noexcept nogil

# OP_LABEL: whether the connection has a label, or has been given it now.
cdef bint label_holds(const Predicate *q, Look *look) noexcept nogil

# Copy the packet's first bytes, its IP header at least, as forwarding and targets have left them.
cdef void payload_header(const Look *look, uint8_t *copy, uint32_t size) noexcept nogil
