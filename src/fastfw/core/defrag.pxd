"""Fragments to whole datagrams, before connection tracking sees them.

A datagram's fragments wait in a Queue. What a queue costs is counted as the kernel counts it, in the socket buffers of
a common driver, and bounded by a threshold a family; what it really costs here is less, but for a few fragments that
begin far from their datagram's start. Nothing is held beyond the time it may wait.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.settings cimport Settings
from fastfw.core.wire cimport Packet


# What became of a fragment.
cdef enum Joined:
    JOINED_HELD              # it waits for the others
    JOINED_WHOLE             # it was the last: the packet's data, have and length are those of the datagram
    JOINED_ALONE             # IPv6: not fit to wait, but for others to judge; the packet is as it was
    JOINED_DROPPED           # the packet's reason says why; others may have gone with it


# One fragment's payload, malloc'ed together with what goes before it.
ctypedef struct Piece:
    Piece *next
    uint32_t start           # in the datagram's payload
    uint32_t size
    uint32_t have            # of these bytes the capture kept so many


# Counts the fragments a source has sent while any of them waits (ipfrag_max_dist).
ctypedef struct Source:
    Source *chain
    uint32_t address
    uint32_t bucket
    uint32_t sent
    uint32_t waiting         # queues


ctypedef struct Queue:
    Queue *chain             # in its bucket
    Queue *older             # by deadline, as far as the timeout stays what it is
    Queue *newer
    uint64_t source[2]
    uint64_t destination[2]
    uint32_t id
    uint16_t interface       # where addresses mean something on one link only, else 0
    uint8_t proto            # IPv4; of IPv6 it is no part of the key
    uint8_t family
    uint8_t output           # sent by this host: such fragments are joined apart from others
    uint8_t flags
    uint8_t ecn              # bit n: a fragment carried ECN field n (RFC 3168 section 5.3)
    uint8_t unused
    uint32_t hash
    int64_t expires          # ns
    Source *sender           # IPv4 with ipfrag_max_dist
    uint32_t sent            # the sender's count at this queue's last fragment
    uint32_t length          # of the payload, as far as known
    uint32_t meat            # bytes of it that have come
    uint32_t tail            # end of the run at the highest offset
    uint32_t charge          # of the pieces, bytes
    uint32_t largest         # fragment, IP header and payload
    uint32_t largest_df      # of those with the don't-fragment flag
    Piece *pieces
    Piece *first             # the one at offset 0
    uint32_t header          # bytes of IP header that `first` carries in front of its payload
    uint32_t next_at         # IPv6: offset in it of the byte that names the fragment header
    uint8_t next_header      # IPv6: what that header names
    uint32_t words           # of each of the two maps
    uint64_t *map            # which 8-byte blocks have come; behind it, where a run of consecutive fragments begins


ctypedef struct Family:
    Queue *oldest
    Queue *newest
    uint64_t charge          # bytes
    uint32_t queues


ctypedef struct Defrag:
    Queue **table            # made for the first fragment
    Source **sources
    uint8_t *whole           # the datagram completed last
    Family family[2]         # IPv4, IPv6
    uint32_t queues


cdef void defrag_free(Defrag *d) noexcept nogil
cdef Joined defrag_take(Defrag *d, Packet *p, const uint64_t *secret, const Settings *s) noexcept nogil
cdef void defrag_expire(Defrag *d, int64_t now) noexcept nogil
