"""Fragments that wait in the kernel's queue for the decision on their datagram."""
from libc.stdint cimport int64_t, uint32_t, uint64_t


ctypedef struct Waiting:
    uint64_t datagram        # which one: datagram_of
    int64_t until            # ns, when it is dropped whatever happened to its datagram
    uint32_t id              # the kernel's number of the packet


ctypedef struct Held:        # zeroed to begin with
    Waiting *items           # malloc'ed, in the order they came
    uint32_t *taken          # malloc'ed, as long: ids of the last held_take
    uint32_t count
    uint32_t room


# False without memory.
cdef bint held_add(Held *h, uint64_t datagram, uint32_t id, int64_t until) noexcept nogil
# Take out what belongs to a datagram, or with 0 what has waited until `now`; how many ids are in `taken`.
cdef uint32_t held_take(Held *h, uint64_t datagram, int64_t now) noexcept nogil
cdef void held_free(Held *h) noexcept nogil
