"""Expectations. They are few (expect_max is 4096) and only a packet that begins a connection looks for one, and only
while there are any: a dense array read from the front is as simple as it is fast enough.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastfw.core.wire cimport Key, Packet


cdef void expects_free(Expects *x) noexcept nogil:
    free(x.all)
    memset(x, 0, sizeof(Expects))


cdef void expects_remove(Expects *x, Expect *one) noexcept nogil:
    """Take one out; the last moves into its place."""
    x.count -= 1
    x.deleted += 1
    one[0] = x.all[x.count]


cdef void expects_forget(Expects *x, uint32_t master) noexcept nogil:
    """The connection is gone: so is all it announced."""
    cdef uint32_t i = x.count
    while i:
        i -= 1
        if x.all[i].master == master:
            expects_remove(x, x.all + i)


cdef enum:
    SOURCE_FLAGS = EXPECT_ANY_PORT | EXPECT_ANY_SOURCE | EXPECT_MASKED


cdef bint same(const Expect *a, const Expect *b) noexcept nogil:
    """One would be met by the same packets as the other."""
    return (a.destination[0] == b.destination[0] and a.destination[1] == b.destination[1]
            and a.destination_port == b.destination_port and a.proto == b.proto and a.family == b.family
            and a.zone == b.zone and a.source[0] == b.source[0] and a.source[1] == b.source[1]
            and a.source_port == b.source_port and (a.flags ^ b.flags) & SOURCE_FLAGS == 0)


cdef inline uint64_t source_bits(const Expect *one) noexcept nogil:
    """Which bits of an address's first word must agree with `source[0]`."""
    return one.source[0] >> 32 if one.flags & EXPECT_MASKED else <uint64_t> -1


cdef bint clash(const Expect *a, const Expect *b) noexcept nogil:
    """Some packet could meet either."""
    cdef uint8_t wild = a.flags | b.flags
    cdef uint64_t both = source_bits(a) & source_bits(b)
    return (a.destination[0] == b.destination[0] and a.destination[1] == b.destination[1]
            and a.destination_port == b.destination_port and a.proto == b.proto and a.family == b.family
            and a.zone == b.zone
            and (wild & EXPECT_ANY_SOURCE or ((a.source[0] ^ b.source[0]) & both == 0 and a.source[1] == b.source[1]))
            and (wild & EXPECT_ANY_PORT or a.source_port == b.source_port))


cdef int expects_add(Expects *x, const Expect *made, uint32_t most, uint32_t most_at_once, int64_t now) noexcept nogil:
    """Wait for a connection. `most` is expect_max, `most_at_once` the helper's limit for one connection and class (the
    oldest gives way). 0: waiting; -1: clashes with another's; -2: expect_max is reached; -3: no memory."""
    cdef uint32_t i = 0, alike = 0
    cdef Expect *oldest = NULL
    cdef Expect *one
    cdef Expect *grown
    while i < x.count:
        one = x.all + i
        if one.expires <= now:
            expects_remove(x, one)
            continue
        if same(one, made):
            if one.master != made.master or one.class_ != made.class_:
                return -1
            expects_remove(x, one)
            continue
        if clash(one, made):
            return -1
        i += 1
    for i in range(x.count):
        one = x.all + i
        if one.master == made.master and one.class_ == made.class_:
            alike += 1
            if oldest == NULL or one.serial < oldest.serial:
                oldest = one
    if most_at_once and alike >= most_at_once:
        expects_remove(x, oldest)
    if x.count >= most:
        return -2
    if x.count == x.room:
        grown = <Expect *> realloc(x.all, (x.room * 2 + 16) * sizeof(Expect))
        if grown == NULL:
            return -3
        x.all = grown
        x.room = x.room * 2 + 16
    x.all[x.count] = made[0]
    x.all[x.count].serial = x.next_serial
    x.next_serial += 1
    x.count += 1
    x.created += 1
    return 0


cdef Expect *expects_same(Expects *x, const Expect *made, int64_t now) noexcept nogil:
    """The live expectation that the same packets meet as `made`, or NULL."""
    cdef uint32_t i
    for i in range(x.count):
        if x.all[i].expires > now and same(x.all + i, made):
            return x.all + i
    return NULL


cdef void expects_remove_inverse(Expects *x, const Expect *one, int64_t now) noexcept nogil:
    """Of a tunnel's two ways one has come, and it stands for both."""
    cdef Expect back = one[0]
    cdef Expect *other
    memcpy(back.source, one.destination, 16)
    memcpy(back.destination, one.source, 16)
    back.source_port, back.destination_port = one.destination_port, one.source_port
    other = expects_same(x, &back, now)
    if other != NULL:
        expects_remove(x, other)


cdef Expect *expects_find(Expects *x, const Packet *p) noexcept nogil:
    """The expectation that a packet which begins a connection meets, or NULL."""
    cdef const Key *k = &p.key
    cdef const uint64_t *source = &k.hi[0] if p.flip else &k.lo[0]
    cdef const uint64_t *target = &k.lo[0] if p.flip else &k.hi[0]
    cdef uint16_t source_port = k.hi_port if p.flip else k.lo_port
    cdef uint16_t target_port = k.lo_port if p.flip else k.hi_port
    cdef uint32_t i = 0
    cdef Expect *one
    while i < x.count:
        one = x.all + i
        if one.expires <= p.now:
            expects_remove(x, one)
            continue
        if (one.destination_port == target_port and one.proto == k.proto and one.family == k.family
                and one.destination[0] == target[0] and one.destination[1] == target[1] and one.zone == k.zone
                and not one.flags & EXPECT_INACTIVE
                and (one.flags & EXPECT_ANY_SOURCE
                     or ((one.source[0] ^ source[0]) & source_bits(one) == 0 and one.source[1] == source[1]))
                and (one.flags & EXPECT_ANY_PORT or one.source_port == source_port)):
            return one
        i += 1
    return NULL
