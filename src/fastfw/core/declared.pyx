"""Predicates about what the engine was told; see declared.pxd.

Ranges of addresses cover all addresses from the lowest on: `size` first addresses in host order (IPv6: four words, the
high one first), then for each range what is true in it: bit 0 the answer where the interface meets one of the patterns,
bit 1 the answer where it does not, and from bit 8 on the place in `numbers` of how many patterns there are and theirs.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be32, raw16, raw32
from fastfw.core.flows cimport Entry
from fastfw.core.program cimport (
    OP_CLUSTER, OP_HELPER, OP_INTERFACES, OP_PACKET_TYPE, OP_RANGES4, OP_RANGES6, Look, Predicate,
)
from fastfw.core.terms cimport STATUS_ORIGIN_HI
from fastfw.core.wire cimport NO_FLOW

cdef enum:
    JENKINS = 0xdeadbeef         # what every hash begins with
    LOCAL_NETWORK = 0xe00000     # 224.0.0.0/24, its first 24 bits


cdef inline bint meets(const uint64_t *row, uint32_t pattern) noexcept nogil:
    return row[pattern >> 6] >> (pattern & 63) & 1


cdef bint meets_any(const uint64_t *row, const uint32_t *patterns, uint32_t count) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if meets(row, patterns[i]):
            return True
    return False


cdef uint32_t range4(const uint32_t *starts, uint32_t count, uint32_t address) noexcept nogil:
    """The range an address lies in."""
    cdef uint32_t low = 0, high = count - 1, middle
    while low < high:
        middle = (low + high + 1) / 2
        if starts[middle] <= address:
            low = middle
        else:
            high = middle - 1
    return low


cdef bint reaches(const uint32_t *start, const uint8_t *address) noexcept nogil:
    """Whether an address is a range's first or a higher one."""
    cdef uint32_t i, word
    for i in range(4):
        word = be32(address + 4 * i)
        if word != start[i]:
            return word > start[i]
    return True


cdef uint32_t range6(const uint32_t *starts, uint32_t count, const uint8_t *address) noexcept nogil:
    cdef uint32_t low = 0, high = count - 1, middle
    while low < high:
        middle = (low + high + 1) / 2
        if reaches(starts + 4 * middle, address):
            low = middle
        else:
            high = middle - 1
    return low


cdef bint passes_anyway(const Look *look) noexcept nogil:
    """What has no source yet is not looked up; q.c is asked for elsewhere."""
    cdef const uint8_t *ip = look.p.data
    cdef uint32_t target
    if look.p.family == 6:
        return (raw32(ip + 8) | raw32(ip + 12) | raw32(ip + 16) | raw32(ip + 20)) == 0
    target = be32(ip + 16)
    return raw32(ip + 12) == 0 and (target == <uint32_t> 0xffffffff or target >> 8 == LOCAL_NETWORK)


cdef bint in_ranges(const Predicate *q, const Look *look) noexcept nogil:
    cdef const uint32_t *numbers = look.program.numbers
    cdef const uint32_t *starts = numbers + q.a
    cdef const uint8_t *ip = look.p.data
    cdef const uint64_t *row = look.oif if q.b & RANGE_OUTGOING else look.iif
    cdef uint32_t value
    cdef const uint32_t *patterns
    if q.b & RANGE_REVERSE and (meets(row, q.c) or passes_anyway(look)):
        return True
    if q.op == OP_RANGES4:
        value = starts[q.size + range4(starts, q.size, be32(ip + (16 if q.b & RANGE_TARGET else 12)))]
    else:
        value = starts[4 * q.size + range6(starts, q.size, ip + (24 if q.b & RANGE_TARGET else 8))]
    patterns = numbers + (value >> 8)
    return value >> (not meets_any(row, patterns + 1, patterns[0])) & 1


cdef inline uint32_t turned(uint32_t x, int by) noexcept nogil:
    return x << by | x >> (32 - by)


cdef void jenkins_final(uint32_t *s) noexcept nogil:
    """Bob Jenkins, lookup3: the last step."""
    s[2] ^= s[1]
    s[2] -= turned(s[1], 14)
    s[0] ^= s[2]
    s[0] -= turned(s[2], 11)
    s[1] ^= s[0]
    s[1] -= turned(s[0], 25)
    s[2] ^= s[1]
    s[2] -= turned(s[1], 16)
    s[0] ^= s[2]
    s[0] -= turned(s[2], 4)
    s[1] ^= s[0]
    s[1] -= turned(s[0], 14)
    s[2] ^= s[1]
    s[2] -= turned(s[1], 24)


cdef uint32_t jenkins(uint32_t word, uint32_t seed) noexcept nogil:
    cdef uint32_t s[3]
    s[1] = s[2] = <uint32_t> JENKINS + 4 + seed
    s[0] = s[1] + word
    jenkins_final(s)
    return s[2]


cdef const Entry *master_of(const Look *look) noexcept nogil:
    """The connection that announced the packet's, or NULL."""
    cdef const Entry *master
    if look.e == NULL or look.e.master == NO_FLOW:
        return NULL
    master = look.tracker.flows.entries + look.e.master
    return master if master.key.family else NULL


cdef int on_this_node(const Predicate *q, const Look *look) noexcept nogil:
    """By the address of whoever began the connection, or the one that announced it; of IPv6 ones the kernel takes the
    first four bytes alone."""
    cdef const uint32_t *want = look.program.numbers + q.a
    cdef const Entry *e = look.e
    cdef const Entry *master
    cdef const uint32_t *address
    cdef uint64_t hash
    if e == NULL:
        return -1
    master = master_of(look)
    if master != NULL:
        e = master
    address = <const uint32_t *> (&e.key.hi[0] if e.status & STATUS_ORIGIN_HI else &e.key.lo[0])
    hash = jenkins(address[0], want[0])
    return want[2] >> (hash * want[1] >> 32) & 1


cdef bint is_helped(const Predicate *q, const Look *look) noexcept nogil:
    cdef const Entry *master = master_of(look)
    cdef const uint64_t *bits = look.program.words + q.a
    if master == NULL or master.helper == 0:
        return False
    return bits[master.helper >> 6] >> (master.helper & 63) & 1


cdef int declared_holds(const Predicate *q, const Look *look) noexcept nogil:
    cdef const uint8_t *link = look.p.link
    if q.op == OP_RANGES4 or q.op == OP_RANGES6:
        return in_ranges(q, look)
    if q.op == OP_INTERFACES:
        return meets_any(look.oif if q.b else look.iif, look.program.numbers + q.a, q.size)
    if q.op == OP_CLUSTER:
        return on_this_node(q, look)
    if q.op == OP_HELPER:
        return is_helped(q, look)
    if q.op == OP_PACKET_TYPE:
        return (link[12] if link != NULL else LINK_HOST) == q.a
    if link == NULL or not link[13] & LINK_SOURCE:      # OP_MAC
        return -1
    return raw32(link + 6) == q.a and raw16(link + 10) == q.b
