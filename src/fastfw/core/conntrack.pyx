"""Connection tracking; conntrack.pxd says what is called when."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from fastfw.core.bytes cimport be16, likely, lowest_bit, tags_equal, unlikely
from fastfw.core.events cimport (
    ENDED_CLOSED, ENDED_EVICTED, ENDED_NOT, ENDED_REOPENED, ENDED_TIMEOUT, EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE,
    events_note,
)
from fastfw.core.expect cimport (
    EXPECT_PERMANENT, Expect, expects_expire, expects_find, expects_forget, expects_remove, expects_remove_inverse,
)
from fastfw.core.flows cimport (
    SLOTS, Bucket, Entry, Extra, flows_delete, flows_expired, flows_find, flows_grow, flows_hash, flows_home,
    flows_insert, flows_next, key_equal,
)
from fastfw.core.generic cimport generic_new, generic_step
from fastfw.core.gre cimport gre_keys_apply, gre_keys_forget, gre_new, gre_step
from fastfw.core.icmp cimport icmp_new, icmp_step
from fastfw.core.protocol cimport STEP_ACCEPT, STEP_INVALID, STEP_REOPEN, Step
from fastfw.core.sctp cimport sctp_new, sctp_step
from fastfw.core.settings cimport (
    SET_ACCT, SET_EVENTS, SET_MAX, SET_TIMESTAMP, TCP_CLOSE, TCP_FIN_WAIT, Settings,
)
from fastfw.core.tcp cimport tcp_new, tcp_step
from fastfw.core.terms cimport (
    ICMP_ERROR_UNKNOWN, INSERT_FAILED, ORIGINAL, REPLY, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW, STATE_NONE,
    STATE_RELATED, STATE_UNTRACKED, STATUS_ASSURED, STATUS_CONFIRMED, STATUS_COUNTED, STATUS_DYING, STATUS_EXPECTED,
    STATUS_HELPED, STATUS_HELPER, STATUS_LABELLED, STATUS_MASTER, STATUS_ORIGIN_HI, STATUS_SEEN_REPLY, STATUS_TIMED,
    STATUS_UNREAD, TABLE_FULL, VERDICT_ACCEPT, VERDICT_DROP,
)
from fastfw.core.udp cimport udp_new, udp_step
from fastfw.core.wire cimport (
    KIND_BROKEN, KIND_CALL, KIND_ERROR, KIND_TRACK, KIND_UNTRACKED, NEW_FLOW, NO_FLOW, PROTO_GRE, PROTO_ICMP,
    PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, Key, Packet,
)

cdef enum:
    EVICTION_BUCKETS = 8     # looked at for a connection to evict from a full table
    SWEPT_IN_NEED = 4        # entries looked at for an expired one where those buckets gave none
    COLLECTOR_MARK = 95      # percent of nf_conntrack_max
    SCTP_SHUTDOWN_SENT = 5
    SCTP_SHUTDOWN_ACK_SENT = 7


# ns for which a table must have been above the mark: the kernel's collector comes by between one second and sixty
cdef int64_t COLLECTOR_WAITS = 1_000_000_000


cdef bint protocol_new(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    if p.proto == PROTO_TCP:
        return tcp_new(e, p, s)
    if p.proto == PROTO_UDP or p.proto == PROTO_UDPLITE:
        return udp_new(e, p, s)
    if p.proto == PROTO_ICMP or p.proto == PROTO_ICMPV6:
        return icmp_new(e, p, s)
    if p.proto == PROTO_SCTP:
        return sctp_new(e, p, s)
    if p.proto == PROTO_GRE:
        return gre_new(e, p, s)
    return generic_new(e, p, s)


cdef inline Step protocol_step(Entry *e, Packet *p, const Settings *s) noexcept nogil:
    if likely(p.proto == PROTO_TCP):
        return tcp_step(e, p, s)
    if p.proto == PROTO_UDP or p.proto == PROTO_UDPLITE:
        return udp_step(e, p, s)
    if p.proto == PROTO_ICMP or p.proto == PROTO_ICMPV6:
        return icmp_step(e, p, s)
    if p.proto == PROTO_SCTP:
        return sctp_step(e, p, s)
    if p.proto == PROTO_GRE:
        return gre_step(e, p, s)
    return generic_step(e, p, s)


cdef inline const Settings *settings_of(const Tracker *t, const Entry *e) noexcept nogil:
    return &t.templates[e.template].settings if e.status & STATUS_TEMPLATED else &t.settings


cdef Step step_apart(Tracker *t, Entry *e, Packet *p) noexcept nogil:
    """What a packet does to a connection that is told apart."""
    cdef int64_t expires = e.expires
    cdef Step step = protocol_step(e, p, settings_of(t, e))
    if e.status & STATUS_FIXED_TIMEOUT:
        e.expires = expires
    return step


cdef uint16_t conntrack_template(Tracker *t, const Template *made) noexcept nogil:
    """The number of a new template, 0 without memory or with too many."""
    cdef uint32_t count = t.template_count if t.template_count else 1
    cdef Template *grown
    if count > 0xffff:
        return 0
    grown = <Template *> realloc(t.templates, (count + 1) * sizeof(Template))
    if grown == NULL:
        return 0
    t.templates = grown
    grown[count] = made[0]
    t.template_count = count + 1
    return <uint16_t> count


cdef void conntrack_zone(Tracker *t, Packet *p, const Template *template) noexcept nogil:
    """Put a packet into its template's zone."""
    p.key.zone = <uint16_t> p.mark if template.zone_of_mark else template.zone
    if p.key.zone:
        p.hash = flows_hash(&t.flows, &p.key)
        p.candidate = NO_FLOW


cdef inline bint watched(const Tracker *t) noexcept nogil:
    return t.events.ring != NULL and t.settings.of[SET_EVENTS] != 0


cdef inline bint tells(const Tracker *t, const Entry *e, int what) noexcept nogil:
    """Whether a connection's events of these kinds are told."""
    return not e.status & STATUS_TEMPLATED or t.templates[e.template].events & what


cdef inline void note(Tracker *t, int kind, int why, int what, uint32_t index) noexcept nogil:
    events_note(&t.events, kind, why, what, t.now, t.flows.entries + index, t.flows.extras + index)


cdef int told_at_first(const Entry *e) noexcept nogil:
    """The kinds of event that the first packet of a connection is."""
    cdef int what = TELL_RELATED if e.status & STATUS_EXPECTED else TELL_NEW
    if e.key.proto == PROTO_TCP or e.key.proto == PROTO_SCTP:
        what |= TELL_PROTOINFO
    return what | TELL_HELPER if e.helper else what


cdef int changed(const Entry *e, uint32_t was_status, uint8_t was_state) noexcept nogil:
    """What tracking a packet has changed of a connection."""
    cdef int what = TELL_PROTOINFO if e.state != was_state else 0
    if (e.status ^ was_status) & STATUS_SEEN_REPLY:
        what |= TELL_REPLY
    if (e.status ^ was_status) & STATUS_ASSURED:
        what |= TELL_ASSURED
    return what


cdef void conntrack_told(Tracker *t, const Packet *p) noexcept nogil:
    """Tell what a packet that was judged has changed of its connection, all of it where any of it is to be told; what a
    dropped one has changed is told with the next that passes. Somebody watches."""
    cdef uint32_t index = p.entry, what
    if index >= NEW_FLOW or t.settings.of[SET_EVENTS] == 0 or not key_equal(&t.flows.entries[index].key, &p.key):
        return
    what = t.happened | <uint32_t> t.flows.extras[index].untold
    t.flows.extras[index].untold = 0 if p.verdict == VERDICT_ACCEPT else what
    if what and p.verdict == VERDICT_ACCEPT and tells(t, t.flows.entries + index, <int> what):
        note(t, EVENT_UPDATE, ENDED_NOT, <int> what, index)


cdef void tell_expectation(void *owner, int kind, const Expect *one) noexcept nogil:
    """Note that an expectation came or goes; its master is in the table still."""
    cdef Tracker *t = <Tracker *> owner
    cdef const Entry *master = t.flows.entries + one.master
    if t.expect_events.ring == NULL or t.settings.of[SET_EVENTS] == 0:
        return
    if not master.status & STATUS_TEMPLATED or t.templates[master.template].expect_events & kind:
        events_note(&t.expect_events, kind, ENDED_NOT, 0, t.now, master, <const Extra *> one)


cdef void conntrack_init(Tracker *t) noexcept nogil:
    """What a table that was set up needs to be told of expectations."""
    t.expects.tell = tell_expectation
    t.expects.owner = t


cdef void conntrack_delete(Tracker *t, uint32_t index, int why) noexcept nogil:
    """Take a connection and what it announced out of the table; `why` is one of ENDED_..."""
    if unlikely(watched(t)) and tells(t, t.flows.entries + index, TELL_DESTROY):
        note(t, EVENT_DESTROY, why, TELL_DESTROY, index)
    if t.flows.entries[index].status & STATUS_MASTER:
        expects_forget(&t.expects, index)
        gre_keys_forget(&t.gre_keys, index)
    flows_delete(&t.flows, index)
    t.counters[COUNT_DELETED] += 1


cdef inline bint dispensable(const Entry *e) noexcept nogil:
    """Whether the collector may take a live connection: nobody answered it, or it is closing."""
    if not e.status & STATUS_ASSURED:
        return True
    if e.key.proto == PROTO_TCP:
        return TCP_FIN_WAIT <= e.state <= TCP_CLOSE
    return e.key.proto == PROTO_SCTP and SCTP_SHUTDOWN_SENT <= e.state <= SCTP_SHUTDOWN_ACK_SENT


cdef uint32_t collect(Tracker *t, uint32_t budget) noexcept nogil:
    """As a sweep, over a table that has been above its mark for a while: what can be spared goes too, down to the
    mark."""
    cdef uint32_t mark = <uint32_t> (t.settings.of[SET_MAX] / 100 * COLLECTOR_MARK), index, gone = 0
    cdef Entry *e
    while budget:
        budget -= 1
        index = flows_next(&t.flows)
        e = t.flows.entries + index
        if not e.key.family:
            continue
        if e.expires <= t.now:
            conntrack_delete(t, index, ENDED_TIMEOUT)
            gone += 1
        elif t.flows.count >= mark and dispensable(e):
            conntrack_delete(t, index, ENDED_EVICTED)
            t.counters[COUNT_EARLY_DROP] += 1
    t.counters[COUNT_EXPIRED] += gone
    return gone


cdef uint32_t conntrack_sweep(Tracker *t, uint32_t budget) noexcept nogil:
    """Look at the next `budget` entries and delete those whose time is up; how many were."""
    cdef uint32_t index, gone = 0
    cdef int64_t most = t.settings.of[SET_MAX]
    if unlikely(t.expect_events.ring != NULL):
        expects_expire(&t.expects, t.now)
    if likely(most < 100 or t.flows.count < most / 100 * COLLECTOR_MARK):
        t.crowded_at = t.now
    elif t.now - t.crowded_at > COLLECTOR_WAITS:
        return collect(t, budget)
    while budget:
        index = flows_expired(&t.flows, t.now, &budget)
        if index != NO_FLOW:
            conntrack_delete(t, index, ENDED_TIMEOUT)
            gone += 1
    t.counters[COUNT_EXPIRED] += gone
    return gone


cdef bint make_room(Tracker *t, uint32_t hash) noexcept nogil:
    """At the ceiling: evict a connection that is expired or not ASSURED from the eight buckets behind `hash`'s. Which
    are ASSURED the buckets remember, so that a flood at a table full of those reads no entries; whether the time of one
    is up the sweep finds, which a flood hastens."""
    cdef Bucket *bucket = flows_home(&t.flows, hash)
    cdef Bucket *end = t.flows.buckets + t.flows.bucket_count
    cdef uint32_t index, slots, before
    cdef int slot
    cdef Entry *e
    for _ in range(EVICTION_BUCKETS):
        slots = ~(tags_equal(bucket.tag, 0) | bucket.assured) & ((1 << SLOTS) - 1)
        while slots:
            slot = lowest_bit(slots)
            slots &= slots - 1
            index = bucket.slot[slot]
            e = t.flows.entries + index
            if e.expires <= t.now:
                conntrack_delete(t, index, ENDED_TIMEOUT)
                t.counters[COUNT_EXPIRED] += 1
                return True
            if not e.status & STATUS_ASSURED:
                conntrack_delete(t, index, ENDED_EVICTED)
                t.counters[COUNT_EARLY_DROP] += 1
                return True
            bucket.assured |= <uint16_t> (1 << slot)
        bucket += 1
        if bucket == end:
            bucket = t.flows.buckets
    before = t.flows.count
    conntrack_sweep(t, SWEPT_IN_NEED)
    return t.flows.count < before


cdef uint32_t find_beyond(Tracker *t, Packet *p) noexcept nogil:
    """The packet's connection where the candidate was not it."""
    return flows_find(&t.flows, &p.key, p.hash)


cdef inline uint32_t find_live(Tracker *t, Packet *p) noexcept nogil:
    """The packet's connection; one whose time is up is deleted and not found."""
    cdef uint32_t index = p.candidate
    if index == NO_FLOW or unlikely(not key_equal(&t.flows.entries[index].key, &p.key)):
        index = find_beyond(t, p)
        if index == NO_FLOW:
            return NO_FLOW
    if unlikely(t.flows.entries[index].expires <= t.now):
        conntrack_delete(t, index, ENDED_TIMEOUT)
        t.counters[COUNT_EXPIRED] += 1
        return NO_FLOW
    return index


cdef inline void invalid(Tracker *t, Packet *p) noexcept nogil:
    p.entry = NO_FLOW
    p.state = STATE_INVALID
    t.counters[COUNT_INVALID] += 1


cdef inline bint points_at_itself(const Key *k) noexcept nogil:
    """Both endpoints are one: every packet but the first is then taken for a reply. (ICMP queries never are: request
    and reply differ in type.)"""
    return (k.lo[0] == k.hi[0] and k.lo[1] == k.hi[1] and k.lo_port == k.hi_port
            and k.proto != PROTO_ICMP and k.proto != PROTO_ICMPV6)


cdef bint begin(Tracker *t, Packet *p) noexcept nogil:
    """Set up `fresh` for a packet that belongs to no connection; False where the full table forbids it."""
    cdef Entry *e = &t.fresh
    cdef Expect *expected
    cdef Expect met
    cdef Entry *master
    cdef int64_t most = t.settings.of[SET_MAX]
    if most and t.flows.count >= most and not make_room(t, p.hash):
        p.verdict = VERDICT_DROP
        p.reason = TABLE_FULL
        p.detail[0] = <uint32_t> t.flows.count
        p.detail[1] = <uint32_t> most
        p.entry = NO_FLOW
        p.state = STATE_NONE
        t.counters[COUNT_DROP] += 1
        return False
    memset(e, 0, sizeof(Entry))
    e.key = p.key
    e.master = NO_FLOW
    e.status = p.flip * STATUS_ORIGIN_HI
    if points_at_itself(&p.key):
        e.status = STATUS_ORIGIN_HI
    if unlikely(p.template):
        e.template = p.template
        e.status |= STATUS_TEMPLATED
    if unlikely(t.flows.extras != NULL):
        memset(&t.fresh_extra, 0, sizeof(Extra))
        if t.settings.of[SET_ACCT]:
            e.status |= STATUS_COUNTED
        if t.settings.of[SET_TIMESTAMP]:
            e.status |= STATUS_TIMED
        if t.labels:
            e.status |= STATUS_LABELLED
    if unlikely(t.expects.count != 0):
        expected = expects_find(&t.expects, p)
        if expected != NULL:
            master = t.flows.entries + expected.master
            e.status |= STATUS_EXPECTED
            e.master = expected.master
            e.mark = master.mark
            e.helper = expected.child_helper
            if e.helper:
                e.status |= STATUS_HELPED
            t.expects.met += 1
            met = expected[0]
            if not expected.flags & EXPECT_PERMANENT:
                expects_remove(&t.expects, expected)
            if met.proto == PROTO_GRE:
                expects_remove_inverse(&t.expects, &met, p.now)
            return True
    if unlikely(p.template) and t.templates[p.template].helper:
        e.helper = t.templates[p.template].helper
        e.status |= STATUS_HELPER | STATUS_HELPED
    elif unlikely(t.helper_of_port[p.proto == PROTO_UDP] != NULL) and (p.proto == PROTO_TCP or p.proto == PROTO_UDP):
        e.helper = t.helper_of_port[p.proto == PROTO_UDP][be16(p.data + p.l4 + 2)]
        if e.helper:
            e.status |= STATUS_HELPED
    return True


cdef void find_call(Tracker *t, Packet *p) noexcept nogil:
    """A PPTP call is named by what helpers told up to this packet: its key is only now complete."""
    if t.gre_keys.calls.count:
        gre_keys_apply(&t.gre_keys, p)
        p.hash = flows_hash(&t.flows, &p.key)
        p.candidate = NO_FLOW


cdef void conntrack_error(Tracker *t, Packet *p) noexcept nogil:
    """An ICMP error belongs to the connection of the packet it quotes, and travels against it."""
    cdef uint32_t index
    cdef Entry *e
    if p.key.proto == PROTO_GRE:
        find_call(t, p)
    index = find_live(t, p)
    if index == NO_FLOW:
        p.reason = ICMP_ERROR_UNKNOWN
        t.counters[COUNT_ERROR] += 1
        invalid(t, p)
        return
    e = t.flows.entries + index
    p.entry = index
    p.state = STATE_RELATED
    p.direction = REPLY if points_at_itself(&p.key) else p.flip ^ 1 ^ (e.status & STATUS_ORIGIN_HI != 0)
    p.status = e.status


cdef void conntrack_in(Tracker *t, Packet *p) noexcept nogil:
    """Find or begin the packet's connection and move it; sets state, direction, status, entry and reason. A packet
    that the table has no room for gets its verdict here."""
    cdef uint32_t index
    cdef Entry *e
    cdef Step step
    cdef uint32_t was_status
    cdef uint8_t was_state
    p.entry = NO_FLOW
    p.direction = ORIGINAL
    p.status = 0
    p.counted = 0
    p.renewed = 0
    t.happened = 0
    if unlikely(p.kind != KIND_TRACK):
        if p.kind == KIND_UNTRACKED:
            p.state = STATE_UNTRACKED
            t.counters[COUNT_UNTRACKED] += 1
            return
        if p.kind == KIND_ERROR:
            conntrack_error(t, p)
            return
        if p.kind == KIND_CALL:
            find_call(t, p)
            p.kind = KIND_TRACK
        else:
            if p.kind == KIND_BROKEN and find_live(t, p) == NO_FLOW and not begin(t, p):
                return
            invalid(t, p)
            return
    while True:
        index = find_live(t, p)
        if unlikely(index == NO_FLOW):
            if not begin(t, p):
                return
            e = &t.fresh
            p.entry = NEW_FLOW
            p.direction = ORIGINAL
            p.state = STATE_RELATED if e.status & STATUS_EXPECTED else STATE_NEW
            if not protocol_new(e, p, settings_of(t, e)):
                invalid(t, p)
                return
        else:
            e = t.flows.entries + index
            p.entry = index
            p.direction = p.flip ^ (e.status & STATUS_ORIGIN_HI != 0)
            # directions come in no order a processor could learn: no branch on them alone
            if likely(p.direction | (e.status & STATUS_SEEN_REPLY)):
                p.state = STATE_ESTABLISHED
            else:
                p.state = STATE_RELATED if e.status & STATUS_EXPECTED else STATE_NEW
        was_status = e.status
        was_state = e.state
        if likely(not e.status & STATUS_APART):
            step = protocol_step(e, p, &t.settings)
        else:
            step = step_apart(t, e, p)
        if likely(step == STEP_ACCEPT):
            break
        if step == STEP_INVALID:
            p.direction = ORIGINAL
            invalid(t, p)
            return
        if step == STEP_REOPEN:
            conntrack_delete(t, index, ENDED_REOPENED)
            p.candidate = NO_FLOW
            continue
        # STEP_CLOSE: the entry goes, the packet keeps what it was
        t.fresh = e[0]
        t.fresh.status |= STATUS_DYING
        if p.entry != NEW_FLOW:
            if unlikely(e.status & (STATUS_COUNTED | STATUS_LABELLED)):
                t.fresh_extra = t.flows.extras[p.entry]
            conntrack_delete(t, p.entry, ENDED_CLOSED)
        p.entry = NEW_FLOW
        e = &t.fresh
        break
    t.counters[COUNT_FOUND] += 1
    if unlikely(not e.status & STATUS_SEEN_REPLY) and p.direction == REPLY:
        e.status |= STATUS_SEEN_REPLY
    if unlikely(e.status & STATUS_COUNTED and p.counted):
        conntrack_count(t, p)
    if unlikely(watched(t)) and p.entry < NEW_FLOW:
        t.happened = changed(e, was_status, was_state) | (TELL_PROTOINFO if p.renewed else 0)
    p.status = e.status


cdef bint conntrack_confirm(Tracker *t, Packet *p) noexcept nogil:
    """Enter an accepted packet's new connection into the table; False where it could not be."""
    cdef Entry *e = &t.fresh
    if p.entry != NEW_FLOW or e.status & STATUS_DYING:
        return True
    e.expires += p.now
    e.status |= STATUS_CONFIRMED
    if unlikely(e.status & STATUS_HELPED):
        e.status |= STATUS_UNREAD
    p.entry = flows_insert(&t.flows, e, p.hash)
    if unlikely(p.entry == NO_FLOW) and t.settings.of[SET_MAX] == 0 and flows_grow(&t.flows) == 0:
        p.entry = flows_insert(&t.flows, e, p.hash)
    if p.entry == NO_FLOW:
        p.reason = INSERT_FAILED
        p.detail[0] = <uint32_t> t.flows.count
        t.counters[COUNT_INSERT_FAILED] += 1
        return False
    if unlikely(e.status & (STATUS_COUNTED | STATUS_TIMED | STATUS_LABELLED)):
        t.flows.extras[p.entry] = t.fresh_extra
        t.flows.extras[p.entry].started = p.now
    if unlikely(watched(t)):
        t.flows.extras[p.entry].untold = 0
        if tells(t, e, told_at_first(e) | <int> t.happened):
            note(t, EVENT_NEW, ENDED_NOT, TELL_NEW | <int> t.happened, p.entry)
    t.counters[COUNT_INSERT] += 1
    return True
