"""Which connections' packets may skip the queue; see bypass.pxd."""
import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastfw.core.bytes cimport unlikely
from fastfw.core.conntrack cimport STATUS_APART
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.flows cimport Entry, key_equal
from fastfw.core.paths cimport Path, paths_get
from fastfw.core.program cimport Program
from fastfw.core.settings cimport SET_TCP_LIBERAL, TCP_ESTABLISHED
from fastfw.core.snapshot import ENTRY
from fastfw.core.tcp cimport LIBERAL
from fastfw.core.terms cimport (
    STATE_ESTABLISHED, STATUS_ASSURED, STATUS_CONFIRMED, STATUS_COUNTED, STATUS_DYING, STATUS_HELPED, STATUS_MASTER,
    STATUS_SEEN_REPLY, STATUS_SKIPS, STATUS_TIMED, VERDICT_ACCEPT,
)
from fastfw.core.walk cimport context_hook, context_interfaces, context_state, context_status
from fastfw.core.wire cimport KIND_TRACK, NEW_FLOW, PROTO_TCP, PROTO_UDP, Key, Packet

cdef enum:
    NEEDED = STATUS_CONFIRMED | STATUS_SEEN_REPLY | STATUS_ASSURED
    ENDS = 0x17 ^ 0x10       # FIN, SYN and RST
    STEP = 1 << 14           # entries looked at before others have their turn

    WORD_ROOM = 40           # a key of IPv6's; one of IPv4's is 16 bytes of it
    MAP_LOOKUP = 1
    MAP_UPDATE = 2

cdef extern from "time.h" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC_COARSE
    int clock_gettime(int, timespec *)

cdef extern from "unistd.h" nogil:
    long syscall(long, ...)

cdef extern from "sys/syscall.h" nogil:
    long SYS_bpf


# The attributes of bpf(2) for one element of a map.
ctypedef struct Element:
    uint32_t map
    uint32_t unused
    uint64_t key
    uint64_t value
    uint64_t flags

cdef int64_t SECOND = 1_000_000_000

GENERATIONS = 1 << 10
BITS_OF_WAY = WAY_BITS
"""Of a grant, below its generation."""

LEAST_SECONDS = 20
"""A connection that is kept for less is granted nothing: whoever looks after its time may not come often enough."""


cdef inline uint64_t end_of(const Path *path) noexcept nogil:
    """A path's interfaces, and above them its hook."""
    return context_interfaces(path.context) | <uint64_t> context_hook(path.context) << 32


cdef inline bint settled(const Program *program, const Entry *e, const Path *path) noexcept nogil:
    """Whether a path takes a connection's next packet as it is, and to its end."""
    return (path != NULL and path.verdict == VERDICT_ACCEPT and not (path.mark_in | path.mark | path.sets_connmark)
            and context_state(path.context) == STATE_ESTABLISHED
            and context_status(path.context) == (e.status & program.status_mask & 0xffff)
            and (not program.looks_at_connmark or path.connmark_in == e.mark))


cdef inline int64_t coarse() noexcept nogil:
    """ns on the clock of a Flow's `last`."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return <int64_t> now.tv_sec * SECOND + now.tv_nsec


cdef inline bint element(int command, int map, const uint8_t *key, Flow *flow) noexcept nogil:
    """Read or write what a map holds by a key; False where it cannot be."""
    cdef Element attributes
    attributes.map = <uint32_t> map
    attributes.unused = 0
    attributes.key = <uint64_t> key
    attributes.value = <uint64_t> flow
    attributes.flags = 0
    return syscall(SYS_bpf, command, &attributes, sizeof(attributes)) == 0


cdef inline void name_way(const Key *key, bint back, uint8_t *into) noexcept nogil:
    """A map's key: source, destination, their ports, and the protocol as a word; `back`: from `hi` to `lo`."""
    cdef uint32_t size = 4 if key.family == 4 else 16, proto = key.proto, lo, hi
    cdef uint32_t first = size if back else 0, second = size - first
    if key.family == 4:
        lo, hi = <uint32_t> key.lo[0], <uint32_t> key.hi[0]
        memcpy(into + first, &lo, 4)
        memcpy(into + second, &hi, 4)
    else:
        memcpy(into + first, key.lo, 16)
        memcpy(into + second, key.hi, 16)
    memcpy(into + 2 * size + 2 * back, &key.lo_port, 2)
    memcpy(into + 2 * size + 2 - 2 * back, &key.hi_port, 2)
    memcpy(into + 2 * size + 4, &proto, 4)


cdef class Bypass:
    """Grants for one engine's connections. `mask` is 16 neighbouring bits of marks that are nobody else's; or `maps`
    are descriptors of two BPF maps, to which grants are written instead. With `accounted` connections are granted it
    whose packets are counted, or their age."""

    def __init__(self, Core engine, uint32_t mask=0, *, bint accounted=False, maps=None):
        self.shift = (mask & -mask).bit_length() - 1 if mask else -1
        self.maps[0], self.maps[1] = maps or (-1, -1)
        if maps is not None:
            self.shift = 0
            mask = 0
        elif self.shift < 0 or mask >> self.shift != 0xffff:
            raise ValueError(f"mask: 16 neighbouring bits expected, not {mask:#x}")
        self.mask = mask
        self.core = engine
        self.avoided = STATUS_APART | STATUS_DYING | STATUS_HELPED | STATUS_MASTER
        if not accounted:
            self.avoided |= STATUS_COUNTED | STATUS_TIMED
        self.loopback = engine.interface("lo")

    cdef uint32_t offer(self, const Packet *p, uint64_t *lifetime) noexcept nogil:
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
            if (self.maps[0] >= 0 and not self.core.tracker.settings.of[SET_TCP_LIBERAL]
                    and not e.proto.tcp.flags[0] & e.proto.tcp.flags[1] & LIBERAL):
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
        lifetime[0] = <uint64_t> (e.expires - p.now)
        return (self.current << WAY_BITS | way) << self.shift

    cdef void enter(self, const Packet *p, uint32_t grant, uint64_t lifetime) noexcept nogil:
        cdef uint8_t name[WORD_ROOM]
        cdef Flow flow
        cdef int map = self.maps[p.family == 6], back
        flow.grant = grant
        flow.unused = 0
        flow.last = <uint64_t> coarse()
        flow.lifetime = lifetime
        for back in range(2):
            name_way(&p.key, back, name)
            element(MAP_UPDATE, map, name, &flow)

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

    def heard(self, table):
        """Of connections that `due` told of, how many ns ago a packet of theirs passed last by the maps and how many
        after it none does any more; 0 and 0 for one that they do not hold."""
        cdef uint32_t count = <uint32_t> len(table), i
        cdef int back
        cdef uint8_t name[WORD_ROOM]
        cdef Flow flow
        found = np.zeros((count, 2), np.int64)
        if not count:
            return found
        cdef const uint8_t[::1] table_bytes = np.ascontiguousarray(table).view(np.uint8)
        cdef const Entry *given = <const Entry *> &table_bytes[0]
        cdef int64_t[:, ::1] into = found
        cdef int64_t now = coarse(), ago
        with nogil:
            for i in range(count):
                for back in range(2):
                    name_way(&given[i].key, back, name)
                    if element(MAP_LOOKUP, self.maps[given[i].key.family == 6], name, &flow):
                        ago = now - <int64_t> flow.last
                        if not into[i, 1] or ago < into[i, 0]:
                            into[i, 0] = ago if ago > 0 else 0
                            into[i, 1] = <int64_t> flow.lifetime
        return found

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
