"""A packet's way through the compiled ruleset: two calls a packet, and the paths that spare them."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.bytes cimport put64, raw64
from fastfw.core.conntrack cimport Tracker
from fastfw.core.flows cimport Entry
from fastfw.core.paths cimport Path, paths_get
from fastfw.core.program cimport Program
from fastfw.core.terms cimport HOOK_FORWARD
from fastfw.core.wire cimport Packet


# Before connection tracking (table raw) and after it (mangle, filter, security). Both set p.verdict and p.rule.
cdef void walk_before(Program *program, Tracker *t, Packet *p) noexcept nogil
cdef void walk_judge(Program *program, Tracker *t, Packet *p) noexcept nogil

# The Reason for which an IP stack does not pass a packet on after PREROUTING, or REASON_NONE; its
# number is left in the packet.
cdef uint16_t routing_refuses(Packet *p, uint8_t ttl) noexcept nogil

# Number a new program's paths from `base` on, so that no id in a connection's entry is mistaken for one of them.
cdef void walk_follow(Program *program, Tracker *t, uint32_t base) noexcept nogil
# Walk every packet's way again, and remember none that is to be told of.
cdef void walk_forget_paths(Program *program, Tracker *t) noexcept nogil
# The first id that none of a program's paths ever had.
cdef uint32_t walk_next_base(const Program *program) noexcept nogil


cdef inline uint8_t time_to_live(const Packet *p) noexcept nogil:
    return p.data[8] if p.family == 4 else p.data[7]


cdef inline uint64_t walk_context(const Program *program, const Packet *p, uint8_t state,
                                  uint32_t status) noexcept nogil:
    """All that a remembered path depends on besides its connection, direction and marks; 0 where a packet's way cannot
    be a remembered one."""
    if (not program.remember or (p.hook == HOOK_FORWARD and time_to_live(p) <= 1)
            or (p.family == 4 and p.data[0] != 0x45)):
        return 0
    # both interfaces and, in the highest byte, the hook
    return (raw64(&p.iif) & <uint64_t> 0xff000000ffffffff | <uint64_t> (status & program.status_mask & 0xffff) << 32
            | <uint64_t> state << 48 | <uint64_t> 1 << 63)


# What a context says: the hook, both interfaces as in a Packet, the state, and the status bits that rules look at.

cdef inline uint8_t context_hook(uint64_t context) noexcept nogil:
    return context >> 56 & 0x7f


cdef inline uint32_t context_interfaces(uint64_t context) noexcept nogil:
    return <uint32_t> context


cdef inline uint8_t context_state(uint64_t context) noexcept nogil:
    return <uint8_t> (context >> 48)


cdef inline uint32_t context_status(uint64_t context) noexcept nogil:
    return context >> 32 & 0xffff


cdef inline Path *walk_remembered(const Program *program, const Packet *p, const Entry *e, uint8_t direction,
                                  uint64_t context) noexcept nogil:
    """The path that a packet of a connection takes, or NULL where its way must be walked."""
    cdef Path *path = paths_get(&program.paths, e.path[direction])
    if path == NULL or path.context != context or path.mark_in != p.mark:
        return NULL
    if program.looks_at_connmark and path.connmark_in != e.mark:
        return NULL
    return path


cdef inline void walk_take(Path *path, Packet *p, Entry *e) noexcept nogil:
    """Count a packet on its path, and do to it what the rules there do."""
    path.counter.packets += 1
    path.counter.bytes += p.length
    p.verdict = path.verdict
    put64(&p.rule, raw64(&path.rule))
    p.answer = path.answer
    if path.sets_connmark:
        e.mark = path.connmark
