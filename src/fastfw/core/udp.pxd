"""UDP and UDP-Lite tracking (RFC 768, RFC 3828; timeouts in the spirit of RFC 4787 section 4.3).

Traffic both ways that is still active two seconds after the first packet is a stream: it lives longer, and is ASSURED.
UDP-Lite need not wait.
"""
from libc.stdint cimport int64_t

from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport STEP_ACCEPT, Step, refresh
from fastfw.core.settings cimport SET_UDP, SET_UDP_STREAM, Settings
from fastfw.core.terms cimport STATUS_ASSURED, STATUS_CONFIRMED, STATUS_SEEN_REPLY
from fastfw.core.wire cimport PROTO_UDPLITE, Packet

cdef enum:
    STREAM_AFTER = 2_000_000_000     # ns


cdef inline bint udp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    return True


cdef inline Step udp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    cdef bint stream
    if not e.status & STATUS_CONFIRMED:
        e.proto.udp.stream_at = p.now + <int64_t> STREAM_AFTER
    stream = e.status & STATUS_SEEN_REPLY and (p.now > e.proto.udp.stream_at or p.proto == PROTO_UDPLITE)
    refresh(e, p, s.of[SET_UDP_STREAM] if stream else s.of[SET_UDP])
    if stream and not e.status & STATUS_ASSURED:
        e.status |= STATUS_ASSURED
    return STEP_ACCEPT
