"""What nearly every packet is, parsed in one go and inline: a sound, whole TCP segment or UDP datagram in IPv4 without
options or in IPv6 without extension headers. Every other shape and every error is wire.pyx's, which knows these too.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, bswap16, likely, raw16, raw32, raw64, sum_add, sum_bytes, sum_right, unlikely
from fastfw.core.terms cimport HOOK_FORWARD
from fastfw.core.wire cimport (
    PROTO_TCP, PROTO_UDP, Packet, wire_begin, wire_order4, wire_order6, wire_tcp_flags_valid,
)


cdef inline bint common_transport(const uint8_t *l4, uint32_t size, uint8_t proto, uint64_t addresses,
                                  bint verify) noexcept nogil:
    """Whether `size` bytes, eight at least, are a sound TCP segment or UDP datagram; `addresses` is the sum of the IP
    header's."""
    cdef uint64_t sum = sum_add(addresses, raw64(l4))
    cdef uint32_t header
    if likely(proto == PROTO_TCP):
        if unlikely(size < 20):
            return False
        header = (l4[12] >> 2) & 0x3c
        if unlikely(header < 20 or header > size or not wire_tcp_flags_valid(l4[13])):
            return False
        if unlikely(not verify):
            return True
        sum = sum_add(sum, raw64(l4 + 8))
        # size and protocol as in pseudo_sum; words of 32 bits and less cannot carry
        sum = sum_add(sum, <uint64_t> raw32(l4 + 16) + bswap16(<uint16_t> size) + (PROTO_TCP << 8))
        if size > 20:
            sum = sum_add(sum, sum_bytes(l4 + 20, size - 20))
        return likely(sum_right(sum))
    if unlikely(proto != PROTO_UDP or be16(l4 + 4) != size):
        return False
    if unlikely(not verify or raw16(l4 + 6) == 0):
        return True
    return sum_right(sum_add(sum_add(sum, sum_bytes(l4 + 8, size - 8)),
                             bswap16(<uint16_t> size) + (PROTO_UDP << 8)))


cdef inline bint common_parse4(Packet *p) noexcept nogil:
    cdef const uint8_t *ip = p.data
    cdef uint32_t total
    # neither fragment nor part of one
    if unlikely(p.have < 28 or raw16(ip + 6) & 0xff3f):
        return False
    total = be16(ip + 2)
    if unlikely(total < 28 or total > p.have
                or not sum_right(sum_add(sum_add(raw64(ip), raw64(ip + 8)), raw32(ip + 16)))
                or not common_transport(ip + 20, total - 20, ip[9], raw64(ip + 12), not p.no_verify)):
        return False
    wire_begin(p)
    p.family = 4
    p.proto = ip[9]
    p.length = p.have = total
    p.l4 = 20
    p.flip = wire_order4(&p.key, ip, raw16(ip + 20), raw16(ip + 22), ip[9])
    return True


cdef inline bint common_parse6(Packet *p) noexcept nogil:
    cdef const uint8_t *ip = p.data
    cdef uint32_t total
    if unlikely(p.have < 48 or ip[0] >> 4 != 6):
        return False
    total = be16(ip + 4) + 40
    # where it is to be passed on, between addresses that begin as no address does that may not be
    if unlikely(total < 48 or total > p.have
                or (p.hook == HOOK_FORWARD and ((ip[8] == 0) | (ip[8] == 0xff) | (ip[24] == 0) | (ip[24] == 0xff)))
                or not common_transport(
                    ip + 40, total - 40, ip[6],
                    sum_add(sum_add(sum_add(raw64(ip + 8), raw64(ip + 16)), raw64(ip + 24)), raw64(ip + 32)),
                    not p.no_verify)):
        return False
    wire_begin(p)
    p.family = 6
    p.proto = ip[6]
    p.length = p.have = total
    p.l4 = 40
    p.flip = wire_order6(&p.key, ip, raw16(ip + 40), raw16(ip + 42), ip[6])
    return True


cdef inline bint common_parse(Packet *p) noexcept nogil:
    """Parse a packet of the common shapes as wire_parse would; False leaves any other to that, with nothing changed."""
    if unlikely(p.have == 0):
        return False
    if likely(p.data[0] == 0x45):
        return common_parse4(p)
    return common_parse6(p)
