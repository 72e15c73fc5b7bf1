"""TCPMSS, TCPOPTSTRIP and ECN on a copy of the packet; see rewrite.pxd. Options are RFC 9293 section 3.1's."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from fastfw.core.bytes cimport be16, raw16, sum_bytes, sum_fold
from fastfw.core.program cimport ACT_TCP_ECN, ACT_TCP_MSS, Look, Rewrite, Rule
from fastfw.core.wire cimport Packet

cdef enum:
    OPTION_NOP = 1
    OPTION_MSS = 2
    MSS_SIZE = 4
    TCP_HEAD = 20
    TCP_LONGEST = 60
    CHECKSUM_AT = 16
    FLAGS_AT = 13
    LEAST_MSS4 = 536         # what a host that names none takes (RFC 9293 section 3.7.1), 1220 in IPv6 (RFC 8200 5)
    LEAST_MSS6 = 1220


cdef int rewrite_reserve(Rewrite *w) noexcept nogil:
    """0, or -1 without memory."""
    if w.copy == NULL:
        w.copy = <uint8_t *> malloc(COPY_ROOM)
    return 0 if w.copy != NULL else -1


cdef void rewrite_free(Rewrite *w) noexcept nogil:
    free(w.copy)
    memset(w, 0, sizeof(Rewrite))


cdef void rewrite_undo(Rewrite *w, Packet *p) noexcept nogil:
    p.data = w.data
    p.have = w.have
    p.length = w.length
    w.data = NULL


cdef uint8_t *own_header(Look *look) noexcept nogil:
    """The transport header where it can be written to."""
    cdef Rewrite *w = look.program.rewrite
    cdef Packet *p = look.p
    cdef uint32_t at = <uint32_t> (look.l4 - p.data)
    if w.data == NULL:
        w.data = p.data
        w.have = p.have
        w.length = p.length
        memcpy(w.copy, p.data, p.have if p.have < COPY_ROOM - MSS_SIZE else COPY_ROOM - MSS_SIZE)
        p.data = w.copy
        look.l4 = p.data + at
    return w.copy + at


cdef void exchange(uint8_t *header, uint16_t old, uint16_t new) noexcept nogil:
    """Tell the header's checksum of a word that has changed (RFC 1624); words are as they stand in the packet."""
    cdef uint64_t sum = <uint64_t> <uint16_t> ~raw16(header + CHECKSUM_AT) + <uint16_t> ~old + new
    cdef uint16_t folded = ~sum_fold(sum)
    memcpy(header + CHECKSUM_AT, &folded, 2)


cdef void put(uint8_t *header, uint32_t at, uint8_t value) noexcept nogil:
    """Write one byte of the header, and its checksum."""
    cdef uint32_t word = at & ~<uint32_t> 1
    cdef uint16_t old = raw16(header + word)
    header[at] = value
    exchange(header, old, raw16(header + word))


cdef inline uint32_t option_size(const uint8_t *header, uint32_t at) noexcept nogil:
    return 1 if header[at] <= OPTION_NOP or header[at + 1] == 0 else header[at + 1]


cdef void lengthen(Look *look, uint8_t *header, uint32_t size) noexcept nogil:
    """Make room for an MSS option behind the fixed header of a segment that has no payload."""
    cdef Packet *p = look.p
    cdef uint8_t *ip = look.program.rewrite.copy
    cdef uint32_t told
    cdef uint16_t before, after, sum, old = raw16(header + 12)
    memmove(header + TCP_HEAD + MSS_SIZE, header + TCP_HEAD, size - TCP_HEAD)
    header[12] += 0x10
    exchange(header, old, raw16(header + 12))
    # the pseudo header's length has grown too
    before = <uint16_t> (size << 8 | size >> 8)
    after = <uint16_t> ((size + MSS_SIZE) << 8 | (size + MSS_SIZE) >> 8)
    exchange(header, before, after)
    p.have += MSS_SIZE
    p.length += MSS_SIZE
    look.room += MSS_SIZE
    told = p.length if p.family == 4 else p.length - 40
    if p.family == 4:
        ip[2] = <uint8_t> (told >> 8)
        ip[3] = <uint8_t> told
        ip[10] = ip[11] = 0
        sum = ~sum_fold(sum_bytes(ip, (ip[0] & 15) * 4))
        memcpy(ip + 10, &sum, 2)
    else:
        ip[4] = <uint8_t> (told >> 8)
        ip[5] = <uint8_t> told


cdef void clamp(Look *look, uint32_t mss, uint32_t size) noexcept nogil:
    """Lower the maximum segment size to `mss`, or name it where the packet does not; a header of `size` bytes."""
    cdef const uint8_t *seen = look.l4
    cdef uint8_t *header
    cdef uint32_t at = TCP_HEAD
    while at + MSS_SIZE <= size:
        if seen[at] == OPTION_MSS and seen[at + 1] == MSS_SIZE:
            if be16(seen + at + 2) > mss:
                header = own_header(look)
                put(header, at + 2, <uint8_t> (mss >> 8))
                put(header, at + 3, <uint8_t> mss)
            return
        at += option_size(seen, at)
    if look.room > size or look.p.length > look.p.have or size > TCP_LONGEST - MSS_SIZE:
        return
    if look.p.family == 4:
        mss = mss if mss < LEAST_MSS4 else LEAST_MSS4
    else:
        mss = mss if mss < LEAST_MSS6 else LEAST_MSS6
    header = own_header(look)
    lengthen(look, header, size)
    memset(header + TCP_HEAD, 0, MSS_SIZE)
    header[TCP_HEAD] = OPTION_MSS
    header[TCP_HEAD + 1] = MSS_SIZE
    header[TCP_HEAD + 2] = <uint8_t> (mss >> 8)
    header[TCP_HEAD + 3] = <uint8_t> mss
    for at in range(TCP_HEAD, TCP_HEAD + MSS_SIZE, 2):
        exchange(header, 0, raw16(header + at))


cdef void strip(Look *look, const uint32_t *kinds, uint32_t size) noexcept nogil:
    """Write NOPs over the options of some kinds, a bit each."""
    cdef uint8_t *header = NULL
    cdef uint32_t at = TCP_HEAD, step, i
    while at + 1 < size:
        step = option_size(look.l4, at)
        if at + step > size:
            return
        if kinds[look.l4[at] >> 5] >> (look.l4[at] & 31) & 1:
            if header == NULL:
                header = own_header(look)
            for i in range(step):
                put(header, at + i, OPTION_NOP)
        at += step


cdef bint rewrite_act(Look *look, const Rule *rule) noexcept nogil:
    cdef uint32_t size
    cdef uint8_t flags
    if look.fragment and rule.action != ACT_TCP_ECN:
        return False
    if rule.action == ACT_TCP_ECN:
        look.tos = <uint8_t> ((look.tos & ~(rule.b >> 8)) | rule.a >> 8)
    if look.room < TCP_HEAD:
        return True
    if rule.action == ACT_TCP_ECN:
        flags = (look.l4[FLAGS_AT] & ~<uint8_t> rule.b) | <uint8_t> rule.a
        if flags != look.l4[FLAGS_AT]:
            put(own_header(look), FLAGS_AT, flags)
        return False
    size = (look.l4[12] >> 4) * 4
    if size < TCP_HEAD or look.room < size:
        return True
    if rule.action == ACT_TCP_MSS:
        clamp(look, rule.a, size)
        return False
    strip(look, look.program.numbers + rule.a, size)
    return False
