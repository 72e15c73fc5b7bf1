"""The event ring; events.pxd says what it holds."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastfw.core.flows cimport Entry, Extra

if sizeof(Event) != 208:
    raise ImportError("fastfw.core.events: an event must be 208 bytes without padding")


cdef int events_watch(Events *v, uint32_t room) noexcept nogil:
    """Begin to keep the last `room` events, or with 0 none. 0, or -1 without memory."""
    events_free(v)
    if not room:
        return 0
    v.ring = <Event *> calloc(room, sizeof(Event))
    if v.ring == NULL:
        return -1
    v.room = room
    return 0


cdef void events_free(Events *v) noexcept nogil:
    free(v.ring)
    memset(v, 0, sizeof(Events))


cdef void events_note(
    Events *v, int kind, int why, int what, int64_t time, const Entry *e, const Extra *x
) noexcept nogil:
    """Keep one event. Somebody watches, so that there are extras."""
    cdef Event *one = v.ring + v.written % v.room
    one.time = time
    one.kind = <unsigned char> kind
    one.why = <unsigned char> why
    one.what = <unsigned short> what
    one.entry = e[0]
    one.extra = x[0]
    v.written += 1
