"""Predicates that remember being asked; see memory.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastfw.core.bytes cimport raw32, raw64
from fastfw.core.program cimport (
    OP_NTH, OP_QUOTA, OP_RANDOM, POINT_INPUT, POINT_PREROUTING, RECENT_ENTRIES, RECENT_REAP, RECENT_REMOVE, RECENT_SET,
    RECENT_TARGET, RECENT_TTL, RECENT_UPDATE, Look, Predicate, Recent, RecentEntry,
)
from fastfw.core.terms cimport HOOK_FORWARD

cdef enum:
    TICK_NS = 4000000            # the kernel's clock tick where it runs at 250 Hz
    TICKS = 250                  # a second


cdef int recent_init(Recent *list, uint32_t stamps, const uint64_t *mask) noexcept nogil:
    """An empty list that keeps `stamps` (a power of two) packets of an address; -1 without memory."""
    memset(list, 0, sizeof(Recent))
    list.mask[0] = mask[0]
    list.mask[1] = mask[1]
    list.stamp_mask = stamps - 1
    list.entries = <RecentEntry *> calloc(RECENT_ENTRIES, sizeof(RecentEntry))
    list.stamps = <int64_t *> calloc(<size_t> RECENT_ENTRIES * stamps, sizeof(int64_t))
    return 0 if list.entries != NULL and list.stamps != NULL else -1


cdef void recent_free(Recent *list) noexcept nogil:
    free(list.entries)
    free(list.stamps)


cdef inline int64_t *stamps_of(const Recent *list, const RecentEntry *e) noexcept nogil:
    return list.stamps + <size_t> (e - list.entries) * (list.stamp_mask + 1)


cdef RecentEntry *recent_find(Recent *list, const uint64_t *address, uint8_t ttl) noexcept nogil:
    """The entry of an address; a TTL of 0, asked or kept, is any."""
    cdef RecentEntry *e
    cdef int i
    for i in range(RECENT_ENTRIES):
        e = list.entries + i
        if (e.used and e.address[0] == address[0] and e.address[1] == address[1]
                and (ttl == 0 or e.ttl == 0 or e.ttl == ttl)):
            return e
    return NULL


cdef RecentEntry *recent_oldest(Recent *list) noexcept nogil:
    """The entry used longest ago, or NULL."""
    cdef RecentEntry *found = NULL
    cdef RecentEntry *e
    cdef int i
    for i in range(RECENT_ENTRIES):
        e = list.entries + i
        if e.used and (found == NULL or e.used < found.used):
            found = e
    return found


cdef void recent_make(Recent *list, const uint64_t *address, uint8_t ttl, int64_t tick) noexcept nogil:
    cdef RecentEntry *e = NULL
    cdef int i
    for i in range(RECENT_ENTRIES):
        if not list.entries[i].used:
            e = list.entries + i
            break
    if e == NULL:
        e = recent_oldest(list)
    list.turn += 1
    e.address[0] = address[0]
    e.address[1] = address[1]
    e.ttl = ttl
    e.used = list.turn
    e.stamps = 1
    e.next = 1
    stamps_of(list, e)[0] = tick


cdef void recent_touch(Recent *list, RecentEntry *e, int64_t tick) noexcept nogil:
    e.next &= list.stamp_mask
    stamps_of(list, e)[e.next] = tick
    e.next += 1
    if e.next > e.stamps:
        e.stamps = e.next
    list.turn += 1
    e.used = list.turn


cdef bint recent_holds(const Predicate *q, Look *look) noexcept nogil:
    """As xt_recent answers; `invert` turns over what is said of addresses, not what is done to them."""
    cdef Recent *list = look.program.recents + q.a
    cdef const uint8_t *ip = look.p.data
    cdef RecentEntry *e
    cdef RecentEntry *old
    cdef int64_t *stamps
    cdef int64_t tick = look.p.now / TICK_NS
    cdef int64_t since = tick - <int64_t> q.c * TICKS
    cdef uint64_t address[2]
    cdef uint8_t ttl = look.ttl
    cdef uint32_t i, hits = 0
    cdef bint answer = q.invert
    # the TTL as it was before forwarding
    if look.p.hook == HOOK_FORWARD and look.point != POINT_PREROUTING and look.point != POINT_INPUT:
        ttl += 1
    if look.p.family == 4:
        address[0] = raw32(ip + (16 if q.b & RECENT_TARGET else 12)) & list.mask[0]
        address[1] = 0
    else:
        address[0] = raw64(ip + (24 if q.b & RECENT_TARGET else 8)) & list.mask[0]
        address[1] = raw64(ip + (32 if q.b & RECENT_TARGET else 16)) & list.mask[1]
    e = recent_find(list, address, ttl if q.b & RECENT_TTL else 0)
    if e == NULL:
        if not q.b & RECENT_SET:
            return answer
        recent_make(list, address, ttl, tick)
        return not answer
    if q.b & RECENT_REMOVE:
        e.used = 0
        return not answer
    if q.b & RECENT_SET:
        answer = not answer
    else:
        stamps = stamps_of(list, e)
        for i in range(e.stamps):
            if q.c and stamps[i] < since:
                continue
            hits += 1
            if not q.d or hits >= q.d:
                answer = not answer
                break
        if q.b & RECENT_REAP:
            old = recent_oldest(list)
            if not (old == e and q.b & RECENT_UPDATE and answer) and stamps_of(list, old)[old.next - 1] < since:
                old.used = 0
    if q.b & RECENT_SET or (q.b & RECENT_UPDATE and answer):
        recent_touch(list, e, tick)
        e.ttl = ttl
    return answer


cdef bint memory_holds(const Predicate *q, Look *look) noexcept nogil:
    cdef uint64_t *register
    cdef uint64_t x
    cdef bint answer
    if q.op != OP_NTH and q.op != OP_RANDOM and q.op != OP_QUOTA:
        return recent_holds(q, look)
    register = look.program.registers + q.a
    if q.op == OP_NTH:
        register[0] = 0 if register[0] == q.b else register[0] + 1
        answer = register[0] == 0
    elif q.op == OP_RANDOM:
        # xorshift (Marsaglia, "Xorshift RNGs", 2003); never zero
        x = register[0]
        x ^= x << 13
        x ^= x >> 7
        x ^= x << 17
        register[0] = x
        answer = (x >> 33) < q.b
    else:
        answer = register[0] >= look.p.length
        register[0] = register[0] - look.p.length if answer else 0
    return answer != q.invert
