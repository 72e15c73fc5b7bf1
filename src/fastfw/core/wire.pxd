"""Bytes to Packet: one bounds-checked pass over the IP and transport headers.

After `wire_parse` every offset in a Packet lies within `have` bytes of `data`, so nothing later checks bounds again
for what the parse vouches for.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport put64, raw32, raw64
from fastfw.core.terms cimport REASON_NONE


cdef enum:
    PROTO_HOPOPTS = 0
    PROTO_ICMP = 1
    PROTO_TCP = 6
    PROTO_UDP = 17
    PROTO_ROUTING = 43
    PROTO_FRAGMENT = 44
    PROTO_GRE = 47
    PROTO_ESP = 50
    PROTO_AH = 51
    PROTO_ICMPV6 = 58
    PROTO_NONE = 59
    PROTO_DSTOPTS = 60
    PROTO_SCTP = 132
    PROTO_UDPLITE = 136


# Bits of a TCP segment's flag byte.
cdef enum:
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    ACK = 0x10
    URG = 0x20


# One key names a connection for both directions: its endpoints stand in a fixed order. Protocols with ports order them
# by address and port, GRE by address and key, others by address, ICMP puts the requester first. Addresses and ports are
# as they stand in the packet (network byte order); an IPv4 address fills the low half of the first word.
# 40 bytes, no padding, unused bytes zero: compared and hashed as five words.
ctypedef struct Key:
    uint64_t lo[2]
    uint64_t hi[2]
    uint16_t lo_port     # ICMP: the identifier; GRE: the call's key; protocols without ports: 0
    uint16_t hi_port     # ICMP: request type, code << 8
    uint16_t zone
    uint8_t proto
    uint8_t family       # 4 or 6


# What connection tracking is to do with a packet.
cdef enum Kind:
    KIND_TRACK = 0       # key names its connection
    KIND_CALL            # likewise, but for the source's key, which only a helper can have told (gre.pxd)
    KIND_ERROR           # an ICMP error: key and flip name the quoted packet's connection
    KIND_BROKEN          # key is sound, the transport header is not: INVALID, but it may cost an entry
    KIND_INVALID         # no connection can be named
    KIND_UNTRACKED       # neighbour discovery and multicast listener reports
    KIND_FRAGMENT        # to be held for reassembly
    KIND_REFUSED         # an IP stack drops it before netfilter
    KIND_NOT_IP          # the capture's record holds no IP packet


# What a decision consists of, verdict to mark, lies together and in the order of a result's record (engine.pxd's
# Outcome).
ctypedef struct Packet:
    Key key
    uint32_t hash        # of key; valid where kind is TRACK, ERROR or BROKEN
    uint32_t candidate   # a slab index whose tag agreed, or NO_FLOW; to be verified
    const uint8_t *link  # what the link layer said of it: 16 bytes of LINK (engine.pxd), NULL: nothing
    const uint8_t *data  # the first byte of the IP header; owned by the caller for the length of the batch
    uint32_t have        # bytes readable at data, at most length
    uint32_t length      # of the IP packet as its header says
    uint32_t l4          # offset of the transport header
    uint32_t frag_off    # of a fragment, IPv4: its offset in bytes, bit 0: more follow; IPv6: where its header is named
    uint32_t detail[2]   # the numbers behind reason
    int64_t now          # the packet's clock, ns
    uint32_t status      # the connection's status bits as the rules see them
    uint32_t entry       # slab index of the connection, NEW_FLOW for one not yet confirmed, NO_FLOW for none
    uint8_t verdict      # a Verdict, once decided
    uint8_t state        # a State, once tracked
    uint8_t direction    # a Direction, once tracked
    uint8_t assured      # bits of status, once decided
    uint8_t seen_reply
    uint8_t expected
    uint16_t reason      # a Reason
    int32_t rule         # index of the rule that decided, -1: none
    uint32_t mark        # the packet's mark (MARK target, -m mark)
    uint16_t iif         # interned interface names, 0: none given; these three are read at once (walk.pxd)
    uint16_t oif
    uint8_t proto        # after the IPv6 extension headers
    uint8_t kind         # a Kind
    uint8_t flip         # 1: the source is the key's second endpoint
    uint8_t hook         # a Hook
    uint8_t family       # 4 or 6; 0 where no IP packet was found
    uint8_t counted      # 1: the connection's tracker took it into account
    uint8_t no_verify    # 1: checksums are vouched for, or not to be checked
    uint8_t traced       # 1: every rule it meets is told of
    uint16_t template    # of a CT rule for the connection that begins (conntrack.pxd), 0: none
    uint8_t stray        # 1: the host's own connection tracking calls it INVALID; asked of connections that SKIP alone
    uint8_t renewed      # 1: it began its connection anew, whose state is told of even where it is what it was
    uint32_t answer      # what follows from the verdict, see ANSWER_RESET


# A packet's `answer`. REJECT: type << 8 | code of the ICMP error to answer with, or ANSWER_RESET. QUEUE: the queue's
# number, and ANSWER_BYPASS where the packet is to pass if nobody reads it.
cdef enum:
    ANSWER_RESET = 0x10000
    ANSWER_BYPASS = 0x10000


cdef enum:
    NO_FLOW = 0xffffffff
    NEW_FLOW = 0xfffffffe


cdef void wire_parse(Packet *p) noexcept nogil

# A datagram that was a fragment or was made of fragments: it is not held again.
cdef void wire_parse_whole(Packet *p) noexcept nogil

# The key of a connection between two ends, addresses as in `ip` (an IP header of that family); 1 where the source comes
# second.
cdef uint8_t wire_key(Key *key, const uint8_t *ip, uint8_t family, uint16_t sport, uint16_t dport,
                      uint8_t proto) noexcept nogil

# The key of an ICMP query, of which `icmp` has eight readable bytes; False for a type that belongs to no query.
cdef bint wire_icmp_key(Key *key, const uint8_t *ip, const uint8_t *icmp, uint8_t family, uint8_t *flip) noexcept nogil

# The call id a GRE header of version 1 names its receiver's end by (RFC 2637 section 4.1), as it stands there. 1: there
# is one, 0: this is not such a header, or too little of it, -1: it is, but carries no PPP.
cdef int wire_gre_call(const uint8_t *gre, uint32_t size, uint16_t *call) noexcept nogil

# The transport payload's checksum with its pseudo header, as RFC 768, 793 and 8200 have it.
cdef bint wire_checksum_ok(const Packet *p, uint32_t size) noexcept nogil


cdef inline bint wire_tcp_flags_valid(uint8_t flags) noexcept nogil:
    """Whether a TCP segment may carry these flags together; ECE, CWR and PSH are free."""
    cdef uint64_t one = 1
    cdef uint64_t valid = (one << SYN | one << (SYN | URG) | one << (SYN | ACK) | one << RST | one << (RST | ACK)
                           | one << (FIN | ACK) | one << (FIN | ACK | URG) | one << ACK | one << (ACK | URG))
    return valid >> (flags & (FIN | SYN | RST | ACK | URG)) & 1


cdef inline void wire_begin(Packet *p) noexcept nogil:
    """What a packet is before it is looked at."""
    p.kind = KIND_TRACK
    p.reason = REASON_NONE
    p.flip = 0
    p.l4 = 0
    p.proto = 0
    p.frag_off = 0
    p.detail[0] = 0
    p.detail[1] = 0


cdef inline void wire_tail(Key *key, uint16_t lo_port, uint16_t hi_port, uint8_t proto, uint8_t family) noexcept nogil:
    # one store: the hash reads it back in halves, which must not wait for several
    put64(&key.lo_port, lo_port | <uint32_t> hi_port << 16 | <uint64_t> proto << 48 | <uint64_t> family << 56)


cdef inline uint8_t wire_order4(Key *key, const uint8_t *ip, uint16_t sport, uint16_t dport,
                                uint8_t proto) noexcept nogil:
    """Fill an IPv4 key with its endpoints in order; 1 where the source comes second."""
    cdef uint64_t source = <uint64_t> raw32(ip + 12) << 16 | sport
    cdef uint64_t target = <uint64_t> raw32(ip + 16) << 16 | dport
    cdef uint8_t flip = source > target
    cdef uint64_t lo = target if flip else source
    cdef uint64_t hi = source if flip else target
    key.lo[0] = lo >> 16
    key.lo[1] = 0
    key.hi[0] = hi >> 16
    key.hi[1] = 0
    wire_tail(key, <uint16_t> lo, <uint16_t> hi, proto, 4)
    return flip


cdef inline uint8_t wire_order6(Key *key, const uint8_t *ip, uint16_t sport, uint16_t dport,
                                uint8_t proto) noexcept nogil:
    """Fill an IPv6 key with its endpoints in order; 1 where the source comes second."""
    cdef uint64_t s0 = raw64(ip + 8), s1 = raw64(ip + 16), d0 = raw64(ip + 24), d1 = raw64(ip + 32)
    cdef bint flip
    if s0 != d0:
        flip = s0 > d0
    elif s1 != d1:
        flip = s1 > d1
    else:
        flip = sport > dport
    if flip:
        key.lo[0] = d0
        key.lo[1] = d1
        key.hi[0] = s0
        key.hi[1] = s1
        wire_tail(key, dport, sport, proto, 6)
    else:
        key.lo[0] = s0
        key.lo[1] = s1
        key.hi[0] = d0
        key.hi[1] = d1
        wire_tail(key, sport, dport, proto, 6)
    return flip
