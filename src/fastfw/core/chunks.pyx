"""Transport headers, SCTP's chunks (RFC 9260 section 3), DCCP's options (RFC 4340 section 5): chunks.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastfw.core.bytes cimport be16, be32
from fastfw.core.program cimport (
    OP_DCCP_OPTION, OP_DCCP_TYPE, OP_L4, OP_SCTP_CHUNKS, OP_WORD16, OP_WORD32, Look, Predicate,
)
from fastfw.core.wire cimport PROTO_NONE

cdef enum:
    SCTP_HEADER = 12
    CHUNK_MAP = 8                # words of a bit for each chunk type
    DCCP_HEADER = 12
    MOBILITY_HEADER = 6

# OP_SCTP_CHUNKS: how to match, how many tests of flags, the types' bits, then type << 16 | mask << 8 | value each.
cdef enum:
    CHUNKS_ANY = 0
    CHUNKS_ALL = 1
    CHUNKS_ONLY = 2

# Bytes of a DCCP header behind its first 12 or 16, by packet type; what is not known is as long as a RESET's.
cdef uint8_t[16] DCCP_MORE
DCCP_MORE[:] = [4, 12, 0, 8, 8, 8, 8, 12, 8, 8, 12, 12, 12, 12, 12, 12]


cdef inline int drop(Look *look) noexcept nogil:
    look.hotdrop = 1
    return -1


cdef inline int unreadable(Look *look) noexcept nogil:
    """The packet is dropped, and yet the rule counts it where it asks for the opposite."""
    look.hotdrop = 1
    return 0


cdef inline bint flags_agree(const uint32_t *tests, uint32_t count, uint8_t kind, uint8_t flags) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if tests[i] >> 16 == kind:
            return (flags & (tests[i] >> 8 & 0xff)) == (tests[i] & 0xff)
    return True


cdef int sctp_chunks(const Predicate *q, Look *look) noexcept nogil:
    cdef const uint32_t *want = look.program.numbers + q.a
    cdef uint32_t mode = want[0], tests = want[1]
    cdef const uint32_t *types = want + 2
    cdef uint32_t[CHUNK_MAP] left
    cdef const uint8_t *l4 = look.l4
    cdef uint32_t at = SCTP_HEADER, size, i
    cdef uint32_t end = look.p.length - <uint32_t> (l4 - look.p.data)
    cdef uint8_t kind
    memcpy(left, types, sizeof(left))
    while True:
        if at + 4 > look.room:
            return unreadable(look)
        kind = l4[at]
        size = be16(l4 + at + 2)
        if size == 0:
            return unreadable(look)
        if types[kind >> 5] >> (kind & 31) & 1:
            if flags_agree(want + 2 + CHUNK_MAP, tests, kind, l4[at + 1]):
                if mode == CHUNKS_ANY:
                    return 1
                left[kind >> 5] &= ~(<uint32_t> 1 << (kind & 31))
            elif mode == CHUNKS_ONLY:
                return 0
        elif mode == CHUNKS_ONLY:
            return 0
        at += (size + 3) & ~<uint32_t> 3
        if at >= end:
            break
    if mode != CHUNKS_ALL:
        return mode == CHUNKS_ONLY
    for i in range(CHUNK_MAP):
        if left[i]:
            return 0
    return 1


cdef int dccp_option(const Predicate *q, Look *look) noexcept nogil:
    cdef const uint8_t *l4 = look.l4
    cdef uint32_t end = l4[4] * 4
    cdef uint32_t at = DCCP_HEADER + (l4[8] & 1) * 4 + DCCP_MORE[l4[8] >> 1 & 15]
    if end < at:
        return unreadable(look)
    if end == at:
        return 0
    if end > look.room:
        return unreadable(look)
    while at < end:
        if l4[at] == q.a:
            return 1
        if l4[at] < 2 or at + 1 >= end or l4[at + 1] == 0:
            at += 1
        else:
            at += l4[at + 1]
    return 0


cdef int mobility(const Predicate *q, Look *look) noexcept nogil:
    """RFC 6275 section 6.1: the header is the last one, and says so."""
    if look.fragment:
        return -1
    if look.room < MOBILITY_HEADER or look.l4[0] != PROTO_NONE:
        return drop(look)
    return q.a <= look.l4[2] <= q.b


cdef int chunks_hold(const Predicate *q, Look *look) noexcept nogil:
    if q.op == OP_L4:
        if look.fragment:
            return -1
        return 1 if look.room >= q.a else drop(look)
    if q.op == OP_WORD32:
        return q.a <= be32(look.l4 + q.c) <= q.b
    if q.op == OP_WORD16:
        return q.a <= be16(look.l4 + q.c) <= q.b
    if q.op == OP_DCCP_TYPE:
        return q.a >> (look.l4[8] >> 1 & 15) & 1
    if q.op == OP_SCTP_CHUNKS:
        return sctp_chunks(q, look)
    if q.op == OP_DCCP_OPTION:
        return dccp_option(q, look)
    return mobility(q, look)        # OP_MOBILITY
