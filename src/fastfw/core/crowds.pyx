"""connlimit as the kernel counts: what begins is looked for once a tick only; see crowds.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastfw.core.bytes cimport raw16, raw32, raw64
from fastfw.core.conntrack cimport Tracker
from fastfw.core.flows cimport Entry, flows_find, flows_hash, key_equal
from fastfw.core.maps cimport Map, map_add, map_at, map_delete, map_find, map_free, map_has, map_init
from fastfw.core.program cimport Look, Predicate
from fastfw.core.settings cimport TCP_CLOSE, TCP_TIME_WAIT
from fastfw.core.terms cimport STATUS_ASSURED, STATUS_CONFIRMED, STATUS_ORIGIN_HI
from fastfw.core.wire cimport (
    KIND_BROKEN, NO_FLOW, PROTO_GRE, PROTO_ICMP, PROTO_ICMPV6, PROTO_NONE, PROTO_SCTP, PROTO_TCP,
    PROTO_UDP, PROTO_UDPLITE, Key, Packet, wire_gre_call, wire_icmp_key, wire_key,
)

cdef enum:
    TICK_NS = 4000000            # the kernel's clock tick where it runs at 250 Hz
    MOST_AT_ONCE = 64            # dead members thrown out in one go, and new ones between two looks in one tick
    FIRST_ROOM = 64
    FEW_OWNERS = 256             # so few lists are kept though they may be empty


# The connection a packet belongs to or would begin.
ctypedef struct Beginning:
    Key key
    uint8_t origin_high


cdef int crowd_init(Crowds *crowds, const uint64_t *form) noexcept nogil:
    """`form` has the seed and both words of the mask. -1 without memory."""
    memset(crowds, 0, sizeof(Crowds))
    crowds.mask[0] = form[1]
    crowds.mask[1] = form[2]
    crowds.room = FIRST_ROOM
    crowds.used = 1
    crowds.members = <Member *> calloc(FIRST_ROOM, sizeof(Member))
    if map_init(&crowds.map, sizeof(Owner), sizeof(Crowd), form[0]) < 0:
        return -1
    return 0 if crowds.members != NULL else -1


cdef void crowd_free(Crowds *crowds) noexcept nogil:
    map_free(&crowds.map)
    free(crowds.members)


cdef bint join(Crowds *crowds, Crowd *crowd, const Key *key, uint8_t origin_high) noexcept nogil:
    """A new member at the list's end; False without memory."""
    cdef uint32_t number = crowds.free
    cdef Member *more
    if number:
        crowds.free = crowds.members[number].next
    else:
        if crowds.used == crowds.room:
            more = <Member *> realloc(crowds.members, 2 * <size_t> crowds.room * sizeof(Member))
            if more == NULL:
                return False
            crowds.members = more
            crowds.room *= 2
        number = crowds.used
        crowds.used += 1
    crowds.members[number].key = key[0]
    crowds.members[number].origin_high = origin_high
    crowds.members[number].next = 0
    if crowd.count:
        crowds.members[crowd.last].next = number
    else:
        crowd.first = number
    crowd.last = number
    crowd.count += 1
    return True


cdef void leave(Crowds *crowds, Crowd *crowd, uint32_t before, uint32_t number) noexcept nogil:
    """Take a member out of its list; `before` is the one in front of it, 0: none."""
    cdef uint32_t behind = crowds.members[number].next
    if before:
        crowds.members[before].next = behind
    else:
        crowd.first = behind
    if crowd.last == number:
        crowd.last = before
    crowd.count -= 1
    crowds.members[number].next = crowds.free
    crowds.free = number


cdef const Entry *live(const Tracker *t, const Key *key) noexcept nogil:
    """A connection in the table, or NULL."""
    cdef uint32_t index = flows_find(&t.flows, key, flows_hash(&t.flows, key))
    if index == NO_FLOW or t.flows.entries[index].expires <= t.now:
        return NULL
    return t.flows.entries + index


cdef inline bint closed(const Entry *e) noexcept nogil:
    return e.key.proto == PROTO_TCP and (e.state == TCP_TIME_WAIT or e.state == TCP_CLOSE)


cdef void checked(Crowd *crowd, int64_t tick) noexcept nogil:
    crowd.checked = tick
    crowd.checked_count = crowd.count


cdef void throw_out(Crowds *crowds, Crowd *crowd, const Tracker *t, int64_t tick) noexcept nogil:
    """Throw out dead and closed members, unless that was done in this tick."""
    cdef uint32_t number = crowd.first, before = 0, behind, thrown = 0
    cdef const Entry *e
    if tick == crowd.checked:
        return
    while number:
        behind = crowds.members[number].next
        e = live(t, &crowds.members[number].key)
        if e == NULL or closed(e):
            leave(crowds, crowd, before, number)
            thrown += 1
        elif thrown > MOST_AT_ONCE:
            return
        else:
            before = number
        number = behind
    checked(crowd, tick)


cdef bint known(Crowds *crowds, Crowd *crowd, const Tracker *t, const Beginning *b) noexcept nogil:
    """Look for a connection; throw out dead and closed members on the way."""
    cdef uint32_t number = crowd.first, before = 0, behind, thrown = 0
    cdef const Entry *e
    cdef Member *member
    while number and thrown <= MOST_AT_ONCE:
        member = crowds.members + number
        behind = member.next
        e = live(t, &member.key)
        if e != NULL and member.origin_high == b.origin_high and key_equal(&member.key, &b.key):
            return True
        if e == NULL or closed(e):
            leave(crowds, crowd, before, number)
            thrown += 1
        else:
            before = number
        number = behind
    return False


cdef inline bint to_itself(const Key *key) noexcept nogil:
    """Both directions are one."""
    return key.lo[0] == key.hi[0] and key.lo[1] == key.hi[1] and key.lo_port == key.hi_port


cdef bint named(const Look *look, Beginning *b) noexcept nogil:
    """The connection that a packet begins, or without one would begin; False: none can be named."""
    cdef const Packet *p = look.p
    cdef uint32_t need = 0
    cdef uint16_t sport = 0, dport = 0, call
    if look.e != NULL:
        b.key = look.e.key
        b.origin_high = look.e.status & STATUS_ORIGIN_HI != 0 and not to_itself(&b.key)
        return True
    if look.broken or look.fragment or (p.family == 6 and look.proto == PROTO_NONE):
        return False
    if (look.proto == PROTO_TCP or look.proto == PROTO_UDP or look.proto == PROTO_SCTP
            or look.proto == PROTO_UDPLITE):
        need = 4
    elif look.proto == PROTO_ICMP or look.proto == PROTO_ICMPV6:
        need = 8
    if look.room < need:
        return False
    if look.proto == PROTO_GRE and wire_gre_call(look.l4, look.room, &call) < 0:
        return False
    if need == 4:
        sport, dport = raw16(look.l4), raw16(look.l4 + 2)
    if need == 8 and wire_icmp_key(&b.key, p.data, look.l4, p.family, &b.origin_high):
        pass
    elif need == 0 and p.kind <= KIND_BROKEN:
        b.key = p.key
        b.origin_high = p.flip
    else:
        b.origin_high = wire_key(&b.key, p.data, p.family, sport, dport, look.proto)
    b.key.zone = p.key.zone if look.templated else 0
    b.origin_high = b.origin_high and not to_itself(&b.key)
    return True


cdef uint32_t count_with(Crowds *crowds, Crowd *crowd, const Look *look, const Beginning *b,
                         int64_t tick) noexcept nogil:
    """How many there are, with the packet's own among them. One that is ASSURED is taken to have been counted when it
    began, so that there may be none once it is closed."""
    cdef const Entry *e = look.e
    if e == NULL:
        e = live(look.tracker, &b.key)
    if e != NULL and e.status & STATUS_ASSURED:
        throw_out(crowds, crowd, look.tracker, tick)
        return crowd.count
    if ((e != NULL and e.status & STATUS_CONFIRMED) or tick != crowd.checked
            or crowd.count - crowd.checked_count >= MOST_AT_ONCE):
        if known(crowds, crowd, look.tracker, b):
            return crowd.count
        checked(crowd, tick)
    return crowd.count if join(crowds, crowd, &b.key, b.origin_high) else 0


cdef void tidy(Crowds *crowds, const Tracker *t, int64_t tick) noexcept nogil:
    """Go through some lists in turn and forget those that are empty, as often as new ones are made: their number stays
    within twice that of the owners of live connections, or FEW_OWNERS."""
    cdef Map *map = &crowds.map
    cdef Crowd *crowd
    cdef int _i
    if map.count < FEW_OWNERS:
        return
    for _i in range(2):
        crowds.turn = crowds.turn + 1 if crowds.turn + 1 < map.used else 0
        if map_has(map, crowds.turn):
            crowd = <Crowd *> map_at(map, crowds.turn)
            throw_out(crowds, crowd, t, tick)
            if crowd.count == 0:
                map_delete(map, crowd)


cdef void owner_of(const Predicate *q, const Look *look, const Crowds *crowds, Owner *owner) noexcept nogil:
    cdef const uint8_t *ip = look.p.data
    memset(owner, 0, sizeof(Owner))
    if look.e != NULL:
        owner.zone = look.e.key.zone
    elif look.templated:
        owner.zone = look.p.key.zone
    if look.p.family == 4:
        owner.address[0] = raw32(ip + (16 if q.c else 12)) & crowds.mask[0]
        return
    ip += 24 if q.c else 8
    owner.address[0] = raw64(ip) & crowds.mask[0]
    owner.address[1] = raw64(ip + 8) & crowds.mask[1]


cdef int crowd_holds(Crowds *crowds, const Predicate *q, Look *look) noexcept nogil:
    """1 or 0; -1: the packet is dropped, for it cannot be counted."""
    cdef int64_t tick = look.p.now / TICK_NS
    cdef uint32_t count = 0
    cdef Owner owner
    cdef Beginning b
    cdef Crowd *crowd
    if named(look, &b):
        owner_of(q, look, crowds, &owner)
        crowd = <Crowd *> map_find(&crowds.map, &owner)
        if crowd != NULL:
            count = count_with(crowds, crowd, look, &b, tick)
        else:
            tidy(crowds, look.tracker, tick)
            crowd = <Crowd *> map_add(&crowds.map, &owner)
            if crowd != NULL:
                crowd.checked = tick
                count = join(crowds, crowd, &b.key, b.origin_high)
    if count == 0:
        look.hotdrop = 1
        return -1
    return count > q.b
