"""One kernel packet queue, driven without a system library."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.engine cimport BATCH, Core
from fastfw.core.wire cimport Packet


cdef enum:
    RECEIVE = 64             # packets asked for with one system call
    INTERFACES = 1024        # interface indices whose names are remembered


ctypedef struct Held:        # a fragment that waits for the rest of its datagram
    uint64_t datagram        # which one: a hash of addresses, protocol and identification
    uint32_t id
    int64_t until            # ns


cdef class Queue:
    cdef Core core
    cdef readonly int number
    cdef readonly int copy_range
    cdef int socket
    cdef int wakeup                  # eventfd: written to stop
    cdef bint stopping
    cdef int64_t clock_offset        # ns from the boot clock to the engine's
    cdef uint8_t *buffers            # RECEIVE of buffer_size bytes
    cdef uint32_t buffer_size
    cdef uint8_t *verdicts           # messages on their way back
    cdef uint32_t verdict_bytes
    cdef uint32_t ids[RECEIVE]
    cdef uint32_t marks[RECEIVE]     # as the packets came
    cdef Packet packets[RECEIVE]
    cdef uint16_t interface_of[INTERFACES]   # engine's number + 1, 0: not asked yet
    cdef int64_t interfaces_until    # ns, when they are asked anew
    cdef Held *held
    cdef uint32_t held_count
    cdef uint32_t held_room
    cdef readonly uint64_t received
    cdef readonly uint64_t accepted
    cdef readonly uint64_t dropped
    cdef readonly uint64_t overruns          # times the socket's buffer overflowed
    cdef readonly uint64_t refused_verdicts  # the kernel no longer knew the packet
    cdef object on_reject

    cdef int serve(self) noexcept nogil
    cdef bint read_packet(self, const uint8_t *message, uint32_t size, uint32_t at) noexcept nogil
    cdef uint16_t interface_number(self, uint32_t index) noexcept nogil
    cdef uint16_t ask_interface(self, uint32_t index) noexcept with gil
    cdef void answer(self, uint32_t n) noexcept nogil
    cdef void say(self, uint16_t kind, uint32_t id, uint32_t verdict, bint with_mark, uint32_t mark) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef void hold(self, uint64_t datagram, uint32_t id, int64_t until) noexcept nogil
    cdef void release(self, uint64_t datagram, uint32_t verdict) noexcept nogil
    cdef void drop_overdue(self, int64_t now) noexcept nogil
    cdef void tell_reject(self, const Packet *p) noexcept with gil
