"""Which connections' packets may skip the queue.

A connection is granted it when nothing that its packets could carry would change what becomes of them: it is ASSURED,
no helper reads it, both directions' ways through the rules are remembered and end in ACCEPT, and change no mark. What
it is granted is a mark, which the kernel's rules save in the kernel's own entry of the connection (gateway/steer.py):
a generation, so that all grants can be taken back at once, and a way, which names the interfaces that its packets come
and go by.

The mark has 16 neighbouring bits: ten of a generation, never 0, and six of a way, from 1. In generation 0 way 1 says
that the host's own connection tracking calls a packet INVALID.

Or it is written into BPF maps (gateway/flowmap.py), once for each direction, with the same number as its grant. Nobody
holds windows of what skips then, so of TCP only connections are granted it whose windows are not held here either.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.engine cimport Core
from fastfw.core.wire cimport Packet


cdef enum:
    WAY_BITS = 6
    WAYS = 63
    REMEMBERED = 65536       # places that remember when a connection was granted it last


# Of either direction: hook << 32 | outgoing << 16 | incoming interface; the lower one first.
ctypedef struct Way:
    uint64_t one
    uint64_t other


# What the maps hold by a packet's addresses, ports and protocol.
ctypedef struct Flow:
    uint32_t grant
    uint32_t unused
    uint64_t last                            # ns, the kernel's coarse clock, when a packet passed last
    uint64_t lifetime                        # ns after which no packet passes


cdef class Bypass:
    cdef Core core
    cdef int maps[2]                         # descriptors, of IPv4's and IPv6's; -1: marks are granted
    cdef readonly uint32_t mask
    cdef readonly int shift
    cdef uint32_t current                    # the generation that is granted, 0: none is
    cdef uint32_t avoided                    # status bits that keep a connection from it
    cdef uint32_t loopback                   # the interface that packets meet two hooks at
    cdef Way ways[WAYS]
    cdef uint8_t opened[WAYS]                # 1: the kernel's rules know it
    cdef uint32_t way_count
    cdef uint32_t last[REMEMBERED]           # s on the engine's clock, by slab index
    cdef readonly uint64_t granted

    # What an accepted packet's connection is granted, as the packet's mark; 0: nothing. `lifetime`: ns that it is kept
    # for when nothing is heard of it. The engine's lock is held.
    cdef uint32_t offer(self, const Packet *p, uint64_t *lifetime) noexcept nogil
    # Write a grant into the maps, without the engine's lock.
    cdef void enter(self, const Packet *p, uint32_t grant, uint64_t lifetime) noexcept nogil
    cdef uint32_t way_of(self, uint64_t one, uint64_t other) noexcept nogil


# Take the mask's bits out of a packet's mark, and note what they say.
cdef inline void bypass_read(uint32_t mask, int shift, Packet *p) noexcept nogil:
    p.stray = p.mark & mask == <uint32_t> 1 << shift
    p.mark &= ~mask
