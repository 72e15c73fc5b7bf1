"""One kernel packet queue, driven without a system library."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.engine cimport Core
from fastfw.core.wire cimport Packet
from fastfw.drivers.bypass cimport Bypass
from fastfw.drivers.held cimport Held


cdef enum:
    RECEIVE = 64             # packets asked for with one system call
    INTERFACES = 1024        # interface indices whose names are remembered


cdef class Queue:
    cdef Core core
    cdef readonly int number
    cdef readonly int copy_range             # bytes of each packet as the caller wants them
    cdef readonly int copying                # bytes of each packet asked of the kernel by now
    cdef readonly int length
    cdef object netlink                      # the socket
    cdef int socket                          # its descriptor
    cdef int wakeup                          # eventfd: written to stop
    cdef bint stopping
    cdef bint closing
    cdef object busy                         # held by whoever serves the queue
    cdef object log
    cdef int64_t clock_offset                # ns from the boot clock to the engine's
    cdef int64_t now                         # ns on the engine's clock, when the batch came
    cdef int64_t tend_at                     # ns on the boot clock, when `tend` is due
    cdef uint8_t *buffers                    # RECEIVE of buffer_size bytes
    cdef uint32_t buffer_size
    cdef uint8_t *verdicts                   # messages on their way back
    cdef uint32_t verdict_bytes
    cdef uint32_t ids[RECEIVE]
    cdef uint32_t marks[RECEIVE]             # as the packets came
    cdef Packet packets[RECEIVE]
    cdef uint8_t links[RECEIVE][16]          # what their frames said, as LINK (engine.pxd)
    cdef uint16_t interface_of[INTERFACES]   # engine's number + 1, 0: not asked yet
    cdef Bypass bypass                       # None: every packet is queued
    cdef uint32_t grants[RECEIVE]            # marks that let the packets' connections skip the queue, 0: none
    cdef uint64_t lifetimes[RECEIVE]         # ns, of those
    cdef Held held
    cdef uint32_t most_held                  # fragments that may wait at once
    cdef readonly uint64_t received
    cdef readonly uint64_t accepted
    cdef readonly uint64_t dropped
    cdef readonly uint64_t repeated          # packets asked for again, since they had come cut
    cdef readonly uint64_t refused_verdicts  # the kernel no longer knew the packet
    cdef dict told                           # losses as they were last logged
    cdef object on_reject

    cdef int serve(self) noexcept nogil
    cdef void copy_whole(self) noexcept nogil
    cdef void ask_copies(self) noexcept nogil
    cdef bint read_packet(self, const uint8_t *message, uint32_t size, uint32_t at) noexcept nogil
    cdef uint16_t interface_number(self, uint32_t index) noexcept nogil
    cdef uint16_t ask_interface(self, uint32_t index) noexcept with gil
    cdef void answer(self, uint32_t n) noexcept nogil
    cdef void say(self, uint16_t kind, uint32_t id, uint32_t verdict, bint with_mark, uint32_t mark) noexcept nogil
    cdef void flush(self) noexcept nogil
    cdef void hold(self, uint64_t datagram, uint32_t id, int64_t until) noexcept nogil
    cdef void release(self, uint64_t datagram, int64_t now, uint32_t verdict) noexcept nogil
    cdef void tell_reject(self, const Packet *p) noexcept with gil
