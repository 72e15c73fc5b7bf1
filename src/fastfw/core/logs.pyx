"""The ring of logged packets; logs.pxd says what it holds."""
import numpy as np

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastfw.core.payload cimport payload_header
from fastfw.core.program cimport POINT_INPUT, POINT_PREROUTING, Logs, Look
from fastfw.core.terms cimport HOOK_OUTPUT
from fastfw.core.wire cimport Packet

cdef enum:
    HEAD = 60                # the longest IPv4 header: what is kept at least

# One record's head; logs.pxd says what each field means.
LOG = np.dtype({
    "names": ["time", "rule", "mark", "length", "have", "iif", "oif", "kind", "family", "point", "state"],
    "formats": ["<i8", "<u4", "<u4", "<u4", "<u4", "<u2", "<u2", "u1", "u1", "u1", "u1"],
    "offsets": [0, 8, 12, 16, 20, 24, 26, 28, 29, 30, 31],
    "itemsize": 32,
})

if sizeof(Log) != LOG.itemsize:
    raise ImportError("fastfw.core.logs: a record does not match its layout")


cdef int logs_open(Logs *v, uint32_t room, uint32_t snap) noexcept nogil:
    """Begin to keep the last `room` records, or with 0 none. 0, or -1 without memory."""
    logs_free(v)
    if not room:
        return 0
    v.snap = snap if snap > HEAD else HEAD
    v.stride = (sizeof(Log) + <uint64_t> v.snap + 7) & ~<uint64_t> 7
    v.ring = <uint8_t *> calloc(room, v.stride)
    if v.ring == NULL:
        return -1
    v.room = room
    return 0


cdef void logs_free(Logs *v) noexcept nogil:
    free(v.ring)
    memset(v, 0, sizeof(Logs))


cdef void logs_note(Look *look, uint32_t rule, int kind) noexcept nogil:
    cdef Logs *v = look.program.logs
    cdef Packet *p = look.p
    cdef uint8_t *at = v.ring + v.written % v.room * v.stride
    cdef Log *one = <Log *> at
    one.time = p.now
    one.rule = rule
    one.mark = p.mark
    one.length = p.length
    one.have = p.have if p.have < v.snap else v.snap
    one.iif = 0 if p.hook == HOOK_OUTPUT else p.iif
    one.oif = 0 if look.point == POINT_PREROUTING or look.point == POINT_INPUT else p.oif
    one.kind = <uint8_t> kind
    one.family = p.family
    one.point = look.point
    one.state = p.state
    payload_header(look, at + sizeof(Log), one.have)
    v.written += 1


cdef tuple logs_take(Logs *v):
    cdef uint64_t waiting = v.written - v.read, i
    cdef const uint8_t *at
    cdef list packets = []
    if waiting > v.room:
        waiting = v.room
    records = np.empty(waiting, LOG)
    cdef uint8_t[::1] view = records.view(np.uint8) if waiting else None
    for i in range(waiting):
        at = v.ring + (v.written - waiting + i) % v.room * v.stride
        memcpy(&view[i * sizeof(Log)], at, sizeof(Log))
        packets.append((<const char *> at + sizeof(Log))[:(<const Log *> at).have])
    v.read = v.written
    return records, packets
