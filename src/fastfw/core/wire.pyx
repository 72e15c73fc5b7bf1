"""Bytes to Packet: IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200, RFC 4302), and of TCP (RFC 9293),
UDP (RFC 768), UDP-Lite (RFC 3828), SCTP (RFC 9260), GRE (RFC 2784, RFC 2637), ICMP (RFC 792), ICMPv6 (RFC 4443) as much
as naming a connection and refusing a broken header needs.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, likely, raw16, raw32, raw64, sum_add, sum_bytes, sum_fold, unlikely
from fastfw.core.headers cimport (
    headers_blamed, headers_foreign6, headers_fragment, headers_options6_pass, headers_skip, is_extension,
)
from fastfw.core.icmp_types cimport icmp_is_error, icmp_is_untracked, icmp_request_of
from fastfw.core.terms cimport (
    CAPTURE_CUT, EXTENSION_HEADER, FRAGMENT, FRAGMENT_BAD, GRE_HEADER, HOOK_FORWARD, ICMP_CHECKSUM, ICMP_ERROR_ADDRESS,
    ICMP_ERROR_MALFORMED, ICMP_TYPE, IP_ADDRESS, IP_CHECKSUM, IP_HEADER_LENGTH, IP_OPTIONS, IP_TOTAL_LENGTH,
    IP_TRUNCATED, IP_VERSION, NOT_IP, PROTOCOL_FAMILY, REASON_NONE, SCTP_CHECKSUM, TCP_CHECKSUM, TCP_FLAGS, TCP_OFFSET,
    TRANSPORT_TRUNCATED, UDP_CHECKSUM, UDP_LENGTH,
)

if sizeof(Key) != 40:
    raise ImportError("fastfw.core.wire: a Key must be 40 bytes without padding")


cdef enum:
    GRE_PPP = 0x880b


cdef extern from "crc32c.h" nogil:
    uint32_t crc32c(uint32_t value, const uint8_t *at, size_t size)
    int crc32c_choose(int portable)

crc32c_choose(0)


cdef inline void settle(Packet *p, Kind kind, uint16_t reason) noexcept nogil:
    p.kind = <uint8_t> kind
    p.reason = reason


cdef void settle_by(Packet *p, Kind kind, uint16_t reason, uint32_t a, uint32_t b) noexcept nogil:
    """As `settle`, with the numbers behind the reason."""
    p.detail[0] = a
    p.detail[1] = b
    settle(p, kind, reason)


cdef void settle_short(Packet *p, Kind kind, uint32_t size) noexcept nogil:
    """A transport header of `size` bytes is not all there, in the packet or in what was captured of it."""
    if p.length - p.l4 < size:
        settle_by(p, kind, TRANSPORT_TRUNCATED, p.length - p.l4, size)
    else:
        settle_by(p, kind, CAPTURE_CUT, p.have, p.l4 + size)


cdef void settle_sum(Packet *p, Kind kind, uint16_t reason, uint32_t at, uint16_t sum) noexcept nogil:
    """The checksum at `at` is wrong; `sum` is what all that it covers came to, it included (RFC 1071)."""
    cdef uint16_t right = sum_fold(sum_add(sum, raw16(p.data + at) ^ 0xffff)) ^ 0xffff
    if right == 0:
        right = 0xffff
    settle_by(p, kind, reason, be16(p.data + at), right >> 8 | (right & 0xff) << 8)


cdef uint8_t wire_key(Key *key, const uint8_t *ip, uint8_t family, uint16_t sport, uint16_t dport,
                      uint8_t proto) noexcept nogil:
    if family == 4:
        return wire_order4(key, ip, sport, dport, proto)
    return wire_order6(key, ip, sport, dport, proto)


cdef inline bint icmp_key(Key *key, const uint8_t *ip, const uint8_t *icmp, uint8_t family,
                          uint8_t *flip) noexcept nogil:
    """An ICMP query's key: the requester first, the identifier, the request's type and the code. False for a type
    that belongs to no query. `icmp` has eight readable bytes."""
    cdef int request = icmp_request_of(family, icmp[0])
    cdef uint16_t kind
    if request < 0:
        return False
    flip[0] = request != icmp[0]
    kind = <uint16_t> (request | icmp[1] << 8)
    if family == 4:
        key.lo[0] = raw32(ip + (16 if flip[0] else 12))
        key.lo[1] = 0
        key.hi[0] = raw32(ip + (12 if flip[0] else 16))
        key.hi[1] = 0
        wire_tail(key, raw16(icmp + 4), kind, PROTO_ICMP, 4)
    else:
        key.lo[0] = raw64(ip + (24 if flip[0] else 8))
        key.lo[1] = raw64(ip + (32 if flip[0] else 16))
        key.hi[0] = raw64(ip + (8 if flip[0] else 24))
        key.hi[1] = raw64(ip + (16 if flip[0] else 32))
        wire_tail(key, raw16(icmp + 4), kind, PROTO_ICMPV6, 6)
    return True


cdef bint wire_icmp_key(Key *key, const uint8_t *ip, const uint8_t *icmp, uint8_t family, uint8_t *flip) noexcept nogil:
    return icmp_key(key, ip, icmp, family, flip)


cdef inline bint has_ports(uint8_t proto) noexcept nogil:
    return proto == PROTO_TCP or proto == PROTO_UDP or proto == PROTO_SCTP or proto == PROTO_UDPLITE


cdef inline uint16_t pseudo_sum(const Packet *p, uint64_t sum, uint32_t size, uint8_t proto) noexcept nogil:
    """What bytes that sum to `sum`, and a pseudo header of `size` and `proto`, come to: 0xffff where the checksum
    among them is right."""
    # size and protocol are big-endian words added to a sum of little-endian ones: their bytes are swapped
    sum = sum_add(sum, (<uint16_t> (size << 8 | (size >> 8 & 0xff))) + (<uint32_t> proto << 8))
    if likely(p.family == 4):
        sum = sum_add(sum, raw64(p.data + 12))
    else:
        sum = sum_add(sum, sum_bytes(p.data + 8, 32))
    return sum_fold(sum)


cdef inline uint16_t transport_sum(const Packet *p, uint32_t size) noexcept nogil:
    return pseudo_sum(p, sum_bytes(p.data + p.l4, size), size, p.proto)


cdef bint wire_checksum_ok(const Packet *p, uint32_t size) noexcept nogil:
    return transport_sum(p, size) == 0xffff


cdef inline void parse_tcp(Packet *p) noexcept nogil:
    cdef const uint8_t *tcp = p.data + p.l4
    cdef uint32_t size = p.length - p.l4
    cdef uint32_t header
    if unlikely(p.have - p.l4 < 20):
        settle_short(p, KIND_BROKEN, 20)
        return
    header = (tcp[12] >> 4) * 4
    if unlikely(header < 20 or header > size):
        settle_by(p, KIND_BROKEN, TCP_OFFSET, header, size)
        return
    if not p.no_verify and p.have == p.length and unlikely(not wire_checksum_ok(p, size)):
        settle_sum(p, KIND_BROKEN, TCP_CHECKSUM, p.l4 + 16, transport_sum(p, size))
        return
    if unlikely(not wire_tcp_flags_valid(tcp[13])):
        p.detail[0] = tcp[13]
        settle(p, KIND_BROKEN, TCP_FLAGS)
        return


cdef inline void parse_udp(Packet *p) noexcept nogil:
    cdef const uint8_t *udp = p.data + p.l4
    cdef uint32_t size = p.length - p.l4
    cdef uint32_t said
    if unlikely(p.have - p.l4 < 8):
        settle_short(p, KIND_BROKEN, 8)
        return
    said = be16(udp + 4)
    if unlikely(said < 8 or said > size):
        p.detail[0] = said
        p.detail[1] = size
        settle(p, KIND_BROKEN, UDP_LENGTH)
        return
    if raw16(udp + 6) == 0 or p.no_verify or p.have < p.length:
        return
    if unlikely(not wire_checksum_ok(p, size)):
        settle_sum(p, KIND_BROKEN, UDP_CHECKSUM, p.l4 + 6, transport_sum(p, size))
        return


cdef inline void parse_udplite(Packet *p) noexcept nogil:
    cdef const uint8_t *head = p.data + p.l4
    cdef uint32_t size = p.length - p.l4
    cdef uint32_t covered
    cdef uint16_t sum
    if p.have - p.l4 < 8:
        settle_short(p, KIND_BROKEN, 8)
        return
    covered = be16(head + 4)
    if covered == 0:
        covered = size
    if covered < 8 or covered > size:
        p.detail[0] = covered
        p.detail[1] = size
        settle(p, KIND_BROKEN, UDP_LENGTH)
        return
    if raw16(head + 6) == 0:
        settle(p, KIND_BROKEN, UDP_CHECKSUM)
        return
    if p.no_verify or p.have < p.length:
        return
    # Linux sums UDP's protocol number into the pseudo header, not UDP-Lite's as RFC 3828 section 3.1 has it, and in
    # IPv4 the length's low byte only: what a sender sends by the RFC is INVALID to it, and so to us.
    sum = pseudo_sum(p, sum_bytes(head, covered), size & 0xff if p.family == 4 else size, PROTO_UDP)
    if sum != 0xffff:
        settle_sum(p, KIND_BROKEN, UDP_CHECKSUM, p.l4 + 6, sum)
        return


cdef inline void parse_sctp(Packet *p) noexcept nogil:
    cdef const uint8_t *sctp = p.data + p.l4
    cdef uint32_t size = p.length - p.l4
    cdef uint32_t value
    cdef uint32_t zero = 0
    if unlikely(p.have - p.l4 < 12):
        settle_short(p, KIND_BROKEN, 12)
        return
    if p.no_verify or p.have < p.length:
        return
    # the checksum field counts as zeros (RFC 9260 section 6.8)
    value = crc32c(0xffffffff, sctp, 8)
    value = crc32c(value, <const uint8_t *> &zero, 4)
    value = ~crc32c(value, sctp + 12, size - 12)
    if unlikely(value != raw32(sctp + 8)):
        p.detail[0] = raw32(sctp + 8)
        p.detail[1] = value
        settle(p, KIND_BROKEN, SCTP_CHECKSUM)
        return


cdef int wire_gre_call(const uint8_t *gre, uint32_t size, uint16_t *call) noexcept nogil:
    call[0] = 0
    if size < 8 or gre[1] & 7 != 1:
        return 0
    if be16(gre + 2) != GRE_PPP:
        return -1
    call[0] = raw16(gre + 6)
    return 1


cdef bint quoted_key(const uint8_t *at, uint32_t ip, uint32_t end, uint8_t family, Key *key,
                     uint8_t *flip) noexcept nogil:
    """The key of the packet quoted in an ICMP error at offset `ip`; False where too little of it is there."""
    cdef uint8_t proto
    cdef uint16_t frag, call = 0
    cdef uint32_t l4
    cdef int found
    if family == 4:
        if ip + 20 > end or be16(at + ip + 6) & 0x1fff:
            return False
        proto = at[ip + 9]
        l4 = ip + (at[ip] & 15) * 4
        if l4 > end:
            return False
    else:
        if ip + 40 > end:
            return False
        proto = at[ip + 6]
        found = headers_skip(at, ip + 40, end, &proto, &frag)
        if found < 0 or frag & 0xfff8:
            return False
        l4 = <uint32_t> found
    if has_ports(proto):
        if l4 + 4 > end:
            return False
        flip[0] = wire_key(key, at + ip, family, raw16(at + l4), raw16(at + l4 + 2), proto)
        return True
    if proto == PROTO_ICMP or proto == PROTO_ICMPV6:
        if l4 + 8 > end or (proto == PROTO_ICMP) != (family == 4):
            return False
        return icmp_key(key, at + ip, at + l4, family, flip)
    if proto == PROTO_GRE and wire_gre_call(at + l4, end - l4 if l4 < end else 0, &call) < 0:
        return False
    flip[0] = wire_key(key, at + ip, family, 0, call, proto)
    return True


cdef inline bint same_address(const uint8_t *a, const uint8_t *b, uint8_t family) noexcept nogil:
    if family == 4:
        return raw32(a) == raw32(b)
    return raw64(a) == raw64(b) and raw64(a + 8) == raw64(b + 8)


cdef void parse_icmp(Packet *p) noexcept nogil:
    cdef const uint8_t *icmp = p.data + p.l4
    cdef uint32_t size = p.length - p.l4
    cdef uint32_t inner = p.l4 + 8
    cdef uint16_t sum
    cdef bint good
    if p.have < inner:
        settle_short(p, KIND_INVALID, 8)
        return
    if not p.no_verify and p.have == p.length:
        if p.family == 4:
            sum = sum_fold(sum_bytes(icmp, size))
        else:
            sum = transport_sum(p, size)
        if sum != 0xffff:
            settle_sum(p, KIND_INVALID, ICMP_CHECKSUM, p.l4 + 2, sum)
            return
    if icmp_is_untracked(p.family, icmp[0]):
        settle(p, KIND_UNTRACKED, REASON_NONE)
        return
    p.detail[0] = icmp[0]
    p.detail[1] = icmp[1]
    if icmp_is_error(p.family, icmp[0]):
        if not quoted_key(p.data, inner, p.have, p.family, &p.key, &p.flip):
            settle(p, KIND_INVALID, ICMP_ERROR_MALFORMED)
            return
        # the error must be addressed to whom the quoted packet came from
        if p.family == 4:
            good = same_address(p.data + 16, p.data + inner + 12, 4)
        else:
            good = same_address(p.data + 24, p.data + inner + 8, 6)
        if not good:
            settle(p, KIND_INVALID, ICMP_ERROR_ADDRESS)
            return
        p.kind = KIND_ERROR
        return
    if not icmp_key(&p.key, p.data, icmp, p.family, &p.flip):
        settle(p, KIND_INVALID, ICMP_TYPE)
        return


cdef void parse_foreign(Packet *p) noexcept nogil:
    """ICMP of the other family's protocol number: INVALID. Linux sees that of a query only after it has made room for
    its connection, so a key names one that never is."""
    cdef const uint8_t *icmp = p.data + p.l4
    settle_by(p, KIND_INVALID, PROTOCOL_FAMILY, p.proto, p.family)
    if p.have - p.l4 >= 8 and icmp_request_of(4 if p.proto == PROTO_ICMP else 6, icmp[0]) >= 0:
        p.kind = KIND_BROKEN
        p.flip = wire_key(&p.key, p.data, p.family, raw16(icmp + 4), raw16(icmp), p.proto)


cdef void parse_gre(Packet *p) noexcept nogil:
    """Version 1 names one end of a call; every other version, and too short a header, only the addresses."""
    cdef uint16_t call
    cdef int found = wire_gre_call(p.data + p.l4, p.have - p.l4, &call)
    if found < 0:
        p.detail[0] = be16(p.data + p.l4 + 2)
        settle(p, KIND_INVALID, GRE_HEADER)
        return
    p.flip = wire_key(&p.key, p.data, p.family, 0, call, PROTO_GRE)
    if found:
        p.kind = KIND_CALL


cdef inline void parse_transport(Packet *p) noexcept nogil:
    """Name the connection, and check the transport header; IP's own lengths are sound."""
    cdef const uint8_t *l4 = p.data + p.l4
    cdef uint8_t proto = p.proto
    cdef uint16_t sport = 0, dport = 0
    if unlikely(p.l4 > p.have):
        # an extension header that claims to end behind the packet's end: there is no transport header
        p.l4 = p.have
    if proto == PROTO_ICMP or proto == PROTO_ICMPV6:
        if (proto == PROTO_ICMP) != (p.family == 4):
            parse_foreign(p)
            return
        parse_icmp(p)
        return
    if has_ports(proto):
        if p.have - p.l4 < 4:
            settle_short(p, KIND_INVALID, 4)
            return
        sport = raw16(l4)
        dport = raw16(l4 + 2)
    elif proto == PROTO_GRE:
        parse_gre(p)
        return
    if p.family == 4:
        p.flip = wire_order4(&p.key, p.data, sport, dport, proto)
    else:
        p.flip = wire_order6(&p.key, p.data, sport, dport, proto)
    if proto == PROTO_TCP:
        parse_tcp(p)
    elif proto == PROTO_UDP:
        parse_udp(p)
    elif proto == PROTO_SCTP:
        parse_sctp(p)
    elif proto == PROTO_UDPLITE:
        parse_udplite(p)


cdef inline void parse_ipv4(Packet *p) noexcept nogil:
    cdef const uint8_t *ip = p.data
    cdef uint32_t header, total
    cdef uint16_t frag
    if unlikely(p.have < 20):
        settle_by(p, KIND_REFUSED, IP_TRUNCATED, p.have, 20)
        return
    header = (ip[0] & 15) * 4
    if unlikely(header < 20 or header > p.have):
        settle_by(p, KIND_REFUSED, IP_HEADER_LENGTH, header, p.have)
        return
    if unlikely(sum_fold(sum_bytes(ip, header)) != 0xffff):
        settle_sum(p, KIND_REFUSED, IP_CHECKSUM, 10, sum_fold(sum_bytes(ip, header)))
        return
    total = be16(ip + 2)
    if unlikely(total < header or total > p.length):
        p.detail[0] = total
        p.detail[1] = p.length
        settle(p, KIND_REFUSED, IP_TOTAL_LENGTH)
        return
    p.length = total
    if p.have > total:
        p.have = total
    p.l4 = header
    p.proto = ip[9]
    frag = be16(ip + 6)
    if unlikely(frag & 0x3fff):
        p.frag_off = (frag & 0x1fff) * 8 | frag >> 13 & 1
        settle(p, KIND_FRAGMENT, FRAGMENT)
        return
    parse_transport(p)


cdef inline void parse_ipv6(Packet *p, bint whole) noexcept nogil:
    cdef const uint8_t *ip = p.data
    cdef uint32_t total, at, named
    cdef uint16_t frag
    cdef int l4
    if unlikely(p.have < 40):
        settle_by(p, KIND_REFUSED, IP_TRUNCATED, p.have, 40)
        return
    total = be16(ip + 4) + 40
    # under a hop-by-hop header a payload length of zero leaves the length to that header (RFC 2675); where that says
    # nothing the packet is as long as it came
    if unlikely(total == 40 and ip[6] == PROTO_HOPOPTS):
        total = p.length
    if unlikely(total > p.length):
        p.detail[0] = total
        p.detail[1] = p.length
        settle(p, KIND_REFUSED, IP_TOTAL_LENGTH)
        return
    p.length = total
    if p.have > total:
        p.have = total
    if p.hook == HOOK_FORWARD and unlikely(headers_foreign6(ip)):
        settle(p, KIND_REFUSED, IP_ADDRESS)
        p.detail[0] = headers_blamed(ip, 6, &p.detail[1])
        return
    p.proto = ip[6]
    if unlikely(p.proto == PROTO_HOPOPTS):
        if p.have < 48 or p.have < 48 + <uint32_t> ip[41] * 8:
            settle_by(p, KIND_REFUSED, IP_TRUNCATED, p.have, 48 + <uint32_t> ip[41] * 8 if p.have >= 48 else 48)
            return
        if not headers_options6_pass(ip + 40, (ip[41] + 1) * 8):
            settle_by(p, KIND_REFUSED, IP_OPTIONS, (ip[41] + 1) * 8, 0)
            return
    if unlikely(is_extension(p.proto)) and not whole:
        at = headers_fragment(ip, p.have, &named)
        if at:
            p.l4 = at
            p.frag_off = named
            if at + 8 > p.have and p.have < p.length:
                settle_by(p, KIND_INVALID, CAPTURE_CUT, p.have, at + 8)
            else:
                settle(p, KIND_FRAGMENT, FRAGMENT)
            return
    l4 = 40
    frag = 0
    if unlikely(is_extension(p.proto)):
        l4 = headers_skip(ip, 40, p.have, &p.proto, &frag)
    if unlikely(l4 < 0):
        p.l4 = 40
        settle_by(p, KIND_INVALID, EXTENSION_HEADER, p.proto, p.have)
        return
    p.l4 = <uint32_t> l4
    if unlikely(frag & 0xfff8):
        # not held: the reassembly has refused it, or it lies within a datagram that was one already
        settle_by(p, KIND_INVALID, FRAGMENT_BAD, frag & 0xfff8, (frag & 0xfff8) + p.length - p.l4 - 8)
        return
    parse_transport(p)


cdef inline void parse(Packet *p, bint whole) noexcept nogil:
    """Parse the packet at p.data; p.have and p.length (its length on the wire), p.no_verify are set by the caller."""
    wire_begin(p)
    if unlikely(p.have == 0):
        p.family = 0
        settle_by(p, KIND_NOT_IP, NOT_IP, p.have, p.length)
        return
    p.family = p.data[0] >> 4
    if likely(p.family == 4):
        parse_ipv4(p)
    elif p.family == 6:
        parse_ipv6(p, whole)
    else:
        p.detail[0] = p.family
        p.family = 0
        settle(p, KIND_REFUSED, IP_VERSION)


cdef void wire_parse(Packet *p) noexcept nogil:
    parse(p, False)


cdef void wire_parse_whole(Packet *p) noexcept nogil:
    parse(p, True)
