"""Putting TCP payload in order; helping_stream.pxd says what is kept."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memmove

from fastfw.core.flows cimport Entry, key_equal
from fastfw.core.wire cimport Key

cdef extern from "<string.h>" nogil:
    void *memrchr(const void *where, int byte, size_t size)


cdef inline Stream **chain_of(Streams *all, uint32_t entry) noexcept nogil:
    return all.chains + (entry * <uint32_t> 2654435769 >> 7 & (all.size - 1))


cdef bint more_chains(Streams *all) noexcept nogil:
    """Twice as many chains as before, of which there is one a stream or more."""
    cdef Streams grown = all[0]
    cdef Stream *one
    cdef Stream *behind
    cdef Stream **chain
    cdef uint32_t i
    grown.size = all.size * 2 if all.size else 64
    grown.chains = <Stream **> calloc(grown.size, sizeof(Stream *))
    if grown.chains == NULL:
        return all.size != 0
    for i in range(all.size):
        one = all.chains[i]
        while one != NULL:
            behind = one.behind
            chain = chain_of(&grown, one.entry)
            one.behind = chain[0]
            chain[0] = one
            one = behind
    free(all.chains)
    all[0] = grown
    return True


cdef void stand_in_line(Streams *all, Stream *s) noexcept nogil:
    s.keeps = 1
    s.newer = NULL
    s.older = all.newest
    if all.newest != NULL:
        all.newest.newer = s
    else:
        all.oldest = s
    all.newest = s


cdef void leave_line(Streams *all, Stream *s) noexcept nogil:
    s.keeps = 0
    if s.older != NULL:
        s.older.newer = s.newer
    else:
        all.oldest = s.newer
    if s.newer != NULL:
        s.newer.older = s.older
    else:
        all.newest = s.older


cdef Stream *stream_gives_way(const Streams *all, const Stream *asking, uint32_t size) noexcept nogil:
    """Whose place is needed so that `asking` may keep `size` more bytes: of the others, whoever has kept something for
    longest. NULL where there is room, or nobody else keeps anything."""
    cdef Stream *s = all.oldest
    if all.bytes + size <= MOST_OF_ALL:
        return NULL
    while s != NULL and (s == asking or s.busy):
        s = s.newer
    return s


cdef void empty(Streams *all, Stream *s, Side *side) noexcept nogil:
    all.bytes -= side.room
    free(side.kept)
    side.kept = NULL
    side.room = side.have = side.searched = 0
    side.early = 0
    if s.keeps and s.side[0].room == 0 and s.side[1].room == 0:
        leave_line(all, s)


cdef Stream *stream_of(Streams *all, uint32_t entry, uint8_t number, const Key *key, bint afresh) noexcept nogil:
    """The stream of a connection, made where there is none; NULL where there is no memory, or its helper is reading."""
    cdef Stream *s
    if all.count >= all.size and not more_chains(all):
        return NULL
    s = chain_of(all, entry)[0]
    while s != NULL and s.entry != entry:
        s = s.behind
    if s == NULL:
        s = <Stream *> calloc(1, sizeof(Stream))
        if s == NULL:
            return NULL
        s.entry = entry
        s.behind = chain_of(all, entry)[0]
        chain_of(all, entry)[0] = s
        all.count += 1
        afresh = True
    if s.busy:
        return NULL
    if afresh or s.number != number or not key_equal(&s.key, key):
        empty(all, s, s.side)
        empty(all, s, s.side + 1)
        s.side[0].known = s.side[1].known = 0
        s.key = key[0]
        s.number = number
        s.fresh = 1
    return s


cdef void stream_forget(Streams *all, Stream *s) noexcept nogil:
    cdef Stream **at = chain_of(all, s.entry)
    while at[0] != s:
        at = &at[0].behind
    at[0] = s.behind
    empty(all, s, s.side)
    empty(all, s, s.side + 1)
    free(s)
    all.count -= 1


cdef void streams_free(Streams *all) noexcept nogil:
    cdef uint32_t i
    for i in range(all.size):
        while all.chains[i] != NULL:
            stream_forget(all, all.chains[i])
    free(all.chains)
    all.chains = NULL
    all.size = 0


cdef void streams_purge(Streams *all, const Entry *entries) noexcept nogil:
    """Forget the streams of connections that are gone, or are read no longer."""
    cdef uint32_t i
    cdef Stream *s
    cdef Stream *behind
    for i in range(all.size):
        s = all.chains[i]
        while s != NULL:
            behind = s.behind
            if not s.busy and (entries[s.entry].helper != s.number or not key_equal(&entries[s.entry].key, &s.key)):
                stream_forget(all, s)
            s = behind


cdef bint reserve(Streams *all, Stream *s, Side *side, uint32_t size, uint32_t most) noexcept nogil:
    """Whether `size` bytes may be kept, and there is room for them."""
    cdef uint32_t room = side.room or 256
    cdef uint8_t *grown
    if size > most:
        return False
    if size <= side.room:
        return True
    while room < size:
        room *= 2
    if room > most:
        room = most
    if all.bytes + room - side.room > MOST_OF_ALL:
        return False
    grown = <uint8_t *> realloc(side.kept, room)
    if grown == NULL:
        return False
    all.bytes += room - side.room
    side.kept = grown
    side.room = room
    if not s.keeps:
        stand_in_line(all, s)
    return True


cdef bint put_early(Streams *all, Stream *s, Side *side, uint32_t at, const uint8_t *payload, uint32_t size,
                    uint32_t most) noexcept nogil:
    """Keep a piece that came early at its offset in `kept`; False where it cannot be, or contradicts another."""
    cdef uint32_t to = at + size, low, high
    cdef uint32_t i, first, last
    if not reserve(all, s, side, to, most):
        return False
    for i in range(side.early):
        low = at if at > side.early_from[i] else side.early_from[i]
        high = to if to < side.early_to[i] else side.early_to[i]
        if low < high and memcmp(side.kept + low, payload + (low - at), high - low) != 0:
            return False
    memcpy(side.kept + at, payload, size)
    first = 0
    while first < side.early and side.early_to[first] < at:
        first += 1
    last = first                                       # pieces first..last-1 touch the new one
    while last < side.early and side.early_from[last] <= to:
        last += 1
    if first == last:
        if side.early == MOST_EARLY:
            return False
        memmove(side.early_from + first + 1, side.early_from + first, (side.early - first) * sizeof(uint32_t))
        memmove(side.early_to + first + 1, side.early_to + first, (side.early - first) * sizeof(uint32_t))
        side.early_from[first] = at
        side.early_to[first] = to
        side.early += 1
        return True
    side.early_from[first] = at if at < side.early_from[first] else side.early_from[first]
    side.early_to[first] = to if to > side.early_to[last - 1] else side.early_to[last - 1]
    memmove(side.early_from + first + 1, side.early_from + last, (side.early - last) * sizeof(uint32_t))
    memmove(side.early_to + first + 1, side.early_to + last, (side.early - last) * sizeof(uint32_t))
    side.early -= <uint8_t> (last - first - 1)
    return True


cdef bint absorb(Side *side) noexcept nogil:
    """What came early and follows now is in order; whether there was any."""
    cdef bint any = False
    while side.early and side.early_from[0] <= side.have:
        if side.early_to[0] > side.have:
            side.next += side.early_to[0] - side.have
            side.have = side.early_to[0]
        side.early -= 1
        memmove(side.early_from, side.early_from + 1, side.early * sizeof(uint32_t))
        memmove(side.early_to, side.early_to + 1, side.early * sizeof(uint32_t))
        any = True
    return any


cdef int stream_take(Streams *all, Stream *s, int direction, uint32_t sequence, bint syn, const uint8_t *payload,
                     uint32_t size, uint32_t most, int record_end, Chunk *chunk) noexcept nogil:
    """Take a segment in. `most` bounds what is kept, `record_end` is the byte that ends a record or -1."""
    cdef Side *side = s.side + direction
    cdef int32_t ahead
    cdef uint32_t i, low, high, said
    cdef const uint8_t *end
    if syn:
        sequence += 1
        empty(all, s, side)
        side.next = sequence
        side.known = 1
    if size == 0:
        return STREAM_NOTHING
    if not side.known:
        side.next = sequence
        side.known = 1
    ahead = <int32_t> (sequence - side.next)
    if ahead > 0:
        if <uint32_t> ahead > most or size > most:
            return STREAM_LOST
        return STREAM_NOTHING if put_early(all, s, side, side.have + ahead, payload, size, most) else STREAM_LOST
    said = side.next - sequence
    if said >= size:
        return STREAM_NOTHING                          # said before
    payload += said
    size -= said
    chunk.was_next = side.next
    chunk.was_have = side.have
    chunk.absorbed = 0
    if side.have == 0 and side.early == 0:
        chunk.data = payload
        chunk.size = size
        low = 0
        side.next += size
    else:
        if not reserve(all, s, side, side.have + size, most):
            return STREAM_LOST
        for i in range(side.early):
            high = side.have + size if side.have + size < side.early_to[i] else side.early_to[i]
            low = side.early_from[i]
            if low < high and memcmp(side.kept + low, payload + (low - side.have), high - low) != 0:
                return STREAM_LOST
        memcpy(side.kept + side.have, payload, size)
        low = side.searched
        side.have += size
        side.next += size
        chunk.absorbed = absorb(side)
        chunk.data = side.kept
        chunk.size = side.have
    chunk.whole = chunk.size
    if record_end >= 0:
        end = <const uint8_t *> memrchr(chunk.data + low, record_end, chunk.size - low)
        chunk.whole = 0 if end == NULL else <uint32_t> (end - chunk.data) + 1
    return STREAM_WHOLE


cdef bint stream_done(Streams *all, Stream *s, int direction, const Chunk *chunk, uint32_t taken,
                      uint32_t most) noexcept nogil:
    """The first `taken` bytes are done with, the rest is kept; False where that is too much."""
    cdef Side *side = s.side + direction
    cdef uint32_t rest = chunk.size - taken, i, gone
    if chunk.data != side.kept:
        if rest and not reserve(all, s, side, rest, most):
            return False
        if rest:
            memcpy(side.kept, chunk.data + taken, rest)
    else:
        gone = taken
        if rest == 0 and side.early == 0:
            empty(all, s, side)
        elif gone:
            # what came early moves along
            memmove(side.kept, side.kept + gone,
                    (side.early_to[side.early - 1] if side.early else side.have) - gone)
            for i in range(side.early):
                side.early_from[i] -= gone
                side.early_to[i] -= gone
    side.have = rest
    side.searched = rest
    return True


cdef bint stream_undo(Streams *all, Stream *s, int direction, const Chunk *chunk) noexcept nogil:
    """The packet is dropped and will be said again: as if it had never come. False where that cannot be, as what came
    early and was taken with it will not be said again."""
    cdef Side *side = s.side + direction
    if chunk.absorbed:
        return False
    side.next = chunk.was_next
    side.have = chunk.was_have
    side.searched = side.have
    return True
