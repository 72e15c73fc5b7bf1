"""Chains of headers: IPv6's extension headers and the options of either family that a router looks at.

Everything walks within `end`; nothing here knows of connections.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastfw.core.bytes cimport be16, be32, likely
from fastfw.core.wire cimport PROTO_AH, PROTO_FRAGMENT, PROTO_NONE


cdef uint32_t headers_fragment(const uint8_t *ip, uint32_t end, uint32_t *named) noexcept nogil:
    cdef uint32_t here = 40
    cdef uint8_t proto = ip[6]
    named[0] = 6
    while proto != PROTO_FRAGMENT:
        if not is_extension(proto) or proto == PROTO_NONE or here + 2 > end:
            return 0
        named[0] = here
        here += (ip[here + 1] + 2) * 4 if proto == PROTO_AH else (ip[here + 1] + 1) * 8
        proto = ip[named[0]]
    return here if here <= end and end > 40 else 0


cdef int headers_skip(const uint8_t *at, uint32_t start, uint32_t end, uint8_t *proto, uint16_t *frag) noexcept nogil:
    cdef uint32_t here = start
    cdef uint8_t next_header = proto[0]
    frag[0] = 0
    while is_extension(next_header):
        if next_header == PROTO_NONE or here + 2 > end:
            return -1
        if next_header == PROTO_FRAGMENT:
            if here + 4 > end:
                return -1
            frag[0] = be16(at + here + 2)
            if frag[0] & 0xfff8:
                break
            next_header = at[here]
            here += 8
        elif next_header == PROTO_AH:
            next_header = at[here]
            here += (at[here + 1] + 2) * 4
        else:
            next_header = at[here]
            here += (at[here + 1] + 1) * 8
    proto[0] = next_header
    return <int> here


cdef bint headers_options6_pass(const uint8_t *at, uint32_t size) noexcept nogil:
    # at most seven bytes of padding in a row, of zeros; at most eight options; unknown ones only if they say so
    cdef uint32_t here = 2, step, padding = 0, count = 0, k
    cdef uint8_t kind
    while here < size:
        kind = at[here]
        if kind == 0:
            padding += 1
            if padding > 7:
                return False
            here += 1
            continue
        if here + 2 > size:
            return False
        step = at[here + 1] + 2
        if here + step > size:
            return False
        if kind == 1:
            padding += step
            if padding > 7:
                return False
            for k in range(here + 2, here + step):
                if at[k]:
                    return False
        else:
            count += 1
            padding = 0
            if count > 8:
                return False
            if kind == 5:
                if step != 4:
                    return False
            elif kind == 7:
                # CALIPSO (RFC 5570): no domain of interpretation is configured, so that none is known
                return False
            elif kind == 0x31:
                # IOAM (RFC 9486 section 3): at a multiple of four
                if here & 3:
                    return False
            elif kind == 0xc2 or kind & 0xc0:
                return False
        here += step
    return True


cdef bint headers_options4_pass(const uint8_t *ip, uint32_t header) noexcept nogil:
    cdef uint32_t at = 20
    cdef uint8_t kind, size, pointer
    while at < header:
        kind = ip[at]
        if kind == 0:
            return True
        if kind == 1:
            at += 1
            continue
        if at + 2 > header:
            return False
        size = ip[at + 1]
        if size < 2 or at + size > header:
            return False
        if kind == 131 or kind == 137:
            return False
        if kind == 7:
            if size < 3:
                return False
            pointer = ip[at + 2]
            if pointer < 4 or (pointer <= size and pointer + 3 > size):
                return False
        elif kind == 68:
            if size < 4 or ip[at + 2] < 5:
                return False
        elif kind == 148 and size < 4:
            return False
        at += size
    return True


cdef inline bint is_loopback6(const uint8_t *address) noexcept nogil:
    return be32(address) | be32(address + 4) | be32(address + 8) == 0 and be32(address + 12) == 1


cdef bint headers_foreign6(const uint8_t *ip) noexcept nogil:
    if ip[8] == 0xff or (ip[24] == 0xff and ip[25] & 15 <= 1):
        return True
    if likely(ip[8] != 0 and ip[24] != 0):
        return False
    return is_loopback6(ip + 8) or is_loopback6(ip + 24)


cdef inline bint is_here4(uint32_t address) noexcept nogil:
    return address >> 24 == 127 or address == 0 or address + 1 == 0


cdef bint headers_forwards4(const uint8_t *ip) noexcept nogil:
    return not (is_here4(be32(ip + 12)) or is_here4(be32(ip + 16)) or ip[12] >> 4 == 14)


cdef bint headers_forwards6(const uint8_t *ip) noexcept nogil:
    if likely(ip[8] != 0 and ip[8] != 0xfe and ip[24] != 0xfe):
        return True
    return not ((ip[8] == 0xfe and ip[9] >> 6 == 2) or (ip[24] == 0xfe and ip[25] >> 6 == 2)
                or be32(ip + 8) | be32(ip + 12) | be32(ip + 16) | be32(ip + 20) == 0)


cdef uint32_t kind4(uint32_t address) noexcept nogil:
    if address >> 24 == 127:
        return ADDRESS_LOOPBACK
    if address == 0:
        return ADDRESS_UNSPECIFIED
    return ADDRESS_BROADCAST if address + 1 == 0 else ADDRESS_GROUP


cdef uint32_t kind6(const uint8_t *address) noexcept nogil:
    if address[0] == 0xff:
        return ADDRESS_INTERFACE if address[1] & 15 <= 1 else ADDRESS_GROUP
    if address[0] == 0xfe:
        return ADDRESS_LINK
    return ADDRESS_LOOPBACK if is_loopback6(address) else ADDRESS_UNSPECIFIED


cdef bint source_is_bad6(const uint8_t *ip) noexcept nogil:
    return (ip[8] == 0xff or is_loopback6(ip + 8) or (ip[8] == 0xfe and ip[9] >> 6 == 2)
            or be32(ip + 8) | be32(ip + 12) | be32(ip + 16) | be32(ip + 20) == 0)


cdef uint32_t headers_blamed(const uint8_t *ip, uint8_t family, uint32_t *begins) noexcept nogil:
    cdef bint target
    cdef const uint8_t *bad
    if family == 4:
        target = not is_here4(be32(ip + 12)) and ip[12] >> 4 != 14
        begins[0] = be32(ip + (16 if target else 12))
        return kind4(begins[0]) | (ADDRESS_TARGET if target else 0)
    target = not source_is_bad6(ip)
    bad = ip + (24 if target else 8)
    begins[0] = be32(bad)
    return kind6(bad) | (ADDRESS_TARGET if target else 0)
