"""Predicates that look beyond a packet's fixed headers or at the clock: options, payload, time of day, amounts."""
from libc.stdint cimport uint8_t, uint32_t

from fastfw.core.program cimport Look, Predicate


# Whether a predicate from OP_ROOM to OP_CONNBYTES holds; -1: what it asks for cannot be read, and the rule fails.
cdef int payload_holds(const Predicate *q, Look *look) noexcept nogil

# The packet's first `size` bytes as they are by now: forwarding and targets have changed its IP header.
cdef void payload_header(const Look *look, uint8_t *copy, uint32_t size) noexcept nogil
