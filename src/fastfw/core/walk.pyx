"""A packet's walk through the chains of a compiled ruleset, and what it counts; see walk.pxd."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport be16, be32, likely, raw32, unlikely
from fastfw.core.classifier cimport (
    FACT_DPORT, FACT_IIF, FACT_OIF, FACT_PROTOCOL, FACT_SOURCE, FACT_SPORT, FACT_STATE, FACT_TARGET, Candidates,
    Classifier, Fact, candidates_add, candidates_next, candidates_rewind, fact_address4, fact_address6, fact_port,
    fact_value,
)
from fastfw.core.conntrack cimport TELL_MARK, Tracker, conntrack_entry, conntrack_zone
from fastfw.core.flows cimport Entry
from fastfw.core.headers cimport (
    headers_blamed, headers_forwards4, headers_forwards6, headers_options4_pass, is_extension,
)
from fastfw.core.logs cimport LOG_TRACE, logs_note
from fastfw.core.paths cimport HITS, Counter, Path, paths_flush, paths_intern
from fastfw.core.predicates cimport predicates_hold
from fastfw.core.program cimport (
    ACT_ACCEPT, ACT_CONNMARK_SAVE, ACT_CONNMARK_SET, ACT_CT, ACT_DROP, ACT_END, ACT_GOTO,
    ACT_JUMP, ACT_LOG, ACT_MARK, ACT_NEXT, ACT_NOTRACK, ACT_QUEUE, ACT_RETURN, ACT_SET, ACT_SYNPROXY, ACT_TAKE,
    ACT_TCP_ECN, ACT_TCP_MSS, ACT_TCP_STRIP, ACT_TOS, ACT_TRACE, ACT_TTL_ADD, ACT_TTL_SET, ACT_TTL_SUBTRACT, Look,
    POINT_INPUT, POINT_PREROUTING, Predicate, Program, Rule, Stage,
)
from fastfw.core.rewrite cimport rewrite_act
from fastfw.core.sets cimport Sets, set_change
from fastfw.core.terms cimport (
    EXTENSION_HEADER, FRAGMENT_BAD, HOOK_FORWARD, HOOK_OUTPUT, IP_ADDRESS, IP_OPTIONS, QUEUE_UNREAD, REASON_NONE,
    STATE_UNTRACKED, TCP_CHECKSUM, TTL_EXPIRED, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_QUEUE, VERDICT_REJECT,
)
from fastfw.core.watch cimport watch_rule
from fastfw.core.wire cimport (
    ACK, ANSWER_BYPASS, FIN, KIND_TRACK, KIND_UNTRACKED, NEW_FLOW, PROTO_AH, PROTO_DSTOPTS, PROTO_FRAGMENT,
    PROTO_HOPOPTS, PROTO_ICMP, PROTO_ICMPV6, PROTO_NONE, PROTO_ROUTING, PROTO_TCP, PROTO_UDP, RST, SYN, Packet,
)

cdef enum:
    TCP_HEAD = 20
    FEW = 4                  # rules that are sooner asked than picked from
    LAST_BASE = 0xffff0000   # path ids start again before they run out


cdef uint16_t routing_refuses(Packet *p, uint8_t ttl) noexcept nogil:
    if p.hook == HOOK_FORWARD:
        if ttl <= 1:
            p.detail[0] = ttl
            return TTL_EXPIRED
        if unlikely(not (headers_forwards4(p.data) if p.family == 4 else headers_forwards6(p.data))):
            p.detail[0] = headers_blamed(p.data, p.family, &p.detail[1])
            return IP_ADDRESS
    if (unlikely(p.family == 4 and p.data[0] != 0x45) and p.hook != HOOK_OUTPUT
            and not headers_options4_pass(p.data, (p.data[0] & 15) * 4)):
        p.detail[0] = (p.data[0] & 15) * 4 - 20
        return IP_OPTIONS
    return REASON_NONE


cdef void follow_extensions(Look *look) noexcept nogil:
    """An IPv6 chain of extension headers that leads to no transport: to "no next header" (RFC 8200 section 4.7) and to
    what a later fragment is a piece of it can be followed, beyond the packet's end it cannot. Of a routing header the
    segments left are read too, as the kernel does. What a match reads of a later fragment's transport header without
    asking whether there is one, the kernel takes from the packet's beginning."""
    cdef Packet *p = look.p
    cdef uint32_t here = 40, step
    cdef uint8_t kind = p.data[6]
    while (kind == PROTO_HOPOPTS or kind == PROTO_ROUTING or kind == PROTO_DSTOPTS or kind == PROTO_AH
            or kind == PROTO_FRAGMENT):
        if here + (8 if kind == PROTO_FRAGMENT else 4 if kind == PROTO_ROUTING else 2) > p.have:
            look.broken = 1
            return
        if kind == PROTO_FRAGMENT:
            if be16(p.data + here + 2) & 0xfff8:
                look.proto = p.data[here]
                look.broken = look.proto != PROTO_NONE and is_extension(look.proto)
                look.fragment = 1
                look.l4 = p.data
                look.room = p.have
                return
            step = 8
        elif kind == PROTO_AH:
            step = (p.data[here + 1] + 2) * 4
        else:
            step = (p.data[here + 1] + 1) * 8
        kind = p.data[here]
        here += step
    look.proto = kind
    look.room = p.have - here if here < p.have else 0
    look.l4 = p.data + p.have - look.room


cdef inline void look_at(Look *look, Program *program, Tracker *t, Packet *p, Entry *e) noexcept nogil:
    look.program = program
    look.tracker = t
    look.p = p
    look.e = e
    look.proto = p.proto
    look.broken = 0
    look.hotdrop = 0
    look.varies = 0
    look.templated = 0
    look.gathered = 0
    look.settled = 0
    look.hit_count = 0
    look.tracked = p.kind == KIND_TRACK and program.watch == NULL
    look.fragment = p.frag_off & 0xfff8 != 0
    look.l4 = p.data + p.l4
    look.room = p.have - p.l4 if likely(p.have > p.l4) else 0
    if p.family == 4:
        look.tos = p.data[1]
        look.ttl = p.data[8]
    else:
        look.tos = <uint8_t> (be16(p.data) >> 4)
        look.ttl = p.data[7]
        if unlikely(p.reason == EXTENSION_HEADER or p.reason == FRAGMENT_BAD or p.l4 >= p.have):
            follow_extensions(look)


cdef inline void set_interfaces(Look *look, uint8_t point) noexcept nogil:
    """Before routing there is no outgoing interface; what the host sends has no incoming one."""
    cdef uint64_t **rows = look.program.interfaces
    cdef Packet *p = look.p
    look.iif = rows[0 if p.hook == HOOK_OUTPUT else p.iif]
    look.oif = rows[0 if point == POINT_PREROUTING or point == POINT_INPUT else p.oif]
    look.point = point
    look.placed = 0


cdef inline bint header_readable(const Look *look) noexcept nogil:
    """Whether no match can fail to read a transport header it asks for."""
    cdef uint32_t offset
    if look.proto == PROTO_TCP:
        if look.room < 20:
            return False
        offset = (look.l4[12] >> 4) * 4
        return 20 <= offset <= look.room
    if look.proto == PROTO_UDP or look.proto == PROTO_ICMP or look.proto == PROTO_ICMPV6:
        return look.room >= 8
    return look.room >= 16


cdef inline void add_address(const Look *look, Candidates *s, const Fact *f, uint32_t at4, uint32_t at6) noexcept nogil:
    cdef const uint8_t *ip = look.p.data
    if look.p.family == 4:
        candidates_add(s, fact_address4(f, be32(ip + at4)))
    else:
        candidates_add(s, fact_address6(f, <uint64_t> be32(ip + at6) << 32 | be32(ip + at6 + 4),
                                        <uint64_t> be32(ip + at6 + 8) << 32 | be32(ip + at6 + 12)))


cdef inline bint useful(const Fact *f, bint readable) noexcept nogil:
    """A rule that may drop a packet because a header cannot be read must be met, whatever it asks for after that."""
    return f.used and (likely(readable) or not f.late)


cdef void gather(Look *look) noexcept nogil:
    """The packet's candidates among the rules at this point of the way."""
    cdef const Classifier *c = &look.program.classifier
    cdef const Fact *f = c.facts
    cdef Candidates *s = &look.candidates
    cdef Packet *p = look.p
    cdef bint readable
    if not look.gathered:
        look.gathered = 1
        s.count = 0
        readable = not look.broken and (look.fragment or header_readable(look))
        look.settled = look.tracked and readable and not look.fragment
        if useful(f + FACT_SOURCE, readable):
            add_address(look, s, f + FACT_SOURCE, 12, 8)
        if useful(f + FACT_TARGET, readable):
            add_address(look, s, f + FACT_TARGET, 16, 24)
        if useful(f + FACT_PROTOCOL, readable) and not look.broken:
            candidates_add(s, fact_value(f + FACT_PROTOCOL, look.proto))
        if not look.fragment:
            if useful(f + FACT_DPORT, readable):
                candidates_add(s, fact_port(f + FACT_DPORT, be16(look.l4 + 2)))
            if useful(f + FACT_SPORT, readable):
                candidates_add(s, fact_port(f + FACT_SPORT, be16(look.l4)))
        if useful(f + FACT_STATE, readable):
            candidates_add(s, fact_value(f + FACT_STATE, p.state))
        s.fixed = s.count
    s.count = s.fixed
    if f[FACT_IIF].used:
        candidates_add(s, f[FACT_IIF].by_interface[0 if p.hook == HOOK_OUTPUT else p.iif])
    if f[FACT_OIF].used:
        candidates_add(s, f[FACT_OIF].by_interface[
            0 if look.point == POINT_PREROUTING or look.point == POINT_INPUT else p.oif])
    candidates_rewind(s)
    look.placed = 1


cdef inline uint32_t shifted(uint32_t mark, int shift) noexcept nogil:
    return mark << shift if shift >= 0 else mark >> -shift


cdef uint32_t mixed_addresses(const Look *look) noexcept nogil:
    """A number that both directions between two hosts have in common, and that outsiders cannot tell beforehand."""
    cdef const uint8_t *at = look.p.data + (12 if look.p.family == 4 else 8)
    cdef uint32_t size = 4 if look.p.family == 4 else 16
    cdef uint64_t one = 0, other = 0
    cdef uint32_t i
    for i in range(0, size, 4):
        one += (raw32(at + i) + <uint64_t> i) * look.tracker.flows.secret[i >> 2]
        other += (raw32(at + size + i) + <uint64_t> i) * look.tracker.flows.secret[i >> 2]
    # once more: neighbours' sums differ by multiples of one number, and may share the few values of their upper bits
    one = (one ^ one >> 32) * look.tracker.flows.secret[4]
    other = (other ^ other >> 32) * look.tracker.flows.secret[4]
    return <uint32_t> ((one >> 32) + (other >> 32))


cdef uint8_t queued(Look *look, const Rule *rule) noexcept nogil:
    """The verdict of a QUEUE or NFQUEUE rule; the queue that it chose is left in p.answer."""
    cdef uint32_t first = rule.a >> 16
    cdef uint32_t queues = (rule.a & 0xffff) - first + 1
    cdef uint32_t number = first
    cdef const uint64_t *read = look.program.queues
    if queues > 1:
        number += <uint32_t> (<uint64_t> mixed_addresses(look) * queues >> 32)
        look.varies = 1
    look.p.answer = number | (ANSWER_BYPASS if rule.b else 0)
    if read == NULL or read[number >> 6] >> (number & 63) & 1:
        return VERDICT_QUEUE
    if rule.b:
        return VERDICT_ACCEPT
    look.p.reason = QUEUE_UNREAD
    look.p.detail[0] = number
    look.p.detail[1] = queues
    look.varies = 1
    return VERDICT_DROP


cdef bint proxied(const Look *look) noexcept nogil:
    """Whether a proxy of handshakes keeps a TCP segment to itself: what opens a connection, what acknowledges, and what
    cannot be read."""
    cdef uint32_t size = (look.l4[12] >> 4) * 4 if look.room >= TCP_HEAD else 0
    cdef uint8_t flags
    if size < TCP_HEAD or look.room < size:
        return True
    flags = look.l4[13] & (FIN | SYN | RST | ACK)
    if flags == SYN or flags == ACK:
        return True
    return look.p.reason == TCP_CHECKSUM


cdef inline void mark_connection(Look *look, uint32_t mark) noexcept nogil:
    """Each change is told of, also one that another rule takes back."""
    if unlikely(look.tracker.events.ring != NULL) and look.e.mark != mark:
        look.tracker.happened |= TELL_MARK
        look.varies = 1
    look.e.mark = mark


cdef inline bint act(Look *look, const Rule *rule) noexcept nogil:
    """A target after which the next rule follows; 1: it drops the packet."""
    cdef Packet *p = look.p
    cdef Entry *e = look.e
    if rule.action == ACT_MARK or rule.action == ACT_TAKE:
        p.mark = (p.mark & ~rule.b) ^ rule.a
    elif rule.action == ACT_NOTRACK:
        if not look.templated:
            look.templated = 1
            p.kind = KIND_UNTRACKED
            p.state = STATE_UNTRACKED
            look.gathered = look.placed = look.settled = 0
    elif rule.action == ACT_CT:
        if not look.templated:
            look.templated = 1
            p.template = <uint16_t> rule.a
            if p.template:
                conntrack_zone(look.tracker, p, look.tracker.templates + p.template)
    elif rule.action == ACT_SET:
        look.varies = 1
        set_change(<Sets *> look.program.sets, look.program.numbers + rule.a, look)
    elif rule.action == ACT_TOS:
        look.tos = <uint8_t> ((look.tos & ~rule.b) ^ rule.a)
    elif rule.action == ACT_TTL_SET:
        look.ttl = <uint8_t> rule.a
    elif rule.action == ACT_TTL_ADD:
        look.ttl = <uint8_t> (look.ttl + rule.a if look.ttl + rule.a < 255 else 255)
    elif rule.action == ACT_TTL_SUBTRACT:
        look.ttl = <uint8_t> (look.ttl - rule.a if look.ttl > rule.a else 0)
    elif rule.action == ACT_LOG:
        if look.program.logs.ring != NULL:
            logs_note(look, <uint32_t> (rule - look.program.rules), <int> rule.a)
            look.varies = 1
    elif rule.action == ACT_TRACE:
        p.traced = look.program.logs.ring != NULL
    elif rule.action == ACT_TCP_MSS or rule.action == ACT_TCP_STRIP or rule.action == ACT_TCP_ECN:
        return rewrite_act(look, rule)
    elif rule.action == ACT_SYNPROXY:
        look.varies = 1
        return proxied(look)
    elif e != NULL:
        if rule.action == ACT_CONNMARK_SET:
            mark_connection(look, shifted((e.mark & ~rule.b) ^ rule.a, rule.shift))
        elif rule.action == ACT_CONNMARK_SAVE:
            mark_connection(look, (e.mark & ~rule.a) ^ shifted(p.mark & rule.b, rule.shift))
        else:       # ACT_CONNMARK_RESTORE
            p.mark = (p.mark & ~rule.b) ^ shifted(e.mark & rule.a, rule.shift)
    return False


cdef inline void count(Look *look, uint32_t at) noexcept nogil:
    cdef Counter *counter = look.program.counters + at
    counter.packets += 1
    counter.bytes += look.p.length
    if likely(look.hit_count < HITS):
        look.hits[look.hit_count] = at
        look.hit_count += 1
    else:
        look.varies = 1


cdef inline bint sorted_hold(Look *look, const Predicate *q, uint32_t steady, uint32_t varying) noexcept nogil:
    """Whether a packet meets predicates of which the first ask about its connection alone; notes where the connection's
    next packet may not."""
    if steady and not predicates_hold(q, steady, look):
        return False
    if varying == 0:
        return True
    look.varies = 1
    return predicates_hold(q + steady, varying, look)


cdef bint rule_holds(Look *look, const Rule *rule) noexcept nogil:
    """Whether the packet meets all of a rule's conditions."""
    cdef const Predicate *q = look.program.predicates
    if look.tracked:
        return sorted_hold(look, q + rule.sorted, rule.steady, rule.count - rule.steady)
    if unlikely(look.program.watch != NULL):
        return watch_rule(look, rule)
    return predicates_hold(q + rule.first, rule.count, look)


cdef inline bint rest_holds(Look *look, const Rule *rule) noexcept nogil:
    """As rule_holds, of a settled candidate: what the classifier has told is not asked again."""
    cdef uint32_t varying = rule.count - rule.steady
    return sorted_hold(look, look.program.predicates + rule.rest, rule.rest_count - varying, varying)


cdef uint8_t walk(Look *look, const Stage *stage) noexcept nogil:
    """One built-in chain from its first rule to a verdict; the rule that decided is left in p.rule."""
    cdef Program *program = look.program
    cdef uint32_t at = stage.first
    cdef uint32_t end = stage.policy
    cdef uint32_t depth = 0
    cdef const Rule *rule
    cdef bint picked, holds
    while True:
        picked = False
        if program.classifier.ready and (look.placed or end - at > FEW):
            if not look.placed:
                gather(look)
            if look.candidates.count:
                at = candidates_next(&program.classifier, &look.candidates, at, end)
                picked = look.settled
        rule = program.rules + at
        holds = rest_holds(look, rule) if picked else rule_holds(look, rule)
        if not holds:
            if unlikely(look.hotdrop):
                look.p.rule = <int32_t> at
                return VERDICT_DROP
            at += 1
            continue
        if rule.action != ACT_END:
            count(look, at)
            if unlikely(look.hotdrop):
                look.p.rule = <int32_t> at
                return VERDICT_DROP
        if unlikely(look.p.traced):
            logs_note(look, at, LOG_TRACE)
        if rule.action == ACT_NEXT:
            at += 1
        elif rule.action <= ACT_QUEUE:
            look.p.rule = <int32_t> at
            if rule.action == ACT_ACCEPT:
                return VERDICT_ACCEPT
            if rule.action == ACT_DROP:
                return VERDICT_DROP
            if rule.action == ACT_QUEUE:
                return queued(look, rule)
            look.p.answer = rule.a
            return VERDICT_REJECT
        elif rule.action == ACT_JUMP:
            program.stack[depth] = at + 1
            depth += 1
            at = rule.a
            end = program.rules[at].end
        elif rule.action == ACT_GOTO:
            at = rule.a
            end = program.rules[at].end
        elif rule.action == ACT_RETURN or rule.action == ACT_END:
            if depth:
                depth -= 1
                at = program.stack[depth]
                end = program.rules[at].end
            else:
                at = end = stage.policy
        else:
            if unlikely(act(look, rule)):
                look.p.rule = <int32_t> at
                return VERDICT_DROP
            if unlikely(rule.action == ACT_TAKE):
                look.p.rule = <int32_t> at
                return VERDICT_ACCEPT
            at += 1


cdef void walk_before(Program *program, Tracker *t, Packet *p) noexcept nogil:
    cdef Look look
    cdef const Stage *stage = program.before + p.hook
    if not program.before_hooks >> p.hook & 1:
        return
    look_at(&look, program, t, p, NULL)
    look.tracked = 0
    set_interfaces(&look, stage.point)
    p.verdict = walk(&look, stage)
    if p.verdict == VERDICT_ACCEPT:
        p.rule = -1


cdef void walk_follow(Program *program, Tracker *t, uint32_t base) noexcept nogil:
    cdef uint32_t i
    if base > LAST_BASE:
        base = 1
        for i in range(t.flows.used):
            t.flows.entries[i].path[0] = 0
            t.flows.entries[i].path[1] = 0
    program.paths.base = base if base else 1


cdef void walk_forget_paths(Program *program, Tracker *t) noexcept nogil:
    program.remember = program.remembers and not (program.traces and program.logs.ring != NULL)
    paths_flush(&program.paths, program.counters)
    walk_follow(program, t, program.paths.base)


cdef uint32_t walk_next_base(const Program *program) noexcept nogil:
    return program.paths.base + program.paths.used


cdef void judge_slowly(Program *program, Tracker *t, Packet *p, Entry *e, uint64_t context) noexcept nogil:
    """Walk the chains on a packet's way. With a context the way is remembered if the connection's next packet must take
    it too."""
    cdef Look look
    cdef Path path
    cdef const Stage *stage = program.stages[p.hook]
    cdef const Stage *end = stage + program.stage_count[p.hook]
    cdef int32_t chosen = -1
    cdef uint32_t id
    cdef bint routed = False, decided = False
    look_at(&look, program, t, p, e)
    path.mark_in = p.mark
    path.connmark_in = e.mark if e != NULL and program.looks_at_connmark else 0
    while True:
        if not routed and (stage == end or stage.point != POINT_PREROUTING):
            routed = True
            p.reason = routing_refuses(p, look.ttl) or p.reason
            if p.reason == TTL_EXPIRED or p.reason == IP_OPTIONS or p.reason == IP_ADDRESS:
                p.rule = -1
                p.verdict = VERDICT_DROP
                return
            if p.hook == HOOK_FORWARD:
                look.ttl -= 1
        if stage == end:
            break
        set_interfaces(&look, stage.point)
        p.verdict = walk(&look, stage)
        if p.verdict != VERDICT_ACCEPT:
            chosen = p.rule
            break
        if not decided:
            chosen = p.rule
            decided = stage.decides
        stage += 1
    p.rule = chosen
    if not context or look.varies or p.traced:
        return
    path.context = context
    path.mark = p.mark
    path.connmark = e.mark
    path.sets_connmark = e.mark != path.connmark_in and program.looks_at_connmark
    path.rule = chosen
    path.hit_count = <uint16_t> look.hit_count
    path.verdict = p.verdict
    path.answer = p.answer
    id = paths_intern(&program.paths, &path, look.hits)
    if unlikely(id == 0):
        paths_flush(&program.paths, program.counters)
        walk_follow(program, t, program.paths.base)
        id = paths_intern(&program.paths, &path, look.hits)
    e.path[p.direction] = id


cdef void walk_judge(Program *program, Tracker *t, Packet *p) noexcept nogil:
    cdef Entry *e = conntrack_entry(t, p)
    cdef Path *path
    cdef uint64_t context = 0
    # what has no transport may lack part of an extension header, and other rules may meet it than the connection's
    if likely(p.kind == KIND_TRACK and p.entry < NEW_FLOW and p.l4 < p.have):
        context = walk_context(program, p, p.state, p.status)
        if likely(context != 0):
            path = walk_remembered(program, p, e, p.direction, context)
            if likely(path != NULL):
                walk_take(path, p, e)
                return
    judge_slowly(program, t, p, e, context)
