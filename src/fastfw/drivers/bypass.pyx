"""Which connections' packets may skip the queue; see bypass.pxd."""
import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastfw.core.bytes cimport unlikely
from fastfw.core.conntrack cimport STATUS_APART
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.flows cimport Entry, key_equal
from fastfw.core.paths cimport Path, paths_get
from fastfw.core.program cimport Program
from fastfw.core.settings cimport TCP_ESTABLISHED
from fastfw.core.snapshot import ENTRY
from fastfw.core.terms cimport (
    STATE_ESTABLISHED, STATUS_ASSURED, STATUS_CONFIRMED, STATUS_COUNTED, STATUS_DYING, STATUS_HELPED, STATUS_MASTER,
    STATUS_SEEN_REPLY, STATUS_SKIPS, STATUS_TIMED, VERDICT_ACCEPT,
)
from fastfw.core.wire cimport KIND_TRACK, NEW_FLOW, PROTO_TCP, PROTO_UDP, Packet

cdef enum:
    NEEDED = STATUS_CONFIRMED | STATUS_SEEN_REPLY | STATUS_ASSURED
    ENDS = 0x17 ^ 0x10       # FIN, SYN and RST
    WAY_ENDS = 0xf           # of a path's context: its hook; and its state
    STEP = 1 << 14           # entries looked at before others have their turn

cdef int64_t SECOND = 1_000_000_000

GENERATIONS = 1 << 10
LEAST_SECONDS = 20
"""A connection that is kept for less is granted nothing: whoever looks after its time may not come often enough."""


cdef inline uint64_t end_of(const Path *path) noexcept nogil:
    """A path's hook and interfaces; walk.pxd's walk_context says where they are."""
    return path.context & 0xffffffffu | (path.context >> 48 & WAY_ENDS) << 32


cdef inline bint settled(const Program *program, const Entry *e, const Path *path) noexcept nogil:
    """Whether a path takes a connection's next packet as it is, and to its end."""
    return (path != NULL and path.verdict == VERDICT_ACCEPT and not (path.mark_in | path.mark | path.sets_connmark)
            and path.context >> 52 & WAY_ENDS == STATE_ESTABLISHED
            and <uint32_t> (path.context >> 32 & 0xffff) == (e.status & program.status_mask & 0xffff)
            and (not program.looks_at_connmark or path.connmark_in == e.mark))


cdef class Bypass:
    """Grants for one engine's connections. `mask` is 16 neighbouring bits of marks that are nobody else's; with
    `accounted` connections are granted it whose packets are counted, or their age."""

    def __init__(self, Core engine, uint32_t mask, *, bint accounted=False):
        self.shift = (mask & -mask).bit_length() - 1 if mask else -1
        if self.shift < 0 or mask >> self.shift != 0xffff:
            raise ValueError(f"mask: 16 neighbouring bits expected, not {mask:#x}")
        self.mask = mask
        self.core = engine
        self.avoided = STATUS_APART | STATUS_DYING | STATUS_HELPED | STATUS_MASTER
        if not accounted:
            self.avoided |= STATUS_COUNTED | STATUS_TIMED
        self.loopback = engine.interface("lo")

    cdef uint32_t offer(self, const Packet *p) noexcept nogil:
        cdef Entry *e
        cdef const Program *program = self.core.program4 if p.family == 4 else self.core.program6
        cdef const Path *one
        cdef const Path *other
        cdef uint32_t way, now
        if (not self.current or p.verdict != VERDICT_ACCEPT or p.kind != KIND_TRACK or p.entry >= NEW_FLOW or p.mark
                or p.stray or p.frag_off or p.state != STATE_ESTABLISHED or program == NULL):
            return 0
        e = self.core.tracker.flows.entries + p.entry
        if e.status & (self.avoided | NEEDED) != NEEDED or e.key.zone or program.before_hooks >> p.hook & 1:
            return 0
        if p.proto == PROTO_TCP:
            if e.state != TCP_ESTABLISHED or p.data[p.l4 + 13] & ENDS:
                return 0
        elif p.proto != PROTO_UDP:
            return 0
        now = <uint32_t> (p.now // SECOND)
        if self.last[p.entry & (REMEMBERED - 1)] == now or e.expires - p.now < <int64_t> LEAST * SECOND:
            return 0
        if p.iif == self.loopback or p.oif == self.loopback:
            return 0
        one = paths_get(&program.paths, e.path[0])
        other = paths_get(&program.paths, e.path[1])
        if not settled(program, e, one) or not settled(program, e, other):
            return 0
        way = self.way_of(end_of(one), end_of(other))
        if not way:
            return 0
        self.last[p.entry & (REMEMBERED - 1)] = now
        self.granted += 1
        e.status |= STATUS_SKIPS
        return (self.current << WAY_BITS | way) << self.shift

    cdef uint32_t way_of(self, uint64_t one, uint64_t other) noexcept nogil:
        """The number of a way, 0 while the kernel's rules do not know it."""
        cdef uint32_t i
        cdef uint64_t first = one if one < other else other, second = other if one < other else one
        for i in range(self.way_count):
            if self.ways[i].one == first and self.ways[i].other == second:
                return i + 1 if self.opened[i] else 0
        if self.way_count < WAYS:
            self.ways[self.way_count].one = first
            self.ways[self.way_count].other = second
            self.way_count += 1
        return 0

    # -- who looks after it -------------------------------------------------------------------------------------------

    def grant(self, uint32_t generation):
        """Grant it in this generation from now on, 0: to nobody."""
        if generation >= <uint32_t> GENERATIONS:
            raise ValueError(f"generation: 0 to {GENERATIONS - 1} expected, not {generation}")
        with nogil:
            pthread_mutex_lock(&self.core.lock)
            self.current = generation
            pthread_mutex_unlock(&self.core.lock)

    def asked(self):
        """The ways that connections take: of each both directions' (hook, incoming, outgoing interface)."""
        cdef uint32_t i, count
        names = self.core._interface_names()
        with nogil:
            pthread_mutex_lock(&self.core.lock)
            count = self.way_count
            pthread_mutex_unlock(&self.core.lock)
        return tuple(
            tuple((int(end >> 32), names[end & 0xffff], names[end >> 16 & 0xffff])
                  for end in (self.ways[i].one, self.ways[i].other))
            for i in range(count)
        )

    def open(self, uint32_t count):
        """Grant it on the first `count` ways, which the kernel's rules know now."""
        cdef uint32_t i
        with nogil:
            pthread_mutex_lock(&self.core.lock)
            for i in range(min(count, self.way_count)):
                self.opened[i] = 1
            pthread_mutex_unlock(&self.core.lock)

    def due(self, int64_t until, uint32_t most=65536):
        """At most so many of the connections with grants whose time is up by `until` (ns) if nobody hears of them:
        records of dtype ENTRY, and their slab indices."""
        cdef uint32_t index = 1, stop, found = 0, used
        cdef Entry *e
        table = np.empty(most, ENTRY)
        indices = np.empty(most, np.uint32)
        cdef uint8_t[::1] table_bytes = table.view(np.uint8)
        cdef uint32_t[::1] numbers = indices
        cdef Entry *into = <Entry *> &table_bytes[0]
        with nogil:
            while found < most:
                pthread_mutex_lock(&self.core.lock)
                used = self.core.tracker.flows.used
                stop = index + STEP if index + STEP < used else used
                while index < stop and found < most:
                    e = self.core.tracker.flows.entries + index
                    if unlikely(e.status & STATUS_SKIPS and e.key.family and e.expires <= until):
                        into[found] = e[0]
                        numbers[found] = index
                        found += 1
                    index += 1
                pthread_mutex_unlock(&self.core.lock)
                if index >= used:
                    break
        return table[:found].copy(), indices[:found].copy()

    def prolong(self, table, indices, deadlines):
        """Keep connections that `due` told of until `deadlines` (ns) at least."""
        cdef uint32_t count = <uint32_t> len(table), i
        if not count:
            return
        cdef const uint8_t[::1] table_bytes = np.ascontiguousarray(table).view(np.uint8)
        cdef const uint32_t[::1] numbers = np.ascontiguousarray(indices, np.uint32)
        cdef const int64_t[::1] times = np.ascontiguousarray(deadlines, np.int64)
        cdef const Entry *given = <const Entry *> &table_bytes[0]
        cdef Entry *e
        with nogil:
            pthread_mutex_lock(&self.core.lock)
            for i in range(count):
                e = self.core.tracker.flows.entries + numbers[i]
                if key_equal(&e.key, &given[i].key) and e.status & STATUS_SKIPS and e.expires < times[i]:
                    e.expires = times[i]
            pthread_mutex_unlock(&self.core.lock)


cdef int LEAST = LEAST_SECONDS
