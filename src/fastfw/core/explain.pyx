"""One packet through an engine with every rule it comes to noted; and the connections that packets belong to."""
import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from fastfw.core.decision cimport Decision
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.program cimport WATCHED_IP, WATCHED_TRANSPORT, Program, Visit, Watch
from fastfw.core.terms cimport HOOK_OUTPUT
from fastfw.core.wire cimport KIND_BROKEN, KIND_NOT_IP, Key, Packet, wire_parse

# A rule that the packet came to; program.pxd says what each field means.
VISIT = np.dtype({
    "names": ["rule", "mark", "connmark", "status", "left", "asked", "held", "hotdrop", "state", "tos", "ttl",
              "has_entry"],
    "formats": ["<u4", "<u4", "<u4", "<u4", "<u4", "<u2", "u1", "u1", "u1", "u1", "u1", "u1"],
    "offsets": [0, 4, 8, 12, 16, 20, 22, 23, 24, 25, 26, 27],
    "itemsize": 28,
})

if sizeof(Visit) != VISIT.itemsize or sizeof(Key) != 40:
    raise ImportError("fastfw.core.explain: a record does not match its layout")


cdef class Watched:
    """What became of a watched packet, and everything that was asked of it on its way."""

    cdef readonly Decision decision
    cdef readonly object visits        # array of VISIT, in order
    cdef readonly bytes key            # the connection's, 40 bytes as the table has it; empty: none can be named
    cdef readonly bytes ip             # the first bytes of the IP header
    cdef readonly bytes transport      # of the transport header, as far as it is there
    cdef readonly int family           # 4, 6; 0 for no IP packet
    cdef readonly int protocol         # after the IPv6 extension headers
    cdef readonly uint32_t length      # of the IP packet, or of the datagram its fragment completed
    cdef readonly bint fragment        # a later fragment
    cdef readonly int64_t now          # the engine's clock for it, ns


cdef void run_watched(Core core, Packet *p, Watch *watch) noexcept nogil:
    """Judge a packet with its walk watched: every rule is asked, and no remembered path is taken."""
    cdef Program *programs[2]
    cdef uint8_t remember[2]
    cdef uint8_t ready[2]
    cdef Program *program
    cdef int i
    programs[0] = core.program4
    programs[1] = core.program6
    for i in range(2):
        program = programs[i]
        if program != NULL:
            remember[i] = program.remember
            ready[i] = program.classifier.ready
            program.remember = program.classifier.ready = 0
            program.watch = watch
    core.run(p, 1)
    for i in range(2):
        program = programs[i]
        if program != NULL:
            program.remember = remember[i]
            program.classifier.ready = ready[i]
            program.watch = NULL


cdef void look_without_rules(Watch *watch, const Packet *p) noexcept nogil:
    """The headers of a packet that came to no rule."""
    cdef uint32_t size = WATCHED_IP if p.have > WATCHED_IP else p.have
    memcpy(watch.ip, p.data, size)
    if p.have > p.l4 and p.l4:
        watch.transport_size = p.have - p.l4
        if watch.transport_size > WATCHED_TRANSPORT:
            watch.transport_size = WATCHED_TRANSPORT
        memcpy(watch.transport, p.data + p.l4, watch.transport_size)
    watch.proto = p.proto
    watch.fragment = p.frag_off & 0xfff8 != 0
    watch.length = p.length


def watched(Core core, packet, uint32_t wire_length, int hook, str iif, str oif, int64_t now,
            const uint8_t[::1] link=None):
    """Judge one packet as the engine's next, and note its way. `hook` is a Hook's code, `now` the clock in ns; a
    `wire_length` beyond the packet's says that a capture cut it short; `link` is 16 bytes of LINK, what its frame said.
    """
    cdef Packet one
    cdef Packet *p = &one
    cdef Py_buffer buffer
    cdef Watch watch
    cdef Watched result = Watched.__new__(Watched)
    cdef uint8_t[::1] view
    memset(p, 0, sizeof(Packet))
    memset(&watch, 0, sizeof(Watch))
    if link is not None:
        if link.shape[0] != 16:
            raise ValueError("link: one record of LINK expected")
        p.link = &link[0]
    p.now = now
    p.hook = <uint8_t> hook
    p.iif = core.interface(iif)
    p.oif = core.interface(oif)
    p.no_verify = p.hook == HOOK_OUTPUT
    PyObject_GetBuffer(packet, &buffer, PyBUF_SIMPLE)
    try:
        if buffer.len > 0xffffffff:
            raise ValueError("a packet is shorter than 4 GiB")
        p.data = <const uint8_t *> buffer.buf
        p.have = <uint32_t> buffer.len
        p.length = wire_length if wire_length > p.have else p.have
        with nogil:
            pthread_mutex_lock(&core.lock)
            run_watched(core, p, &watch)
            pthread_mutex_unlock(&core.lock)
            if watch.count == 0 and p.kind != KIND_NOT_IP:
                look_without_rules(&watch, p)
    finally:
        PyBuffer_Release(&buffer)
    try:
        if watch.overflowed:
            raise MemoryError("no memory for the rules that the packet came to")
        result.visits = np.empty(watch.count, VISIT)
        if watch.count:
            view = result.visits.view(np.uint8)
            memcpy(&view[0], watch.visits, watch.count * sizeof(Visit))
    finally:
        free(watch.visits)
    result.decision = core.decision(p)
    result.key = (<const char *> &p.key)[:sizeof(Key)] if p.kind <= KIND_BROKEN else b""
    result.ip = (<const char *> watch.ip)[:WATCHED_IP]
    result.transport = (<const char *> watch.transport)[:watch.transport_size]
    result.family = p.family
    result.protocol = watch.proto
    result.length = watch.length
    result.fragment = watch.fragment
    result.now = p.now
    return result


def keys(const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length,
         const uint32_t[::1] wire_length):
    """Of packets in one buffer the connections they name, as an array of 40-byte keys: equal for both directions, all
    zero where none can be named. ValueError: a packet lies outside the data."""
    cdef size_t total = length.shape[0], size = data.shape[0], i
    cdef Packet one
    cdef uint8_t[::1] view
    if not <size_t> offset.shape[0] == <size_t> wire_length.shape[0] == total:
        raise ValueError("offset, length and wire_length must have one item a packet")
    result = np.zeros(total * sizeof(Key), np.uint8)
    view = result
    for i in range(total):
        if offset[i] > size or length[i] > size - offset[i]:
            raise ValueError(f"packet {i} lies outside the data")
    with nogil:
        for i in range(total):
            memset(&one, 0, sizeof(Packet))
            if length[i] == 0:
                continue
            one.data = &data[0] + offset[i]
            one.have = length[i]
            one.length = wire_length[i] if wire_length[i] > length[i] else length[i]
            one.no_verify = 1
            wire_parse(&one)
            if one.kind <= KIND_BROKEN:
                memcpy(&view[i * sizeof(Key)], &one.key, sizeof(Key))
    return result.view("V40")
