"""Connection tracking: which connection a packet belongs to, and what it does to it.

For every packet, in this order: `conntrack_in` before the rules, `conntrack_confirm` if they accepted it. A
connection that begins lives in `fresh` until it is confirmed: what is dropped leaves no entry.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.events cimport Events
from fastfw.core.expect cimport Expects
from fastfw.core.flows cimport Entry, Extra, Flows
from fastfw.core.gre cimport GreKeys
from fastfw.core.settings cimport Settings
from fastfw.core.terms cimport STATUS_FIXED_TIMEOUT, STATUS_TEMPLATED
from fastfw.core.wire cimport NEW_FLOW, NO_FLOW, Packet


# conntrack -S's counters, and what else is counted by name.
cdef enum:
    COUNT_FOUND = 0          # packets that belonged to a connection
    COUNT_INVALID
    COUNT_INSERT
    COUNT_INSERT_FAILED
    COUNT_DROP
    COUNT_EARLY_DROP
    COUNT_ERROR              # ICMP errors that could not be placed
    COUNT_EXPIRED
    COUNT_DELETED
    COUNT_UNTRACKED
    COUNTERS


# What CT rules ask for connections that begin. A number once given means the same for good: entries carry it.
ctypedef struct Template:
    Settings settings        # in force, but for the timeouts of the template's policy
    uint64_t kept            # which settings are the policy's, a bit each
    uint16_t zone
    uint16_t events          # a bit for each kind that is told (TELL_...)
    uint16_t expect_events
    uint8_t zone_of_mark     # the zone is the packet's mark
    uint8_t helper           # number, 0: none


# Bits of a connection's status: other settings hold for it, or its time stands.
cdef enum:
    STATUS_APART = STATUS_TEMPLATED | STATUS_FIXED_TIMEOUT


# What events tell of, in nf_conntrack's order.
cdef enum:
    TELL_NEW = 1 << 0
    TELL_RELATED = 1 << 1
    TELL_DESTROY = 1 << 2
    TELL_REPLY = 1 << 3
    TELL_ASSURED = 1 << 4
    TELL_PROTOINFO = 1 << 5
    TELL_HELPER = 1 << 6
    TELL_MARK = 1 << 7
    TELL_LABEL = 1 << 10
    TELL_ALL = 0xffff


ctypedef struct Tracker:
    Flows flows
    Settings settings
    Expects expects
    const uint8_t *helper_of_port[2]   # TCP, UDP: by destination port (host byte order), the helper attached; or NULL
    Template *templates      # malloc'ed; number 0 is not used
    uint32_t template_count
    int64_t crowded_at       # ns, when the table was last found below the collector's mark
    GreKeys gre_keys         # PPTP's calls, as a helper told them
    Entry fresh              # the connection of the packet in hand that is not (or no longer) in the table
    Extra fresh_extra        # its accounting and labels
    Events events            # what happened, for those who watch
    Events expect_events     # and to expectations
    uint32_t happened        # what the packet in hand changed of its connection, TELL_... bits
    int64_t now              # ns; never goes back
    uint8_t labels           # connections that begin have labels: a rule asks for them
    uint64_t counters[16]
    uint64_t reasons[256]    # packets by Reason


cdef void conntrack_in(Tracker *t, Packet *p) noexcept nogil
cdef bint conntrack_confirm(Tracker *t, Packet *p) noexcept nogil
cdef void conntrack_init(Tracker *t) noexcept nogil
cdef void conntrack_told(Tracker *t, const Packet *p) noexcept nogil
cdef void conntrack_delete(Tracker *t, uint32_t index, int why) noexcept nogil
cdef uint16_t conntrack_template(Tracker *t, const Template *made) noexcept nogil
cdef void conntrack_zone(Tracker *t, Packet *p, const Template *template) noexcept nogil
cdef uint32_t conntrack_sweep(Tracker *t, uint32_t budget) noexcept nogil


cdef inline void conntrack_count(Tracker *t, const Packet *p) noexcept nogil:
    """Add a packet to what its connection has carried."""
    cdef Extra *extra = &t.fresh_extra if p.entry == NEW_FLOW else t.flows.extras + p.entry
    extra.packets[p.direction] += 1
    extra.bytes[p.direction] += p.length


cdef inline Entry *conntrack_entry(Tracker *t, const Packet *p) noexcept nogil:
    """The packet's connection, or NULL."""
    if p.entry == NEW_FLOW:
        return &t.fresh
    if p.entry == NO_FLOW:
        return NULL
    return t.flows.entries + p.entry
