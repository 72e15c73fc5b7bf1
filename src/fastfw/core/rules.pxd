"""The compiled ruleset as the engine sees it: two calls a packet, and the object that owns the memory."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastfw.core.amounts cimport Kept
from fastfw.core.conntrack cimport Tracker
from fastfw.core.program cimport Program
from fastfw.core.setstore cimport SetStore
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
