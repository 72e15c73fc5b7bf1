"""A hash table of records that begin with their key, for what rules remember of addresses and helpers of calls.

Open addressing by linear probing over an index of record numbers; a deletion shifts back what stood behind it, so that
a table that has churned probes as a fresh one does. Records lie in one array, which moves when it grows: pointers are
good until the next map_add.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t


ctypedef struct Map:
    uint8_t *records
    uint32_t *hashes        # by record
    uint32_t *index         # record number + 1, 0: free
    uint32_t mask           # places of the index, less one
    uint32_t room           # records there is room for
    uint32_t used           # records ever handed out
    uint32_t free           # number + 1 of a returned record, which holds the next one's; 0: none
    uint32_t count
    uint32_t key_size       # bytes, a multiple of 8
    uint32_t size           # of a record
    uint64_t seed           # odd, random


cdef int map_init(Map *m, uint32_t key_size, uint32_t size, uint64_t seed) noexcept nogil
cdef void map_free(Map *m) noexcept nogil
# The record of a key, or NULL.
cdef void *map_find(const Map *m, const void *key) noexcept nogil
# A new record of a key that has none, all zero behind it; NULL without memory.
cdef void *map_add(Map *m, const void *key) noexcept nogil
cdef void map_delete(Map *m, void *record) noexcept nogil
cdef void map_clear(Map *m) noexcept nogil
# Whether a record number, below `used`, is in use.
cdef bint map_has(const Map *m, uint32_t number) noexcept nogil


cdef inline uint32_t map_number(const Map *m, const void *record) noexcept nogil:
    """A record's number, which stays the same."""
    return <uint32_t> ((<const uint8_t *> record - m.records) / m.size)


cdef inline void *map_at(const Map *m, uint32_t number) noexcept nogil:
    return m.records + <size_t> number * m.size
