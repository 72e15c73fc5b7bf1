"""hashlimit, in the kernel's arithmetic; see rates.pxd."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport raw32, raw64
from fastfw.core.maps cimport Map, map_add, map_delete, map_find, map_free, map_has, map_init
from fastfw.core.program cimport Look, Predicate
from fastfw.core.wire cimport PROTO_AH, PROTO_ESP, PROTO_NONE, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE

cdef enum:
    TICK_NS = 4000000            # the kernel's clock tick where it runs at 250 Hz
    PROTO_DCCP = 33
    BYTE_CREDITS = 1 << 24       # of bytes, a tick

cdef uint64_t PACKET_CREDITS = <uint64_t> 1 << 39          # of packets, a tick
cdef uint64_t FULL_BYTES = <uint64_t> 250 << 24            # a second's


cdef int rate_init(RateTable *table, const uint64_t *form) noexcept nogil:
    """`form` has, in this order, the seed, the four words of the masks, cost, cap, refills, bits, most, keep, window
    and collect. -1 without memory."""
    memset(table, 0, sizeof(RateTable))
    table.source_mask[0] = form[1]
    table.source_mask[1] = form[2]
    table.target_mask[0] = form[3]
    table.target_mask[1] = form[4]
    table.cost = form[5]
    table.cap = form[6]
    table.refills = form[7]
    table.bits = <uint32_t> form[8]
    table.most = <uint32_t> form[9]
    table.keep = <int64_t> form[10]
    table.window = <int64_t> form[11]
    table.collect = <int64_t> form[12]
    return map_init(&table.map, sizeof(Group), sizeof(Rate), form[0])


cdef void rate_free(RateTable *table) noexcept nogil:
    map_free(&table.map)


cdef bint group_of(const RateTable *table, const Look *look, Group *group) noexcept nogil:
    """False where the ports cannot be read."""
    cdef const uint8_t *ip = look.p.data
    cdef const uint8_t *ports = look.l4
    cdef uint32_t offset
    memset(group, 0, sizeof(Group))
    if table.bits & RATE_SOURCE:
        if look.p.family == 4:
            group.source[0] = raw32(ip + 12) & table.source_mask[0]
        else:
            group.source[0] = raw64(ip + 8) & table.source_mask[0]
            group.source[1] = raw64(ip + 16) & table.source_mask[1]
    if table.bits & RATE_TARGET:
        if look.p.family == 4:
            group.target[0] = raw32(ip + 16) & table.target_mask[0]
        else:
            group.target[0] = raw64(ip + 24) & table.target_mask[0]
            group.target[1] = raw64(ip + 32) & table.target_mask[1]
    if not table.bits & (RATE_SOURCE_PORT | RATE_TARGET_PORT):
        return True
    if look.broken or (look.p.family == 6 and look.proto == PROTO_NONE):
        return False
    if look.p.family == 6 and look.fragment:
        return True             # all of a datagram's later pieces are of one group
    if (look.proto == PROTO_TCP or look.proto == PROTO_UDP or look.proto == PROTO_ESP or look.proto == PROTO_SCTP
            or look.proto == PROTO_UDPLITE or look.proto == PROTO_DCCP):
        offset = 0
    elif look.proto == PROTO_AH:
        offset = 4
    else:
        return True
    if look.room < offset + 4:
        return False
    ports += offset
    memcpy(&group.ports, ports, 4)
    if not table.bits & RATE_SOURCE_PORT:
        group.ports &= <uint32_t> 0xffff0000
    if not table.bits & RATE_TARGET_PORT:
        group.ports &= 0xffff
    return True


cdef void collect(RateTable *table, int64_t tick) noexcept nogil:
    """Throw out what has expired by the last turn that was due."""
    cdef Map *map = &table.map
    cdef Rate *rate
    cdef int64_t turn
    cdef uint32_t i
    if table.collected == 0:
        table.collected = tick
    if tick - table.collected < table.collect:
        return
    turn = table.collected + (tick - table.collected) / table.collect * table.collect
    table.collected = turn
    for i in range(map.used):
        if map_has(map, i):
            rate = <Rate *> (map.records + <size_t> i * map.size)
            if rate.expires <= turn:
                map_delete(map, rate)


cdef void begin(const RateTable *table, Rate *rate, int64_t tick) noexcept nogil:
    rate.seen = tick
    if not table.bits & RATE_WINDOW:
        rate.credit = table.cap
        rate.refills = table.refills


cdef void refill(const RateTable *table, Rate *rate, int64_t tick) noexcept nogil:
    cdef uint64_t passed = <uint64_t> (tick - rate.seen)
    cdef uint64_t before = rate.credit
    if tick <= rate.seen:
        return
    if table.bits & RATE_WINDOW:
        if passed >= <uint64_t> table.window:
            rate.seen = tick
            rate.over = rate.credit * <uint64_t> table.window > passed * table.cost
            rate.credit = 0
        return
    rate.seen = tick
    if table.bits & RATE_BYTES:
        rate.credit = rate.credit + <uint64_t> BYTE_CREDITS * passed
    else:
        rate.credit = rate.credit + PACKET_CREDITS * passed
    if rate.credit > table.cap or (rate.credit <= before and table.bits & RATE_BYTES):
        rate.credit = table.cap


cdef bint within(const RateTable *table, Rate *rate, uint32_t bits, uint32_t length) noexcept nogil:
    """Whether a packet is within the rate, and take it into account."""
    cdef uint64_t cost = table.cost
    if bits & RATE_WINDOW:
        rate.credit += length if bits & RATE_BYTES else 1
        return not rate.over and rate.credit <= table.cap
    if bits & RATE_BYTES:
        cost = ((length >> 4) + 1) * table.cost
        if cost > FULL_BYTES:
            cost = FULL_BYTES
        if rate.credit < cost and rate.refills:
            rate.refills -= 1
            rate.credit = FULL_BYTES
    if rate.credit < cost:
        return False
    rate.credit -= cost
    return True


cdef int rate_holds(RateTable *table, const Predicate *q, Look *look) noexcept nogil:
    """1 or 0; -1: the packet is dropped, for there is no room or its ports cannot be read."""
    cdef int64_t tick = look.p.now / TICK_NS
    cdef Group group
    cdef Rate *rate
    if not group_of(table, look, &group):
        look.hotdrop = 1
        return -1
    collect(table, tick)
    rate = <Rate *> map_find(&table.map, &group)
    if rate == NULL:
        if table.map.count < table.most:
            rate = <Rate *> map_add(&table.map, &group)
        if rate == NULL:
            look.hotdrop = 1
            return -1
        begin(table, rate, tick)
    else:
        refill(table, rate, tick)
    rate.expires = tick + table.keep
    return within(table, rate, q.b, look.p.length) != (q.b & RATE_ABOVE != 0)
