"""Packets in, decisions out. `Core` holds the tracker and the rules; fastfw.engine makes it pleasant."""
import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport likely, prefetch_read, unlikely
from fastfw.core.conntrack cimport (
    COUNT_FOUND, COUNTERS, STATUS_APART, Template, Tracker, conntrack_confirm, conntrack_count, conntrack_delete,
    conntrack_in, conntrack_sweep, conntrack_template,
)
from fastfw.core.decision cimport Decision
from fastfw.core.defrag cimport (
    Defrag, JOINED_DROPPED, JOINED_HELD, Joined, defrag_expire, defrag_free, defrag_take,
)
from fastfw.core.events cimport ENDED_DELETED, ENDED_HELPER, events_free
from fastfw.core.expect cimport expects_clear, expects_free
from fastfw.core.flows cimport (
    Entry, flows_clear, flows_crowding, flows_free, flows_guess, flows_hash, flows_home, flows_init, flows_reserve,
    flows_want_extras, key_equal,
)
from fastfw.core.gre cimport gre_keys_free
from fastfw.core.headers cimport headers_plain4
from fastfw.core.helping cimport Attached, helped_is_there
from fastfw.core.logs cimport logs_free, logs_open, logs_take
from fastfw.core.paths cimport Path
from fastfw.core.program cimport Program
from fastfw.core.rewrite cimport rewrite_free, rewrite_reserve, rewrite_undo
from fastfw.core.rules cimport (
    Rules, routing_refuses, rules_before, rules_context, rules_follow, rules_forget_paths, rules_judge,
    rules_next_base, rules_remembered, rules_take, time_to_live,
)
from fastfw.core.settings import TABLE as SETTINGS
from fastfw.core.settings cimport SET_ACCT, SET_CHECKSUM, SET_MAX, SET_TCP, SET_TIMESTAMP, TCP_SYN_SENT2
from fastfw.core.tcp cimport tcp_common
from fastfw.core.terms cimport (
    HELPER_DROP, HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT, REASON_NONE, STATE_ESTABLISHED, STATE_NONE, STATUS_ASSURED,
    STATUS_CONFIRMED, STATUS_COUNTED, STATUS_DYING, STATUS_EXPECTED, STATUS_HELPED,
    STATUS_ORIGIN_HI, STATUS_SEEN_REPLY, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_HOLD, VERDICT_NONE,
)
from fastfw.core.udp cimport udp_step
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


if sizeof(Outcome) != DECISION.itemsize or not results_lie_as_packets():
    raise ImportError("fastfw.core.engine: a result record does not match its layout")

cdef dict HOOKS = {"FORWARD": HOOK_FORWARD, "INPUT": HOOK_INPUT, "OUTPUT": HOOK_OUTPUT}

cdef enum:
    AHEAD = 8               # packets between the stages: about as many lines as a core fetches at once
    RING = 32               # places for the packets under way, a power of two above 2 * AHEAD

# Where the clock stops, ns (in 2116): the longest timeout on top of it is still a time.
cdef int64_t LATEST = <int64_t> 1 << 62

# Room to begin with where there is no limit (nf_conntrack_max 0); the table then grows as it fills.
cdef uint32_t UNLIMITED_START = 1 << 20


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
    if unlikely(not key_equal(&e.key, &p.key) or e.status & COMMON_MASK != COMMON_NEEDS or e.expires <= now):
        return False
    # directions come in no order a processor could learn: no branch on them
    d = p.flip ^ (e.status & STATUS_ORIGIN_HI != 0)
    program = self.program4 if p.family == 4 else self.program6
    if program != NULL:
        if unlikely(program.before_hooks >> p.hook & 1):
            return False
        context = rules_context(program, p, STATE_ESTABLISHED, e.status)
        path = rules_remembered(program, p, e, <uint8_t> d, context)
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
    p.direction = <uint8_t> d
    p.state = STATE_ESTABLISHED
    p.counted = 1
    if unlikely(e.status & STATUS_COUNTED):
        conntrack_count(t, p)
    if path != NULL:
        rules_take(path, p, e)
    else:
        p.verdict = VERDICT_ACCEPT
        p.answer = 0
        p.rule = -1
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
        rules_before(program, t, p)
        if p.verdict != VERDICT_ACCEPT:
            return
    conntrack_in(t, p)
    if p.verdict == VERDICT_ACCEPT:
        if program != NULL:
            rules_judge(program, t, p)
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


cdef inline void parse(Core self, Packet *p, bint verify) noexcept nogil:
    """The first stage of a packet: what it is, and its bucket on the way to the cache."""
    if unlikely(not verify):
        p.no_verify = 1
    wire_parse(p)
    if likely(p.kind <= KIND_BROKEN):
        p.hash = flows_hash(&self.tracker.flows, &p.key)
        prefetch_read(flows_home(&self.tracker.flows, p.hash))


cdef inline void guess(Core self, Packet *p) noexcept nogil:
    """The second stage: which connection it may belong to, and that on the way to the cache."""
    p.candidate = flows_guess(&self.tracker.flows, p.hash) if likely(p.kind <= KIND_BROKEN) else NO_FLOW


cdef inline void judge(Core self, Packet *p) noexcept nogil:
    """The last stage."""
    if unlikely(not judge_common(self, p)):
        judge_fully(self, p)
        if unlikely(self.rewrite.data != NULL):
            rewrite_undo(&self.rewrite, p)
    p.assured = p.status & STATUS_ASSURED != 0
    p.seen_reply = p.status & STATUS_SEEN_REPLY != 0
    p.expected = p.status & STATUS_EXPECTED != 0


cdef inline void tidy(Core self, uint32_t packets) noexcept nogil:
    """What is done behind a batch: a share of the expiry."""
    conntrack_sweep(&self.tracker, (packets >> 3) + 1)
    if unlikely(self.defrag.queues != 0):
        defrag_expire(&self.defrag, self.tracker.now)


cdef class Core:
    def __cinit__(self, *args, **kwargs):
        cdef pthread_mutexattr_t kind
        pthread_mutexattr_init(&kind)
        pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE)
        pthread_mutex_init(&self.lock, &kind)
        memset(&self.tracker, 0, sizeof(Tracker))
        memset(&self.defrag, 0, sizeof(Defrag))
        self.interfaces = {"": 0}
        self.templates = {}
        self.attached = Attached()
        self.kept_logs = []

    def __init__(self, dict settings, bytes seed, clock):
        """`settings` has every name of core.settings.TABLE; `seed` is 88 random bytes for the table's hash; `clock`
        returns ns."""
        if len(seed) != 88:
            raise ValueError("seed: 88 bytes expected")
        if self.tracker.flows.buckets != NULL:
            raise RuntimeError("an engine is set up once")
        self.clock = clock
        for name, value in settings.items():
            self._set(name, value)
        # the one state without a setting
        self.tracker.settings.of[SET_TCP + TCP_SYN_SENT2] = <int64_t> 120_000_000_000
        cdef uint32_t room = settings["nf_conntrack_max"] or UNLIMITED_START
        if flows_init(&self.tracker.flows, room, seed) < 0:
            raise MemoryError(f"no memory for a table of {room} connections")
        self.tracker.expects.secret = self.tracker.flows.secret[0]
        if settings["nf_conntrack_acct"] or settings["nf_conntrack_timestamp"]:
            if flows_want_extras(&self.tracker.flows) < 0:
                raise MemoryError(f"no memory for the accounting of {room} connections")

    def __dealloc__(self):
        flows_free(&self.tracker.flows)
        expects_free(&self.tracker.expects)
        events_free(&self.tracker.events)
        logs_free(&self.logs)
        rewrite_free(&self.rewrite)
        free(self.queues)
        gre_keys_free(&self.tracker.gre_keys)
        free(self.tracker.templates)
        defrag_free(&self.defrag)
        pthread_mutex_destroy(&self.lock)

    # -- configuration --------------------------------------------------------------------------------------------

    def _set(self, str name, int64_t value):
        """Set one setting, checked by the caller; a higher nf_conntrack_max makes room at once."""
        slot, _default, _highest, unit = SETTINGS[name]
        cdef int place = slot
        cdef int64_t scaled = value * <int64_t> (unit or 1)
        cdef int grown = 0
        cdef uint32_t room = <uint32_t> value, i
        cdef bint is_max = place == SET_MAX, wants_extras = place == SET_ACCT or place == SET_TIMESTAMP
        with nogil:
            pthread_mutex_lock(&self.lock)
            if is_max and self.tracker.flows.buckets != NULL:
                grown = flows_reserve(&self.tracker.flows, room)
            if wants_extras and value and self.tracker.flows.buckets != NULL:
                grown = flows_want_extras(&self.tracker.flows)
            if grown == 0:
                self.tracker.settings.of[place] = scaled
                for i in range(1, self.tracker.template_count):
                    if not self.tracker.templates[i].kept >> place & 1:
                        self.tracker.templates[i].settings.of[place] = scaled
            pthread_mutex_unlock(&self.lock)
        if grown < 0:
            raise MemoryError(f"no memory for a table of {value} connections")

    def _template(self, uint16_t zone, bint zone_of_mark, uint8_t helper, dict timeouts, uint16_t events,
                  uint16_t expect_events):
        """A number for what a CT rule asks for; `timeouts` has seconds by slot, `events` bits by TELL_..."""
        key = zone, zone_of_mark, helper, tuple(sorted(timeouts.items())), events, expect_events
        if key in self.templates:
            return self.templates[key]
        cdef Template made
        cdef uint16_t number
        memset(&made, 0, sizeof(Template))
        made.zone = zone
        made.zone_of_mark = zone_of_mark
        made.helper = helper
        made.events = events
        made.expect_events = expect_events
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            made.settings = self.tracker.settings
            for slot, seconds in timeouts.items():
                made.settings.of[<int> slot] = seconds * 1_000_000_000
                made.kept |= <uint64_t> 1 << <int> slot
            number = conntrack_template(&self.tracker, &made)
        finally:
            pthread_mutex_unlock(&self.lock)
        if not number:
            raise MemoryError("no room for more than 65535 combinations of CT options")
        self.templates[key] = number
        return number

    def _get(self, str name):
        slot, _default, _highest, unit = SETTINGS[name]
        return self.tracker.settings.of[<int> slot] // (unit or 1)

    def _replace(self, int family, Rules rules):
        """Put a compiled ruleset, or None, in the place of the one in force, between two batches."""
        cdef Program *program = NULL
        if rules is not None:
            for name, number in self.interfaces.items():
                rules.bind_interface(number, name)
            program = &rules.program
            program.logs = &self.logs
            program.rewrite = &self.rewrite
            program.queues = self.queues
            if program.rewrites and rewrite_reserve(&self.rewrite) < 0:
                raise MemoryError("no memory for packets whose headers rules change")
        cdef Program **place = &self.program4 if family == 4 else &self.program6
        cdef uint32_t *base = &self.path_base[family == 6]
        cdef bint reads = rules is not None and rules.reads_payload
        if reads:                                # before the rules that need it
            self.reads_payload[family == 6] = 1
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            self.keep_logs()
            if place[0] != NULL:
                base[0] = rules_next_base(place[0])
            if program != NULL:
                rules_follow(program, &self.tracker, base[0])
                rules_forget_paths(program, &self.tracker)
            place[0] = program
            if family == 4:
                self.rules4 = rules
            else:
                self.rules6 = rules
        finally:
            pthread_mutex_unlock(&self.lock)
        self.reads_payload[family == 6] = reads

    def _read_queues(self, numbers):
        """Tell which queues are read; None: all of them. Before the first ruleset."""
        cdef uint32_t number
        if numbers is None:
            return
        self.queues = <uint64_t *> calloc(1024, sizeof(uint64_t))
        if self.queues == NULL:
            raise MemoryError("no memory for the queues")
        for one in numbers:
            number = one
            if number > 65535:
                raise ValueError(f"queues: numbers from 0 to 65535 expected, not {one}")
            self.queues[number >> 6] |= <uint64_t> 1 << (number & 63)

    def _rules(self, int family):
        return self.rules4 if family == 4 else self.rules6

    def _rule_counters(self, int family):
        """Packets and bytes of every rule of the family's ruleset; None without one."""
        rules = self.rules4 if family == 4 else self.rules6
        if rules is None:
            return None
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            return rules.counters()
        finally:
            pthread_mutex_unlock(&self.lock)

    def _held(self, call):
        """What `call` returns, while no batch runs."""
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            return call()
        finally:
            pthread_mutex_unlock(&self.lock)

    cdef uint16_t interface(self, str name) except? 0:
        if self.tracker.flows.buckets == NULL:
            raise RuntimeError("the engine was not set up: a subclass must call super().__init__")
        number = self.interfaces.get(name)
        if number is not None:
            return number
        if len(self.interfaces) > 65535:
            raise ValueError("more than 65535 interface names")
        # rules in force grow: no batch may be walking them
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            number = self.interfaces.setdefault(name, len(self.interfaces))
            for rules in (self.rules4, self.rules6):
                if rules is not None:
                    rules.bind_interface(number, name)
        finally:
            pthread_mutex_unlock(&self.lock)
        return number

    # -- logs -----------------------------------------------------------------------------------------------------

    def _open_logs(self, uint32_t room, uint32_t snap):
        """Begin to keep the last `room` logged packets, `snap` bytes of each; 0: none any more."""
        cdef int failed
        with nogil:
            pthread_mutex_lock(&self.lock)
            failed = logs_open(&self.logs, room, snap)
            if self.program4 != NULL:
                rules_forget_paths(self.program4, &self.tracker)
            if self.program6 != NULL:
                rules_forget_paths(self.program6, &self.tracker)
            pthread_mutex_unlock(&self.lock)
        self.kept_logs = []
        self.lost_logs = 0
        if failed:
            raise MemoryError(f"no memory for {room} logged packets")

    cdef int keep_logs(self) except -1:
        """Move what the ring holds to the list, with the rulesets in force; the oldest go where room is short. The lock
        is held."""
        cdef uint64_t waiting = self.logs.written - self.logs.read
        if not waiting:
            return 0
        if waiting > self.logs.room:
            self.lost_logs += waiting - self.logs.room
        records, packets = logs_take(&self.logs)
        self.kept_logs.append((records, packets, self.rules4, self.rules6))
        while len(self.kept_logs) > 1 and sum(len(part[1]) for part in self.kept_logs) > self.logs.room:
            self.lost_logs += len(self.kept_logs.pop(0)[1])
        return 0

    def _take_logs(self):
        """[(records of dtype LOG, the bytes kept of each packet, IPv4's ruleset, IPv6's)] since the last call, oldest
        first, and how many records were lost unread."""
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            self.keep_logs()
            taken, self.kept_logs = self.kept_logs, []
            lost, self.lost_logs = self.lost_logs, 0
        finally:
            pthread_mutex_unlock(&self.lock)
        return taken, lost

    def _interface_names(self):
        """The interfaces' names by number."""
        return list(self.interfaces)

    # -- packets --------------------------------------------------------------------------------------------------

    cdef void run(self, Packet *batch, uint32_t n) noexcept nogil:
        cdef bint verify = self.tracker.settings.of[SET_CHECKSUM] != 0
        cdef uint32_t i
        # a pipeline: while one packet is judged, the lines of those behind it are on their way
        for i in range(n + 2 * AHEAD):
            if i < n:
                parse(self, batch + i, verify)
            if AHEAD <= i < n + AHEAD:
                guess(self, batch + i - AHEAD)
            if i >= 2 * AHEAD:
                judge(self, batch + i - 2 * AHEAD)
        tidy(self, n)

    cdef void call_helper(self, Packet *p, bint begun) noexcept with gil:
        """Let the connection's helper read the packet; what it refuses is dropped, with the connection if that
        `begun`."""
        if not self.attached.call(&self.tracker, p):
            p.verdict = VERDICT_DROP
            p.reason = HELPER_DROP
            if begun and helped_is_there(&self.tracker, p):
                conntrack_delete(&self.tracker, p.entry, ENDED_HELPER)
                p.entry = NO_FLOW

    def _process(self, const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length,
                 const int64_t[::1] time_ns, const uint32_t[::1] wire_length, const uint8_t[::1] hooks, int hook,
                 str iif not None, str oif not None, uint8_t[::1] out, const uint8_t[:, ::1] links=None):
        """Judge packets that lie in one buffer; `wire_length`, `hooks` and `links` may be None. Lengths are checked
        here."""
        cdef size_t total = length.shape[0], size = data.shape[0], i, stop, end = total + 2 * AHEAD
        cdef Packet ring[RING]
        cdef Packet *p
        cdef uint16_t into = self.interface(iif), onto = self.interface(oif)
        cdef Outcome *result = <Outcome *> (&out[0] if total else NULL)
        cdef const uint8_t *base = &data[0] if size else NULL
        cdef bint has_wire = wire_length is not None, has_hooks = hooks is not None
        cdef bint has_links = links is not None, verify
        cdef size_t bad = total
        if not (<size_t> offset.shape[0] == <size_t> time_ns.shape[0] == total
                and <size_t> out.shape[0] == total * sizeof(Outcome)
                and (not has_wire or <size_t> wire_length.shape[0] == total)
                and (not has_hooks or <size_t> hooks.shape[0] == total)
                and (not has_links or (<size_t> links.shape[0] == total and links.shape[1] == 16))):
            raise ValueError("offset, length, time_ns, wire_length, link and hook must have one item a packet")
        with nogil:
            for i in range(total):
                if offset[i] > size or length[i] > size - offset[i]:
                    bad = i
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
                verify = self.tracker.settings.of[SET_CHECKSUM] != 0
                while i < stop:
                    if likely(i < total):
                        p = ring + (i & (RING - 1))
                        p.data = base + offset[i]
                        p.have = length[i]
                        p.length = wire_length[i] if has_wire and wire_length[i] > length[i] else length[i]
                        p.now = time_ns[i]
                        p.hook = hooks[i] if has_hooks else <uint8_t> hook
                        p.no_verify = p.hook == HOOK_OUTPUT
                        p.iif = into
                        p.oif = onto
                        p.mark = 0
                        p.template = 0
                        p.link = &links[i, 0] if has_links else NULL
                        parse(self, p, verify)
                    if likely(AHEAD <= i < total + AHEAD):
                        guess(self, ring + ((i - AHEAD) & (RING - 1)))
                    if likely(i >= 2 * AHEAD):
                        p = ring + ((i - 2 * AHEAD) & (RING - 1))
                        judge(self, p)
                        memcpy(result + i - 2 * AHEAD, &p.verdict, sizeof(Outcome))
                    i += 1
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
        p.template = 0
        p.link = NULL
        p.no_verify = p.hook == HOOK_OUTPUT
        PyObject_GetBuffer(packet, &buffer, PyBUF_SIMPLE)
        try:
            if buffer.len > 0xffffffff:
                raise ValueError("a packet is shorter than 4 GiB")
            p.data = <const uint8_t *> buffer.buf
            p.have = <uint32_t> buffer.len
            p.length = p.have
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

    # -- the table ------------------------------------------------------------------------------------------------

    @property
    def conntrack_count(self):
        """Connections in the table, those included whose time is up but which no packet has met since."""
        return self.tracker.flows.count

    @property
    def fragments(self):
        """What waits for reassembly, IPv4 and IPv6: (datagrams, bytes charged for them) each."""
        return tuple((self.defrag.family[i].queues, self.defrag.family[i].charge) for i in range(2))

    @property
    def now(self):
        """The engine's clock, ns."""
        return self.tracker.now

    def _table_statistics(self):
        """How the table stands: entries, room, the index's size and how well it is spread."""
        cdef uint32_t spilled, fullest
        with nogil:
            pthread_mutex_lock(&self.lock)
            flows_crowding(&self.tracker.flows, &spilled, &fullest)
            pthread_mutex_unlock(&self.lock)
        return {"count": self.tracker.flows.count, "capacity": self.tracker.flows.capacity,
                "used": self.tracker.flows.used - 1, "bucket_count": self.tracker.flows.bucket_count,
                "spilled": spilled, "fullest": fullest}

    def _flush(self):
        cdef uint32_t index
        with nogil:
            pthread_mutex_lock(&self.lock)
            if self.tracker.events.ring != NULL:
                for index in range(1, self.tracker.flows.used):
                    if self.tracker.flows.entries[index].key.family:
                        conntrack_delete(&self.tracker, index, ENDED_DELETED)
            flows_clear(&self.tracker.flows)
            expects_clear(&self.tracker.expects)
            self.tracker.gre_keys.count = 0
            pthread_mutex_unlock(&self.lock)

    def _sweep(self, int64_t now):
        """Let time pass to `now` without a packet and delete everything whose time is up."""
        if now > LATEST:
            now = LATEST
        with nogil:
            pthread_mutex_lock(&self.lock)
            if now > self.tracker.now:
                self.tracker.now = now
            conntrack_sweep(&self.tracker, self.tracker.flows.used)
            defrag_expire(&self.defrag, self.tracker.now)
            pthread_mutex_unlock(&self.lock)

    def helper_names(self):
        """Of the helpers the engine carries, by number; 0 is none."""
        return self.attached.names()

    def helper_classes(self):
        """What each helper calls its classes of expectations, by the helper's number."""
        return self.attached.classes()

    def _stream_statistics(self):
        """Of helpers that read streams: connections read, bytes kept, connections given up at a bound."""
        return self.attached.stream_statistics()

    def _attach(self, helper, ports):
        """Attach a Helper to new connections to `ports`, (protocol number, port) pairs; none: to CT rules alone."""
        self.attached.add(helper, ports)
        self.reads_payload[2] = 1
        self.tracker.helper_of_port[0] = self.attached.port_map(6)
        self.tracker.helper_of_port[1] = self.attached.port_map(17)

    def _counters(self):
        return [self.tracker.counters[i] for i in range(COUNTERS)], [self.tracker.reasons[i] for i in range(256)]
