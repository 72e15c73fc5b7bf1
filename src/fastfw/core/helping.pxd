"""The helpers an engine carries, and what one of them is handed."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastfw.core.conntrack cimport Tracker
from fastfw.core.expect cimport Expect
from fastfw.core.flows cimport key_equal
from fastfw.core.wire cimport Packet


cdef inline bint helped_is_there(const Tracker *t, const Packet *p) noexcept nogil:
    """Whether the packet's connection is in the table still: a helper may have ended it, or moved the table."""
    return key_equal(&t.flows.entries[p.entry].key, &p.key)


cdef enum:
    MOST_PREFIXES = 8


# What a payload must have for its helper to be entered; pointers into bytes objects that the helper's number keeps.
ctypedef struct Interest:
    const uint8_t *prefix[MOST_PREFIXES]     # lower case
    uint32_t prefix_size[MOST_PREFIXES]
    uint32_t prefixes                        # 0: whatever it begins with
    const uint8_t *contains
    uint32_t contains_size                   # 0: whatever is in it


cdef class Attached:
    cdef list helpers                # by number; 0: none
    cdef dict notes                  # (slab index, helper number) -> (key, the helper's memory of that connection)
    cdef uint32_t purge_at           # size of notes at which those of dead connections are thrown out
    cdef Interest interests[256]     # by number
    cdef list kept                   # the bytes objects that interests point into
    cdef bytearray tcp_ports         # by port, the helper's number; empty: none is attached
    cdef bytearray udp_ports

    cdef take_interest(self, int number, list prefixes, bytes contains)
    cdef const uint8_t *port_map(self, int protocol)
    cdef bint wants(self, const Tracker *t, const Packet *p) noexcept nogil
    cdef bint call(self, Tracker *t, Packet *p) noexcept
    cdef purge(self, const Tracker *t)


# The packet in hand as a helper sees it; fastfw.helpers.base.Flow says what each means.
cdef class Flow:
    cdef Tracker *tracker            # NULL once the call is over
    cdef Packet *packet
    cdef Attached attached
    cdef object helper
    cdef dict notes

    cdef const Packet *live(self) except NULL
    cdef bytes address(self, int v4_at, int v6_at)
    cdef Expect describe(self, int protocol, bytes source, source_port, bytes destination, int port,
                         bytes source_mask) except *
