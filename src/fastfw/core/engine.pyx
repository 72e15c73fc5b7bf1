"""Packets in, decisions out, stage by stage. machine.pyx holds what they meet; fastfw.engine makes it pleasant."""
import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, likely, prefetch_read, put64, raw64, unlikely
from fastfw.core.common cimport common_parse
from fastfw.core.conntrack cimport (
    COUNT_FOUND, STATUS_APART, Tracker, conntrack_confirm, conntrack_count, conntrack_delete, conntrack_in,
    conntrack_sweep, conntrack_told,
)
from fastfw.core.decision cimport Decision
from fastfw.core.defrag cimport JOINED_DROPPED, JOINED_HELD, Joined, defrag_expire, defrag_take
from fastfw.core.events cimport ENDED_HELPER
from fastfw.core.flows cimport (
    ELSEWHERE, Entry, Flows, flows_find, flows_guess, flows_guess_other, flows_hash, flows_home,
    flows_send_for_next, key_equal,
)
from fastfw.core.headers cimport headers_plain4
from fastfw.core.helping cimport helped_is_there, payload_at
from fastfw.core.paths cimport Path
from fastfw.core.machine cimport pthread_mutex_trylock
from fastfw.core.program cimport Program
from fastfw.core.rewrite cimport rewrite_undo
from fastfw.core.settings cimport SET_CHECKSUM
from fastfw.core.tcp cimport tcp_common
from fastfw.core.terms cimport (
    HELPER_DROP, HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT, REASON_NONE, STATE_ESTABLISHED, STATE_NONE, STATUS_ASSURED,
    STATUS_CONFIRMED, STATUS_COUNTED, STATUS_DYING, STATUS_EXPECTED, STATUS_HELPED, STATUS_ORIGIN_HI,
    STATUS_SEEN_REPLY, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_HOLD, VERDICT_NONE,
)
from fastfw.core.udp cimport udp_step
from fastfw.core.walk cimport (
    routing_refuses, time_to_live, walk_before, walk_context, walk_judge, walk_remembered, walk_take,
)
from fastfw.core.wire cimport (
    KIND_BROKEN, KIND_FRAGMENT, KIND_NOT_IP, KIND_REFUSED, KIND_TRACK, NEW_FLOW, NO_FLOW, PROTO_TCP, PROTO_UDP, Packet,
    wire_parse, wire_parse_whole,
)

DECISION = np.dtype({
    "names": ["verdict", "state", "direction", "assured", "seen_reply", "expected", "rule", "reason", "mark"],
    "formats": ["u1", "u1", "u1", "u1", "u1", "u1", "<i4", "<u2", "<u4"],
    "offsets": [0, 1, 2, 3, 4, 5, 8, 6, 12],
    "itemsize": 16,
})

# What the link layer says of a packet: both addresses as in frames, a LinkType, and LinkBits of what is known.
LINK = np.dtype({
    "names": ["target", "source", "type", "known"],
    "formats": ["6u1", "6u1", "u1", "u1"],
    "offsets": [0, 6, 12, 13],
    "itemsize": 16,
})


cdef bint results_lie_as_packets() noexcept:
    """Whether what a packet's decision consists of can be copied into a result record as it stands."""
    cdef Packet p
    cdef Outcome o
    cdef size_t at = <size_t> &p.verdict, to = <size_t> &o.verdict
    return (<size_t> &p.state - at == <size_t> &o.state - to and <size_t> &p.expected - at == <size_t> &o.expected - to
            and <size_t> &p.reason - at == <size_t> &o.reason - to and <size_t> &p.rule - at == <size_t> &o.rule - to
            and <size_t> &p.mark - at == <size_t> &o.mark - to)


if sizeof(Outcome) != DECISION.itemsize or STATUS_EXPECTED != 1 or not results_lie_as_packets():
    raise ImportError("fastfw.core.engine: a result record does not match its layout")

cdef dict HOOKS = {"FORWARD": HOOK_FORWARD, "INPUT": HOOK_INPUT, "OUTPUT": HOOK_OUTPUT}

cdef enum:
    AHEAD = 8               # packets between the stages: about as many lines as a core fetches at once
    BURST = 4               # packets of one stage in a row, a divisor of the others
    RING = 32               # places for the packets under way, a power of two, 2 * AHEAD + BURST at least

# Bits of a connection's status: what one must have whose packets are common, of all that may keep it from that.
cdef enum:
    COMMON_NEEDS = STATUS_CONFIRMED | STATUS_SEEN_REPLY | STATUS_ASSURED
    COMMON_MASK = COMMON_NEEDS | STATUS_APART | STATUS_DYING | STATUS_HELPED


cdef inline bint routed_plainly(const Packet *p) noexcept nogil:
    """Whether a packet is at once seen to be one that routing does not refuse."""
    if p.family != 4 or p.data[0] != 0x45:
        return False
    return p.hook != HOOK_FORWARD or (p.data[8] > 1 and headers_plain4(p.data))


cdef inline bint judge_common(Core self, Packet *p) noexcept nogil:
    """What nearly every packet is, in one go: it belongs to an ASSURED connection that it changes nothing of but
    windows and deadline, and its way through the rules is remembered. False: it is not, nothing was changed or
    counted, and it must be judged in full."""
    cdef Tracker *t = &self.tracker
    cdef Entry *e
    cdef Path *path = NULL
    cdef const Program *program
    cdef int64_t now = p.now if p.now > t.now else t.now
    cdef uint64_t context
    cdef uint32_t d
    if unlikely(p.kind != KIND_TRACK or p.candidate == NO_FLOW or now > LATEST):
        return False
    e = t.flows.entries + p.candidate
    if unlikely(not key_equal(&e.key, &p.key)):
        p.candidate = flows_find(&t.flows, &p.key, p.hash)
        if p.candidate == NO_FLOW:
            return False
        e = t.flows.entries + p.candidate
    if unlikely(e.status & COMMON_MASK != COMMON_NEEDS or e.expires <= now):
        return False
    # directions come in no order a processor could learn: no branch on them
    d = p.flip ^ (e.status & STATUS_ORIGIN_HI != 0)
    program = self.program4 if p.family == 4 else self.program6
    if program != NULL:
        if unlikely(program.before_hooks >> p.hook & 1):
            return False
        context = walk_context(program, p, STATE_ESTABLISHED, e.status)
        path = walk_remembered(program, p, e, <uint8_t> d, context)
        if unlikely(path == NULL):
            return False
    elif unlikely(not routed_plainly(p) and routing_refuses(p, time_to_live(p)) != REASON_NONE):
        return False
    if likely(p.proto == PROTO_TCP):
        if unlikely(not tcp_common(e, p, d, now, &t.settings)):
            return False
        p.now = now
    elif p.proto == PROTO_UDP:
        p.now = now
        udp_step(e, p, &t.settings)
    else:
        return False
    t.now = now
    t.counters[COUNT_FOUND] += 1
    p.entry = p.candidate
    p.status = e.status
    p.counted = 1
    if unlikely(e.status & STATUS_COUNTED):
        p.direction = <uint8_t> d
        conntrack_count(t, p)
    if path != NULL:
        walk_take(path, p, e)
    else:
        p.verdict = VERDICT_ACCEPT
        p.answer = 0
        p.rule = -1
    # the rest of a decision in one store, that can be read back at once
    put64(&p.verdict, p.verdict | STATE_ESTABLISHED << 8 | d << 16 | 1 << 24 | <uint64_t> 1 << 32
          | <uint64_t> (e.status & STATUS_EXPECTED) << 40)
    return True


cdef void judge_fully(Core self, Packet *p) noexcept nogil:
    """One packet through tracking, rules, helper and confirmation."""
    cdef Tracker *t = &self.tracker
    cdef Program *program
    cdef bint begun
    cdef uint16_t refused
    p.rule = -1
    p.status = 0
    p.state = STATE_NONE
    p.direction = 0
    p.entry = NO_FLOW
    p.traced = 0
    p.answer = 0
    p.template = 0
    p.verdict = VERDICT_ACCEPT
    if p.now < t.now:
        p.now = t.now
    elif unlikely(p.now > LATEST):
        p.now = LATEST
    t.now = p.now
    if unlikely(p.kind > KIND_BROKEN):
        if p.kind == KIND_NOT_IP:
            p.verdict = VERDICT_NONE
            t.reasons[p.reason] += 1
            return
        if p.kind == KIND_REFUSED:
            p.verdict = VERDICT_DROP
            t.reasons[p.reason] += 1
            return
        if p.kind == KIND_FRAGMENT:
            judge_fragment(self, p)
            return
    program = self.program4 if p.family == 4 else self.program6
    if program != NULL:
        walk_before(program, t, p)
        if p.verdict != VERDICT_ACCEPT:
            return
    conntrack_in(t, p)
    if p.verdict == VERDICT_ACCEPT:
        if program != NULL:
            walk_judge(program, t, p)
        else:
            refused = routing_refuses(p, time_to_live(p))
            if unlikely(refused != REASON_NONE):
                p.verdict = VERDICT_DROP
                p.reason = refused
    if p.verdict == VERDICT_ACCEPT:
        begun = p.entry == NEW_FLOW
        if begun and not conntrack_confirm(t, p):
            p.verdict = VERDICT_DROP
        elif (unlikely(p.status & STATUS_HELPED != 0) and p.kind == KIND_TRACK and p.entry < NEW_FLOW
                and self.attached.wants(t, p)):
            self.call_helper(p, begun)
        if unlikely(t.events.ring != NULL) and not begun:
            conntrack_told(t, p)
    elif unlikely(t.events.ring != NULL):
        conntrack_told(t, p)
    if unlikely(p.reason != REASON_NONE):
        t.reasons[p.reason] += 1


cdef void judge_fragment(Core self, Packet *p) noexcept nogil:
    """Hold a fragment, or judge the datagram it completes in its place."""
    cdef Tracker *t = &self.tracker
    cdef const uint8_t *data = p.data
    cdef uint32_t have = p.have, length = p.length, l4 = p.l4, frag_off = p.frag_off
    cdef Joined joined = defrag_take(&self.defrag, p, t.flows.secret, &t.settings)
    if joined == JOINED_HELD or joined == JOINED_DROPPED:
        p.verdict = VERDICT_HOLD if joined == JOINED_HELD else VERDICT_DROP
        t.reasons[p.reason] += 1
        return
    wire_parse_whole(p)
    if p.kind <= KIND_BROKEN:
        p.hash = flows_hash(&t.flows, &p.key)
        p.candidate = NO_FLOW
    judge_fully(self, p)
    if unlikely(self.rewrite.data != NULL):
        rewrite_undo(&self.rewrite, p)
    # the datagram's bytes are the reassembly's: the caller gets its own fragment back, and kind alone tells that its
    # datagram was judged
    p.data = data
    p.have = have
    p.length = length
    p.l4 = l4
    p.frag_off = frag_off


# The stages, each of `n` packets in a row.

cdef inline void parse(Core self, Packet *some, size_t n) noexcept nogil:
    """What a packet is, and where its connection would be found; its bucket on the way to the cache."""
    cdef Flows *flows = &self.tracker.flows
    cdef Packet *p
    cdef size_t j
    if unlikely(not self.tracker.settings.of[SET_CHECKSUM]):
        for j in range(n):
            some[j].no_verify = 1
    for j in range(n):
        p = some + j
        if unlikely(not common_parse(p)):
            wire_parse(p)
        if likely(p.kind <= KIND_BROKEN):
            p.hash = flows_hash(flows, &p.key)
    # A core goes on no further than a few hundred instructions before it knows where in memory it is that it sends for,
    # and a large table's addresses are not at hand: those of several packets in a row are looked up at once.
    for j in range(n):
        p = some + j
        if likely(p.kind <= KIND_BROKEN):
            prefetch_read(flows_home(flows, p.hash))


cdef inline void guess(Core self, Packet *some, size_t n) noexcept nogil:
    """Which connection a packet may belong to, and that on the way to the cache, in a row likewise."""
    cdef Packet *p
    cdef size_t j
    for j in range(n):
        p = some + j
        p.candidate = flows_guess(&self.tracker.flows, p.hash) if likely(p.kind <= KIND_BROKEN) else NO_FLOW


cdef inline void guess_again(Core self, Packet *some, size_t n) noexcept nogil:
    """One connection in fifty lives outside its home bucket: which it may be then."""
    cdef size_t j
    for j in range(n):
        if unlikely(some[j].candidate == ELSEWHERE):
            some[j].candidate = flows_guess_other(&self.tracker.flows, some[j].hash)


cdef inline void judge(Core self, Packet *some, size_t n, Outcome *out) noexcept nogil:
    """What becomes of a packet; copied to `out` unless that is NULL."""
    cdef Packet *p
    cdef size_t j
    for j in range(n):
        p = some + j
        if unlikely(not judge_common(self, p)):
            judge_fully(self, p)
            if unlikely(self.rewrite.data != NULL):
                rewrite_undo(&self.rewrite, p)
            p.assured = p.status & STATUS_ASSURED != 0
            p.seen_reply = p.status & STATUS_SEEN_REPLY != 0
            p.expected = p.status & STATUS_EXPECTED != 0
        if out != NULL:
            # by the words that were stored: others would wait for these
            put64(out + j, raw64(&p.verdict))
            put64(&out[j].rule, raw64(&p.rule))


cdef inline void advance(Core self, Packet *ring, size_t mask, size_t i, size_t total, Outcome *out) noexcept nogil:
    """One step of the pipeline: while some packets are judged, the lines of those behind them are on their way. BURST
    packets from number `i` on, of `total`, have come and gone through no stage; `mask` makes of a number a place."""
    if i < total:
        parse(self, ring + (i & mask), min(<size_t> BURST, total - i))
    if AHEAD <= i < total + AHEAD:
        guess(self, ring + (i - AHEAD & mask), min(<size_t> BURST, total + AHEAD - i))
    if AHEAD + BURST <= i < total + AHEAD + BURST:
        guess_again(self, ring + (i - AHEAD - BURST & mask), min(<size_t> BURST, total + AHEAD + BURST - i))
    if i >= 2 * AHEAD:
        judge(self, ring + (i - 2 * AHEAD & mask), min(<size_t> BURST, total + 2 * AHEAD - i),
              out + (i - 2 * AHEAD) if out != NULL else NULL)


cdef inline void tidy(Core self, uint32_t packets) noexcept nogil:
    """What is done behind a batch: a share of the expiry, whose next entries are on their way until then."""
    cdef uint32_t share = (packets >> 3) + 1
    conntrack_sweep(&self.tracker, share)
    flows_send_for_next(&self.tracker.flows, share)
    if unlikely(self.defrag.queues != 0):
        defrag_expire(&self.defrag, self.tracker.now)


cdef class Core(Machine):
    cdef void run(self, Packet *batch, uint32_t n) noexcept nogil:
        cdef size_t i = 0
        if n <= AHEAD:
            parse(self, batch, n)
            guess(self, batch, n)
            guess_again(self, batch, n)
            judge(self, batch, n, NULL)
        else:
            while i < n + 2 * AHEAD:
                advance(self, batch, BATCH - 1, i, n, NULL)
                i += BURST
        tidy(self, n)

    cdef void call_helper(self, Packet *p, bint begun) noexcept with gil:
        """Let the connection's helper read the packet; what it refuses is dropped, with the connection if that
        `begun`."""
        if not self.attached.call(&self.tracker, p):
            p.verdict = VERDICT_DROP
            p.reason = HELPER_DROP
            p.detail[0] = be16(p.data + p.l4 + (0 if p.direction else 2))
            p.detail[1] = p.length - payload_at(p)
            if begun and helped_is_there(&self.tracker, p):
                conntrack_delete(&self.tracker, p.entry, ENDED_HELPER)
                p.entry = NO_FLOW

    def _process(self, const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length,
                 const int64_t[::1] time_ns, const uint32_t[::1] wire_length, const uint8_t[::1] hooks, int hook,
                 str iif not None, str oif not None, uint8_t[::1] out, const uint8_t[:, ::1] links=None):
        """Judge packets that lie in one buffer; `wire_length`, `hooks` and `links` may be None. Lengths are checked
        here."""
        cdef size_t total = length.shape[0], size = data.shape[0], i, j, stop, end = total + 2 * AHEAD
        cdef Packet ring[RING]
        cdef Packet *p
        cdef uint16_t into = self.interface(iif), onto = self.interface(oif)
        cdef Outcome *result = <Outcome *> (&out[0] if total else NULL)
        cdef const uint8_t *base = &data[0] if size else NULL
        cdef bint has_wire = wire_length is not None, has_hooks = hooks is not None
        cdef bint has_links = links is not None
        cdef size_t bad = total
        cdef uint64_t rest, outside = 0
        if not (<size_t> offset.shape[0] == <size_t> time_ns.shape[0] == total
                and <size_t> out.shape[0] == total * sizeof(Outcome)
                and (not has_wire or <size_t> wire_length.shape[0] == total)
                and (not has_hooks or <size_t> hooks.shape[0] == total)
                and (not has_links or (<size_t> links.shape[0] == total and links.shape[1] == 16))):
            raise ValueError("offset, length, time_ns, wire_length, link and hook must have one item a packet")
        if <size_t> result & 3:
            raise ValueError(f"out: an aligned, writable array of {total} records of DECISION expected")
        with nogil:
            # an offset beyond the data, or a length beyond the rest, leaves a negative number somewhere
            for i in range(total):
                rest = size - offset[i]
                outside |= offset[i] | rest | (rest - length[i])
            if unlikely(outside >> 63):
                for bad in range(total):
                    if offset[bad] > size or length[bad] > size - offset[bad]:
                        break
        if bad < total:
            raise ValueError(f"packet {bad} lies outside the data: offset {offset[bad]}, length {length[bad]}, "
                             f"data {size}")
        with nogil:
            # run's pipeline, over all batches without a break: a packet that is under way when the lock is given up
            # holds nothing that another thread could take away
            i = 0
            while i < end:
                stop = i + BATCH if end - i > BATCH else end
                pthread_mutex_lock(&self.lock)
                while i < stop:
                    for j in range(i, min(i + BURST, total)):
                        p = ring + (j & (RING - 1))
                        p.data = base + offset[j]
                        p.have = length[j]
                        p.length = wire_length[j] if has_wire and wire_length[j] > length[j] else length[j]
                        p.now = time_ns[j]
                        p.hook = hooks[j] if has_hooks else <uint8_t> hook
                        p.no_verify = p.hook == HOOK_OUTPUT
                        p.iif = into
                        p.oif = onto
                        p.mark = 0
                        p.stray = 0
                        p.link = &links[j, 0] if has_links else NULL
                    advance(self, ring, RING - 1, i, total, result)
                    i += BURST
                tidy(self, BATCH)
                pthread_mutex_unlock(&self.lock)

    def decide(self, packet, str hook="FORWARD", str iif not None="", str oif not None="", now=None):
        """Judge one IP packet, any bytes-like object; `now` is the clock in ns, the engine's own without it."""
        cdef Packet one
        cdef Packet *p = &one
        cdef Py_buffer buffer
        code = HOOKS.get(hook)
        if code is None:
            raise ValueError(f"hook: one of {', '.join(HOOKS)} expected, not {hook!r}")
        p.iif = self.interface(iif)
        p.oif = self.interface(oif)
        p.now = self.clock() if now is None else PyNumber_Index(now)
        p.hook = code
        p.mark = 0
        p.stray = 0
        p.link = NULL
        p.no_verify = p.hook == HOOK_OUTPUT
        PyObject_GetBuffer(packet, &buffer, PyBUF_SIMPLE)
        try:
            if buffer.len > 0xffffffff:
                raise ValueError("a packet is shorter than 4 GiB")
            p.data = <const uint8_t *> buffer.buf
            p.have = <uint32_t> buffer.len
            p.length = p.have
            if pthread_mutex_trylock(&self.lock) == 0:
                # one packet takes less time than giving the GIL away and getting it back
                self.run(p, 1)
                pthread_mutex_unlock(&self.lock)
            else:
                with nogil:
                    pthread_mutex_lock(&self.lock)
                    self.run(p, 1)
                    pthread_mutex_unlock(&self.lock)
        finally:
            PyBuffer_Release(&buffer)
        return self.decision(p)

    cdef Decision decision(self, const Packet *p):
        """What was decided of a packet that was judged."""
        cdef Decision d = Decision.__new__(Decision)
        d.verdict_code = p.verdict
        d.state_code = p.state
        d.direction_code = p.direction
        d.assured = p.status & STATUS_ASSURED != 0
        d.seen_reply = p.status & STATUS_SEEN_REPLY != 0
        d.expected = p.status & STATUS_EXPECTED != 0
        d.reason_code = p.reason
        d.rule_index = p.rule
        d.mark = p.mark
        d.answer = p.answer
        d.family = p.family
        d.detail_a = p.detail[0]
        d.detail_b = p.detail[1]
        d.rules = self.rules4 if p.family == 4 else self.rules6
        return d
