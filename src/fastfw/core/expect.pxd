"""Expectations: connections a helper has heard announced, waited for by destination."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.wire cimport Key, Packet


cdef enum ExpectFlag:
    EXPECT_PERMANENT = 1      # serves any number of connections
    EXPECT_ANY_PORT = 2       # from any source port
    EXPECT_ANY_SOURCE = 4     # from any source address
    EXPECT_INACTIVE = 8       # nothing meets it yet
    EXPECT_MASKED = 16        # IPv4: only the source's bits that the upper half of source[0] has set


# What is expected, from its first packet's point of view; addresses and ports as in a packet.
ctypedef struct Expect:
    uint64_t source[2]
    uint64_t destination[2]
    uint16_t source_port
    uint16_t destination_port
    uint16_t zone
    uint8_t proto
    uint8_t family            # 0: a free place
    uint8_t flags             # ExpectFlag bits
    uint8_t class_            # of the helper's policy
    uint8_t helper            # whose expectation it is
    uint8_t child_helper      # attached to the connection that meets it, 0: none
    uint32_t master           # slab index
    int64_t expires           # ns
    uint64_t serial           # order of creation


cdef enum:
    EXPECT_CHAINS = 1024      # of either kind


# A link of one expectation in one chain: places in `all` plus one, 0 ends the chain.
ctypedef struct ExpectLink:
    uint32_t before
    uint32_t behind


# All expectations lie side by side in `all`. Those with one destination hang in one chain, those of one master in one.
ctypedef struct Expects:
    Expect *all               # malloc'ed, room of them
    ExpectLink *by_destination    # likewise, one an expectation
    ExpectLink *by_master
    uint32_t destinations[EXPECT_CHAINS]    # first in the chain
    uint32_t masters[EXPECT_CHAINS]
    uint64_t secret           # keys the first kind of chain: destinations are chosen by strangers
    uint32_t room
    uint32_t count
    uint64_t next_serial
    uint64_t created
    uint64_t deleted
    uint64_t met
    void (*tell)(void *owner, int kind, const Expect *one) noexcept nogil    # EVENT_...
    void *owner


cdef void expects_free(Expects *x) noexcept nogil
cdef void expects_clear(Expects *x) noexcept nogil
cdef int expects_add(Expects *x, const Expect *made, uint32_t most, uint32_t most_at_once, int64_t now) noexcept nogil
cdef Expect *expects_find(Expects *x, const Packet *p) noexcept nogil
cdef void expects_remove(Expects *x, Expect *one) noexcept nogil
cdef Expect *expects_same(Expects *x, const Expect *made, int64_t now) noexcept nogil
cdef void expects_remove_inverse(Expects *x, const Expect *one, int64_t now) noexcept nogil
cdef void expects_expire(Expects *x, int64_t now) noexcept nogil
cdef void expects_forget(Expects *x, uint32_t master) noexcept nogil
