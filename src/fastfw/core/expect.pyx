"""Expectations: a dense array, and two kinds of chains through it, by destination and by master.

Only a packet that begins a connection looks for one, and only while there are any.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastfw.core.events cimport EVENT_EXPECTED, EVENT_FORGOTTEN
from fastfw.core.wire cimport Key, Packet


cdef inline uint32_t destination_chain(const Expects *x, const uint64_t *address, uint16_t port,
                                       uint32_t proto) noexcept nogil:
    """The chain of a destination: two rounds of multiplication by a secret odd number, the high bits taken."""
    cdef uint64_t h = (address[0] + x.secret) * (x.secret | 1)
    h = ((h >> 32 ^ h) + address[1] + (<uint64_t> proto << 16 | port)) * (x.secret | 1)
    return <uint32_t> (h >> 54)


cdef inline uint32_t *destination_head(Expects *x, const Expect *one) noexcept nogil:
    return x.destinations + destination_chain(x, one.destination, one.destination_port, one.proto)


cdef inline uint32_t *master_head(Expects *x, const Expect *one) noexcept nogil:
    return x.masters + one.master % EXPECT_CHAINS


cdef inline void hang(ExpectLink *links, uint32_t *head, uint32_t at) noexcept nogil:
    """Put the expectation at a place to the front of a chain."""
    links[at].before = 0
    links[at].behind = head[0]
    if head[0]:
        links[head[0] - 1].before = at + 1
    head[0] = at + 1


cdef inline void unhang(ExpectLink *links, uint32_t *head, uint32_t at) noexcept nogil:
    cdef ExpectLink *link = links + at
    if link.before:
        links[link.before - 1].behind = link.behind
    else:
        head[0] = link.behind
    if link.behind:
        links[link.behind - 1].before = link.before


cdef inline void tell_of(Expects *x, int kind, const Expect *one) noexcept nogil:
    if x.tell != NULL:
        x.tell(x.owner, kind, one)


cdef void expects_clear(Expects *x) noexcept nogil:
    """Forget all."""
    cdef uint32_t at
    for at in range(x.count):
        tell_of(x, EVENT_FORGOTTEN, x.all + at)
    x.count = 0
    memset(x.destinations, 0, sizeof(x.destinations))
    memset(x.masters, 0, sizeof(x.masters))


cdef void expects_free(Expects *x) noexcept nogil:
    free(x.all)
    free(x.by_destination)
    free(x.by_master)
    memset(x, 0, sizeof(Expects))


cdef void expects_remove(Expects *x, Expect *one) noexcept nogil:
    """Take one out; the last moves into its place."""
    cdef uint32_t at = <uint32_t> (one - x.all), last = x.count - 1
    tell_of(x, EVENT_FORGOTTEN, one)
    unhang(x.by_destination, destination_head(x, one), at)
    unhang(x.by_master, master_head(x, one), at)
    if at != last:
        unhang(x.by_destination, destination_head(x, x.all + last), last)
        unhang(x.by_master, master_head(x, x.all + last), last)
        one[0] = x.all[last]
        hang(x.by_destination, destination_head(x, one), at)
        hang(x.by_master, master_head(x, one), at)
    x.count = last
    x.deleted += 1


cdef void expects_forget(Expects *x, uint32_t master) noexcept nogil:
    """The connection is gone: so is all it announced."""
    cdef uint32_t at = x.masters[master % EXPECT_CHAINS]
    while at:
        if x.all[at - 1].master == master:
            expects_remove(x, x.all + at - 1)
            at = x.masters[master % EXPECT_CHAINS]
        else:
            at = x.by_master[at - 1].behind


cdef bint more_room(Expects *x) noexcept nogil:
    """Whether there is memory for one more."""
    cdef uint32_t room = x.room * 2 + 16
    cdef void *grown
    if x.count < x.room:
        return True
    grown = realloc(x.all, room * sizeof(Expect))
    if grown == NULL:
        return False
    x.all = <Expect *> grown
    grown = realloc(x.by_destination, room * sizeof(ExpectLink))
    if grown == NULL:
        return False
    x.by_destination = <ExpectLink *> grown
    grown = realloc(x.by_master, room * sizeof(ExpectLink))
    if grown == NULL:
        return False
    x.by_master = <ExpectLink *> grown
    x.room = room
    return True


cdef void expects_expire(Expects *x, int64_t now) noexcept nogil:
    """Take out whatever has waited long enough."""
    cdef uint32_t i = x.count
    while i:
        i -= 1
        if x.all[i].expires <= now:
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
    cdef uint32_t at, behind, alike = 0
    cdef uint32_t *head = destination_head(x, made)
    cdef Expect *oldest = NULL
    cdef Expect *one
    at = head[0]
    while at:
        one = x.all + at - 1
        if one.expires <= now:
            expects_remove(x, one)
            at = head[0]
            continue
        if same(one, made):
            if one.master != made.master or one.class_ != made.class_:
                return -1
            expects_remove(x, one)
            at = head[0]
            continue
        if clash(one, made):
            return -1
        at = x.by_destination[at - 1].behind
    at = x.masters[made.master % EXPECT_CHAINS]
    while at:
        one = x.all + at - 1
        behind = x.by_master[at - 1].behind
        if one.master == made.master and one.expires <= now:
            expects_remove(x, one)
            alike = 0
            oldest = NULL
            behind = x.masters[made.master % EXPECT_CHAINS]
        elif one.master == made.master and one.class_ == made.class_:
            alike += 1
            if oldest == NULL or one.serial < oldest.serial:
                oldest = one
        at = behind
    if most_at_once and alike >= most_at_once:
        expects_remove(x, oldest)
    if x.count >= most:
        expects_expire(x, now)
        if x.count >= most:
            return -2
    if not more_room(x):
        return -3
    x.all[x.count] = made[0]
    x.all[x.count].serial = x.next_serial
    hang(x.by_destination, head, x.count)
    hang(x.by_master, master_head(x, made), x.count)
    x.next_serial += 1
    x.count += 1
    x.created += 1
    tell_of(x, EVENT_EXPECTED, x.all + x.count - 1)
    return 0


cdef Expect *expects_same(Expects *x, const Expect *made, int64_t now) noexcept nogil:
    """The live expectation that the same packets meet as `made`, or NULL."""
    cdef uint32_t at = destination_head(x, made)[0]
    while at:
        if x.all[at - 1].expires > now and same(x.all + at - 1, made):
            return x.all + at - 1
        at = x.by_destination[at - 1].behind
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
    cdef uint32_t *head = x.destinations + destination_chain(x, target, target_port, k.proto)
    cdef uint32_t at = head[0]
    cdef Expect *one
    while at:
        one = x.all + at - 1
        if one.expires <= p.now:
            expects_remove(x, one)
            at = head[0]
            continue
        if (one.destination_port == target_port and one.proto == k.proto and one.family == k.family
                and one.destination[0] == target[0] and one.destination[1] == target[1] and one.zone == k.zone
                and not one.flags & EXPECT_INACTIVE
                and (one.flags & EXPECT_ANY_SOURCE
                     or ((one.source[0] ^ source[0]) & source_bits(one) == 0 and one.source[1] == source[1]))
                and (one.flags & EXPECT_ANY_PORT or one.source_port == source_port)):
            return one
        at = x.by_destination[at - 1].behind
    return NULL
