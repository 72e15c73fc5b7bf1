"""TCP: states, and windows after van Rooij. tcp_states.h holds the state tables."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, be32, put64, raw32, raw64
from fastfw.core.flows cimport Entry, TcpFlow, TcpSide
from fastfw.core.protocol cimport Step
from fastfw.core.settings cimport (
    SET_TCP_MAX_RETRANS, SET_TCP_MAX_RETRANS_TIME, SET_TCP_UNACKNOWLEDGED, TCP_ESTABLISHED, Settings, tcp_timeout,
)
from fastfw.core.wire cimport Packet


cdef bint tcp_new(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef Step tcp_step(Entry *e, Packet *p, const Settings *s) noexcept nogil
cdef bint tcp_is_closing(const Entry *e) noexcept nogil


cdef extern from "tcp_states.h" nogil:
    int SEG_ACK


# What is known of one side of a connection.
cdef enum TcpFlag:
    SCALES = 0x01            # its SYN carried a window scale
    SACKS = 0x02             # its SYN permitted selective acknowledgements
    CLOSED_FIRST = 0x04      # it was the first to send a FIN
    LIBERAL = 0x08           # picked up under way: its windows are not held against it
    UNACKNOWLEDGED = 0x10    # data of it waits for an acknowledgement
    HAS_MAX_ACK = 0x40

cdef enum:
    ACK_BACK = 66000         # how far behind an acknowledgement may lag at least
    TIMESTAMPS = 0x0a080101  # no-op, no-op, timestamps, 10 bytes: the four bytes before the values, as loaded


cdef inline int64_t tcp_timeout_for(const TcpFlow *t, int state, const Settings *s) noexcept nogil:
    """How long a connection is kept after a segment that is no RST."""
    cdef int64_t timeout = tcp_timeout(s, state)
    if t.retrans >= s.of[SET_TCP_MAX_RETRANS] and timeout > s.of[SET_TCP_MAX_RETRANS_TIME]:
        return s.of[SET_TCP_MAX_RETRANS_TIME]
    if (t.flags[0] | t.flags[1]) & UNACKNOWLEDGED and timeout > s.of[SET_TCP_UNACKNOWLEDGED]:
        return s.of[SET_TCP_UNACKNOWLEDGED]
    if t.last_win == 0 and timeout > s.of[SET_TCP_MAX_RETRANS_TIME]:
        return s.of[SET_TCP_MAX_RETRANS_TIME]
    return timeout


cdef inline bint tcp_common(Entry *e, const Packet *p, uint32_t d, int64_t now, const Settings *s) noexcept nogil:
    """What nearly every segment is, in one go: an acknowledgement, with data or without, from side `d` of an ASSURED
    connection in ESTABLISHED with both sides known, inside all four bounds and the window, selecting nothing. Does to
    it what tcp_step would. False leaves every other segment to tcp_step, with nothing changed."""
    cdef TcpFlow *t = &e.proto.tcp
    cdef TcpSide *sender = t.side + d
    cdef TcpSide *receiver = t.side + (d ^ 1)
    cdef const uint8_t *tcp = p.data + p.l4
    cdef uint32_t header = (tcp[12] >> 2) & 0x3c
    cdef uint32_t seq = be32(tcp + 4), ack = be32(tcp + 8), win = be16(tcp + 14)
    cdef uint32_t end = seq + (p.length - p.l4 - header)
    cdef uint32_t sent = sender.end, window = sender.max_win, other = receiver.max_win
    cdef uint32_t back = window if window > ACK_BACK else <uint32_t> ACK_BACK
    cdef uint32_t scaled, reach
    cdef uint64_t numbers = seq | <uint64_t> ack << 32
    cdef uint64_t rest = end | <uint64_t> win << 32 | <uint64_t> d << 48
    cdef uint8_t mine = t.flags[d], others = t.flags[d ^ 1], again
    # no RST, SYN or FIN; a window; and where blocks may be selected, no options but timestamps
    if ((tcp[13] & 0x17) ^ 0x10) | (e.state ^ <uint8_t> TCP_ESTABLISHED) or not (win and window and other):
        return False
    if not mine & HAS_MAX_ACK:
        return False
    if header != 20 and others & SACKS and (header != 32 or p.have < p.l4 + 32 or raw32(tcp + 20) != TIMESTAMPS):
        return False
    # I (and the segment's end within the window), II, III, IV: every difference is the right way round
    if <int32_t> ((sender.max_end - seq) | (sender.max_end - end) | (end - (sent - other)) | (receiver.end - ack)
                  | (ack - (receiver.end - back))) < 0:
        return False
    scaled = win << t.scale[d]
    sender.max_win = scaled if scaled > window else window
    mine |= <uint8_t> ((<int32_t> (sent - end) < 0) * UNACKNOWLEDGED)
    sender.end = end if <int32_t> (sent - end) < 0 else sent
    sender.max_ack = ack if <int32_t> (sender.max_ack - ack) < 0 else sender.max_ack
    reach = ack + scaled
    receiver.max_end = reach if <int32_t> (reach - receiver.max_end) >= 0 else receiver.max_end
    others &= <uint8_t> ~((ack == receiver.end) * UNACKNOWLEDGED)
    t.flags[d] = mine
    t.flags[d ^ 1] = others
    # without a branch: which way the last packet went is as good as random
    again = ((raw64(&t.last_seq) ^ numbers) | ((raw64(&t.last_end) ^ rest) << 8)) == 0
    t.retrans = <uint8_t> ((t.retrans + 1) & -again)
    put64(&t.last_seq, numbers)
    put64(&t.last_end, rest | <uint64_t> SEG_ACK << 56)
    e.expires = now + tcp_timeout_for(t, TCP_ESTABLISHED, s)
    return True
