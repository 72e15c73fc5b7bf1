"""Where the engine meets Python: payload of a connection that carries a helper.

A helper is entered with the GIL and with the engine's lock held, after the rules accepted the packet and its
connection is in the table.
"""
import logging

from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport be16, be32
from fastfw.core.conntrack cimport Tracker, conntrack_delete
from fastfw.core.events cimport ENDED_DELETED
from fastfw.core.expect cimport (
    EXPECT_ANY_PORT, EXPECT_ANY_SOURCE, EXPECT_PERMANENT, Expect, Expects, expects_add, expects_remove,
)
from fastfw.core.flows cimport Entry, flows_find, flows_hash
from fastfw.core.gre cimport GreKey, gre_keys_add, gre_keys_remove
from fastfw.core.settings cimport SET_EXPECT_MAX
from fastfw.core.terms cimport STATE_ESTABLISHED, STATUS_HELPED, STATUS_MASTER, STATUS_UNREAD
from fastfw.core.wire cimport NO_FLOW, PROTO_GRE, PROTO_TCP, PROTO_UDP, Key, Packet, wire_key

log = logging.getLogger("fastfw.helpers")


cdef inline uint32_t payload_at(const Packet *p) noexcept nogil:
    """Offset of the application's bytes."""
    if p.proto == PROTO_TCP:
        return p.l4 + (p.data[p.l4 + 12] >> 4) * 4
    if p.proto == PROTO_UDP:
        return p.l4 + 8
    return p.l4


cdef bytes key_of(const Tracker *t, uint32_t index):
    return (<const char *> &t.flows.entries[index].key)[:sizeof(Key)]


cdef class Attached:
    def __cinit__(self):
        self.helpers = [None]
        self.notes = {}
        self.purge_at = 1024
        self.tcp_ports = bytearray()
        self.udp_ports = bytearray()

    def add(self, helper, ports):
        """Carry a helper, attached to new connections to `ports`."""
        if helper not in self.helpers:
            if len(self.helpers) > 255:
                raise ValueError("an engine carries at most 255 helpers")
            self.helpers.append(helper)
        number = self.helpers.index(helper)
        for protocol, port in ports:
            where = self.tcp_ports if protocol == 6 else self.udp_ports
            if not where:
                where.extend(bytes(65536))
            where[port] = number
        return number

    def names(self):
        """Of all helpers, by number."""
        return ["" if helper is None else helper.name for helper in self.helpers]

    cdef const uint8_t *port_map(self, int protocol):
        """The map stays where it is: it is grown once and never again."""
        where = self.tcp_ports if protocol == PROTO_TCP else self.udp_ports
        if not where:
            return NULL
        return <const uint8_t *> <char *> where

    cdef bint wants(self, const Tracker *t, const Packet *p) noexcept nogil:
        """Whether Python need be entered: there is payload, whole, and somebody to read it."""
        cdef const Entry *e = t.flows.entries + p.entry
        return e.helper != 0 and p.have == p.length and payload_at(p) < p.length

    cdef bint call(self, Tracker *t, Packet *p) noexcept:
        """Hand a packet to its connection's helper; False where the helper wants it dropped."""
        cdef Entry *e = t.flows.entries + p.entry
        cdef uint8_t number = e.helper
        cdef uint32_t at = payload_at(p)
        cdef Flow flow
        try:
            helper = self.helpers[number]
            if p.family not in helper.families:
                return True
            key = key_of(t, p.entry)
            found = self.notes.get((p.entry, number))
            if found is None or found[0] != key or e.status & STATUS_UNREAD:
                e.status &= ~(<uint32_t> STATUS_UNREAD)
                found = (key, {})
                self.notes[(p.entry, number)] = found
                if len(self.notes) > self.purge_at:
                    self.purge(t)
            flow = Flow.__new__(Flow)
            flow.tracker = t
            flow.packet = p
            flow.attached = self
            flow.helper = helper
            flow.notes = found[1]
            payload = PyMemoryView_FromMemory(<char *> p.data + at, p.length - at, PyBUF_READ)
            try:
                verdict = helper.on_payload(payload, flow)
            finally:
                flow.tracker = NULL
                payload.release()
            return verdict is None or verdict
        except Exception:
            if helped_is_there(t, p):
                e = t.flows.entries + p.entry
                e.helper = 0
                e.status &= ~(<uint32_t> STATUS_HELPED)
            log.exception("helper %s failed and is detached from the connection", self.names()[number])
            return True

    cdef purge(self, const Tracker *t):
        self.notes = {where: note for where, note in self.notes.items()
                      if t.flows.entries[<uint32_t> where[0]].helper == where[1]
                      and key_of(t, <uint32_t> where[0]) == note[0]}
        self.purge_at = 1024 + 2 * <uint32_t> len(self.notes)


cdef void put_address(uint64_t *into, bytes address):
    into[0] = 0
    into[1] = 0
    memcpy(into, <const char *> address, len(address))


cdef void call_of(const Expect *one, GreKey *call) noexcept nogil:
    """The call whose packets an expected GRE connection will be told by."""
    memset(call, 0, sizeof(GreKey))
    memcpy(call.source, one.source, sizeof(one.source))
    memcpy(call.destination, one.destination, sizeof(one.destination))
    call.call = one.destination_port
    call.key = one.source_port
    call.zone = one.zone
    call.family = one.family
    call.master = one.master


cdef bint same_expectation(const Expect *a, const Expect *b) noexcept nogil:
    return (a.master == b.master and a.proto == b.proto and a.family == b.family and a.zone == b.zone
            and a.destination[0] == b.destination[0] and a.destination[1] == b.destination[1]
            and a.destination_port == b.destination_port and a.source[0] == b.source[0]
            and a.source[1] == b.source[1] and a.source_port == b.source_port
            and (a.flags ^ b.flags) & (EXPECT_ANY_PORT | EXPECT_ANY_SOURCE) == 0)


cdef uint16_t network16(int number):
    return <uint16_t> ((number & 0xff) << 8 | (number >> 8 & 0xff))


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
        return be32(p.data + p.l4 + 4) if p.proto == PROTO_TCP else 0

    @property
    def memory(self):
        return self.notes

    def expect(self, *, bytes destination, int port, int protocol=6, bytes source=None, source_port=None,
               bint permanent=False, timeout=None, int class_=0, helper=None):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef Expect made
        cdef GreKey call
        cdef int size = 4 if p.family == 4 else 16
        cdef uint32_t most, most_at_once
        if len(destination) != size or (source is not None and len(source) != size):
            raise ValueError(f"expect: addresses of {size} bytes expected")
        limit, lasts = self.helper.policy(class_)
        memset(&made, 0, sizeof(Expect))
        put_address(made.destination, destination)
        made.destination_port = network16(port)
        made.proto = <uint8_t> protocol
        made.family = p.family
        made.zone = p.key.zone
        made.master = p.entry
        made.class_ = <uint8_t> class_
        made.helper = self.tracker.flows.entries[p.entry].helper
        if source is None:
            made.flags |= EXPECT_ANY_SOURCE
        else:
            put_address(made.source, source)
        if source_port is None:
            made.flags |= EXPECT_ANY_PORT
        else:
            made.source_port = network16(source_port)
        if permanent:
            made.flags |= EXPECT_PERMANENT
        if helper is not None:
            names = self.attached.names()
            if helper not in names:
                raise ValueError(f"expect: no helper is called {helper!r} here")
            made.child_helper = <uint8_t> names.index(helper)
        made.expires = p.now + <int64_t> (lasts if timeout is None else timeout) * 1_000_000_000
        most = <uint32_t> self.tracker.settings.of[SET_EXPECT_MAX]
        most_at_once = limit
        if expects_add(&self.tracker.expects, &made, most, most_at_once, p.now) < 0:
            return False
        self.tracker.flows.entries[p.entry].status |= STATUS_MASTER
        if made.proto == PROTO_GRE:
            # its packets name the receiver's end of the call only: from now on they get the sender's too
            call_of(&made, &call)
            gre_keys_add(&self.tracker.gre_keys, &call)
        return True

    def cancel(self, *, int protocol, bytes source, source_port, bytes destination, int port):
        """See fastfw.helpers.base.Flow."""
        cdef const Packet *p = self.live()
        cdef Expects *x = &self.tracker.expects
        cdef Expect meant
        cdef GreKey call
        cdef Key key
        cdef uint8_t head[40]
        cdef uint32_t i, index
        cdef int size = 4 if p.family == 4 else 16, at = 12 if p.family == 4 else 8
        if len(destination) != size or (source is not None and len(source) != size):
            raise ValueError(f"cancel: addresses of {size} bytes expected")
        memset(&meant, 0, sizeof(Expect))
        put_address(meant.destination, destination)
        meant.destination_port = network16(port)
        meant.proto = <uint8_t> protocol
        meant.family = p.family
        meant.zone = p.key.zone
        meant.master = p.entry
        if source is None:
            meant.flags |= EXPECT_ANY_SOURCE
        else:
            put_address(meant.source, source)
        if source_port is None:
            meant.flags |= EXPECT_ANY_PORT
        else:
            meant.source_port = network16(source_port)
        if protocol == PROTO_GRE:
            call_of(&meant, &call)
            gre_keys_remove(&self.tracker.gre_keys, &call)
        for i in range(x.count):
            if same_expectation(x.all + i, &meant):
                expects_remove(x, x.all + i)
                return
        if source is None or source_port is None:
            return
        memset(head, 0, sizeof(head))
        memcpy(head + at, <const char *> source, size)
        memcpy(head + at + size, <const char *> destination, size)
        wire_key(&key, head, p.family, meant.source_port, meant.destination_port, meant.proto)
        key.zone = meant.zone
        index = flows_find(&self.tracker.flows, &key, flows_hash(&self.tracker.flows, &key))
        if index != NO_FLOW and index != p.entry and self.tracker.flows.entries[index].master == p.entry:
            conntrack_delete(self.tracker, index, ENDED_DELETED)
