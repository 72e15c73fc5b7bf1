"""What happened to connections, in order, for those who watch: a ring that forgets the oldest when nobody reads."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.flows cimport Entry, Extra


cdef enum:
    EVENT_NEW = 1
    EVENT_UPDATE = 2
    EVENT_DESTROY = 3


# Of expectations, by a CT rule's --expevents bits.
cdef enum:
    EVENT_EXPECTED = 1 << 0
    EVENT_FORGOTTEN = 1 << 1


# Why a connection was taken out of the table.
cdef enum:
    ENDED_NOT = 0
    ENDED_TIMEOUT = 1        # its time was up
    ENDED_CLOSED = 2         # an RST was the only answer it got
    ENDED_REOPENED = 3       # its ports are used again
    ENDED_EVICTED = 4        # the table was full
    ENDED_DELETED = 5        # it was told to
    ENDED_HELPER = 6         # its helper refused the packet that began it


ctypedef struct Event:       # 208 bytes
    int64_t time             # ns
    uint8_t kind             # EVENT_...
    uint8_t why              # ENDED_...
    uint16_t what            # of an update: what changed, TELL_... bits of conntrack.pxd
    uint8_t unused[4]
    Entry entry              # as it was then; an expectation's master
    Extra extra              # an expectation's: itself


ctypedef struct Events:
    Event *ring              # malloc'ed, room of them; NULL: nobody watches
    uint32_t room
    uint64_t written         # events ever
    uint64_t read            # of those, taken; what is between and older than room is lost


cdef int events_watch(Events *v, uint32_t room) noexcept nogil
cdef void events_free(Events *v) noexcept nogil
cdef void events_note(
    Events *v, int kind, int why, int what, int64_t time, const Entry *e, const Extra *x
) noexcept nogil
