"""Where the engine meets Python: payload of a connection that carries a helper.

A helper is entered with the GIL and with the engine's lock held, after the rules accepted the packet and its
connection is in the table.
"""
import logging

from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from fastfw.core.bytes cimport be16, be32
from fastfw.core.conntrack cimport Tracker, conntrack_delete
from fastfw.core.events cimport ENDED_DELETED
from fastfw.core.expect cimport (
    EXPECT_ANY_PORT, EXPECT_ANY_SOURCE, EXPECT_INACTIVE, EXPECT_MASKED, EXPECT_PERMANENT, Expect, expects_add,
    expects_remove, expects_same,
)
from fastfw.core.flows cimport Entry, flows_find, flows_hash, key_equal
from fastfw.core.gre cimport GreKey, gre_keys_add, gre_keys_forget, gre_keys_remove
from fastfw.core.helping_stream cimport (
    MOST_OF_ALL, STREAM_LOST, STREAM_WHOLE, Chunk, Stream, stream_done, stream_forget, stream_gives_way, stream_of,
    stream_take, stream_undo, streams_free, streams_purge,
)
from fastfw.core.settings cimport SET_EXPECT_MAX
from fastfw.core.terms cimport (
    HOOK_OUTPUT, STATE_ESTABLISHED, STATUS_EXPECTED, STATUS_FIXED_TIMEOUT, STATUS_HELPED, STATUS_MASTER, STATUS_UNREAD,
)
from fastfw.core.wire cimport NO_FLOW, PROTO_GRE, PROTO_TCP, PROTO_UDP, Key, Packet, wire_key

from fastfw.core.awaited import Awaited

log = logging.getLogger("fastfw.helpers")

# ns between two looks for dead connections' streams where many bytes are kept, however many packets ask for room
cdef int64_t PURGE_PAUSE = 1_000_000_000


cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t size, const void *needle, size_t needle_size)


cdef bint begins(const uint8_t *payload, uint32_t size, const Pattern *prefix) noexcept nogil:
    """Whether the payload begins with a prefix, ASCII letters in either case."""
    cdef uint32_t i
    cdef uint8_t byte
    if size < prefix.size:
        return False
    for i in range(prefix.size):
        byte = payload[i]
        if b"A"[0] <= byte <= b"Z"[0]:
            byte |= 0x20
        if byte != prefix.bytes[i]:
            return False
    return True


cdef bint interesting(const Interest *interest, const uint8_t *payload, uint32_t size) noexcept nogil:
    """Whether the helper would look at it: a first glance without Python."""
    cdef uint32_t i
    cdef const Pattern *one
    if interest.needles:
        for i in range(interest.needles):
            one = interest.needle + i
            if memmem(payload, size, one.bytes, one.size) != NULL:
                break
        else:
            return False
    if interest.prefixes == 0 and interest.suffixes == 0:
        return True
    for i in range(interest.suffixes):
        one = interest.suffix + i
        if size >= one.size and memcmp(payload + size - one.size, one.bytes, one.size) == 0:
            return True
    for i in range(interest.prefixes):
        if begins(payload, size, interest.prefix + i):
            return True
    return False


cdef bint record_interesting(const Interest *interest, const uint8_t *payload, uint32_t size) noexcept nogil:
    """The same for any of the whole records that a stream's bytes are."""
    cdef const uint8_t *end
    cdef uint32_t length
    if interest.record_end < 0:
        return interesting(interest, payload, size)
    while size:
        end = <const uint8_t *> memchr(payload, interest.record_end, size)
        length = size if end == NULL else <uint32_t> (end - payload) + 1
        if interesting(interest, payload, length):
            return True
        payload += length
        size -= length
    return False


cdef bytes key_of(const Tracker *t, uint32_t index):
    return (<const char *> &t.flows.entries[index].key)[:sizeof(Key)]


cdef class Attached:
    def __cinit__(self):
        self.helpers = [None]
        self.notes = {}
        self.purge_at = 1024
        self.kept = []
        self.broadcasts = {}
        memset(self.interests, 0, sizeof(self.interests))
        memset(&self.streams, 0, sizeof(self.streams))
        self.purge_streams_at = 1024
        self.purged_at = 0
        self.lost = 0
        self.tcp_ports = bytearray()
        self.udp_ports = bytearray()
        self.unasked = set()

    def __dealloc__(self):
        streams_free(&self.streams)

    cdef bytearray ports(self, int protocol):
        """The helpers' numbers by port; once there it stays where it is."""
        where = self.tcp_ports if protocol == PROTO_TCP else self.udp_ports
        if not where:
            where.extend(bytes(65536))
        return where

    def add(self, helper, ports):
        """Carry a helper, attached to new connections to `ports`."""
        if helper not in self.helpers:
            if len(self.helpers) > 255:
                raise ValueError("an engine carries at most 255 helpers")
            self.helpers.append(helper)
            self.take_interest(<int> len(self.helpers) - 1, helper)
        number = self.helpers.index(helper)
        for protocol, port in ports:
            self.ports(protocol)[port] = number
            self.unasked.discard((protocol, port))
        return number

    def add_unasked(self, helpers):
        """Attach helpers, and no others that nobody asked for, to those of their ports that have none."""
        for protocol, port in self.unasked:
            self.ports(protocol)[port] = 0
        self.unasked.clear()
        for helper in helpers:
            vacant = [(protocol, port) for protocol, port in helper.ports if not self.ports(protocol)[port]]
            self.add(helper, vacant)
            self.unasked.update(vacant)

    cdef list patterns(self, Pattern *into, wanted, bint lower):
        """Put a helper's patterns of one kind; they are kept alive here. Returns them."""
        cdef bytes one
        found = [one for one in ((wanted,) if isinstance(wanted, bytes) else wanted) if one]
        if len(found) > MOST_PATTERNS:
            raise ValueError(f"a helper may have at most {MOST_PATTERNS} patterns of a kind")
        if lower:
            found = [one.lower() for one in found]
        self.kept += found
        for place in range(len(found)):
            one = found[place]
            into[<int> place].bytes = <const uint8_t *> <const char *> one
            into[<int> place].size = <uint32_t> len(one)
        return found

    cdef take_interest(self, int number, helper):
        cdef Interest *interest = self.interests + number
        interest.prefixes = <uint32_t> len(self.patterns(interest.prefix, helper.prefixes, True))
        interest.needles = <uint32_t> len(self.patterns(interest.needle, helper.contains, False))
        interest.suffixes = <uint32_t> len(self.patterns(interest.suffix, helper.suffixes, False))
        interest.directions = 0
        for direction in helper.directions:
            interest.directions |= <uint8_t> (1 << <int> direction)
        interest.record_end = -1
        if helper.stream:
            if not 1 <= helper.stream_limit <= 1 << 20:
                raise ValueError(f"helper {helper.name!r}: stream_limit from 1 to 1048576 expected")
            if len(helper.record_end) > 1:
                raise ValueError(f"helper {helper.name!r}: record_end is one byte, or none")
            interest.most = helper.stream_limit
            if helper.record_end:
                interest.record_end = helper.record_end[0]

    def declare(self, broadcasts):
        """The networks this host is in, as broadcast addresses and masks."""
        self.broadcasts = broadcasts

    def stream_statistics(self):
        """Streams that are read, bytes kept of them, and how many were given up."""
        return self.streams.count, self.streams.bytes, self.lost

    def names(self):
        """Of all helpers, by number."""
        return ["" if helper is None else helper.name for helper in self.helpers]

    def classes(self):
        """What each helper calls its classes of expectations, by number."""
        return [() if helper is None else helper.class_names for helper in self.helpers]

    cdef const uint8_t *port_map(self, int protocol):
        """NULL: none is attached to any."""
        where = self.tcp_ports if protocol == PROTO_TCP else self.udp_ports
        if not where:
            return NULL
        return <const uint8_t *> <char *> where

    cdef bint wants(self, Tracker *t, const Packet *p) noexcept nogil:
        """Whether Python need be entered: there is payload (or a datagram, even if empty), whole, and a reader."""
        cdef const Entry *e = t.flows.entries + p.entry
        cdef uint32_t at = payload_at(p)
        if e.helper == 0 or p.have != p.length or at > p.length:
            return False
        if not self.interests[e.helper].directions >> p.direction & 1:
            return False
        if p.proto == PROTO_TCP and self.interests[e.helper].most:
            return self.wants_stream(t, p, at)
        if at == p.length and p.proto != PROTO_UDP:
            return False
        return interesting(self.interests + e.helper, p.data + at, p.length - at)

    cdef bint wants_stream(self, Tracker *t, const Packet *p, uint32_t at) noexcept nogil:
        """The same of a segment whose helper reads a stream: it is put in its place, and what is of no interest is
        done with."""
        cdef Entry *e = t.flows.entries + p.entry
        cdef const Interest *interest = self.interests + e.helper
        cdef Stream *s
        cdef bint syn = p.data[p.l4 + 13] & 2
        cdef int taken
        if at == p.length and not syn:
            return False
        if self.streams.count >= self.purge_streams_at or (
                self.streams.bytes > MOST_OF_ALL / 2 and p.now - self.purged_at >= PURGE_PAUSE):
            streams_purge(&self.streams, t.flows.entries)
            self.purge_streams_at = 1024 + 2 * self.streams.count
            self.purged_at = p.now
        s = stream_of(&self.streams, p.entry, e.helper, &e.key, e.status & STATUS_UNREAD != 0)
        if s == NULL:
            return False
        e.status &= ~(<uint32_t> STATUS_UNREAD)
        self.make_room(t, s, interest.most)
        taken = stream_take(&self.streams, s, p.direction, be32(p.data + p.l4 + 4), syn, p.data + at, p.length - at,
                            interest.most, interest.record_end, &self.chunk)
        if taken == STREAM_WHOLE:
            if self.chunk.whole and record_interesting(interest, self.chunk.data, self.chunk.whole):
                self.stream = s
                return True
            if not stream_done(&self.streams, s, p.direction, &self.chunk, self.chunk.whole, interest.most):
                taken = STREAM_LOST
        if taken == STREAM_LOST:
            stream_forget(&self.streams, s)
            self.lost += 1
            self.detach(t, p)
        return False

    cdef void make_room(self, Tracker *t, const Stream *asking, uint32_t size) noexcept nogil:
        """So that `asking` may keep `size` more bytes: those that have kept something for longest are read no longer,
        as what would come to them next makes no sense without what they kept."""
        cdef Stream *s = stream_gives_way(&self.streams, asking, size)
        cdef Entry *e
        while s != NULL:
            e = t.flows.entries + s.entry
            if e.helper == s.number and key_equal(&e.key, &s.key):
                e.helper = 0
                e.status &= ~(<uint32_t> STATUS_HELPED)
                self.lost += 1
            stream_forget(&self.streams, s)
            s = stream_gives_way(&self.streams, asking, size)

    cdef void detach(self, Tracker *t, const Packet *p) noexcept nogil:
        """The connection is read no longer."""
        cdef Entry *e = t.flows.entries + p.entry
        if helped_is_there(t, p):
            e.helper = 0
            e.status &= ~(<uint32_t> STATUS_HELPED)

    cdef bint call(self, Tracker *t, Packet *p) noexcept:
        """Hand a packet, or what it completes of a stream, to its connection's helper; False where the helper wants it
        dropped."""
        cdef Entry *e = t.flows.entries + p.entry
        cdef uint8_t number = e.helper
        cdef uint32_t at = payload_at(p)
        cdef Chunk chunk
        cdef Stream *s = NULL
        cdef Flow flow
        cdef bint passes = True, good = True, fresh = e.status & STATUS_UNREAD != 0
        chunk.data = p.data + at
        chunk.whole = p.length - at
        if p.proto == PROTO_TCP and self.interests[number].most:
            s = self.stream
            chunk = self.chunk
            s.busy = 1
            fresh = s.fresh != 0
            s.fresh = 0
        flow = Flow.__new__(Flow)
        try:
            helper = self.helpers[number]
            if p.family in helper.families:
                key = key_of(t, p.entry)
                found = self.notes.get((p.entry, number))
                if found is None or found[0] != key or fresh:
                    e.status &= ~(<uint32_t> STATUS_UNREAD)
                    found = (key, {})
                    self.notes[(p.entry, number)] = found
                    if len(self.notes) > self.purge_at:
                        self.purge(t)
                flow.tracker = t
                flow.packet = p
                flow.attached = self
                flow.helper = helper
                flow.notes = found[1]
                flow.whole = chunk.whole
                if s != NULL:
                    flow.reads_stream = True
                    flow.first = s.side[p.direction].next - chunk.size
                payload = PyMemoryView_FromMemory(<char *> chunk.data, chunk.whole, PyBUF_READ)
                try:
                    verdict = helper.on_payload(payload, flow)
                finally:
                    flow.tracker = NULL
                    payload.release()
                passes = verdict is None or verdict
        except Exception:
            good = False
            log.exception("helper %s failed and is detached from the connection", self.names()[number])
        if s != NULL:
            s.busy = 0
            if good and passes:
                good = stream_done(&self.streams, s, p.direction, &chunk, chunk.whole - flow.held,
                                   self.interests[number].most)
                self.lost += not good
            elif good:
                good = stream_undo(&self.streams, s, p.direction, &chunk)
                self.lost += not good
            if not good:
                stream_forget(&self.streams, s)
        if not good:
            self.detach(t, p)
        return passes

    cdef purge(self, const Tracker *t):
        self.notes = {where: note for where, note in self.notes.items()
                      if t.flows.entries[<uint32_t> where[0]].helper == where[1]
                      and key_of(t, <uint32_t> where[0]) == note[0]}
        self.purge_at = 1024 + 2 * <uint32_t> len(self.notes)


cdef void put_address(uint64_t *into, const char *address, int size) noexcept nogil:
    into[0] = 0
    into[1] = 0
    memcpy(into, address, size)


cdef uint16_t network16(int number):
    return <uint16_t> ((number & 0xff) << 8 | (number >> 8 & 0xff))


cdef GreKey call_of(const Expect *one):
    """What a tunnel's packets in the expected direction are told by."""
    cdef GreKey call
    memset(&call, 0, sizeof(GreKey))
    memcpy(call.source, one.source, 16)
    memcpy(call.destination, one.destination, 16)
    call.call = one.destination_port
    call.key = one.source_port
    call.zone = one.zone
    call.family = one.family
    call.master = one.master
    return call


cdef class Flow:
    cdef const Packet *live(self) except NULL:
        if self.tracker == NULL:
            raise RuntimeError("a Flow is valid during on_payload only")
        return self.packet

    cdef bytes address(self, int v4_at, int v6_at):
        cdef const Packet *p = self.live()
        if p.family == 4:
            return (<const char *> p.data + v4_at)[:4]
        return (<const char *> p.data + v6_at)[:16]

    @property
    def direction(self):
        return self.live().direction

    @property
    def family(self):
        return self.live().family

    @property
    def protocol(self):
        return self.live().proto

    @property
    def source(self):
        return self.address(12, 8)

    @property
    def destination(self):
        return self.address(16, 24)

    @property
    def source_port(self):
        cdef const Packet *p = self.live()
        return be16(p.data + p.l4)

    @property
    def destination_port(self):
        cdef const Packet *p = self.live()
        return be16(p.data + p.l4 + 2)

    @property
    def established(self):
        return self.live().state == STATE_ESTABLISHED

    @property
    def sequence(self):
        cdef const Packet *p = self.live()
        if self.reads_stream:
            return self.first
        return be32(p.data + p.l4 + 4) if p.proto == PROTO_TCP else 0

    def hold(self, uint32_t size):
        """See fastfw.helpers.base.Flow."""
        self.live()
        if not self.reads_stream or size > self.whole:
            raise ValueError("hold: at most the payload of a stream can be held back")
        self.held = size

    @property
    def memory(self):
        return self.notes

    @property
    def expected(self):
        return self.tracker.flows.entries[self.live().entry].status & STATUS_EXPECTED != 0

    @property
    def broadcast_mask(self):
        cdef const Packet *p = self.live()
        if p.family != 4 or p.hook != HOOK_OUTPUT:
            return None
        return self.attached.broadcasts.get(self.destination)

    cdef Expect describe(self, int protocol, bytes source, source_port, bytes destination, int port,
                         bytes source_mask) except *:
        """An expectation of this connection's from its parts; ValueError where an address is none of the family."""
        cdef const Packet *p = self.live()
        cdef Expect made
        cdef int size = 4 if p.family == 4 else 16
        cdef uint64_t mask = 0
        memset(&made, 0, sizeof(Expect))
        if len(destination) != size or (source is not None and len(source) != size):
            raise ValueError(f"addresses of {size} bytes expected")
        if source_mask is not None and (source is None or len(source_mask) != size or size != 4):
            raise ValueError("a source mask goes with an IPv4 source")
        put_address(made.destination, destination, size)
        made.destination_port = network16(port)
        made.proto = <uint8_t> protocol
        made.family = p.family
        made.zone = p.key.zone
        made.master = p.entry
        made.helper = self.tracker.flows.entries[p.entry].helper
        if source is None:
            made.flags |= EXPECT_ANY_SOURCE
        else:
            put_address(made.source, source, size)
            if source_mask is not None:
                memcpy(&mask, <const char *> source_mask, 4)
                made.source[0] |= mask << 32
                made.flags |= EXPECT_MASKED
        if source_port is None:
            made.flags |= EXPECT_ANY_PORT
        else:
            made.source_port = network16(source_port)
        return made

    def expect(self, *, bytes destination, int port, int protocol=6, bytes source=None, bytes source_mask=None,
               source_port=None, bint permanent=False, timeout=None, int class_=0, helper=None, bint inactive=False,
               bint shared=False):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef Expect made = self.describe(protocol, source, source_port, destination, port, source_mask)
        cdef Expect *other
        cdef GreKey call
        limit, lasts = self.helper.policy(class_)
        made.class_ = <uint8_t> class_
        if permanent:
            made.flags |= EXPECT_PERMANENT
        if inactive:
            made.flags |= EXPECT_INACTIVE
        if helper is not None:
            names = self.attached.names()
            if helper not in names:
                raise ValueError(f"expect: no helper is called {helper!r} here")
            made.child_helper = <uint8_t> names.index(helper)
        made.expires = p.now + <int64_t> (lasts if timeout is None else timeout) * 1_000_000_000
        if shared:
            other = expects_same(&self.tracker.expects, &made, p.now)
            if other != NULL and (other.master != made.master or other.class_ != made.class_):
                return True
        if expects_add(&self.tracker.expects, &made, <uint32_t> self.tracker.settings.of[SET_EXPECT_MAX], limit,
                       p.now) < 0:
            return False
        self.tracker.flows.entries[p.entry].status |= STATUS_MASTER
        if made.proto == PROTO_GRE and not made.flags & (EXPECT_ANY_PORT | EXPECT_ANY_SOURCE):
            call = call_of(&made)
            gre_keys_add(&self.tracker.gre_keys, &call)
        return True

    def awaiting(self, int class_):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef const Expect *one
        cdef int size = 4 if p.family == 4 else 16
        cdef uint32_t i
        found = []
        for i in range(self.tracker.expects.count):
            one = self.tracker.expects.all + i
            if one.master != p.entry or one.class_ != class_ or one.expires <= p.now:
                continue
            found.append((one.serial, Awaited(
                one.proto,
                None if one.flags & EXPECT_ANY_SOURCE else (<const char *> one.source)[:size],
                None if one.flags & EXPECT_ANY_PORT else network16(one.source_port),
                (<const char *> one.destination)[:size],
                network16(one.destination_port),
            )))
        return [awaited for _, awaited in sorted(found)]

    def cancel(self, *, int protocol, bytes source, source_port, bytes destination, int port):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef Expect gone = self.describe(protocol, source, source_port, destination, port, None)
        cdef Expect *one = expects_same(&self.tracker.expects, &gone, p.now)
        cdef Key key
        cdef GreKey call
        cdef uint8_t head[40]
        cdef uint32_t index
        cdef int size = 4 if p.family == 4 else 16, at = 12 if p.family == 4 else 8
        if gone.proto == PROTO_GRE:
            call = call_of(&gone)
            gre_keys_remove(&self.tracker.gre_keys, &call)
        if one != NULL:
            expects_remove(&self.tracker.expects, one)
            return
        if source is None or source_port is None:
            return
        memset(head, 0, sizeof(head))
        memcpy(head + at, <const char *> source, size)
        memcpy(head + at + size, <const char *> destination, size)
        wire_key(&key, head, p.family, gone.source_port, gone.destination_port, gone.proto)
        key.zone = gone.zone
        index = flows_find(&self.tracker.flows, &key, flows_hash(&self.tracker.flows, &key))
        if index != NO_FLOW and index != p.entry and self.tracker.flows.entries[index].master == p.entry:
            conntrack_delete(self.tracker, index, ENDED_DELETED)

    def forget_calls(self):
        """See fastfw.helpers.base.Flow."""
        gre_keys_forget(&self.tracker.gre_keys, self.live().entry)

    def refresh(self, int seconds):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef Entry *e = self.tracker.flows.entries + p.entry
        if not e.status & STATUS_FIXED_TIMEOUT:
            e.expires = p.now + <int64_t> seconds * 1_000_000_000
