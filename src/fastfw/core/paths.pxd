"""Remembered paths: what a packet's way through the rules counted and led to, kept for the connection's next packets.

Connections that take the same way share one path: an entry holds its number. A path is valid for one context: hook,
interfaces, state, marks, and those status bits that rules look at. Its packets are counted on the path and reach the
rules' own counters when somebody reads them, or when the paths are flushed because there is no more room.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    HITS = 64               # rules a remembered path may count
    PATH_ROOM = 16384       # paths; the hash table has twice as many places
    HIT_ROOM = 262144       # rules of all paths together


ctypedef struct Counter:
    uint64_t packets
    uint64_t bytes


ctypedef struct Path:       # 64 bytes
    uint64_t context        # what it is valid for besides the connection and its direction
    uint32_t mark_in        # the packet's mark before
    uint32_t connmark_in    # the connection's mark before, where rules look at it
    Counter counter         # packets that took it and are not yet in the rules' counters
    int32_t rule            # the deciding rule
    uint32_t mark           # the packet's mark after: as a Packet has the two
    uint32_t connmark
    uint32_t first_hit      # place in `hits` of the rules that count
    uint32_t hash
    uint16_t hit_count
    uint8_t verdict
    uint8_t sets_connmark
    uint32_t answer         # of the verdict, as in Packet
    uint32_t unused


ctypedef struct Paths:
    Path *items
    uint32_t *hits          # rules of all paths, one after another
    uint32_t *index         # hash table of path numbers + 1, 0: free
    uint32_t used
    uint32_t hits_used
    uint32_t base           # the id of path 0; ids below or beyond it belong to paths that are gone


cdef int paths_init(Paths *s) noexcept nogil
cdef void paths_free(Paths *s) noexcept nogil
# The id of the path that equals `path` and `hits`, made if it is new; 0 where there is no room.
cdef uint32_t paths_intern(Paths *s, Path *path, const uint32_t *hits) noexcept nogil
# Add what the paths counted to the rules' counters.
cdef void paths_settle(Paths *s, Counter *counters) noexcept nogil
# Forget all paths; their ids are never used again.
cdef void paths_flush(Paths *s, Counter *counters) noexcept nogil


cdef inline Path *paths_get(const Paths *s, uint32_t id) noexcept nogil:
    """The path of an id, or NULL where it is gone."""
    cdef uint32_t place = id - s.base
    return s.items + place if place < s.used else NULL
