"""TCP payload put in order for helpers that ask for a stream.

What a connection has yet to say is kept in one buffer a direction: first the bytes in order that no helper has taken,
then those that came early, each at its place. A buffer never holds more than the helper's bound; what would is the end
of reading that connection (STREAM_LOST), and no packet waits for any of it. Where all connections together keep too
much, the one that has kept something for longest gives way.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastfw.core.flows cimport Entry
from fastfw.core.wire cimport Key


cdef enum Taken:
    STREAM_LOST = -1         # beyond a bound, or bytes that were said twice and differ
    STREAM_NOTHING = 0
    STREAM_WHOLE = 1         # there is something to hand over


cdef enum:
    MOST_EARLY = 16          # pieces that came early, kept apart, a direction
    MOST_OF_ALL = 64 << 20   # bytes kept of all connections together


ctypedef struct Side:
    uint8_t *kept            # malloc'ed, room of it; NULL: nothing is kept
    uint32_t room
    uint32_t have            # bytes in order at the front of kept
    uint32_t searched        # of them, how many hold no end of a record
    uint32_t next            # sequence number behind them, host byte order
    uint32_t early_from[MOST_EARLY]    # pieces that came early: offsets in kept, sorted, apart from each other
    uint32_t early_to[MOST_EARLY]
    uint8_t early
    uint8_t known            # whether next is


ctypedef struct Stream:
    Key key
    Stream *behind           # in its chain
    uint32_t entry           # slab index
    uint8_t number           # of the helper
    uint8_t fresh            # its helper has not been told of the connection yet
    uint8_t busy             # its helper is reading: nothing may move
    uint8_t keeps            # something is kept of it, and it stands in line
    Stream *older            # in the line of those that keep something; NULL at its ends
    Stream *newer
    Side side[2]


ctypedef struct Streams:
    Stream **chains          # size of them, a power of two; NULL until there is a stream
    uint32_t size
    uint32_t count
    uint64_t bytes           # of all that is kept
    Stream *oldest           # the line of streams that keep something, by when they began to
    Stream *newest


# What is handed over: `size` bytes at `data`, valid until stream_done. `whole` bytes are whole records.
ctypedef struct Chunk:
    const uint8_t *data
    uint32_t size
    uint32_t whole
    uint32_t was_next        # the side as it was, for a packet that is dropped
    uint32_t was_have
    uint8_t absorbed         # early pieces came to their turn


cdef Stream *stream_of(Streams *all, uint32_t entry, uint8_t number, const Key *key, bint afresh) noexcept nogil
cdef int stream_take(Streams *all, Stream *s, int direction, uint32_t sequence, bint syn, const uint8_t *payload,
                     uint32_t size, uint32_t most, int record_end, Chunk *chunk) noexcept nogil
cdef bint stream_done(Streams *all, Stream *s, int direction, const Chunk *chunk, uint32_t taken,
                      uint32_t most) noexcept nogil
cdef bint stream_undo(Streams *all, Stream *s, int direction, const Chunk *chunk) noexcept nogil
cdef Stream *stream_gives_way(const Streams *all, const Stream *asking, uint32_t size) noexcept nogil
cdef void stream_forget(Streams *all, Stream *s) noexcept nogil
cdef void streams_free(Streams *all) noexcept nogil
cdef void streams_purge(Streams *all, const Entry *entries) noexcept nogil
