"""Remembered paths; see paths.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

if sizeof(Path) != 64:
    raise ImportError("fastfw.core.paths: a Path must be one cache line")

cdef enum:
    INDEX_MASK = 2 * PATH_ROOM - 1


cdef int paths_init(Paths *s) noexcept nogil:
    """0, or -1 without memory. Ids begin at 1: 0 is no path."""
    s.items = <Path *> aligned_alloc(64, PATH_ROOM * sizeof(Path))
    s.hits = <uint32_t *> malloc(HIT_ROOM * sizeof(uint32_t))
    s.index = <uint32_t *> calloc(2 * PATH_ROOM, sizeof(uint32_t))
    s.used = 0
    s.hits_used = 0
    s.base = 1
    return 0 if s.items != NULL and s.hits != NULL and s.index != NULL else -1


cdef void paths_free(Paths *s) noexcept nogil:
    free(s.items)
    free(s.hits)
    free(s.index)


cdef inline uint64_t mix(uint64_t h, uint64_t word) noexcept nogil:
    h = (h ^ word) * <uint64_t> 0x9e3779b97f4a7c15
    return h ^ h >> 29


cdef bint same(const Path *a, const Path *b) noexcept nogil:
    return (a.context == b.context and a.mark_in == b.mark_in and a.connmark_in == b.connmark_in
            and a.mark == b.mark and a.connmark == b.connmark and a.rule == b.rule and a.hit_count == b.hit_count
            and a.verdict == b.verdict and a.sets_connmark == b.sets_connmark)


cdef uint32_t paths_intern(Paths *s, Path *path, const uint32_t *hits) noexcept nogil:
    cdef uint64_t h = mix(path.context, <uint64_t> path.mark_in << 32 | path.connmark_in)
    cdef uint32_t place, number, i
    cdef Path *known
    h = mix(h, <uint64_t> path.mark << 32 | path.connmark)
    h = mix(h, <uint64_t> path.rule << 8 | path.verdict)
    for i in range(path.hit_count):
        h = mix(h, hits[i])
    path.hash = <uint32_t> (h >> 32)
    place = path.hash & INDEX_MASK
    while s.index[place]:
        number = s.index[place] - 1
        known = s.items + number
        if (known.hash == path.hash and same(known, path)
                and memcmp(s.hits + known.first_hit, hits, path.hit_count * sizeof(uint32_t)) == 0):
            return s.base + number
        place = (place + 1) & INDEX_MASK
    if s.used == PATH_ROOM or s.hits_used + path.hit_count > HIT_ROOM:
        return 0
    number = s.used
    path.first_hit = s.hits_used
    path.counter.packets = 0
    path.counter.bytes = 0
    memcpy(s.hits + s.hits_used, hits, path.hit_count * sizeof(uint32_t))
    s.hits_used += path.hit_count
    s.items[number] = path[0]
    s.index[place] = number + 1
    s.used += 1
    return s.base + number


cdef void paths_settle(Paths *s, Counter *counters) noexcept nogil:
    cdef uint32_t number, i
    cdef Path *path
    cdef Counter *counter
    for number in range(s.used):
        path = s.items + number
        if path.counter.packets:
            for i in range(path.first_hit, path.first_hit + path.hit_count):
                counter = counters + s.hits[i]
                counter.packets += path.counter.packets
                counter.bytes += path.counter.bytes
            path.counter.packets = 0
            path.counter.bytes = 0


cdef void paths_flush(Paths *s, Counter *counters) noexcept nogil:
    paths_settle(s, counters)
    memset(s.index, 0, 2 * PATH_ROOM * sizeof(uint32_t))
    s.base += s.used
    s.used = 0
    s.hits_used = 0
