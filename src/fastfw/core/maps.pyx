"""A hash table of records; see maps.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    FIRST_ROOM = 64
    RETURNED = 0                 # in place of a hash: the record is not in use


cdef uint32_t hash_of(const Map *m, const void *key) noexcept nogil:
    """Never RETURNED."""
    cdef const uint64_t *word = <const uint64_t *> key
    cdef uint64_t h = m.seed
    cdef uint32_t i
    for i in range(m.key_size >> 3):
        h = (h ^ word[i]) * <uint64_t> 0x9e3779b97f4a7c15
        h ^= h >> 32
        h *= m.seed
        h ^= h >> 29
    return <uint32_t> (h >> 16) | 1


cdef int map_init(Map *m, uint32_t key_size, uint32_t size, uint64_t seed) noexcept nogil:
    """-1 without memory."""
    memset(m, 0, sizeof(Map))
    m.key_size = key_size
    m.size = size
    m.seed = seed | 1
    m.room = FIRST_ROOM
    m.mask = 2 * FIRST_ROOM - 1
    m.records = <uint8_t *> calloc(m.room, size)
    m.hashes = <uint32_t *> calloc(m.room, sizeof(uint32_t))
    m.index = <uint32_t *> calloc(m.mask + 1, sizeof(uint32_t))
    return 0 if m.records != NULL and m.hashes != NULL and m.index != NULL else -1


cdef void map_free(Map *m) noexcept nogil:
    free(m.records)
    free(m.hashes)
    free(m.index)


cdef inline uint32_t home(const Map *m, uint32_t hash) noexcept nogil:
    return (hash >> 1) & m.mask


cdef void *map_find(const Map *m, const void *key) noexcept nogil:
    cdef uint32_t hash = hash_of(m, key)
    cdef uint32_t at = home(m, hash), number
    while m.index[at]:
        number = m.index[at] - 1
        if m.hashes[number] == hash and memcmp(m.records + <size_t> number * m.size, key, m.key_size) == 0:
            return m.records + <size_t> number * m.size
        at = (at + 1) & m.mask
    return NULL


cdef void place(Map *m, uint32_t number) noexcept nogil:
    cdef uint32_t at = home(m, m.hashes[number])
    while m.index[at]:
        at = (at + 1) & m.mask
    m.index[at] = number + 1


cdef int grow(Map *m) noexcept nogil:
    cdef uint32_t room = m.room * 2, i
    cdef uint32_t *index = <uint32_t *> calloc(2 * <size_t> room, sizeof(uint32_t))
    cdef uint8_t *records = <uint8_t *> realloc(m.records, <size_t> room * m.size)
    cdef uint32_t *hashes = <uint32_t *> realloc(m.hashes, <size_t> room * sizeof(uint32_t))
    if records != NULL:
        m.records = records
    if hashes != NULL:
        m.hashes = hashes
    if index == NULL or records == NULL or hashes == NULL:
        free(index)
        return -1
    free(m.index)
    m.index = index
    m.room = room
    m.mask = 2 * room - 1
    for i in range(m.used):
        if m.hashes[i] != RETURNED:
            place(m, i)
    return 0


cdef void *map_add(Map *m, const void *key) noexcept nogil:
    cdef uint32_t number
    cdef uint8_t *record
    if m.free:
        number = m.free - 1
        m.free = (<uint32_t *> (m.records + <size_t> number * m.size))[0]
    else:
        if m.used == m.room and grow(m) < 0:
            return NULL
        number = m.used
        m.used += 1
    record = m.records + <size_t> number * m.size
    memset(record, 0, m.size)
    memcpy(record, key, m.key_size)
    m.hashes[number] = hash_of(m, key)
    place(m, number)
    m.count += 1
    return record


cdef void map_delete(Map *m, void *record) noexcept nogil:
    cdef uint32_t number = map_number(m, record)
    cdef uint32_t at = home(m, m.hashes[number]), ahead, belongs
    while m.index[at] != number + 1:
        at = (at + 1) & m.mask
    ahead = at
    while True:
        m.index[at] = 0
        while True:
            ahead = (ahead + 1) & m.mask
            if m.index[ahead] == 0:
                m.hashes[number] = RETURNED
                (<uint32_t *> record)[0] = m.free
                m.free = number + 1
                m.count -= 1
                return
            belongs = home(m, m.hashes[m.index[ahead] - 1])
            # it may move to `at` unless its home lies behind that
            if ((ahead - belongs) & m.mask) >= ((ahead - at) & m.mask):
                break
        m.index[at] = m.index[ahead]
        at = ahead


cdef void map_clear(Map *m) noexcept nogil:
    memset(m.hashes, 0, m.room * sizeof(uint32_t))
    memset(m.index, 0, (<size_t> m.mask + 1) * sizeof(uint32_t))
    m.used = 0
    m.free = 0
    m.count = 0


cdef bint map_has(const Map *m, uint32_t number) noexcept nogil:
    return m.hashes[number] != RETURNED
