"""One packet at a time for drivers in Python, with all that a queue knows of it."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.terms cimport VERDICT_HOLD
from fastfw.core.wire cimport KIND_FRAGMENT, Packet
from fastfw.drivers.netlink cimport datagram_of, hook_of, tell_link


def hook_at(int place, bint came_in):
    """The Hook whose chains a packet is to meet, by where the kernel queued it and whether it came in by an
    interface."""
    return hook_of(<unsigned char> place, came_in)


def judge(Core engine, bytes packet, uint32_t length, int hook, str iif, str oif, uint32_t mark, int64_t now,
          bytes hardware):
    """Judge a queued packet of `length` bytes that begins with `packet`; its checksums are vouched for.
    `hardware` is the address that its frame came from, empty where there is none.

    Returns its verdict, its mark afterwards, which datagram it is a fragment of (0: none; the verdict is HOLD, or the
    datagram's where this was the last piece to come), the rule's number and the address family.
    """
    cdef Packet one
    cdef Packet *p = &one
    cdef uint64_t datagram = 0
    cdef uint8_t link[16]
    p.data = packet
    p.have = <uint32_t> len(packet)
    p.length = length if length > p.have else p.have
    p.hook = <unsigned char> hook
    p.iif = engine.interface(iif)
    p.oif = engine.interface(oif)
    p.mark = mark
    p.stray = 0
    p.link = NULL
    if len(hardware) >= 6:
        tell_link(p, hardware, link)
    p.no_verify = 1
    p.now = now
    with nogil:
        pthread_mutex_lock(&engine.lock)
        engine.run(p, 1)
        pthread_mutex_unlock(&engine.lock)
    if p.verdict == VERDICT_HOLD or (p.family and p.frag_off and p.kind != KIND_FRAGMENT):
        datagram = datagram_of(p, engine.tracker.flows.secret)
    return p.verdict, p.mark, datagram, p.rule, p.family
