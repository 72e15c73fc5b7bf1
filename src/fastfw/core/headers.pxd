from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastfw.core.wire cimport (
    PROTO_AH, PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOPOPTS, PROTO_NONE, PROTO_ROUTING,
)


cdef inline bint is_extension(uint8_t proto) noexcept nogil:
    """Whether connection tracking looks behind a header for the transport's; NONE says that there is none."""
    return (proto == PROTO_HOPOPTS or proto == PROTO_ROUTING or proto == PROTO_DSTOPTS or proto == PROTO_AH
            or proto == PROTO_FRAGMENT or proto == PROTO_NONE)


# Offset of an IPv6 packet's first fragment header, 0 where it has none; `named`: of the byte that announces it.
cdef uint32_t headers_fragment(const uint8_t *ip, uint32_t end, uint32_t *named) noexcept nogil

# Walk IPv6 extension headers (RFC 8200 section 4) from `start`, which `proto` names; offset of what follows them, -1
# where the chain breaks off. `frag` gets a fragment header's offset field; a later fragment ends the walk.
cdef int headers_skip(const uint8_t *at, uint32_t start, uint32_t end, uint8_t *proto, uint16_t *frag) noexcept nogil

# Whether an IP stack passes what comes after PREROUTING: a hop-by-hop header's options of `size` bytes at `at` (RFC
# 8200 section 4.2), and IPv4's options (RFC 791 section 3.1), source routes refused.
cdef bint headers_options6_pass(const uint8_t *at, uint32_t size) noexcept nogil
cdef bint headers_options4_pass(const uint8_t *ip, uint32_t header) noexcept nogil

# Whether an IPv6 packet carries an address that a host refuses on sight where it is not its own: a multicast source,
# the loopback address, a group that ends at the interface (RFC 4291 sections 2.5.3 and 2.7).
cdef bint headers_foreign6(const uint8_t *ip) noexcept nogil

# Whether a router passes on packets between these addresses. Not where one means this host or this link (RFC 1122
# section 3.2.1.3, RFC 4291 section 2.5.6); groups are taken to be routed.
cdef bint headers_forwards4(const uint8_t *ip) noexcept nogil
cdef bint headers_forwards6(const uint8_t *ip) noexcept nogil

# What it is that headers_foreign6 or the two above refuse.
cdef enum AddressKind:
    ADDRESS_UNSPECIFIED = 0
    ADDRESS_LOOPBACK
    ADDRESS_BROADCAST
    ADDRESS_GROUP
    ADDRESS_INTERFACE    # a group that ends at the interface
    ADDRESS_LINK         # of this link alone
    ADDRESS_TARGET = 16  # a bit: it is the destination

# The kind of the address refused in an IP header, and its first 32 bits as a number.
cdef uint32_t headers_blamed(const uint8_t *ip, uint8_t family, uint32_t *begins) noexcept nogil


cdef inline bint headers_plain4(const uint8_t *ip) noexcept nogil:
    """Whether both IPv4 addresses are at once seen to be none that headers_forwards4 refuses."""
    return ((ip[12] != 0) & (ip[12] != 127) & (ip[12] < 224) & (ip[16] != 0) & (ip[16] != 127) & (ip[16] < 224))
