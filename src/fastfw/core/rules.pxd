"""The compiled ruleset as the engine sees it: two calls a packet, and the object that owns the memory."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.amounts cimport Kept
from fastfw.core.conntrack cimport Tracker
from fastfw.core.flows cimport Entry
from fastfw.core.paths cimport Path, paths_get
from fastfw.core.program cimport Program
from fastfw.core.setstore cimport SetStore
from fastfw.core.terms cimport HOOK_FORWARD
from fastfw.core.wire cimport Packet


cdef class Rules:
    cdef Program program
    cdef Kept kept                       # tables that grow
    cdef SetStore store                  # the sets that rules name, None: none
    cdef readonly tuple chains           # (table, chain, index of its first rule, index of its end) in order
    cdef public bint wants_accounting    # a rule asks what connections have carried
    cdef public object source            # what its maker wants to keep beside it
    cdef public tuple notices            # (reason, line, column) of what users are to be told
    cdef public bint reads_payload       # a rule looks beyond the transport header
    cdef list patterns                   # (beginning of a name, whether more may follow) of the rules' interfaces
    cpdef void bind_interface(self, int number, str name)


# Before connection tracking (table raw) and after it (mangle, filter, security). Both set p.verdict and p.rule.
cdef void rules_before(Program *program, Tracker *t, Packet *p) noexcept nogil
cdef void rules_judge(Program *program, Tracker *t, Packet *p) noexcept nogil

# The Reason for which an IP stack does not pass a packet on after PREROUTING, or REASON_NONE.
cdef uint16_t routing_refuses(const Packet *p, uint8_t ttl) noexcept nogil

# Number a new program's paths from `base` on, so that no id in a connection's entry is mistaken for one of them.
cdef void rules_follow(Program *program, Tracker *t, uint32_t base) noexcept nogil
# Walk every packet's way again, and remember none that is to be told of.
cdef void rules_forget_paths(Program *program, Tracker *t) noexcept nogil
# The first id that none of a program's paths ever had.
cdef uint32_t rules_next_base(const Program *program) noexcept nogil


cdef inline uint8_t time_to_live(const Packet *p) noexcept nogil:
    return p.data[8] if p.family == 4 else p.data[7]


cdef inline uint64_t rules_context(const Program *program, const Packet *p, uint8_t state,
                                   uint32_t status) noexcept nogil:
    """All that a remembered path depends on besides its connection, direction and marks; 0 where a packet's way cannot
    be a remembered one."""
    if (not program.remember or (p.hook == HOOK_FORWARD and time_to_live(p) <= 1)
            or (p.family == 4 and p.data[0] != 0x45)):
        return 0
    return (<uint64_t> p.iif | <uint64_t> p.oif << 16 | <uint64_t> (status & program.status_mask & 0xffff) << 32
            | <uint64_t> p.hook << 48 | <uint64_t> state << 52 | <uint64_t> 1 << 63)


cdef inline Path *rules_remembered(const Program *program, const Packet *p, const Entry *e, uint8_t direction,
                                   uint64_t context) noexcept nogil:
    """The path that a packet of a connection takes, or NULL where its way must be walked."""
    cdef Path *path = paths_get(&program.paths, e.path[direction])
    if path == NULL or path.context != context or path.mark_in != p.mark:
        return NULL
    if program.looks_at_connmark and path.connmark_in != e.mark:
        return NULL
    return path


cdef inline void rules_take(Path *path, Packet *p, Entry *e) noexcept nogil:
    """Count a packet on its path, and do to it what the rules there do."""
    path.counter.packets += 1
    path.counter.bytes += p.length
    p.verdict = path.verdict
    p.rule = path.rule
    p.mark = path.mark
    p.answer = path.answer
    if path.sets_connmark:
        e.mark = path.connmark
