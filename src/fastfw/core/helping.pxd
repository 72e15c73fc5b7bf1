"""The helpers an engine carries, and what one of them is handed."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.conntrack cimport Tracker
from fastfw.core.expect cimport Expect
from fastfw.core.flows cimport key_equal
from fastfw.core.helping_stream cimport Chunk, Stream, Streams
from fastfw.core.wire cimport PROTO_TCP, PROTO_UDP, Packet


cdef inline bint helped_is_there(const Tracker *t, const Packet *p) noexcept nogil:
    """Whether the packet's connection is in the table still: a helper may have ended it, or moved the table."""
    return key_equal(&t.flows.entries[p.entry].key, &p.key)


cdef inline uint32_t payload_at(const Packet *p) noexcept nogil:
    """Offset of the application's bytes."""
    if p.proto == PROTO_TCP:
        return p.l4 + (p.data[p.l4 + 12] >> 4) * 4
    if p.proto == PROTO_UDP:
        return p.l4 + 8
    return p.l4


cdef enum:
    MOST_PATTERNS = 8        # of a kind, a helper


# What a payload must have for its helper to be entered; pointers into bytes objects that the helper's number keeps.
ctypedef struct Pattern:
    const uint8_t *bytes
    uint32_t size


ctypedef struct Interest:
    Pattern prefix[MOST_PATTERNS]            # lower case
    Pattern needle[MOST_PATTERNS]
    Pattern suffix[MOST_PATTERNS]
    uint32_t prefixes                        # 0: whatever it begins with
    uint32_t needles                         # 0: whatever is in it
    uint32_t suffixes                        # 0: none; else one of them will do in place of a prefix
    uint8_t directions                       # a bit each
    uint32_t most                            # bytes of a stream kept for it; 0: it reads packets
    int record_end                           # the byte that ends a stream's record, -1: none


cdef class Attached:
    cdef list helpers                # by number; 0: none
    cdef dict notes                  # (slab index, helper number) -> (key, the helper's memory of that connection)
    cdef uint32_t purge_at           # size of notes at which those of dead connections are thrown out
    cdef Interest interests[256]     # by number
    cdef list kept                   # the bytes objects that interests point into
    cdef bytearray tcp_ports         # by port, the helper's number; empty: none is attached
    cdef bytearray udp_ports
    cdef set unasked                 # (protocol, port) of those of them that nobody asked for

    cdef dict broadcasts             # IPv4 broadcast address of a declared network -> its mask, 4 bytes each

    cdef Streams streams             # of helpers that read streams
    cdef uint32_t purge_streams_at   # count of streams at which those of dead connections are thrown out
    cdef int64_t purged_at           # ns, when that was last done because much was kept
    cdef uint64_t lost               # streams that went beyond a bound
    cdef Chunk chunk                 # what wants() found to be handed over, and of which stream
    cdef Stream *stream

    cdef list patterns(self, Pattern *into, wanted, bint lower)
    cdef take_interest(self, int number, helper)
    cdef bint wants_stream(self, Tracker *t, const Packet *p, uint32_t at) noexcept nogil
    cdef void make_room(self, Tracker *t, const Stream *asking, uint32_t size) noexcept nogil
    cdef void detach(self, Tracker *t, const Packet *p) noexcept nogil
    cdef bytearray ports(self, int protocol)
    cdef const uint8_t *port_map(self, int protocol)
    cdef bint wants(self, Tracker *t, const Packet *p) noexcept nogil
    cdef bint call(self, Tracker *t, Packet *p) noexcept
    cdef purge(self, const Tracker *t)


# The packet in hand as a helper sees it; fastfw.helpers.base.Flow says what each means.
cdef class Flow:
    cdef Tracker *tracker            # NULL once the call is over
    cdef Packet *packet
    cdef Attached attached
    cdef object helper
    cdef dict notes
    cdef uint32_t first              # a stream's: sequence number of the first byte handed over
    cdef uint32_t whole              # and how many there are
    cdef uint32_t held               # of them, how many shall come again
    cdef bint reads_stream

    cdef const Packet *live(self) except NULL
    cdef bytes address(self, int v4_at, int v6_at)
    cdef Expect describe(self, int protocol, bytes source, source_port, bytes destination, int port,
                         bytes source_mask) except *
