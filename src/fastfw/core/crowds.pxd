"""connlimit's lists: the connections that each host or network has."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.maps cimport Map
from fastfw.core.program cimport Look, Predicate
from fastfw.core.wire cimport Key


ctypedef struct Owner:      # 24 bytes
    uint64_t address[2]     # as it stands in packets
    uint64_t zone


ctypedef struct Crowd:
    Owner owner
    uint32_t first          # number of a member, 0: none
    uint32_t last
    uint32_t count
    uint32_t checked_count  # how many there were when the list was last gone through
    int64_t checked         # tick of that


ctypedef struct Member:     # a connection, or what a packet without one would begin
    Key key
    uint32_t next
    uint8_t origin_high     # whether its beginner is the key's second endpoint


# One rule's.
ctypedef struct Crowds:
    Map map
    uint64_t mask[2]
    Member *members         # number 0 is not used
    uint32_t room
    uint32_t used
    uint32_t free
    uint32_t turn           # record that was tidied last


cdef int crowd_init(Crowds *crowds, const uint64_t *form) noexcept nogil
cdef void crowd_free(Crowds *crowds) noexcept nogil
cdef int crowd_holds(Crowds *crowds, const Predicate *q, Look *look) noexcept nogil
