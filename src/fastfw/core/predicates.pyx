"""What one rule asks of a packet; each test is the kernel's match of the same name."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, be32, raw32, raw64, unlikely
from fastfw.core.flows cimport Entry
from fastfw.core.further cimport further_holds
from fastfw.core.memory cimport memory_holds
from fastfw.core.payload cimport payload_holds
from fastfw.core.program cimport (
    END_ORIGINAL_SOURCE, END_ORIGINAL_TARGET, END_REPLY_SOURCE, END_REPLY_TARGET, Limit, OP_CONNBYTES, OP_CONNMARK,
    OP_CT_ADDRESS4, OP_CT_ADDRESS6, OP_CT_DIRECTION, OP_CT_PORT, OP_CT_PROTOCOL, OP_CT_STATUS, OP_DPORT,
    OP_FRAGMENT, OP_FURTHER, OP_HEADER, OP_ICMP, OP_IIF, OP_LENGTH, OP_LIMIT, OP_MARK, OP_NEVER, OP_OIF, OP_PORTS,
    OP_PROTOCOL,
    OP_ROOM, OP_SOURCE4, OP_SOURCE6, OP_SOURCE_RANGE4, OP_SOURCE_RANGE6, OP_SPORT, OP_STATE, OP_TARGET4, OP_TARGET6,
    OP_TARGET_RANGE4, OP_TARGET_RANGE6, OP_TCP_FLAGS, OP_TCP_OPTION, OP_TOS, OP_TTL, SIDE_SOURCE, SIDE_TARGET,
)
from fastfw.core.terms cimport STATUS_CONFIRMED, STATUS_ORIGIN_HI
from fastfw.core.wire cimport PROTO_ICMP, PROTO_ICMPV6

cdef enum:
    TICK_NS = 4000000            # the kernel's clock tick where it runs at 250 Hz
    CREDITS_PER_TICK = 128


cdef inline bint wide_equal(const uint8_t *at, const uint64_t *want) noexcept nogil:
    """Whether an IPv6 address under want[2..3] is want[0..1]."""
    return ((raw64(at) & want[2]) ^ want[0]) | ((raw64(at + 8) & want[3]) ^ want[1]) == 0


cdef inline bint wide_between(const uint8_t *at, const uint64_t *ends) noexcept nogil:
    """Whether an IPv6 address lies from ends[0..1] to ends[2..3], which are in host order, high word first."""
    cdef uint64_t high = <uint64_t> be32(at) << 32 | be32(at + 4)
    cdef uint64_t low = <uint64_t> be32(at + 8) << 32 | be32(at + 12)
    if high < ends[0] or (high == ends[0] and low < ends[1]):
        return False
    return high < ends[2] or (high == ends[2] and low <= ends[3])


cdef bint any_port(const Predicate *q, const Look *look) noexcept nogil:
    cdef const uint32_t *ranges = look.program.numbers + q.a
    cdef uint32_t sport = be16(look.l4), dport = be16(look.l4 + 2)
    cdef uint32_t i, low, high
    for i in range(q.size):
        low = ranges[i] >> 16
        high = ranges[i] & 0xffff
        if q.b != SIDE_TARGET and low <= sport <= high:
            return True
        if q.b != SIDE_SOURCE and low <= dport <= high:
            return True
    return False


cdef bint icmp_holds(const Predicate *q, const Look *look) noexcept nogil:
    """ICMPv4's type 255 stands for all of them."""
    if q.a == 255 and look.p.family == 4:
        return True
    return look.l4[0] == q.a and q.b <= look.l4[1] <= q.c


cdef int tcp_option(const Predicate *q, Look *look) noexcept nogil:
    """1 or 0: the option is there or not; -1: the options cannot be read (RFC 9293 section 3.1)."""
    cdef uint32_t size = (look.l4[12] >> 4) * 4
    cdef uint32_t at = 20
    if size < 20 or size > look.room:
        return -1
    while at < size:
        if look.l4[at] == q.a:
            return 1
        if look.l4[at] < 2 or at + 1 >= size or look.l4[at + 1] == 0:
            at += 1
        else:
            at += look.l4[at + 1]
    return 0


cdef inline bint end_is_high(const Entry *e, uint32_t end) noexcept nogil:
    """Whether an end of a tuple is the key's second endpoint."""
    return (e.status & STATUS_ORIGIN_HI != 0) ^ (end == END_ORIGINAL_TARGET or end == END_REPLY_SOURCE)


cdef uint32_t end_port(const Entry *e, uint32_t end) noexcept nogil:
    """A tuple's port, or what stands in its place: ICMP's identifier, type << 8 | code; a GRE key."""
    cdef uint16_t port
    cdef uint32_t kind
    if e.key.proto == PROTO_ICMP or e.key.proto == PROTO_ICMPV6:
        if end == END_ORIGINAL_SOURCE or end == END_REPLY_SOURCE:
            return be16(<const uint8_t *> &e.key.lo_port)
        kind = be16(<const uint8_t *> &e.key.hi_port)
        if end == END_REPLY_TARGET:
            kind = kind & 0xff if kind >> 8 == 8 and e.key.proto == PROTO_ICMP else kind + 0x100
        return kind
    port = e.key.hi_port if end_is_high(e, end) else e.key.lo_port
    return be16(<const uint8_t *> &port)


cdef bint limit_holds(Limit *limit, int64_t now) noexcept nogil:
    cdef int64_t tick = now / TICK_NS
    cdef int64_t passed = tick - limit.tick
    if passed > 0:
        limit.tick = tick
        if passed > <int64_t> 0xffffffff / CREDITS_PER_TICK:
            limit.credit = limit.cap
        else:
            limit.credit += <uint64_t> passed * CREDITS_PER_TICK
            if limit.credit > limit.cap:
                limit.credit = limit.cap
    if limit.credit < limit.cost:
        return False
    limit.credit -= limit.cost
    return True


cdef bint ct_holds(const Predicate *q, const Look *look) noexcept nogil:
    """Tests of the connection itself; one that there is not answers as the match's other options decide."""
    cdef const Entry *e = look.e
    cdef const uint64_t *want
    cdef const uint64_t *have
    cdef int64_t left
    cdef bint answer = False
    if e == NULL:
        return q.d
    if q.op == OP_CT_DIRECTION:
        answer = look.p.direction == q.a
    elif q.op == OP_CT_PROTOCOL:
        answer = e.key.proto == q.a
    elif q.op == OP_CT_STATUS:
        answer = e.status & q.a != 0
    elif q.op == OP_CT_PORT:
        answer = q.a <= end_port(e, q.c) <= q.b
    elif q.op == OP_CT_ADDRESS4:
        have = &e.key.hi[0] if end_is_high(e, q.c) else &e.key.lo[0]
        answer = (<uint32_t> have[0] & q.b) == q.a
    elif q.op == OP_CT_ADDRESS6:
        have = &e.key.hi[0] if end_is_high(e, q.c) else &e.key.lo[0]
        want = look.program.words + q.a
        answer = ((have[0] & want[2]) ^ want[0]) | ((have[1] & want[3]) ^ want[1]) == 0
    else:       # OP_CT_EXPIRE
        # the clock of a connection that is not confirmed does not run yet
        left = (e.expires - look.p.now) / <int64_t> 1000000000 if e.status & STATUS_CONFIRMED else 0
        answer = q.a <= (left if left > 0 else 0) <= q.b
    return answer ^ q.invert


cdef bint predicates_hold(const Predicate *q, uint32_t count, Look *look) noexcept nogil:
    cdef const Predicate *end = q + count
    cdef const uint8_t *ip = look.p.data
    cdef bint answer
    cdef int found
    while q < end:
        if q.op == OP_SOURCE4:
            answer = (raw32(ip + 12) & q.b) == q.a
        elif q.op == OP_TARGET4:
            answer = (raw32(ip + 16) & q.b) == q.a
        elif q.op == OP_PROTOCOL:
            if unlikely(look.broken):
                look.hotdrop = 1
                return False
            answer = look.proto == q.a
        elif q.op == OP_HEADER:
            if unlikely(look.fragment):
                look.hotdrop |= <uint8_t> q.b
                return False
            if unlikely(look.room < q.a):
                look.hotdrop = 1
                return False
            answer = True
        elif q.op == OP_SPORT:
            answer = q.a <= be16(look.l4) <= q.b
        elif q.op == OP_DPORT:
            answer = q.a <= be16(look.l4 + 2) <= q.b
        elif q.op == OP_STATE:
            answer = q.a >> look.p.state & 1
        elif q.op == OP_IIF:
            answer = look.iif[q.a >> 6] >> (q.a & 63) & 1
        elif q.op == OP_OIF:
            answer = look.oif[q.a >> 6] >> (q.a & 63) & 1
        elif q.op == OP_TCP_FLAGS:
            answer = (look.l4[13] & q.a) == q.b
        elif q.op == OP_PORTS:
            answer = any_port(q, look)
        elif q.op == OP_ICMP:
            answer = icmp_holds(q, look)
        elif q.op == OP_SOURCE6:
            answer = wide_equal(ip + 8, look.program.words + q.a)
        elif q.op == OP_TARGET6:
            answer = wide_equal(ip + 24, look.program.words + q.a)
        elif q.op == OP_SOURCE_RANGE4:
            answer = q.a <= be32(ip + 12) <= q.b
        elif q.op == OP_TARGET_RANGE4:
            answer = q.a <= be32(ip + 16) <= q.b
        elif q.op == OP_SOURCE_RANGE6:
            answer = wide_between(ip + 8, look.program.words + q.a)
        elif q.op == OP_TARGET_RANGE6:
            answer = wide_between(ip + 24, look.program.words + q.a)
        elif q.op == OP_FRAGMENT:
            answer = look.fragment
        elif q.op == OP_MARK:
            answer = (look.p.mark & q.b) == q.a
        elif q.op == OP_CONNMARK:
            if look.e == NULL:
                return False
            answer = (look.e.mark & q.b) == q.a
        elif q.op == OP_LENGTH:
            answer = q.a <= look.p.length <= q.b
        elif q.op == OP_TTL:
            answer = q.a <= look.ttl <= q.b
        elif q.op == OP_TOS:
            answer = (look.tos & q.b) == q.a
        elif q.op == OP_TCP_OPTION:
            found = tcp_option(q, look)
            if found < 0:
                look.hotdrop = 1
                return False
            answer = found
        elif q.op & OP_FURTHER:
            if not further_holds(q, look):
                return False
            q += 1
            continue
        elif q.op == OP_LIMIT:
            answer = limit_holds(look.program.limits + q.a, look.p.now)
        elif q.op == OP_NEVER:
            answer = False
        elif q.op > OP_LIMIT:
            if not memory_holds(q, look):
                return False
            q += 1
            continue
        elif OP_ROOM <= q.op <= OP_CONNBYTES:
            if payload_holds(q, look) <= 0:
                return False
            q += 1
            continue
        else:
            if not ct_holds(q, look):
                return False
            q += 1
            continue
        if answer == q.invert:
            return False
        q += 1
    return True
