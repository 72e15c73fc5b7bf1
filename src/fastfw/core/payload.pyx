"""Predicates that look beyond a packet's fixed headers or at the clock; see payload.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastfw.core.bytes cimport be16, sum_bytes, sum_fold
from fastfw.core.conntrack cimport TELL_LABEL
from fastfw.core.flows cimport Extra
from fastfw.core.program cimport OP_CONNBYTES, OP_ROOM, OP_STRING, OP_TIME, Look, Predicate
from fastfw.core.terms cimport STATUS_COUNTED, STATUS_LABELLED
from fastfw.core.wire cimport NEW_FLOW

cdef enum:
    OPTION_MSS = 2
    DAY = 86400
    HEAD = 192                   # the longest IP header and the longest text

# What OP_TIME's eight words are: seconds since 1970 from and to, seconds of the day from and to, bits of the days of
# the month and of the week (Monday is bit 1), whether a night counts as the day it began on, and seconds east of UTC.
cdef enum:
    TIME_START = 0
    TIME_STOP = 1
    TIME_DAY_START = 2
    TIME_DAY_STOP = 3
    TIME_MONTHDAYS = 4
    TIME_WEEKDAYS = 5
    TIME_CONTIGUOUS = 6
    TIME_ZONE = 7


cdef bint mss_between(const Predicate *q, const Look *look) noexcept nogil:
    """The first MSS option (RFC 9293 section 3.7.1) of a header that is there whole."""
    cdef uint32_t size = (look.l4[12] >> 4) * 4
    cdef uint32_t at = 20
    cdef uint32_t mss
    while at < size:
        if look.l4[at] == OPTION_MSS and size - at >= 4 and look.l4[at + 1] == 4:
            mss = be16(look.l4 + at + 2)
            return q.a <= mss <= q.b
        if look.l4[at] < 2 or at + 1 >= size or look.l4[at + 1] == 0:
            at += 1
        else:
            at += look.l4[at + 1]
    return False


cdef inline uint8_t lower(uint8_t letter) noexcept nogil:
    return letter + 32 if c'A' <= letter <= c'Z' else letter


cdef void payload_header(const Look *look, uint8_t *copy, uint32_t size) noexcept nogil:
    """The packet's first bytes, its IP header at least, as they are by now: forwarding and targets have changed it."""
    cdef uint32_t header = (look.p.data[0] & 15) * 4
    cdef uint16_t sum
    memcpy(copy, look.p.data, size)
    if look.p.family == 6:
        copy[0] = 0x60 | look.tos >> 4
        copy[1] = <uint8_t> (look.tos << 4) | (copy[1] & 15)
        copy[7] = look.ttl
        return
    copy[1] = look.tos
    copy[8] = look.ttl
    copy[10] = copy[11] = 0
    sum = ~sum_fold(sum_bytes(copy, header))
    memcpy(copy + 10, &sum, 2)


cdef bint contains(const Predicate *q, const Look *look) noexcept nogil:
    """Whether the packet has a text that begins at offset q.b or later and ends at q.c or before."""
    cdef uint32_t end = q.c if q.c < look.p.have else look.p.have
    cdef uint32_t head = 40 if look.p.family == 6 else (look.p.data[0] & 15) * 4
    cdef uint8_t[HEAD] copy
    cdef uint32_t size
    if q.b < head:
        size = end if end < head + q.size else head + q.size
        payload_header(look, copy, look.p.have if look.p.have < HEAD else HEAD)
        if found_in(q, look, copy, q.b, size):
            return True
        return found_in(q, look, look.p.data, head, end)
    return found_in(q, look, look.p.data, q.b, end)


cdef bint found_in(const Predicate *q, const Look *look, const uint8_t *at, uint32_t start,
                   uint32_t end) noexcept nogil:
    """Whether a text lies whole between two offsets."""
    cdef const uint8_t *text = <const uint8_t *> (look.program.words + q.a)
    cdef uint32_t i, k
    if q.size > end or start > end - q.size:
        return False
    for i in range(start, end - q.size + 1):
        k = 0
        if q.d:
            while k < q.size and lower(at[i + k]) == lower(text[k]):
                k += 1
        else:
            while k < q.size and at[i + k] == text[k]:
                k += 1
        if k == q.size:
            return True
    return False


cdef uint32_t day_of_month(int64_t days) noexcept nogil:
    """Of a number of days since 1970-01-01: the Gregorian calendar in eras of 400 years that begin in March."""
    cdef int64_t day = (days + 719468) % 146097
    cdef int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365
    day -= 365 * year + year / 4 - year / 100
    return <uint32_t> (day - (153 * ((5 * day + 2) / 153) + 2) / 5 + 1)


cdef bint is_time(const Predicate *q, const Look *look) noexcept nogil:
    cdef const uint64_t *want = look.program.words + q.a
    cdef int64_t now = look.p.now / <int64_t> 1000000000 + <int64_t> want[TIME_ZONE]
    cdef int64_t second = now % DAY
    cdef int64_t days = now / DAY
    if now < <int64_t> want[TIME_START] or now > <int64_t> want[TIME_STOP]:
        return False
    if want[TIME_DAY_START] < want[TIME_DAY_STOP]:
        if second < <int64_t> want[TIME_DAY_START] or second > <int64_t> want[TIME_DAY_STOP]:
            return False
    else:
        if second < <int64_t> want[TIME_DAY_START] and second > <int64_t> want[TIME_DAY_STOP]:
            return False
        if want[TIME_CONTIGUOUS] and second <= <int64_t> want[TIME_DAY_STOP]:
            days -= 1
    # 1970-01-01 was a Thursday
    if not want[TIME_WEEKDAYS] >> ((days + 3) % 7 + 1) & 1:
        return False
    return want[TIME_MONTHDAYS] >> day_of_month(days) & 1


cdef inline Extra *extra_of(const Look *look) noexcept nogil:
    """What is kept beside the packet's connection, whose status says that there is something."""
    return &look.tracker.fresh_extra if look.p.entry == NEW_FLOW else look.tracker.flows.extras + look.p.entry


cdef bint label_holds(const Predicate *q, Look *look) noexcept nogil:
    cdef uint64_t *word
    cdef uint64_t bit = <uint64_t> 1 << (q.a & 63)
    if look.e == NULL or not look.e.status & STATUS_LABELLED:
        return False
    word = &extra_of(look).labels[q.a >> 6]
    if not word[0] & bit:
        if not q.b:
            return False
        look.tracker.happened |= TELL_LABEL
        word[0] |= bit
    return True


cdef int amount_between(const Predicate *q, const Look *look) noexcept nogil:
    """Packets, bytes or bytes a packet of the connection so far; -1: they are not counted."""
    cdef const Extra *extra
    cdef const uint64_t *ends = look.program.words + q.a
    cdef uint64_t packets, size, amount
    if look.e == NULL or not look.e.status & STATUS_COUNTED:
        return -1
    extra = extra_of(look)
    if q.c < 2:
        packets = extra.packets[q.c]
        size = extra.bytes[q.c]
    else:
        packets = extra.packets[0] + extra.packets[1]
        size = extra.bytes[0] + extra.bytes[1]
    if q.b == 2:
        amount = size / packets if packets else 0
    else:
        amount = size if q.b else packets
    return ends[0] <= amount <= ends[1]


cdef int payload_holds(const Predicate *q, Look *look) noexcept nogil:
    cdef int answer
    if q.op == OP_ROOM:
        return 1 if (not look.fragment or look.p.family == 6) and look.room >= q.a else -1
    if q.op == OP_STRING:
        answer = contains(q, look)
    elif q.op == OP_TIME:
        answer = is_time(q, look)
    elif q.op == OP_CONNBYTES:
        answer = amount_between(q, look)
        if answer < 0:
            return -1
    else:
        if (look.l4[12] >> 4) * 4 < 20 or <uint32_t> (look.l4[12] >> 4) * 4 > look.room:
            look.hotdrop = 1
            return -1
        answer = mss_between(q, look)
    return answer != q.invert
