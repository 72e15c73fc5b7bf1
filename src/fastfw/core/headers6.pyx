"""Questions about IPv6's extension headers (RFC 8200, 4302, 8754); see headers6.pxd.

A question's numbers begin with ASK bits, which say what is asked and what of it is inverted.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from fastfw.core.bytes cimport be16, be32, raw16, raw32
from fastfw.core.declared cimport LINK_SOURCE
from fastfw.core.program cimport (
    OP_AH6, OP_FRAGMENT6, OP_HEADERS6, OP_OPTIONS6, OP_ROUTING6, OP_SEGMENTS6, Look, Predicate,
)
from fastfw.core.wire cimport (
    PROTO_AH, PROTO_DSTOPTS, PROTO_ESP, PROTO_FRAGMENT, PROTO_HOPOPTS, PROTO_NONE, PROTO_ROUTING, Packet,
)

cdef enum:
    IPV6_HEADER = 40
    ADDRESS = 16
    ANY_LENGTH = 255
    SEGMENT_ROUTING = 4

# The first of each question's numbers.
cdef enum:
    ASK_LENGTH = 1
    ASK_LENGTH_NOT = 2
    ASK_RESERVED = 4
    ASK_OPTIONS = 8
    ASK_TYPE = 16
    ASK_TYPE_NOT = 32
    ASK_RANGE_NOT = 64
    ASK_ADDRESSES = 128
    ASK_LOOSELY = 256
    ASK_FIRST = 512
    ASK_MORE = 1024
    ASK_LAST = 2048


cdef inline bint is_extension(uint8_t kind) noexcept nogil:
    return (kind == PROTO_HOPOPTS or kind == PROTO_ROUTING or kind == PROTO_FRAGMENT or kind == PROTO_AH
            or kind == PROTO_DSTOPTS)


cdef inline uint32_t size_of(const uint8_t *header, uint8_t kind) noexcept nogil:
    if kind == PROTO_FRAGMENT:
        return 8
    if kind == PROTO_AH:
        return (header[1] + 2) * 4
    return (header[1] + 1) * 8


cdef int find(const Packet *p, uint8_t wanted, uint32_t *at) noexcept nogil:
    """1: the first header of a kind is at `at`; 0: there is none; -1: the chain leads beyond the packet."""
    cdef uint32_t here = IPV6_HEADER
    cdef uint8_t kind = p.data[6]
    cdef uint8_t follows
    while is_extension(kind):
        if here + (4 if kind == PROTO_FRAGMENT else 2) > p.have:
            return -1
        if kind == wanted:
            at[0] = here
            return 1
        if kind == PROTO_FRAGMENT and be16(p.data + here + 2) & 0xfff8:
            return 0
        follows = p.data[here]
        here += size_of(p.data + here, kind)
        kind = follows
    return 0


cdef inline int drop(Look *look) noexcept nogil:
    look.hotdrop = 1
    return -1


cdef int located(Look *look, uint8_t wanted, uint32_t size, uint32_t *at) noexcept nogil:
    """1 where the header is there with its first `size` bytes; -1 otherwise, the packet dropped unless it is absent."""
    cdef int found = find(look.p, wanted, at)
    if found == 0:
        return -1
    if found < 0 or at[0] + size > look.p.have:
        return drop(look)
    return 1


cdef inline bint between(uint32_t value, const uint32_t *ends, bint invert) noexcept nogil:
    return (ends[0] <= value <= ends[1]) != invert


cdef inline bint length_is(uint32_t size, const uint32_t *want) noexcept nogil:
    """want[0]: ASK bits, want[1]: the length in bytes."""
    return not want[0] & ASK_LENGTH or (size == want[1]) != (want[0] & ASK_LENGTH_NOT != 0)


cdef int authentication(Look *look, const uint32_t *want) noexcept nogil:
    """Numbers: ASK, length, first SPI, last SPI."""
    cdef uint32_t at = 0
    cdef const uint8_t *header
    if located(look, PROTO_AH, 12, &at) < 0:
        return -1
    header = look.p.data + at
    if look.p.length - at < size_of(header, PROTO_AH):
        return drop(look)
    return (between(be32(header + 4), want + 2, want[0] & ASK_RANGE_NOT != 0)
            and length_is(size_of(header, PROTO_AH), want)
            and not (want[0] & ASK_RESERVED and be16(header + 2)))


cdef int fragment(Look *look, const uint32_t *want) noexcept nogil:
    """Numbers: ASK, unused, first identification, last one. Its length is not looked at."""
    cdef uint32_t at = 0, offset
    cdef const uint8_t *header
    if located(look, PROTO_FRAGMENT, 8, &at) < 0:
        return -1
    header = look.p.data + at
    offset = be16(header + 2)
    if want[0] & ASK_RESERVED and (header[1] or offset & 6):
        return 0
    if want[0] & ASK_FIRST and offset & 0xfff8:
        return 0
    if (want[0] & ASK_MORE and not offset & 1) or (want[0] & ASK_LAST and offset & 1):
        return 0
    return between(be32(header + 4), want + 2, want[0] & ASK_RANGE_NOT != 0)


cdef bint options_follow(const Packet *p, const uint32_t *want, uint32_t count, uint32_t at,
                         uint32_t left) noexcept nogil:
    """Whether options stand at `at` in this order: type << 8 | length each."""
    cdef uint32_t i, size
    for i in range(count):
        if left < 1 or at + 1 > p.have or p.data[at] != want[i] >> 8:
            return False
        size = 1
        if p.data[at]:
            if left < 2 or at + 2 > p.have:
                return False
            if want[i] & 0xff != ANY_LENGTH and want[i] & 0xff != p.data[at + 1]:
                return False
            size = p.data[at + 1] + 2
        if i + 1 < count and (size > left or size > p.length or at > p.length - size):
            return False
        at += size
        left -= size
    return True


cdef int options(Look *look, const uint32_t *want, uint8_t kind) noexcept nogil:
    """Numbers: ASK, length, how many options, each."""
    cdef uint32_t at = 0, size
    cdef Packet *p = look.p
    if located(look, kind, 2, &at) < 0:
        return -1
    size = size_of(p.data + at, kind)
    if p.length - at < size:
        return drop(look)
    if not length_is(size, want):
        return 0
    return not want[0] & ASK_OPTIONS or options_follow(p, want + 3, want[2], at + 2, size - 2)


cdef int listed(Look *look, const uint32_t *want, uint32_t at, uint32_t there) noexcept nogil:
    """The addresses of a type 0 routing header (RFC 2460 section 4.4), of which there are `there`; want: how many are
    asked for, then each."""
    cdef const uint8_t *addresses = <const uint8_t *> (want + 1)
    cdef uint32_t count = want[0], i, found = 0
    if count > there:
        return 0
    for i in range(there):
        if at + ADDRESS * (i + 1) > look.p.have:
            return drop(look)
        if memcmp(look.p.data + at + ADDRESS * i, addresses + ADDRESS * found, ADDRESS) == 0:
            found += 1
            if found == count:
                return 1
    return 0


cdef int exactly(Look *look, const uint32_t *want, uint32_t at, uint32_t there) noexcept nogil:
    """The same with none between."""
    cdef const uint8_t *addresses = <const uint8_t *> (want + 1)
    cdef uint32_t i
    if want[0] > there:
        return 0
    for i in range(want[0]):
        if at + ADDRESS * (i + 1) > look.p.have:
            return drop(look)
        if memcmp(look.p.data + at + ADDRESS * i, addresses + ADDRESS * i, ADDRESS):
            return 0
    return want[0] == there


cdef int routing(Look *look, const uint32_t *want) noexcept nogil:
    """Numbers: ASK, length, first and last segments left, type, how many addresses, four words each as they stand in
    packets."""
    cdef uint32_t at = 0, size
    cdef Packet *p = look.p
    cdef const uint8_t *header
    if located(look, PROTO_ROUTING, 4, &at) < 0:
        return -1
    header = p.data + at
    size = size_of(header, PROTO_ROUTING)
    if p.length - at < size:
        return drop(look)
    if not between(header[3], want + 2, want[0] & ASK_RANGE_NOT != 0) or not length_is(size, want):
        return 0
    if want[0] & ASK_TYPE and (header[2] == want[4]) == (want[0] & ASK_TYPE_NOT != 0):
        return 0
    if want[0] & ASK_RESERVED:
        if at + 8 > p.have:
            return drop(look)
        if raw32(header + 4):
            return 0
    if not want[0] & ASK_ADDRESSES:
        return 1
    if want[0] & ASK_LOOSELY:
        return listed(look, want + 5, at + 8, (size - 8) / ADDRESS)
    return exactly(look, want + 5, at + 8, (size - 8) / ADDRESS)


cdef int headers(Look *look, const uint32_t *want) noexcept nogil:
    """Which headers there are. Numbers: bits by header as ip6t_ipv6header has them, 1: at least these, 1: not."""
    cdef Packet *p = look.p
    cdef uint32_t here = IPV6_HEADER, found = 0, size
    cdef int64_t left = <int64_t> p.length - IPV6_HEADER
    cdef uint8_t kind = p.data[6]
    while is_extension(kind) or kind == PROTO_ESP or kind == PROTO_NONE:
        if kind == PROTO_NONE:
            found |= 0x02
            break
        if left < 2:
            return -1
        if kind == PROTO_ESP:
            found |= 0x04
            break
        if here + 2 > p.have:
            return drop(look)
        if kind == PROTO_HOPOPTS:
            found |= 0x80
        elif kind == PROTO_DSTOPTS:
            found |= 0x40
        elif kind == PROTO_ROUTING:
            found |= 0x20
        elif kind == PROTO_FRAGMENT:
            found |= 0x10
        else:
            found |= 0x08
        size = size_of(p.data + here, kind)
        kind = p.data[here]
        left -= size
        here += size
        if here > p.length:
            break
    if kind != PROTO_NONE and kind != PROTO_ESP:
        found |= 0x01
    if want[1]:
        return (found ^ want[0] ^ (0xff if want[2] else 0)) & want[0] == 0
    return (found == want[0]) != (want[2] != 0)


cdef inline bint compare(uint32_t bits, uint32_t value, uint32_t other) noexcept nogil:
    """Of six bits: equal, greater, less, and each of them inverted."""
    return ((not bits & 1 or (value == other) != (bits >> 1 & 1))
            and (not bits & 4 or (value > other) != (bits >> 3 & 1))
            and (not bits & 16 or (value < other) != (bits >> 5 & 1)))


cdef bint segment_is(const Packet *p, const uint32_t *want, uint32_t at) noexcept nogil:
    """Whether the segment at `at` is as asked: 0: not inverted, then four words of the address and four of its mask."""
    cdef uint32_t i
    cdef bint same = True
    if at + ADDRESS > p.have:
        return False
    for i in range(4):
        if (raw32(p.data + at + 4 * i) ^ want[1 + i]) & want[5 + i]:
            same = False
    return same != (want[0] != 0)


cdef int segments(Look *look, const uint32_t *want) noexcept nogil:
    """The tag is compared as the kernel does, without putting its bytes in order. Numbers: bits of what is asked
    (1 the next header, 2 inverted, 4 the tag, 8 inverted, 16, 32, 64 the previous,
    next and last segment), next header, tag as it is in packets, three of (comparisons, number) for the length, the
    segments left and the last entry, then nine for each of the segments."""
    cdef uint32_t at = 0, asked = want[0]
    cdef Packet *p = look.p
    cdef const uint8_t *header
    if find(p, PROTO_ROUTING, &at) <= 0 or at + 8 > p.have:
        return 0
    header = p.data + at
    if p.length - at < size_of(header, PROTO_ROUTING) or header[2] != SEGMENT_ROUTING or header[3] > header[4]:
        return 0
    if asked & 1 and (header[0] == want[1]) == (asked >> 1 & 1):
        return 0
    if not (compare(want[3], header[1], want[4]) and compare(want[5], header[3], want[6])
            and compare(want[7], header[4], want[8])):
        return 0
    if asked & 4 and (raw16(header + 6) == want[2]) == (asked >> 3 & 1):
        return 0
    at += 8
    if asked & 16 and (header[3] == header[4] or not segment_is(p, want + 9, at + (header[3] + 1) * ADDRESS)):
        return 0
    if asked & 32 and (header[3] == 0 or not segment_is(p, want + 18, at + (header[3] - 1) * ADDRESS)):
        return 0
    return not asked & 64 or segment_is(p, want + 27, at)


cdef int interface_identifier(const Look *look) noexcept nogil:
    """RFC 4291 appendix A: the source address's last eight bytes are made of the source MAC address."""
    cdef const uint8_t *link = look.p.link
    cdef const uint8_t *at = look.p.data + 16
    if link == NULL or not link[13] & LINK_SOURCE:
        return 0
    return (at[0] == link[6] ^ 2 and at[1] == link[7] and at[2] == link[8] and at[3] == 0xff and at[4] == 0xfe
            and at[5] == link[9] and at[6] == link[10] and at[7] == link[11])


cdef int headers6_hold(const Predicate *q, Look *look) noexcept nogil:
    cdef const uint32_t *want = look.program.numbers + q.a
    if q.op == OP_AH6:
        return authentication(look, want)
    if q.op == OP_FRAGMENT6:
        return fragment(look, want)
    if q.op == OP_OPTIONS6:
        return options(look, want, <uint8_t> q.b)
    if q.op == OP_ROUTING6:
        return routing(look, want)
    if q.op == OP_HEADERS6:
        return headers(look, want)
    if q.op == OP_SEGMENTS6:
        return segments(look, want)
    return interface_identifier(look)       # OP_EUI64
