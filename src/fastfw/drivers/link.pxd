"""Link-level headers: where in a record the IP packet begins.

Sources: the registry of link types (draft-ietf-opsawg-pcaplinktype), IEEE 802.1Q/802.1ad (VLAN tags), RFC 1042
(LLC/SNAP), RFC 2516 (PPPoE). All multi-byte fields are big-endian unless said otherwise.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from fastfw.core.declared cimport LINK_BROADCAST, LINK_HOST, LINK_MULTICAST, LINK_OTHERHOST, LINK_SOURCE, LINK_TARGET

# How the records of an interface are framed.
cdef enum LinkKind:
    LINK_UNKNOWN
    LINK_RAW
    LINK_IPV4
    LINK_IPV6
    LINK_ETHERNET
    LINK_COOKED
    LINK_COOKED2
    LINK_LOOPBACK

# Why a record holds no IP packet; the names are LINK_REASONS in capture.py, in this order.
cdef enum LinkReason:
    REASON_IP
    REASON_ARP
    REASON_NOT_IP
    REASON_TRUNCATED
    REASON_LINK_UNKNOWN
    REASON_INTERFACE_UNKNOWN
    REASON_DAMAGED
    REASON_VLAN_DEPTH
    REASON_VERSION

# A frame with more tags than this is refused; switches stop at two.
cdef enum:
    MAX_VLAN_TAGS = 8


cdef inline uint16_t big16(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])


cdef inline int ppp(const uint8_t *p, uint32_t size, uint32_t *at) noexcept nogil:
    """The PPP protocol field at `at`: the IP version it announces, or minus the reason."""
    cdef uint16_t protocol
    if size - at[0] < 2:
        return -REASON_TRUNCATED
    protocol = big16(p + at[0])
    at[0] += 2
    if protocol == 0x0021:
        return 4
    if protocol == 0x0057:
        return 6
    return -REASON_NOT_IP


cdef inline int llc(const uint8_t *p, uint32_t size, uint32_t *at, uint16_t *ethertype) noexcept nogil:
    """The IEEE 802.2 header at `at`: 4 for the IP SAP, 0 with an EtherType behind SNAP, or minus the reason."""
    if size - at[0] < 3:
        return -REASON_TRUNCATED
    if p[at[0]] == 0x06 and p[at[0] + 1] == 0x06 and p[at[0] + 2] == 0x03:
        at[0] += 3
        return 4
    if p[at[0]] != 0xAA or p[at[0] + 1] != 0xAA or p[at[0] + 2] != 0x03:
        return -REASON_NOT_IP
    if size - at[0] < 8:
        return -REASON_TRUNCATED
    if p[at[0] + 3] or p[at[0] + 4] or (p[at[0] + 5] and p[at[0] + 5] != 0xF8):
        return -REASON_NOT_IP
    ethertype[0] = big16(p + at[0] + 6)
    at[0] += 8
    return 0


cdef inline int network(const uint8_t *p, uint32_t size, uint32_t *at, uint16_t ethertype) noexcept nogil:
    """What follows an EtherType, `at` being just behind it: the IP version, or minus the reason."""
    cdef int tags = 0, answer
    while True:
        if ethertype == 0x0800:
            return 4
        if ethertype == 0x86DD:
            return 6
        if ethertype == 0x0806:
            return -REASON_ARP
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            if tags == MAX_VLAN_TAGS:
                return -REASON_VLAN_DEPTH
            if size - at[0] < 4:
                return -REASON_TRUNCATED
            tags += 1
            ethertype = big16(p + at[0] + 2)
            at[0] += 4
        elif ethertype == 0x8864:
            # PPPoE session: version and type 1, code 0, session, length; then PPP.
            if size - at[0] < 6:
                return -REASON_TRUNCATED
            if p[at[0]] != 0x11 or p[at[0] + 1]:
                return -REASON_NOT_IP
            at[0] += 6
            return ppp(p, size, at)
        elif ethertype <= 1500:
            answer = llc(p, size, at, &ethertype)
            if answer:
                return answer
            if ethertype <= 1500:
                return -REASON_NOT_IP
        else:
            return -REASON_NOT_IP


cdef inline int loopback(const uint8_t *p, uint32_t size, uint32_t *at) noexcept nogil:
    """The address family of a BSD loopback record, in the byte order of whoever wrote it (RFC-less; see pcap)."""
    cdef uint32_t family
    if size < 4:
        return -REASON_TRUNCATED
    at[0] = 4
    if p[0] == 0 and p[1] == 0 and p[2] == 0:
        family = p[3]
    elif p[1] == 0 and p[2] == 0 and p[3] == 0:
        family = p[0]
    else:
        return -REASON_NOT_IP
    if family == 2:
        return 4
    # AF_INET6 of Linux, NetBSD/OpenBSD, FreeBSD and Darwin.
    if family == 10 or family == 24 or family == 28 or family == 30:
        return 6
    return -REASON_NOT_IP


cdef inline LinkReason find_ip(const uint8_t *p, uint32_t size, LinkKind kind, uint32_t *at) noexcept nogil:
    """Sets `at` to where the IP packet begins in a record of `size` bytes. Reads nothing past `size`."""
    cdef int version = 0
    cdef uint16_t ethertype
    at[0] = 0
    if kind == LINK_ETHERNET:
        if size < 14:
            return REASON_TRUNCATED
        at[0] = 14
        version = network(p, size, at, big16(p + 12))
    elif kind == LINK_COOKED:
        if size < 16:
            return REASON_TRUNCATED
        at[0] = 16
        ethertype = big16(p + 14)
        # 4 announces 802.2, which `network` knows by any length up to 1500; 1 is Novell's raw 802.3.
        version = -REASON_NOT_IP if ethertype < 1500 and ethertype != 4 else network(p, size, at, ethertype)
    elif kind == LINK_COOKED2:
        if size < 20:
            return REASON_TRUNCATED
        at[0] = 20
        ethertype = big16(p)
        version = -REASON_NOT_IP if ethertype < 1500 and ethertype != 4 else network(p, size, at, ethertype)
    elif kind == LINK_LOOPBACK:
        version = loopback(p, size, at)
    elif kind == LINK_IPV4:
        version = 4
    elif kind == LINK_IPV6:
        version = 6
    elif kind == LINK_UNKNOWN:
        return REASON_LINK_UNKNOWN
    if version < 0:
        return <LinkReason>(-version)
    if at[0] >= size:
        return REASON_TRUNCATED
    # An IP stack picks its receiver by the link's word and refuses the other version there.
    if version and (p[at[0]] >> 4) != version and ((p[at[0]] >> 4) == 4 or (p[at[0]] >> 4) == 6):
        return REASON_VERSION
    return REASON_IP


# Linux's number of Ethernet among kinds of hardware, which cooked records carry.
cdef enum:
    HARDWARE_ETHERNET = 1


cdef inline uint8_t cast_of(const uint8_t *target) noexcept nogil:
    """The packet type that a frame's destination gives it (IEEE 802 section 8.2.2). Whose an individual address is
    a capture does not say: its records are those of the host."""
    cdef int i
    if not target[0] & 1:
        return LINK_HOST
    for i in range(6):
        if target[i] != 0xff:
            return LINK_MULTICAST
    return LINK_BROADCAST


cdef inline void read_link(const uint8_t *p, uint32_t size, LinkKind kind, uint8_t *out) noexcept nogil:
    """What the `size` bytes in front of an IP packet say of its frame: 16 bytes of LINK (engine.pxd). All zero where
    they say nothing: no addresses, and it was for the host. `find_ip` has seen to it that the header is whole."""
    cdef uint16_t packet_type, hardware, address_size
    memset(out, 0, 16)
    if kind == LINK_ETHERNET and size >= 14:
        memcpy(out, p, 12)
        out[12] = cast_of(p)
        out[13] = LINK_SOURCE | LINK_TARGET
        return
    if kind == LINK_COOKED and size >= 16:
        packet_type, hardware, address_size = big16(p), big16(p + 2), big16(p + 4)
        p += 6
    elif kind == LINK_COOKED2 and size >= 20:
        packet_type, hardware, address_size = p[10], big16(p + 8), p[11]
        p += 12
    else:
        return
    if packet_type > LINK_OTHERHOST:
        return                  # the host sent it itself: it came in no frame
    out[12] = <uint8_t>packet_type
    if hardware == HARDWARE_ETHERNET and address_size == 6:
        memcpy(out + 6, p, 6)
        out[13] = LINK_SOURCE
