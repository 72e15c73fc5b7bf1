"""GRE tracking (RFC 2784, RFC 2890; version 1: RFC 2637).

Version 0 is a connection by address pair; version 1, PPTP's, by call id. One timeout holds until the other side has
answered, another from then on; a packet of an answered connection makes it ASSURED.
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from fastfw.core.flows cimport Entry
from fastfw.core.protocol cimport STEP_ACCEPT, Step, refresh
from fastfw.core.settings cimport SET_GRE, SET_GRE_STREAM, Settings
from fastfw.core.terms cimport STATUS_ASSURED, STATUS_SEEN_REPLY
from fastfw.core.wire cimport Key, Packet

cdef enum:
    SECOND = 1_000_000_000


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


cdef void gre_keys_free(GreKeys *g) noexcept nogil:
    free(g.all)
    memset(g, 0, sizeof(GreKeys))


cdef inline bint same_call(const GreKey *a, const GreKey *b) noexcept nogil:
    return (a.source[0] == b.source[0] and a.source[1] == b.source[1] and a.destination[0] == b.destination[0]
            and a.destination[1] == b.destination[1] and a.call == b.call and a.zone == b.zone
            and a.family == b.family)


cdef int gre_keys_add(GreKeys *g, const GreKey *made) noexcept nogil:
    """Know a call. 0: known now, or already with this key; -1: known with another key; -3: no memory."""
    return gre_keys_restore(g, made, g.count)


cdef int gre_keys_restore(GreKeys *g, const GreKey *made, uint32_t others) noexcept nogil:
    """`gre_keys_add` for one of many that differ among themselves, known beside `others` from before."""
    cdef uint32_t i
    cdef GreKey *grown
    for i in range(others):
        if same_call(g.all + i, made):
            return 0 if g.all[i].key == made.key and g.all[i].master == made.master else -1
    if g.count == g.room:
        grown = <GreKey *> realloc(g.all, (g.room * 2 + 8) * sizeof(GreKey))
        if grown == NULL:
            return -3
        g.all = grown
        g.room = g.room * 2 + 8
    g.all[g.count] = made[0]
    g.count += 1
    return 0


cdef void gre_keys_remove(GreKeys *g, const GreKey *one) noexcept nogil:
    """Forget a call, if it is known with this key and by this control connection."""
    cdef uint32_t i
    for i in range(g.count):
        if same_call(g.all + i, one) and g.all[i].key == one.key and g.all[i].master == one.master:
            g.count -= 1
            g.all[i] = g.all[g.count]
            return


cdef void gre_keys_forget(GreKeys *g, uint32_t master) noexcept nogil:
    """The control connection is gone: so are its calls."""
    cdef uint32_t i = g.count
    while i:
        i -= 1
        if g.all[i].master == master:
            g.count -= 1
            g.all[i] = g.all[g.count]


cdef void gre_keys_apply(const GreKeys *g, Packet *p) noexcept nogil:
    """Give a version 1 packet, or the one an ICMP error quotes, its source key. `p.key` is as the parse left it: the
    call id with the destination, 0 with the source."""
    cdef Key *k = &p.key
    cdef GreKey wanted
    cdef uint32_t i
    cdef uint16_t key
    wanted.source[0] = k.hi[0] if p.flip else k.lo[0]
    wanted.source[1] = k.hi[1] if p.flip else k.lo[1]
    wanted.destination[0] = k.lo[0] if p.flip else k.hi[0]
    wanted.destination[1] = k.lo[1] if p.flip else k.hi[1]
    wanted.call = k.lo_port if p.flip else k.hi_port
    wanted.zone = k.zone
    wanted.family = k.family
    for i in range(g.count):
        if same_call(g.all + i, &wanted):
            key = g.all[i].key
            if k.lo[0] == k.hi[0] and k.lo[1] == k.hi[1]:
                p.flip = key > wanted.call      # from an address to itself only the keys tell the ends apart
            k.lo_port = wanted.call if p.flip else key
            k.hi_port = key if p.flip else wanted.call
            return
