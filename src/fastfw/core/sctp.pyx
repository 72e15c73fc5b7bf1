"""SCTP tracking (RFC 9260; collisions: section 5.2; verification tags: section 8.5).

A packet is a header and chunks. The chunks move the state one after the other, and all of them must be allowed: at the
first that is not, the packet is INVALID. What the chunks before it changed stays changed.

An end names in every packet the tag that the other end chose in its INIT or INIT ACK. `tag[d]` is what packets of
direction d have to carry. A second path of a multi-homed association shows no INIT: there the first HEARTBEAT and its
acknowledgement tell the tags.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastfw.core.bytes cimport be16, be32, raw32, unlikely
from fastfw.core.flows cimport Entry, SctpFlow
from fastfw.core.protocol cimport STEP_ACCEPT, STEP_INVALID, Step, refresh
from fastfw.core.settings cimport SET_SCTP, Settings
from fastfw.core.terms cimport (
    CAPTURE_CUT, ORIGINAL, REPLY, SCTP_CHUNK, SCTP_STATE, SCTP_TAG, STATUS_ASSURED, STATUS_CONFIRMED,
)
from fastfw.core.wire cimport Packet

cdef extern from "sctp_states.h" nogil:
    int SCTP_NONE
    int SCTP_CLOSED
    int SCTP_COOKIE_ECHOED
    int SCTP_ESTABLISHED
    int SCTP_TO_INVALID
    int CHUNK_DATA
    int CHUNK_INIT
    int CHUNK_INIT_ACK
    int CHUNK_HEARTBEAT
    int CHUNK_HEARTBEAT_ACK
    int CHUNK_ABORT
    int CHUNK_SHUTDOWN_ACK
    int CHUNK_COOKIE_ECHO
    int CHUNK_COOKIE_ACK
    int CHUNK_SHUTDOWN_COMPLETE
    int sctp_after(int direction, int state, uint8_t chunk)


cdef enum:
    HEADER = 12
    CHUNK_HEADER = 4
    INIT_SIZE = 16               # of an INIT's fixed part, behind the chunk's header

    TAG_REFLECTED = 1            # chunk flag T (RFC 9260 section 8.4): the sender knows no tag but the one it was sent

    # SctpFlow.flags: a HEARTBEAT with another tag went by; if it is acknowledged the ends have begun anew
    HEARTBEAT_DOUBTED = 1


# A chunk in hand; `at` is its offset from the IP header, 0 before the first.
ctypedef struct Chunk:
    uint32_t at
    uint32_t next
    uint16_t length              # as it says itself
    uint8_t kind
    uint8_t flags


cdef inline bint next_chunk(const Packet *p, Chunk *c) noexcept nogil:
    """Go to the next chunk whose header is there; False behind the last."""
    c.at = c.next if c.at else <uint32_t> p.l4 + HEADER
    if c.at + CHUNK_HEADER > p.have:
        return False
    c.kind = p.data[c.at]
    c.flags = p.data[c.at + 1]
    c.length = be16(p.data + c.at + 2)
    c.next = c.at + (c.length + 3 & ~<uint32_t> 3)
    return True


cdef inline bint among(uint32_t kinds, int kind) noexcept nogil:
    return kinds >> kind & 1


cdef bint check_chunks(Packet *p, uint32_t *kinds) noexcept nogil:
    """Whether the chunks may stand together (RFC 9260 section 6.10), and which there are: bit n for type n below 32.
    INIT, INIT ACK and SHUTDOWN COMPLETE stand alone, COOKIE ECHO and COOKIE ACK come first."""
    cdef Chunk c
    cdef bint alone = False, first = True
    c.at = 0
    kinds[0] = 0
    while next_chunk(p, &c):
        if c.kind == CHUNK_INIT or c.kind == CHUNK_INIT_ACK or c.kind == CHUNK_SHUTDOWN_COMPLETE:
            alone = True
        if c.length == 0 or (not first and (
                alone or c.kind == CHUNK_COOKIE_ECHO or c.kind == CHUNK_COOKIE_ACK)):
            p.reason = SCTP_CHUNK
            p.detail[0] = c.kind
            p.detail[1] = c.length
            return False
        first = False
        if c.kind < 32:
            kinds[0] |= <uint32_t> 1 << c.kind
    if first:
        p.reason = CAPTURE_CUT if p.have < p.length else SCTP_CHUNK
        p.detail[0] = p.have if p.have < p.length else 0
        p.detail[1] = p.length if p.have < p.length else 0
        return False
    return True


cdef inline uint32_t tag_of(const Packet *p) noexcept nogil:
    return raw32(p.data + p.l4 + 4)


cdef Step wrong_tag(Packet *p, uint32_t wanted) noexcept nogil:
    cdef uint32_t carried = tag_of(p)
    p.reason = SCTP_TAG
    p.detail[0] = be32(<const uint8_t *> &carried)
    p.detail[1] = be32(<const uint8_t *> &wanted)
    return STEP_INVALID


cdef Step out_of_state(Packet *p, const Chunk *c, int state) noexcept nogil:
    p.reason = SCTP_STATE
    p.detail[0] = c.kind
    p.detail[1] = <uint32_t> state
    return STEP_INVALID


cdef bint init_tag(Packet *p, const Chunk *c, uint32_t *tag) noexcept nogil:
    """The initiate tag of an INIT or INIT ACK; False where its fixed part is not all there."""
    if c.at + CHUNK_HEADER + INIT_SIZE > p.have:
        if c.at + CHUNK_HEADER + INIT_SIZE <= p.length:
            p.reason = CAPTURE_CUT
            p.detail[0] = p.have
            p.detail[1] = c.at + CHUNK_HEADER + INIT_SIZE
        else:
            p.reason = SCTP_CHUNK
            p.detail[0] = c.kind
            p.detail[1] = c.length
        return False
    tag[0] = raw32(p.data + c.at + CHUNK_HEADER)
    return True


cdef bint sctp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    """Set up an association's path from its first packet, every chunk of which must be one that can come first."""
    cdef SctpFlow *t = &e.proto.sctp
    cdef Chunk c
    cdef uint32_t kinds, tag
    if not check_chunks(p, &kinds):
        return False
    memset(t, 0, sizeof(SctpFlow))
    e.state = <uint8_t> SCTP_NONE
    c.at = 0
    while next_chunk(p, &c):
        if sctp_after(ORIGINAL, SCTP_NONE, c.kind) == SCTP_TO_INVALID:
            out_of_state(p, &c, SCTP_NONE)
            return False
        if c.kind == CHUNK_INIT:
            if not init_tag(p, &c, &tag):
                return False
            t.tag[REPLY] = tag
            t.init[ORIGINAL] = 1
        elif c.kind == CHUNK_HEARTBEAT:
            t.tag[ORIGINAL] = tag_of(p)
        elif c.kind == CHUNK_SHUTDOWN_ACK or not (among(kinds, CHUNK_HEARTBEAT) or among(kinds, CHUNK_HEARTBEAT_ACK)):
            # out of the blue (RFC 9260 section 8.4): what answers it reflects its tag; an answered HEARTBEAT does not
            t.tag[REPLY] = tag_of(p)
    return True


cdef Step check_heartbeat(SctpFlow *t, Packet *p, const Chunk *c, int d, uint32_t kinds, bint *doubted) noexcept nogil:
    """Hold a HEARTBEAT or its acknowledgement against the tags and learn from it. A HEARTBEAT with another tag is let
    through unjudged (`doubted` is set); if the other end acknowledges it, that end's tag is the new one."""
    cdef uint32_t tag = tag_of(p)
    if t.tag[d] == 0:
        t.tag[d] = tag
    elif tag == t.tag[d]:
        t.flags &= <uint8_t> ~HEARTBEAT_DOUBTED
    elif among(kinds, CHUNK_DATA) or doubted[0]:
        return wrong_tag(p, t.tag[d])
    elif c.kind == CHUNK_HEARTBEAT:
        t.flags |= HEARTBEAT_DOUBTED
        t.last_direction = <uint8_t> d
        doubted[0] = True
    elif not t.flags & HEARTBEAT_DOUBTED or t.last_direction == d:
        return wrong_tag(p, t.tag[d])
    else:
        t.flags &= <uint8_t> ~HEARTBEAT_DOUBTED
        t.tag[d] = tag
        t.tag[1 - d] = 0
    return STEP_ACCEPT


cdef Step check_tag(SctpFlow *t, Packet *p, const Chunk *c, int d) noexcept nogil:
    """The rules of RFC 9260 section 8.5.1 for chunks whose tag is not simply their direction's."""
    cdef uint32_t tag = tag_of(p), wanted = t.tag[d]
    if c.kind == CHUNK_INIT:
        wanted = 0
    elif c.kind == CHUNK_ABORT or c.kind == CHUNK_SHUTDOWN_COMPLETE:
        if c.flags & TAG_REFLECTED:
            wanted = t.tag[1 - d]
    elif c.kind != CHUNK_COOKIE_ECHO:
        return STEP_ACCEPT
    return STEP_ACCEPT if tag == wanted else wrong_tag(p, wanted)


cdef Step learn_init(SctpFlow *t, Packet *p, const Chunk *c, int d) noexcept nogil:
    """Note the tag an INIT or INIT ACK chooses. Where both ends call at once (RFC 9260 section 5.2.1) an INIT ACK must
    choose what its end's own INIT chose; and one that answers no INIT must not change a tag known already."""
    cdef uint32_t tag, known
    if not init_tag(p, c, &tag):
        return STEP_INVALID
    known = t.tag[1 - d]
    if c.kind == CHUNK_INIT:
        if tag == known:
            return STEP_ACCEPT      # sent again: nothing new is begun by it
        if t.init[d] and t.init[1 - d]:
            t.init[1 - d] = 0       # begun anew: the other end's call was for what was before
        t.init[d] = 1
    elif (not t.init[1 - d] and known and known != tag) or (t.init[d] and t.init[1 - d] and known != tag):
        return wrong_tag(p, known)
    t.tag[1 - d] = tag
    return STEP_ACCEPT


cdef Step sctp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    cdef SctpFlow *t = &e.proto.sctp
    cdef Chunk c
    cdef uint32_t kinds
    cdef int d = p.direction
    cdef int old = SCTP_NONE, new = SCTP_NONE
    cdef bint doubted = False, kept = False
    cdef Step step
    if unlikely(not check_chunks(p, &kinds)):
        return STEP_INVALID
    if unlikely(tag_of(p) != t.tag[d]) and not (
            among(kinds, CHUNK_INIT) or among(kinds, CHUNK_COOKIE_ECHO) or among(kinds, CHUNK_ABORT)
            or among(kinds, CHUNK_SHUTDOWN_ACK) or among(kinds, CHUNK_SHUTDOWN_COMPLETE)
            or among(kinds, CHUNK_HEARTBEAT) or among(kinds, CHUNK_HEARTBEAT_ACK)):
        return wrong_tag(p, t.tag[d])
    c.at = 0
    while next_chunk(p, &c):
        if c.kind == CHUNK_HEARTBEAT or c.kind == CHUNK_HEARTBEAT_ACK:
            step = check_heartbeat(t, p, &c, d, kinds, &doubted)
            if step == STEP_ACCEPT and doubted and c.kind == CHUNK_HEARTBEAT:
                continue
        else:
            step = check_tag(t, p, &c, d)
        if step != STEP_ACCEPT:
            return step
        old = e.state
        new = sctp_after(d, old, c.kind)
        if unlikely(new == SCTP_TO_INVALID):
            return out_of_state(p, &c, old)
        if c.kind == CHUNK_INIT or c.kind == CHUNK_INIT_ACK:
            step = learn_init(t, p, &c, d)
            if step != STEP_ACCEPT:
                return step
            if c.kind == CHUNK_INIT and old == SCTP_CLOSED and new == SCTP_CLOSED and e.status & STATUS_CONFIRMED:
                kept = True     # sent again; were it refreshed, it could hold the ports for ever
        elif c.kind == CHUNK_COOKIE_ACK:
            t.init[0] = 0
            t.init[1] = 0
        e.state = <uint8_t> new
        if new == SCTP_ESTABLISHED and old != SCTP_ESTABLISHED:
            e.status |= STATUS_ASSURED
    if doubted or kept:
        return STEP_ACCEPT
    refresh(e, p, s.of[SET_SCTP + new])
    return STEP_ACCEPT
