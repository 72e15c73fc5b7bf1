"""TCP tracking (RFC 9293, RFC 7323, RFC 2018, RFC 5961).

The windows follow Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001). For a segment from a
sender S to a receiver R four bounds must hold, with what the tracker remembers of either side:

    I    seq        <= S.max_end                      not beyond what R's window allows
    II   seq + len  >= S.end - R.max_win              not older than one window of R
    III  ack        <= R.end                          not of data that R has yet to send
    IV   ack        >= R.end - max(S.max_win, 66000)  not older than one window of S

A segment outside I or III is INVALID. One outside II or IV only, or that oversteps I by no more than R's
window, is let through without being believed: old data and late acknowledgements are common and harmless.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastfw.core.bytes cimport be16, be32, unlikely
from fastfw.core.flows cimport Entry, TcpFlow, TcpSide
from fastfw.core.protocol cimport STEP_ACCEPT, STEP_CLOSE, STEP_INVALID, STEP_REOPEN, Step, refresh
from fastfw.core.settings cimport (
    SET_TCP_IGNORE_INVALID_RST, SET_TCP_LIBERAL, SET_TCP_LOOSE, SET_TCP_MAX_RETRANS, SET_TCP_MAX_RETRANS_TIME,
    SET_TCP_UNACKNOWLEDGED, TCP_CLOSE, TCP_ESTABLISHED, TCP_FIN_WAIT, TCP_LAST_ACK, TCP_NONE,
    TCP_SYN_RECV, TCP_SYN_SENT, TCP_SYN_SENT2, TCP_TIME_WAIT, Settings, tcp_timeout,
)
from fastfw.core.terms cimport (
    HOST_INVALID, ORIGINAL, REPLY, STATUS_ASSURED, STATUS_FIXED_TIMEOUT, STATUS_SEEN_REPLY, STATUS_SKIPS, TCP_ACK_OVER,
    TCP_ACK_UNDER, TCP_CHALLENGE_ACK, TCP_IGNORED, TCP_NOT_SYN, TCP_OVERSENT, TCP_RST_OLD, TCP_SEQ_OVER, TCP_SEQ_UNDER,
    TCP_STATE, TCP_STRAY,
)
from fastfw.core.wire cimport ACK, FIN, RST, SYN, Packet

cdef extern from "tcp_states.h" nogil:
    const uint8_t tcp_next[2][16][8]
    int SEG_SYN
    int SEG_SYNACK
    int SEG_FIN
    int SEG_RST
    int SEG_NONE
    int TO_IGNORE
    int TO_INVALID
    int tcp_segment_class(uint8_t flags)
    bint seq_before(uint32_t a, uint32_t b)
    bint seq_after(uint32_t a, uint32_t b)


# What is known of a SYN let through unjudged (pending_flags, beside SCALES and SACKS), and of the connection.
cdef enum:
    EXPECTS_CHALLENGE = 0x20
    SIMULTANEOUS = 0x80


cdef enum Window:
    WINDOW_FITS
    WINDOW_IGNORE
    WINDOW_INVALID


# What to make of an RST.
cdef enum Reset:
    RESET_JUDGED         # it closes if it fits the windows
    RESET_DOUBTED        # RFC 5961 section 3: not the exact number, the receiver will ask back; the state stays
    RESET_TAKEN          # it closes without being held against the windows
    RESET_INVALID


# A segment's numbers, host byte order. Read anew by each function that needs them, and never handed on by address: the
# common path then keeps them in registers.
ctypedef struct Segment:
    const uint8_t *tcp
    uint32_t header          # bytes
    uint32_t options_end     # offset from tcp of the last option byte that can be read, plus one
    uint32_t seq
    uint32_t ack
    uint32_t end             # sequence number after the segment
    uint16_t win
    uint8_t flags
    int kind                 # SEG_...


cdef inline void read_segment(const Packet *p, Segment *seg) noexcept nogil:
    cdef const uint8_t *tcp = p.data + p.l4
    seg.tcp = tcp
    seg.header = (tcp[12] >> 4) * 4
    seg.options_end = seg.header if p.l4 + seg.header <= p.have else p.have - p.l4
    seg.seq = be32(tcp + 4)
    seg.ack = be32(tcp + 8)
    seg.win = be16(tcp + 14)
    seg.flags = tcp[13]
    seg.kind = tcp_segment_class(tcp[13])
    seg.end = seg.seq + (p.length - p.l4 - seg.header) + (seg.flags & FIN) + (seg.flags >> 1 & 1)


cdef void read_syn_options(const Packet *p, uint8_t *scale, uint8_t *flags) noexcept nogil:
    """Window scale (RFC 7323 section 2.2) and SACK permitted (RFC 2018 section 2) of a SYN. A SYN that carries options
    says all anew, only LIBERAL stays with a side for good; one without any says nothing."""
    cdef uint32_t at = 20
    cdef uint8_t kind, size
    cdef Segment seg
    read_segment(p, &seg)
    if seg.header == 20:
        return
    scale[0] = 0
    flags[0] &= LIBERAL
    while at < seg.options_end:
        kind = seg.tcp[at]
        if kind == 0:
            return
        if kind == 1:
            at += 1
            continue
        if at + 2 > seg.options_end:
            return
        size = seg.tcp[at + 1]
        if size < 2 or at + size > seg.options_end:
            return
        if kind == 3 and size == 3:
            flags[0] |= SCALES
            scale[0] = seg.tcp[at + 2] if seg.tcp[at + 2] < 14 else 14
        elif kind == 4 and size == 2:
            flags[0] |= SACKS
        at += size


cdef uint32_t highest_sack(const Packet *p, uint32_t ack) noexcept nogil:
    """The highest edge among the acknowledgement and the first SACK option's blocks (RFC 2018 section 3)."""
    cdef uint32_t at = 20, block, edge
    cdef uint8_t kind, size
    cdef Segment seg
    read_segment(p, &seg)
    while at < seg.options_end:
        kind = seg.tcp[at]
        if kind == 0:
            return ack
        if kind == 1:
            at += 1
            continue
        if at + 2 > seg.options_end:
            return ack
        size = seg.tcp[at + 1]
        if size < 2 or at + size > seg.options_end:
            return ack
        if kind == 5 and size >= 10 and (size - 2) % 8 == 0:
            for block in range(at + 2, at + size, 8):
                edge = be32(seg.tcp + block + 4)
                if seq_after(edge, ack):
                    ack = edge
            return ack
        at += size
    return ack


cdef void start_side(TcpFlow *t, int d, const Packet *p, uint32_t sack) noexcept nogil:
    """Learn a side from its first segment, or from a SYN that starts it anew."""
    cdef TcpSide *sender = &t.side[d]
    cdef TcpSide *receiver = &t.side[1 - d]
    cdef Segment seg
    cdef uint32_t win
    read_segment(p, &seg)
    win = seg.win
    sender.end = seg.end
    if seg.flags & SYN:
        sender.max_end = seg.end
        sender.max_win = win if win else 1
        read_syn_options(p, &t.scale[d], &t.flags[d])
        if not (t.flags[d] & SCALES and t.flags[1 - d] & SCALES):
            # both SYNs must offer scaling; the first side's own offer stands until the second has spoken
            if d == REPLY:
                t.scale[0] = 0
                t.scale[1] = 0
        return
    win <<= t.scale[d]
    sender.max_win = win if win else 1
    sender.max_end = seg.end + sender.max_win
    if receiver.max_win == 0:
        receiver.end = sack
        receiver.max_end = sack
    elif sack == receiver.end + 1:
        # an answer to a keepalive that was sent before the tracker came
        receiver.end += 1


cdef inline Window outside(const TcpFlow *t, int d, Packet *p, const Settings *s, Window found, uint16_t reason,
                           uint32_t number, uint32_t bound) noexcept nogil:
    if t.flags[d] & LIBERAL or s.of[SET_TCP_LIBERAL]:
        return WINDOW_FITS
    p.reason = reason
    p.detail[0] = number
    p.detail[1] = bound
    return found


cdef inline Window in_window(Entry *e, int d, const Segment *seg, Packet *p, const Settings *s) noexcept nogil:
    """Hold a segment against the four bounds and learn from it if it fits."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef TcpSide *sender = &t.side[d]
    cdef TcpSide *receiver = &t.side[1 - d]
    cdef uint32_t seq = seg.seq, ack = seg.ack, end = seg.end, sack = seg.ack
    cdef uint32_t win = seg.win, reach, excess
    cdef uint32_t back
    cdef int again

    if t.flags[1 - d] & SACKS and seg.header > 20:
        sack = highest_sack(p, ack)

    if unlikely(sender.max_win == 0):
        start_side(t, d, p, sack)
        if seg.flags & SYN and not seg.flags & ACK:
            return WINDOW_FITS      # simultaneous open
    elif unlikely(seg.flags & SYN and seq_after(end, sender.end)
                  and (e.state == TCP_SYN_SENT or e.state == TCP_SYN_RECV)):
        # a SYN that differs from the first one: its numbers and options count from here on
        start_side(t, d, p, sack)
        if d == REPLY and not seg.flags & ACK:
            return WINDOW_FITS

    if not seg.flags & ACK or (seg.flags & RST and ack == 0):
        # nothing is acknowledged; some stacks set ACK in an RST without a number
        ack = receiver.end
        sack = ack
    if seg.flags & RST and seq == 0 and e.state == TCP_SYN_SENT:
        # an RST that answers a SYN need not carry a sequence number
        seq = sender.end
        end = seq

    back = sender.max_win if sender.max_win > ACK_BACK else <uint32_t> ACK_BACK
    if unlikely(not seq_before(seq, sender.max_end + 1)):
        excess = end - sender.max_end + 1
        if (receiver.max_win and seq_after(end, sender.end - receiver.max_win - 1)
                and seq_after(sack, receiver.end - back - 1) and excess <= receiver.max_win
                and seq_before(sack, receiver.end + 1)):
            # sent beyond the window; if it is let in and acknowledged, that acknowledgement must fit
            sender.end = end
            t.flags[d] |= UNACKNOWLEDGED
            return outside(t, d, p, s, WINDOW_IGNORE, TCP_OVERSENT, seq, sender.max_end)
        return outside(t, d, p, s, WINDOW_INVALID, TCP_SEQ_OVER, seq, sender.max_end)
    if unlikely(not seq_before(sack, receiver.end + 1)):
        return outside(t, d, p, s, WINDOW_INVALID, TCP_ACK_OVER, sack, receiver.end)
    if unlikely(receiver.max_win and not seq_after(end, sender.end - receiver.max_win - 1)):
        return outside(t, d, p, s, WINDOW_IGNORE, TCP_SEQ_UNDER, end, sender.end - receiver.max_win)
    if unlikely(not seq_after(sack, receiver.end - back - 1)):
        return outside(t, d, p, s, WINDOW_IGNORE, TCP_ACK_UNDER, sack, receiver.end - back)

    if not seg.flags & SYN:
        win <<= t.scale[d]
    reach = win + (sack - ack)
    if sender.max_win < reach:
        sender.max_win = reach
    if seq_after(end, sender.end):
        sender.end = end
        t.flags[d] |= UNACKNOWLEDGED
    if seg.flags & ACK:
        if not t.flags[d] & HAS_MAX_ACK:
            sender.max_ack = ack
            t.flags[d] |= HAS_MAX_ACK
        elif seq_after(ack, sender.max_ack):
            sender.max_ack = ack
    if receiver.max_win and seq_after(end, sender.max_end):
        receiver.max_win += end - sender.max_end
    if seq_after(sack + win, receiver.max_end - 1):
        receiver.max_end = sack + win
        if win == 0:
            receiver.max_end += 1
    if ack == receiver.end:
        t.flags[1 - d] &= <uint8_t> ~UNACKNOWLEDGED

    if seg.kind == SEG_ACK:
        # without a branch: which way the last packet went is as good as random
        again = ((t.last_seq ^ seq) | (t.last_ack ^ ack) | (t.last_end ^ end) | (t.last_win ^ seg.win)
                 | (t.last_direction ^ d)) == 0
        t.retrans = <uint8_t> ((t.retrans + 1) & -again)
        t.last_direction = <uint8_t> d
        t.last_seq = seq
        t.last_ack = ack
        t.last_end = end
        t.last_win = seg.win
    return WINDOW_FITS


cdef bint tcp_is_closing(const Entry *e) noexcept nogil:
    """A connection that has seen its first FIN or RST may be evicted early, assured or not."""
    return TCP_FIN_WAIT <= e.state <= TCP_CLOSE


cdef bint tcp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    """Set up a connection from its first segment: a SYN, or with tcp_loose any ACK or FIN ACK of one under way."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef TcpSide *side = &t.side[ORIGINAL]
    cdef Segment seg
    cdef int state
    read_segment(p, &seg)
    state = tcp_next[ORIGINAL][TCP_NONE][seg.kind]
    p.detail[0] = seg.flags
    p.detail[1] = TCP_NONE
    if state == TO_INVALID:
        p.reason = TCP_STRAY
        return False
    memset(t, 0, sizeof(TcpFlow))
    e.state = TCP_NONE
    t.last_index = <uint8_t> SEG_NONE
    side.end = seg.end
    side.max_win = seg.win if seg.win else 1
    if state == TCP_SYN_SENT:
        side.max_end = seg.end
        read_syn_options(p, &t.scale[ORIGINAL], &t.flags[ORIGINAL])
        return True
    if not s.of[SET_TCP_LOOSE]:
        p.reason = TCP_NOT_SYN
        return False
    # its scale is unknown: trust SACK and do not hold windows against either side
    side.max_end = seg.end + side.max_win
    t.flags[ORIGINAL] = SACKS | LIBERAL
    t.flags[REPLY] = SACKS | LIBERAL
    return True


cdef Step ignore(Entry *e, Packet *p, int d, int state) noexcept nogil:
    """Let a segment through unjudged, and note it: what the other side answers tells who was right."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef uint8_t scale = 0, flags = 0
    cdef Segment seg
    read_segment(p, &seg)
    t.last_index = <uint8_t> seg.kind
    t.last_direction = <uint8_t> d
    t.last_seq = seg.seq
    t.last_end = seg.end
    t.last_win = seg.win
    if seg.kind == SEG_SYN and d == ORIGINAL:
        read_syn_options(p, &scale, &flags)
        t.pending_scale = scale
        t.pending_flags = flags
        if state == TCP_LAST_ACK:
            t.pending_flags |= EXPECTS_CHALLENGE
    if state == TCP_SYN_SENT and seg.kind == SEG_ACK and d == REPLY:
        t.last_ack = seg.ack
    p.reason = TCP_IGNORED
    p.detail[0] = seg.flags
    p.detail[1] = <uint32_t> state
    return STEP_ACCEPT


cdef void adopt_pending(Entry *e, int d) noexcept nogil:
    """A SYN ACK from side `d` answers the SYN let through unjudged: the ends began anew, and so does the tracker."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef int o = t.last_direction
    cdef TcpSide *opener = &t.side[o]
    opener.end = t.last_end
    opener.max_end = t.last_end
    opener.max_win = t.last_win if t.last_win else 1
    t.scale[o] = t.pending_scale
    t.pending_flags &= <uint8_t> ~EXPECTS_CHALLENGE
    t.flags[o] = t.pending_flags
    memset(&t.side[d], 0, sizeof(TcpSide))
    t.scale[d] = 0
    t.flags[d] &= LIBERAL


cdef void shorten_after_invalid(Entry *e, Packet *p, int d, const Settings *s) noexcept nogil:
    """An assured connection whose ends both send FINs or RSTs that the tracker cannot place is as good as over: let it
    wait no longer than one with unacknowledged data."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef int64_t left, bound
    cdef Segment seg
    read_segment(p, &seg)
    if not e.status & STATUS_ASSURED or e.status & STATUS_FIXED_TIMEOUT:
        return
    if seg.kind != SEG_RST and seg.kind != SEG_FIN:
        return
    if t.last_direction != d and (t.last_index == SEG_FIN or t.last_index == SEG_RST):
        left = e.expires - p.now
        bound = s.of[SET_TCP_UNACKNOWLEDGED]
        if left >= <int64_t> 120000000000 and left > bound:
            e.expires = p.now + bound
    else:
        t.last_index = <uint8_t> seg.kind
        t.last_direction = <uint8_t> d


cdef inline int64_t timeout_for(const Entry *e, int state, const Segment *seg, const Settings *s) noexcept nogil:
    cdef int64_t timeout = tcp_timeout(s, state)
    if unlikely(seg.kind == SEG_RST):
        if e.proto.tcp.retrans >= s.of[SET_TCP_MAX_RETRANS] and timeout > s.of[SET_TCP_MAX_RETRANS_TIME]:
            return s.of[SET_TCP_MAX_RETRANS_TIME]
        return tcp_timeout(s, TCP_CLOSE)
    return tcp_timeout_for(&e.proto.tcp, state, s)


cdef Reset judge_reset(const Entry *e, Packet *p, int d, const Settings *s) noexcept nogil:
    cdef const TcpFlow *t = &e.proto.tcp
    cdef uint32_t expected = t.side[1 - d].max_ack
    cdef bint established = e.state == TCP_ESTABLISHED and e.status & STATUS_ASSURED
    cdef bint doubted = False
    cdef Segment seg
    read_segment(p, &seg)
    if tcp_is_closing(e):
        # the ports may be in use again already, and what is remembered be of no worth
        return RESET_TAKEN
    if t.flags[1 - d] & HAS_MAX_ACK and t.last_index != SEG_SYN:
        if seg.seq == 0 and not established:
            return RESET_JUDGED
        if seq_before(seg.seq, expected) and not s.of[SET_TCP_IGNORE_INVALID_RST]:
            p.reason = TCP_RST_OLD
            p.detail[0] = seg.seq
            p.detail[1] = expected
            return RESET_INVALID
        if not established or seg.seq == expected:
            return RESET_JUDGED
        if t.last_index == SEG_ACK and t.last_direction == d and seg.seq == t.last_end:
            # right behind the segment that went before it
            return RESET_JUDGED
        doubted = True
    # does it answer a SYN or an ACK that was let through unjudged? (never a doubted one: that needs ASSURED and no SYN)
    if seg.ack == t.last_end and (
            (e.status & STATUS_SEEN_REPLY and t.last_index == SEG_SYN and t.last_direction != d)
            or (not e.status & STATUS_ASSURED and t.last_index == SEG_ACK)):
        return RESET_TAKEN
    # or a challenge ACK that was?
    if (e.state == TCP_SYN_SENT and t.last_index == SEG_ACK and t.last_direction == REPLY
            and seg.seq == t.last_ack):
        return RESET_TAKEN
    return RESET_DOUBTED if doubted else RESET_JUDGED


cdef void catch_up(TcpFlow *t, int d, const Segment *seg, Packet *p) noexcept nogil:
    """Let a segment move both sides' numbers up: what went before it was not seen, and has come or is coming."""
    cdef TcpSide *sender = &t.side[d]
    cdef TcpSide *receiver = &t.side[1 - d]
    cdef uint32_t win = seg.win << t.scale[d]
    cdef uint32_t sack = highest_sack(p, seg.ack) if t.flags[1 - d] & SACKS else seg.ack
    if t.behind:
        t.behind -= 1
    p.reason = 0
    p.detail[0] = 0
    p.detail[1] = 0
    if seq_after(seg.end, sender.end):
        sender.end = seg.end
    if seq_after(seg.end, sender.max_end):
        sender.max_end = seg.end
    if seq_after(sack, receiver.end):
        receiver.end = sack
    if seq_after(sack + win, receiver.max_end):
        receiver.max_end = sack + win
    if win > sender.max_win:
        sender.max_win = win
    if not t.flags[d] & HAS_MAX_ACK or seq_after(seg.ack, sender.max_ack):
        sender.max_ack = seg.ack
        t.flags[d] |= HAS_MAX_ACK


cdef Step tcp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    cdef TcpFlow *t = &e.proto.tcp
    cdef Segment seg
    cdef int d = p.direction
    cdef int old = e.state, new
    cdef bint judged = True             # hold it against the windows
    cdef Reset reset
    cdef Window found
    cdef int64_t timeout
    cdef bint skips = e.status & STATUS_SKIPS != 0
    read_segment(p, &seg)
    new = tcp_next[d][old][seg.kind]

    if unlikely(skips and p.stray):
        p.reason = HOST_INVALID
        p.detail[0] = seg.seq
        p.detail[1] = t.side[d].end
        return STEP_INVALID
    if unlikely(new != TCP_ESTABLISHED):
        if new == TCP_SYN_SENT and old == TCP_NONE:
            # there is nothing yet to hold it against, and tcp_new has learned what it says of its own side
            t.side[REPLY].max_end = seg.win if seg.win else 1
            t.last_index = <uint8_t> seg.kind
            e.state = TCP_SYN_SENT
            refresh(e, p, timeout_for(e, TCP_SYN_SENT, &seg, s))
            return STEP_ACCEPT
        if unlikely(new == TCP_SYN_SENT and old >= TCP_TIME_WAIT):
            # the ports are used again: by a new client, or by one that lost its connection
            if (t.flags[0] | t.flags[1]) & CLOSED_FIRST or (t.last_direction == d and t.last_index == SEG_RST):
                return STEP_REOPEN
            new = TO_IGNORE
        if unlikely(new == TO_IGNORE):
            if (seg.kind == SEG_SYNACK and t.last_index == SEG_SYN and t.last_direction != d and seg.ack == t.last_end):
                old = TCP_SYN_SENT
                new = TCP_SYN_RECV
                p.renewed = 1
                adopt_pending(e, d)
            else:
                return ignore(e, p, d, old)
        elif unlikely(new == TO_INVALID):
            p.reason = TCP_STATE
            p.detail[0] = seg.flags
            p.detail[1] = <uint32_t> old
            return STEP_INVALID
        elif new == TCP_TIME_WAIT:
            if (old == TCP_LAST_ACK and seg.kind == SEG_ACK and t.last_direction != d and t.last_index == SEG_SYN
                    and t.pending_flags & EXPECTS_CHALLENGE):
                # it answers the stray SYN (RFC 5961 section 4), not the FIN
                t.pending_flags &= <uint8_t> ~EXPECTS_CHALLENGE
                p.reason = TCP_CHALLENGE_ACK
                p.detail[0] = seg.ack
                p.detail[1] = t.last_seq
                return STEP_ACCEPT
        elif new == TCP_SYN_SENT2:
            t.pending_flags |= SIMULTANEOUS
        elif new == TCP_SYN_RECV:
            if d == REPLY and seg.kind == SEG_ACK and t.pending_flags & SIMULTANEOUS:
                new = TCP_ESTABLISHED
        elif new == TCP_CLOSE and seg.kind == SEG_RST:
            reset = judge_reset(e, p, d, s)
            if reset == RESET_INVALID:
                return STEP_INVALID
            if reset == RESET_DOUBTED:
                new = old
            judged = reset != RESET_TAKEN

    if judged:
        found = in_window(e, d, &seg, p, s)
        if unlikely(found == WINDOW_INVALID and t.behind and (seg.flags & (SYN | RST | ACK)) == ACK):
            catch_up(t, d, &seg, p)
            found = WINDOW_FITS
        elif unlikely(skips and found != WINDOW_FITS and (found == WINDOW_INVALID or p.reason == TCP_OVERSENT)):
            # the numbers here are old ones, and who has seen them all finds nothing wrong
            if seg.flags & RST:
                p.reason = 0
            else:
                catch_up(t, d, &seg, p)
            found = WINDOW_FITS
        if unlikely(found == WINDOW_IGNORE):
            return STEP_ACCEPT
        if unlikely(found == WINDOW_INVALID):
            shorten_after_invalid(e, p, d, s)
            return STEP_INVALID

    t.last_index = <uint8_t> seg.kind
    t.last_direction = <uint8_t> d
    if unlikely(e.state != new):
        e.state = <uint8_t> new
        if new == TCP_FIN_WAIT:
            t.flags[d] |= CLOSED_FIRST
    timeout = timeout_for(e, new, &seg, s)

    if not e.status & STATUS_SEEN_REPLY:
        if seg.flags & RST:
            p.counted = 1
            return STEP_CLOSE       # the only answer is a refusal
        if seg.kind == SEG_SYN and old == TCP_SYN_SENT:
            return STEP_ACCEPT      # sent again; were it refreshed, it could hold the ports for ever
        if new == TCP_ESTABLISHED and timeout > s.of[SET_TCP_UNACKNOWLEDGED]:
            timeout = s.of[SET_TCP_UNACKNOWLEDGED]
    elif (not e.status & STATUS_ASSURED and new == TCP_ESTABLISHED
            and (old == TCP_SYN_RECV or old == TCP_ESTABLISHED)):
        e.status |= STATUS_ASSURED
    refresh(e, p, timeout)
    return STEP_ACCEPT
