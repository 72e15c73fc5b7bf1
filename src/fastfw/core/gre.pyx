"""GRE tracking (RFC 2784, RFC 2890; version 1: RFC 2637).

Version 0 is a connection by address pair; version 1, PPTP's, by call id. One timeout holds until the other side has
answered, another from then on; a packet of an answered connection makes it ASSURED.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastfw.core.flows cimport Entry
from fastfw.core.maps cimport (
    map_add, map_at, map_clear, map_delete, map_find, map_free, map_has, map_init, map_number,
)
from fastfw.core.protocol cimport STEP_ACCEPT, Step, refresh
from fastfw.core.settings cimport SET_GRE, SET_GRE_STREAM, Settings
from fastfw.core.terms cimport STATUS_ASSURED, STATUS_SEEN_REPLY
from fastfw.core.wire cimport Key, Packet

cdef enum:
    SECOND = 1_000_000_000
    CALL_SIZE = 40           # bytes of a GreKey that a packet tells
    MASTER_SIZE = 8


ctypedef struct Call:
    GreKey told
    uint32_t next            # number + 1 of another call of its master's, 0: none
    uint32_t unused


# A control connection that has told of calls.
ctypedef struct Master:
    uint64_t index           # in the slab
    uint32_t first           # number + 1 of a call
    uint32_t unused


cdef bint gre_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    """A connection keeps the timeouts it began with, in seconds: settings changed later are those of later ones."""
    e.proto.gre.timeout = <uint32_t> (s.of[SET_GRE] / SECOND)
    e.proto.gre.stream_timeout = <uint32_t> (s.of[SET_GRE_STREAM] / SECOND)
    return True


cdef Step gre_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    if e.status & STATUS_SEEN_REPLY:
        refresh(e, p, <uint64_t> e.proto.gre.stream_timeout * SECOND)
        e.status |= STATUS_ASSURED
    else:
        refresh(e, p, <uint64_t> e.proto.gre.timeout * SECOND)
    return STEP_ACCEPT


cdef int gre_keys_init(GreKeys *g, uint64_t seed) noexcept nogil:
    """`seed` is random. -1 without memory."""
    if map_init(&g.calls, CALL_SIZE, sizeof(Call), seed) < 0:
        return -1
    return map_init(&g.masters, MASTER_SIZE, sizeof(Master), seed)


cdef void gre_keys_free(GreKeys *g) noexcept nogil:
    map_free(&g.calls)
    map_free(&g.masters)


cdef void gre_keys_clear(GreKeys *g) noexcept nogil:
    map_clear(&g.calls)
    map_clear(&g.masters)


cdef uint32_t gre_keys_copy(const GreKeys *g, GreKey *into, uint32_t room) noexcept nogil:
    """Copy up to `room` calls; how many."""
    cdef uint32_t i, found = 0
    for i in range(g.calls.used):
        if map_has(&g.calls, i) and found < room:
            into[found] = (<const Call *> map_at(&g.calls, i)).told
            found += 1
    return found


cdef int gre_keys_add(GreKeys *g, const GreKey *made) noexcept nogil:
    """Know a call. 0: known now, or already with this key; -1: known with another key; -3: no memory."""
    cdef Call *call = <Call *> map_find(&g.calls, made)
    cdef uint64_t index = made.master
    cdef Master *master
    if call != NULL:
        return 0 if call.told.key == made.key and call.told.master == made.master else -1
    master = <Master *> map_find(&g.masters, &index)
    if master == NULL:
        master = <Master *> map_add(&g.masters, &index)
        if master == NULL:
            return -3
    call = <Call *> map_add(&g.calls, made)
    if call == NULL:
        if master.first == 0:
            map_delete(&g.masters, master)
        return -3
    call.told = made[0]
    call.next = master.first
    master.first = map_number(&g.calls, call) + 1
    return 0


cdef void gre_keys_remove(GreKeys *g, const GreKey *one) noexcept nogil:
    """Forget a call, if it is known with this key and by this control connection."""
    cdef Call *call = <Call *> map_find(&g.calls, one)
    cdef uint64_t index = one.master
    cdef uint32_t number
    cdef uint32_t *link
    cdef Master *master
    if call == NULL or call.told.key != one.key or call.told.master != one.master:
        return
    number = map_number(&g.calls, call) + 1
    master = <Master *> map_find(&g.masters, &index)
    link = &master.first
    while link[0] != number:
        link = &(<Call *> map_at(&g.calls, link[0] - 1)).next
    link[0] = call.next
    map_delete(&g.calls, call)
    if master.first == 0:
        map_delete(&g.masters, master)


cdef void gre_keys_forget(GreKeys *g, uint32_t master) noexcept nogil:
    """The control connection is gone: so are its calls."""
    cdef uint64_t index = master
    cdef Master *known = <Master *> map_find(&g.masters, &index)
    cdef uint32_t number
    cdef Call *call
    if known == NULL:
        return
    number = known.first
    while number:
        call = <Call *> map_at(&g.calls, number - 1)
        number = call.next
        map_delete(&g.calls, call)
    map_delete(&g.masters, known)


cdef void gre_keys_apply(const GreKeys *g, Packet *p) noexcept nogil:
    """Give a version 1 packet, or the one an ICMP error quotes, its source key. `p.key` is as the parse left it: the
    call id with the destination, 0 with the source."""
    cdef Key *k = &p.key
    cdef GreKey wanted
    cdef const Call *call
    cdef uint16_t key
    memset(&wanted, 0, sizeof(GreKey))
    wanted.source[0] = k.hi[0] if p.flip else k.lo[0]
    wanted.source[1] = k.hi[1] if p.flip else k.lo[1]
    wanted.destination[0] = k.lo[0] if p.flip else k.hi[0]
    wanted.destination[1] = k.lo[1] if p.flip else k.hi[1]
    wanted.call = k.lo_port if p.flip else k.hi_port
    wanted.zone = k.zone
    wanted.family = k.family
    call = <const Call *> map_find(&g.calls, &wanted)
    if call == NULL:
        return
    key = call.told.key
    if k.lo[0] == k.hi[0] and k.lo[1] == k.hi[1]:
        p.flip = key > wanted.call      # from an address to itself only the keys tell the ends apart
    k.lo_port = wanted.call if p.flip else key
    k.hi_port = key if p.flip else wanted.call
