"""Fragments that wait in the kernel's queue; see held.pxd."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc


cdef bint held_add(Held *h, uint64_t datagram, uint32_t id, int64_t until) noexcept nogil:
    cdef uint32_t room
    cdef void *grown
    if h.count == h.room:
        room = h.room * 2 + 64
        grown = realloc(h.items, room * sizeof(Waiting))
        if grown == NULL:
            return False
        h.items = <Waiting *> grown
        grown = realloc(h.taken, room * sizeof(uint32_t))
        if grown == NULL:
            return False
        h.taken = <uint32_t *> grown
        h.room = room
    h.items[h.count].datagram = datagram
    h.items[h.count].id = id
    h.items[h.count].until = until
    h.count += 1
    return True


cdef uint32_t held_take(Held *h, uint64_t datagram, int64_t now) noexcept nogil:
    cdef uint32_t i, kept = 0, taken = 0
    cdef const Waiting *item
    for i in range(h.count):
        item = h.items + i
        if item.datagram == datagram if datagram else item.until <= now:
            h.taken[taken] = item.id
            taken += 1
        else:
            h.items[kept] = item[0]
            kept += 1
    h.count = kept
    return taken


cdef void held_free(Held *h) noexcept nogil:
    free(h.items)
    free(h.taken)
