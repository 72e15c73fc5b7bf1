"""Watching one packet's walk through the rules: which it came to, and how far each held."""
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from fastfw.core.predicates cimport predicates_hold
from fastfw.core.program cimport WATCHED_IP, WATCHED_TRANSPORT, Look, Predicate, Rule, Visit, Watch
from fastfw.core.terms cimport STATUS_CONFIRMED

cdef enum:
    FIRST_ROOM = 256


cdef void note_packet(Watch *watch, const Look *look) noexcept nogil:
    """The headers as the rules read them."""
    cdef uint32_t size = WATCHED_IP if look.p.have > WATCHED_IP else look.p.have
    memcpy(watch.ip, look.p.data, size)
    watch.transport_size = WATCHED_TRANSPORT if look.room > WATCHED_TRANSPORT else look.room
    memcpy(watch.transport, look.l4, watch.transport_size)
    watch.proto = look.proto
    watch.fragment = look.fragment
    watch.length = look.p.length


cdef Visit *next_visit(Watch *watch) noexcept nogil:
    cdef uint32_t room
    cdef Visit *larger
    if watch.count == watch.room:
        room = watch.room * 2 if watch.room else FIRST_ROOM
        larger = <Visit *> realloc(watch.visits, room * sizeof(Visit))
        if larger == NULL:
            watch.overflowed = 1
            return NULL
        watch.visits = larger
        watch.room = room
    watch.count += 1
    return watch.visits + watch.count - 1


cdef bint watch_rule(Look *look, const Rule *rule) noexcept nogil:
    cdef Watch *watch = look.program.watch
    cdef const Predicate *q = look.program.predicates + rule.first
    cdef Visit *visit
    cdef uint32_t asked = 0
    cdef bint held = True
    if watch.count == 0:
        note_packet(watch, look)
    visit = next_visit(watch)
    if visit != NULL:
        visit.rule = <uint32_t> (rule - look.program.rules)
        visit.mark = look.p.mark
        visit.has_entry = look.e != NULL
        visit.connmark = visit.status = visit.left = 0
        if look.e != NULL:
            visit.connmark = look.e.mark
            visit.status = look.e.status
            if look.e.status & STATUS_CONFIRMED and look.e.expires > look.p.now:
                visit.left = <uint32_t> ((look.e.expires - look.p.now) // <int64_t> 1000000000)
        visit.state = look.p.state
        visit.tos = look.tos
        visit.ttl = look.ttl
    while held and asked < rule.count:
        held = predicates_hold(q + asked, 1, look)
        asked += 1
    if visit != NULL:
        visit.asked = <uint16_t> asked
        visit.held = held
        visit.hotdrop = look.hotdrop
    return held
