"""What every protocol's tracker shares: its answer, and how it moves a deadline.

A protocol is a pair of functions: NAME_new(entry, packet, settings) says whether a packet may begin a connection and
sets up the entry; NAME_step(entry, packet, settings) moves an entry, new or old, by one packet, and answers with a
Step.
"""
from libc.stdint cimport int64_t

from fastfw.core.flows cimport Entry
from fastfw.core.terms cimport STATUS_CONFIRMED, STATUS_FIXED_TIMEOUT
from fastfw.core.wire cimport Packet


cdef enum Step:
    STEP_ACCEPT = 0      # the packet belongs to the connection
    STEP_INVALID         # it does not: the packet is INVALID, the connection as it was
    STEP_REOPEN          # the connection is over; begin anew with this packet
    STEP_CLOSE           # the packet belongs to the connection and ends it


cdef inline void refresh(Entry *e, Packet *p, int64_t timeout) noexcept nogil:
    """Take a packet into account: give its connection `timeout` ns from now; one not yet confirmed counts from its
    confirmation."""
    p.counted = 1
    if e.status & STATUS_FIXED_TIMEOUT:
        return
    e.expires = p.now + timeout if e.status & STATUS_CONFIRMED else timeout
