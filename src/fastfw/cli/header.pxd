"""What a report needs to know of a packet that its decision does not say: version, protocol, size and endpoints.

Reads IPv4 (RFC 791) and IPv6 (RFC 8200) headers, bounds-checked; nothing here decides anything.
"""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    MAX_EXTENSIONS = 16

# One header's worth of facts, pointing into the packet; addresses and ports in network order.
cdef struct Header:
    uint8_t family                # 4, 6, or 0: not an IP header, and nothing else is set but size
    uint8_t protocol              # of the transport, behind IPv6's extension headers as far as they were captured
    uint32_t size                 # bytes of the IP packet as it was sent, link-level padding left out
    const uint8_t *source         # 4 or 16 bytes
    const uint8_t *destination
    const uint8_t *ports          # source and destination port, or NULL where the packet shows none


cdef inline uint32_t big16(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline bint has_ports(uint8_t protocol) noexcept nogil:
    """TCP, UDP, DCCP, SCTP and UDP-Lite begin with two 16-bit ports."""
    return protocol == 6 or protocol == 17 or protocol == 33 or protocol == 132 or protocol == 136


cdef inline void read_header(const uint8_t *p, uint32_t have, uint32_t wire, Header *header) noexcept nogil:
    """`have` bytes at `p` were captured of a packet that had `wire` bytes on the link."""
    cdef uint32_t at, size
    cdef int _i
    header.family = 0
    header.protocol = 0
    header.size = wire
    header.source = header.destination = p
    header.ports = NULL
    if have >= 20 and p[0] >> 4 == 4:
        header.family = 4
        header.protocol = p[9]
        header.source = p + 12
        header.destination = p + 16
        size = big16(p + 2)
        if 20 <= size and size < wire:
            header.size = size
        at = <uint32_t>(p[0] & 15) * 4
        # Only a first fragment shows the ports.
        if has_ports(p[9]) and not big16(p + 6) & 0x1FFF and at >= 20 and at <= have and have - at >= 4:
            header.ports = p + at
    elif have >= 40 and p[0] >> 4 == 6:
        header.family = 6
        header.protocol = p[6]
        header.source = p + 8
        header.destination = p + 24
        size = big16(p + 4)
        if size and size + 40 < wire:
            header.size = size + 40
        at = 40
        for _i in range(MAX_EXTENSIONS):
            if header.protocol == 0 or header.protocol == 43 or header.protocol == 60:
                size = 8 if have - at < 2 else (<uint32_t>p[at + 1] + 1) * 8
            elif header.protocol == 51:
                size = 8 if have - at < 2 else (<uint32_t>p[at + 1] + 2) * 4
            elif header.protocol == 44:
                size = 8
            else:
                break
            if size > have - at:
                return
            if header.protocol == 44 and big16(p + at + 2) & 0xFFF8:
                header.protocol = p[at]
                return
            header.protocol = p[at]
            at += size
        if has_ports(header.protocol) and have - at >= 4:
            header.ports = p + at
