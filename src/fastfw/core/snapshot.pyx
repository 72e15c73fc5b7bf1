"""The table as arrays: copied out for listings and files, checked and put back."""
import json

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


from fastfw.core.conntrack cimport (
    TELL_ASSURED, TELL_HELPER, TELL_LABEL, TELL_MARK, TELL_PROTOINFO, TELL_REPLY, conntrack_delete,
)
from fastfw.core.engine cimport Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.events cimport (
    ENDED_DELETED, ENDED_NOT, EVENT_NEW, EVENT_UPDATE, Event, Events, events_note, events_watch,
)
from fastfw.core.expect cimport (
    EXPECT_ANY_PORT, EXPECT_ANY_SOURCE, EXPECT_INACTIVE, EXPECT_MASKED, EXPECT_PERMANENT, Expect, expects_add,
    expects_clear,
)
from fastfw.core.flows cimport Entry, Extra, flows_find, flows_hash, flows_insert, flows_want_extras, key_equal
from fastfw.core.gre cimport GreKey, gre_keys_add, gre_keys_copy
from fastfw.core.icmp_types cimport icmp_request_of
from fastfw.core.settings cimport SET_EXPECT_MAX, SET_MAX, TCP_NONE, TCP_STATES, TCP_TIME_WAIT
from fastfw.core.tcp cimport CLOSED_FIRST, LIBERAL, SACKS
from fastfw.core.terms cimport (
    STATUS_ASSURED, STATUS_CONFIRMED, STATUS_COUNTED, STATUS_TIMED, STATUS_EXPECTED, STATUS_FIXED_TIMEOUT,
    STATUS_HELPED, STATUS_HELPER, STATUS_LABELLED, STATUS_MASTER, STATUS_ORIGIN_HI, STATUS_SEEN_REPLY, STATUS_SKIPS,
    STATUS_TEMPLATED, STATUS_UNREAD,
)
from fastfw.core.wire cimport (
    NO_FLOW, PROTO_GRE, PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PROTO_UDPLITE, Key,
)

# An entry of the table's slab, one record a connection; flows.pxd says what each field means.
ENTRY = np.dtype({
    "names": ["lo", "hi", "lo_port", "hi_port", "zone", "proto", "family", "expires", "status", "mark", "private",
              "master", "state", "helper", "template"],
    "formats": ["V16", "V16", ">u2", ">u2", "<u2", "u1", "u1", "<i8", "<u4", "<u4", "V56", "<u4", "u1", "u1", "<u2"],
    "offsets": [0, 16, 32, 34, 36, 38, 39, 64, 40, 44, 72, 56, 60, 61, 62],
    "itemsize": 128,
})

# What is counted of a connection; flows.pxd says what each field means.
EXTRA = np.dtype({
    "names": ["packets", "bytes", "started", "labels"],
    "formats": [("<u8", 2), ("<u8", 2), "<i8", ("<u8", 2)],
    "offsets": [0, 16, 32, 40],
    "itemsize": 64,
})

# What happened to a connection; events.pxd says what each field means.
EVENT = np.dtype({
    "names": ["time", "kind", "why", "what", "entry", "extra"],
    "formats": ["<i8", "u1", "u1", "<u2", ENTRY, EXTRA],
    "offsets": [0, 8, 9, 10, 16, 144],
    "itemsize": 208,
})

# An expectation; expect.pxd says what each field means.
EXPECT = np.dtype({
    "names": ["source", "destination", "source_port", "destination_port", "zone", "proto", "family", "flags", "class_",
              "helper", "child_helper", "master", "expires", "serial"],
    "formats": ["V16", "V16", ">u2", ">u2", "<u2", "u1", "u1", "u1", "u1", "u1", "u1", "<u4", "<i8", "<u8"],
    "offsets": [0, 16, 32, 34, 36, 38, 39, 40, 41, 42, 43, 44, 48, 56],
    "itemsize": 64,
})

# What happened to an expectation: the same, with its master for the connection and itself beside it.
EXPECTATION_EVENT = np.dtype({
    "names": ["time", "kind", "entry", "expectation"],
    "formats": ["<i8", "u1", ENTRY, EXPECT],
    "offsets": [0, 8, 16, 144],
    "itemsize": 208,
})

# A call of PPTP; gre.pxd says what each field means.
CALL = np.dtype({
    "names": ["source", "destination", "call", "zone", "family", "key", "master"],
    "formats": ["V16", "V16", ">u2", "<u2", "u1", ">u2", "<u4"],
    "offsets": [0, 16, 32, 34, 36, 40, 44],
    "itemsize": 48,
})

if sizeof(Entry) != ENTRY.itemsize or sizeof(Extra) != EXTRA.itemsize or sizeof(Expect) != EXPECT.itemsize \
        or sizeof(Event) != EVENT.itemsize or sizeof(GreKey) != CALL.itemsize:
    raise ImportError("fastfw.core.snapshot: a record does not match its layout")

# What an entry in the table may carry; anything else in a file was not written by an engine.
cdef uint32_t KNOWN_STATUS = (
    STATUS_COUNTED | STATUS_TIMED | STATUS_LABELLED | STATUS_TEMPLATED |
    STATUS_EXPECTED | STATUS_SEEN_REPLY | STATUS_ASSURED | STATUS_CONFIRMED | STATUS_FIXED_TIMEOUT | STATUS_HELPER
    | STATUS_UNREAD | STATUS_HELPED | STATUS_MASTER | STATUS_ORIGIN_HI
)


cdef enum:
    # what nf_conntrack says that a program has changed, whatever it has
    TELL_OF_CHANGE = TELL_REPLY | TELL_ASSURED | TELL_PROTOINFO | TELL_HELPER | TELL_MARK | TELL_LABEL


cdef uint8_t[::1] raw(array):
    """An array's bytes; of an empty one, a byte that is not used."""
    return array.view(np.uint8) if len(array) else np.empty(1, np.uint8)


cdef uint32_t held(Core core, const uint32_t *number) noexcept:
    """A number of the engine's as it is between two batches."""
    cdef uint32_t found
    with nogil:
        pthread_mutex_lock(&core.lock)
        found = number[0]
        pthread_mutex_unlock(&core.lock)
    return found


def entries(Core core):
    """A copy of every live entry (dtype ENTRY) in no particular order, the slab index of each (uint32), and the Extra
    of each (dtype EXTRA), None where nothing is counted."""
    cdef uint32_t room = held(core, &core.tracker.flows.count), index, found = 0
    table = np.empty(room, ENTRY)
    indices = np.empty(room, np.uint32)
    cdef uint8_t[::1] table_bytes = raw(table), index_bytes = raw(indices)
    cdef Entry *into = <Entry *> &table_bytes[0]
    cdef uint32_t *numbers = <uint32_t *> &index_bytes[0]
    cdef Entry *e
    cdef bint counted = core.tracker.flows.extras != NULL
    more = np.empty(room if counted else 0, EXTRA)
    cdef uint8_t[::1] more_bytes = raw(more)
    cdef Extra *beside = <Extra *> &more_bytes[0]
    with nogil:
        pthread_mutex_lock(&core.lock)
        for index in range(1, core.tracker.flows.used):
            e = core.tracker.flows.entries + index
            if e.key.family and e.expires > core.tracker.now and found < room:
                into[found] = e[0]
                into[found].status &= ~(<uint32_t> STATUS_SKIPS)
                numbers[found] = index
                if counted:
                    beside[found] = core.tracker.flows.extras[index]
                found += 1
        pthread_mutex_unlock(&core.lock)
    return table[:found], indices[:found], more[:found] if counted else None


def expectations(Core core):
    """A copy of every expectation that still waits (dtype EXPECT), oldest first."""
    cdef uint32_t room = held(core, &core.tracker.expects.count), i, found = 0
    table = np.empty(room, EXPECT)
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef Expect *into = <Expect *> &table_bytes[0]
    with nogil:
        pthread_mutex_lock(&core.lock)
        for i in range(core.tracker.expects.count):
            if core.tracker.expects.all[i].expires > core.tracker.now and found < room:
                into[found] = core.tracker.expects.all[i]
                found += 1
        pthread_mutex_unlock(&core.lock)
    table = table[:found]
    return table[np.argsort(table["serial"], kind="stable")]


def calls(Core core):
    """A copy of every call that helpers have told of (dtype CALL)."""
    cdef uint32_t room = held(core, &core.tracker.gre_keys.calls.count), found
    table = np.zeros(room, CALL)
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef GreKey *into = <GreKey *> &table_bytes[0]
    with nogil:
        pthread_mutex_lock(&core.lock)
        found = gre_keys_copy(&core.tracker.gre_keys, into, room)
        pthread_mutex_unlock(&core.lock)
    return table[:found]


cdef bint key_sound(const Key *k) noexcept nogil:
    """The endpoints are in the order that packets will be looked up by, and what is unused is zero."""
    cdef uint8_t kind
    if k.family != 4 and k.family != 6:
        return False
    if k.family == 4 and (k.lo[0] >> 32 or k.lo[1] or k.hi[0] >> 32 or k.hi[1]):
        return False
    if k.proto == PROTO_ICMP or k.proto == PROTO_ICMPV6:
        kind = <uint8_t> k.hi_port      # with the code above it, as wire.pyx has it
        return (k.proto == PROTO_ICMP) == (k.family == 4) and icmp_request_of(k.family, kind) == kind
    if (k.lo_port or k.hi_port) and k.proto not in (PROTO_TCP, PROTO_UDP, PROTO_SCTP, PROTO_UDPLITE, PROTO_GRE):
        return False
    if k.family == 4:
        return (k.lo[0] << 16 | k.lo_port) <= (k.hi[0] << 16 | k.hi_port)
    if k.lo[0] != k.hi[0]:
        return k.lo[0] < k.hi[0]
    if k.lo[1] != k.hi[1]:
        return k.lo[1] < k.hi[1]
    return k.lo_port <= k.hi_port


cdef bint entry_sound(const Entry *e, uint32_t helper_count) noexcept nogil:
    if not key_sound(&e.key) or e.status & ~KNOWN_STATUS or not e.status & STATUS_CONFIRMED:
        return False
    if e.helper >= helper_count:
        return False
    if e.key.proto == PROTO_TCP:
        return (TCP_NONE < e.state < TCP_STATES and e.proto.tcp.scale[0] <= 14 and e.proto.tcp.scale[1] <= 14
                and e.proto.tcp.pending_scale <= 14 and e.proto.tcp.last_index < 6
                and e.proto.tcp.last_direction < 2)
    if e.key.proto == PROTO_SCTP:
        return e.state < 9
    if e.key.proto == PROTO_ICMP or e.key.proto == PROTO_ICMPV6:
        return not e.status & STATUS_ORIGIN_HI      # the requester comes first
    return True


cdef bint expect_sound(const Expect *one, uint32_t helper_count) noexcept nogil:
    if one.flags & ~(EXPECT_PERMANENT | EXPECT_ANY_PORT | EXPECT_ANY_SOURCE | EXPECT_INACTIVE | EXPECT_MASKED):
        return False
    if one.helper >= helper_count or one.child_helper >= helper_count:
        return False
    if one.family == 6:
        return not one.flags & EXPECT_MASKED
    return one.family == 4 and not (
        one.destination[0] >> 32 or one.destination[1] or one.source[1]
        or (one.source[0] >> 32 and not one.flags & EXPECT_MASKED))


def check_expectations(table, uint32_t helper_count):
    """ValueError for a saved expectation (dtype EXPECT) that no engine would have written."""
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef const Expect *given = <const Expect *> &table_bytes[0]
    cdef uint32_t i
    for i in range(<uint32_t> len(table)):
        if not expect_sound(given + i, helper_count):
            raise ValueError(f"expectation {i} is none that an engine would have saved")


def check_calls(table):
    """ValueError for saved calls (dtype CALL) that no engine would have written."""
    four, six = table[table["family"] == 4], table[table["family"] == 6]
    ends = [four[name].tobytes()[at::16] for name in ("source", "destination") for at in range(4, 16)]
    if len(four) + len(six) != len(table) or any(any(byte) for byte in ends):
        raise ValueError("the calls are none that an engine would have saved")
    names = np.stack([table[name] for name in ("call", "zone", "family")], 1)
    told = {(one["source"].tobytes(), one["destination"].tobytes(), *name.tolist()) for one, name in zip(table, names)}
    if len(told) != len(table):
        raise ValueError("a call is told of twice")


cdef inline bint is_still(Core core, uint32_t index, const Key *key) noexcept nogil:
    """Whether the connection is where it was when the lock was last held."""
    return index < core.tracker.flows.used and key_equal(&core.tracker.flows.entries[index].key, key)


def put_entries(Core core, table, indices, extras, helpers, uint8_t behind=0, templates=None):
    """Enter saved entries that are not in the table yet, their time not up.

    `extras` (dtype EXTRA or None) are taken over where this engine counts too. `helpers` (uint8) maps the saved helper
    numbers to this engine's, 0: none, `templates` those of templates, none by default. Up to `behind` segments of each
    TCP connection that windows would refuse teach it new ones instead. Returns (entered, refused because the table is
    full, and of the masters and of those with a helper a dict: by old slab index the new one and the connection's key).
    ValueError for a record no engine would have written; nothing is entered then.
    """
    cdef uint32_t count = len(table), i, index, entered = 0, refused = 0, helper_count = len(helpers)
    cdef uint8_t[::1] table_bytes = raw(table), helper_map = raw(np.ascontiguousarray(helpers, np.uint8))
    cdef uint16_t[::1] template_map = np.zeros(65536, np.uint16)
    for number, new in ({} if templates is None else templates).items():
        template_map[number] = new
    moved = np.zeros(count, np.uint32)
    cdef uint8_t[::1] moved_bytes = raw(moved)
    cdef uint32_t *went = <uint32_t *> &moved_bytes[0]
    cdef const Entry *given = <const Entry *> &table_bytes[0]
    cdef Entry one
    cdef bint counts = core.tracker.flows.extras != NULL and extras is not None
    cdef uint8_t[::1] extra_bytes = raw(extras if counts else np.empty(0, EXTRA))
    cdef const Extra *beside = <const Extra *> &extra_bytes[0]
    cdef uint32_t hash
    cdef int64_t bad = -1
    with nogil:
        for i in range(count):
            if not entry_sound(given + i, helper_count):
                bad = i
                break
    if bad >= 0:
        raise ValueError(f"record {bad} is no connection that an engine would have saved")
    with nogil:
        pthread_mutex_lock(&core.lock)
        for i in range(count):
            one = given[i]
            if one.expires <= core.tracker.now:
                continue
            hash = flows_hash(&core.tracker.flows, &one.key)
            if flows_find(&core.tracker.flows, &one.key, hash) != NO_FLOW:
                continue
            if core.tracker.settings.of[SET_MAX] and core.tracker.flows.count >= core.tracker.settings.of[SET_MAX]:
                refused += 1
                continue
            one.path[0] = 0
            one.path[1] = 0
            one.master = NO_FLOW
            one.helper = helper_map[one.helper] if one.helper else 0
            if not counts:
                one.status &= ~(<uint32_t> (STATUS_COUNTED | STATUS_TIMED | STATUS_LABELLED))
            one.template = template_map[one.template] if one.status & STATUS_TEMPLATED else 0
            one.status &= ~(<uint32_t> (STATUS_MASTER | STATUS_HELPED | STATUS_UNREAD | STATUS_TEMPLATED))
            if one.template:
                one.status |= STATUS_TEMPLATED
            if one.helper:
                one.status |= STATUS_HELPED | STATUS_UNREAD
            if behind and one.key.proto == PROTO_TCP:
                one.proto.tcp.behind = behind
            index = flows_insert(&core.tracker.flows, &one, hash)
            if index == NO_FLOW:
                refused += 1
                continue
            if counts:
                core.tracker.flows.extras[index] = beside[i]
            if core.tracker.events.ring != NULL:
                core.tracker.flows.extras[index].untold = 0
                events_note(&core.tracker.events, EVENT_NEW, ENDED_NOT, TELL_OF_CHANGE, core.tracker.now,
                            core.tracker.flows.entries + index, core.tracker.flows.extras + index)
            went[i] = index
            entered += 1
        pthread_mutex_unlock(&core.lock)
    where = {}
    masters = np.isin(indices, table["master"]) | (table["status"] & STATUS_MASTER != 0) | (table["helper"] != 0)
    for row in np.flatnonzero(masters).tolist():
        if moved[row]:
            where[int(indices[row])] = (int(moved[row]), (<const char *> &given[row].key)[:sizeof(Key)])
    return entered, refused, where


def notes(Core core):
    """What helpers have noted of connections: (slab index, helper number, the notes). Notes that JSON does not give
    back as they were are left out, and those of streams, which are read anew."""
    found = []
    cdef Entry *e
    with nogil:
        pthread_mutex_lock(&core.lock)
    try:
        for (index, number), (key, memory) in core.attached.notes.items():
            e = core.tracker.flows.entries + <uint32_t> index
            if (not memory or e.helper != number or e.status & STATUS_UNREAD or core.attached.interests[number].most
                    or (<const char *> &e.key)[:sizeof(Key)] != key):
                continue
            try:
                kept = json.loads(json.dumps(memory))
            except (TypeError, ValueError, RecursionError):
                continue
            if kept == memory:
                found.append((index, number, kept))
    finally:
        pthread_mutex_unlock(&core.lock)
    return found


def put_notes(Core core, told, helpers, where):
    """Hand saved notes to the helpers of connections that were entered (`where`, from `put_entries`), are in the table
    still and have not been read."""
    cdef Entry *e
    cdef Key named
    for index, number, memory in told:
        if index not in where or not helpers[number]:
            continue
        new, key = where[index]
        memcpy(&named, <const char *> key, sizeof(Key))
        with nogil:
            pthread_mutex_lock(&core.lock)
        try:
            e = core.tracker.flows.entries + <uint32_t> new
            if is_still(core, new, &named) and e.helper == helpers[number] and e.status & STATUS_UNREAD:
                core.attached.notes[(new, int(helpers[number]))] = (key, memory)
                e.status &= ~(<uint32_t> STATUS_UNREAD)
        finally:
            pthread_mutex_unlock(&core.lock)


def put_expectations(Core core, table, helpers, where):
    """Enter saved expectations, checked before, whose masters were entered (`where`, from `put_entries`) and are in the
    table still: packets and deletions may come between; how many were."""
    cdef Expect one
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef const Expect *given = <const Expect *> &table_bytes[0]
    cdef Key master
    cdef uint32_t i, entered = 0
    for i in range(<uint32_t> len(table)):
        one = given[i]
        if one.master not in where:
            continue
        one.master, key = where[one.master]
        memcpy(&master, <const char *> key, sizeof(Key))
        one.helper = helpers[one.helper]
        one.child_helper = helpers[one.child_helper]
        with nogil:
            pthread_mutex_lock(&core.lock)
            if one.expires > core.tracker.now and is_still(core, one.master, &master) and expects_add(
                    &core.tracker.expects, &one, <uint32_t> core.tracker.settings.of[SET_EXPECT_MAX], 0,
                    core.tracker.now) == 0:
                core.tracker.flows.entries[one.master].status |= STATUS_MASTER
                entered += 1
            pthread_mutex_unlock(&core.lock)
    return entered


def put_calls(Core core, table, where):
    """Know saved calls, checked before, whose masters were entered (`where`, from `put_entries`) and are in the table
    still; how many were."""
    cdef GreKey one
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef const GreKey *given = <const GreKey *> &table_bytes[0]
    cdef uint32_t i, entered = 0
    cdef Key master
    cdef bint there
    cdef int failed
    for i in range(<uint32_t> len(table)):
        one = given[i]
        if one.master not in where:
            continue
        one.master, key = where[one.master]
        memcpy(&master, <const char *> key, sizeof(Key))
        memset(one.unused, 0, sizeof(one.unused))
        with nogil:
            pthread_mutex_lock(&core.lock)
            there = is_still(core, one.master, &master)
            failed = gre_keys_add(&core.tracker.gre_keys, &one) if there else 0
            if there and not failed:
                core.tracker.flows.entries[one.master].status |= STATUS_MASTER
                entered += 1
            pthread_mutex_unlock(&core.lock)
        if failed == -3:
            raise MemoryError(f"no memory for {len(table)} calls")
    return entered


def entry_of(connection, int64_t now, states):
    """A record (dtype ENTRY, of length 1) for a Connection that was read from text; `states` maps state names to
    numbers. Nothing is known of what its packets said."""
    row = np.zeros(1, ENTRY)
    ends = [(connection.source, connection.source_port.to_bytes(2, "big")),
            (connection.destination, connection.destination_port.to_bytes(2, "big"))]
    if connection.protocol not in (PROTO_ICMP, PROTO_ICMPV6):
        # the order that wire.pyx puts them in
        if connection.family == 4:
            place = [int.from_bytes(end[1] + end[0], "little") for end in ends]
        else:
            place = [(int.from_bytes(end[0][:8], "little"), int.from_bytes(end[0][8:], "little"),
                      int.from_bytes(end[1], "little")) for end in ends]
        if place[0] > place[1] or ends[0] == ends[1]:
            row["status"] = STATUS_ORIGIN_HI
            ends.reverse()
    row["lo"], row["hi"] = ends[0][0], ends[1][0]
    row["lo_port"], row["hi_port"] = int.from_bytes(ends[0][1], "big"), int.from_bytes(ends[1][1], "big")
    row["zone"], row["proto"], row["family"] = connection.zone, connection.protocol, connection.family
    row["expires"] = now + connection.timeout * 1_000_000_000
    row["status"] |= (connection.status | STATUS_CONFIRMED) & KNOWN_STATUS
    row["mark"] = connection.mark
    row["master"] = <uint32_t> NO_FLOW
    row["state"] = states.get(connection.state, 0)
    cdef uint8_t[::1] row_bytes = raw(row)
    cdef Entry *e = <Entry *> &row_bytes[0]
    cdef bytes wire
    cdef int d
    for d in range(2):
        if e.key.proto == PROTO_TCP:
            # as conntrack says of every connection that it enters
            e.proto.tcp.flags[d] = SACKS | LIBERAL | (CLOSED_FIRST if e.state >= TCP_TIME_WAIT else 0)
        elif e.key.proto == PROTO_SCTP:
            wire = connection.tags[d].to_bytes(4, "big")
            memcpy(&e.proto.sctp.tag[d], <const char *> wire, 4)
    return row


def remove(Core core, table, indices):
    """Take connections out of the table that are still where they were when `entries` read them; how many were."""
    cdef uint32_t count = len(table), i, gone = 0
    cdef uint8_t[::1] table_bytes = raw(table), index_bytes = raw(np.ascontiguousarray(indices, np.uint32))
    cdef const Entry *given = <const Entry *> &table_bytes[0]
    cdef const uint32_t *numbers = <const uint32_t *> &index_bytes[0]
    with nogil:
        pthread_mutex_lock(&core.lock)
        for i in range(count):
            if numbers[i] and is_still(core, numbers[i], &given[i].key):
                conntrack_delete(&core.tracker, numbers[i], ENDED_DELETED)
                gone += 1
        pthread_mutex_unlock(&core.lock)
    return gone


def change(Core core, table, indices, mark=0, mark_mask=0, timeout=None, status=0):
    """Change connections that are still where they were when `entries` read them; how many were.

    Bits of `mark_mask` are taken from `mark`; `timeout` (s) counts from now; `status` adds status bits: SEEN_REPLY,
    ASSURED and FIXED_TIMEOUT may be.
    """
    cdef uint32_t count = len(table), i, changed = 0
    cdef uint8_t[::1] table_bytes = raw(table), index_bytes = raw(np.ascontiguousarray(indices, np.uint32))
    cdef const Entry *given = <const Entry *> &table_bytes[0]
    cdef const uint32_t *numbers = <const uint32_t *> &index_bytes[0]
    cdef uint32_t value = mark, mask = mark_mask
    cdef uint32_t added = status & (STATUS_SEEN_REPLY | STATUS_ASSURED | STATUS_FIXED_TIMEOUT)
    cdef int64_t lasting = -1 if timeout is None else timeout
    cdef Entry *e
    with nogil:
        pthread_mutex_lock(&core.lock)
        for i in range(count):
            if not numbers[i] or numbers[i] >= core.tracker.flows.used:
                continue
            e = core.tracker.flows.entries + numbers[i]
            if not key_equal(&e.key, &given[i].key):
                continue
            e.mark = (e.mark & ~mask) | (value & mask)
            e.status |= added
            # what the rules may ask has changed: the next packet is walked through them
            e.path[0] = 0
            e.path[1] = 0
            if lasting >= 0:
                e.expires = core.tracker.now + lasting * <int64_t> 1_000_000_000
            if core.tracker.events.ring != NULL:
                events_note(&core.tracker.events, EVENT_UPDATE, ENDED_NOT, TELL_OF_CHANGE, core.tracker.now, e,
                            core.tracker.flows.extras + numbers[i])
            changed += 1
        pthread_mutex_unlock(&core.lock)
    return changed


def forget_expectations(Core core):
    """Wait for nothing any more."""
    with nogil:
        pthread_mutex_lock(&core.lock)
        expects_clear(&core.tracker.expects)
        pthread_mutex_unlock(&core.lock)


def watch(Core core, uint32_t room, bint expectations=False):
    """Begin to keep the last `room` events of connections, or of expectations; 0: none any more."""
    cdef int failed = 0
    cdef uint32_t index
    cdef Events *events = &core.tracker.expect_events if expectations else &core.tracker.events
    with nogil:
        pthread_mutex_lock(&core.lock)
        if room and not expectations:
            failed = flows_want_extras(&core.tracker.flows)
            for index in range(1, 0 if failed else core.tracker.flows.used):
                core.tracker.flows.extras[index].untold = 0
        if not failed:
            failed = events_watch(events, room)
        pthread_mutex_unlock(&core.lock)
    if failed:
        raise MemoryError(f"no memory for {room} events")
    core._forget_paths()


def take_events(Core core, bint expectations=False):
    """What happened since the last call to connections (dtype EVENT), or to expectations (EXPECTATION_EVENT), oldest
    first, and how many events were lost unread."""
    cdef uint64_t waiting = 0, lost = 0, i
    cdef uint32_t room
    cdef Events *events = &core.tracker.expect_events if expectations else &core.tracker.events
    table = np.empty(held(core, &events.room), EVENT)
    cdef uint8_t[::1] table_bytes = raw(table)
    cdef Event *into = <Event *> &table_bytes[0]
    room = <uint32_t> len(table)
    with nogil:
        pthread_mutex_lock(&core.lock)
        if room and events.room == room:
            waiting = events.written - events.read
            if waiting > room:
                lost = waiting - room
                waiting = room
            for i in range(waiting):
                into[i] = events.ring[(events.written - waiting + i) % room]
            events.read = events.written
        pthread_mutex_unlock(&core.lock)
    return table[:waiting].view(EXPECTATION_EVENT) if expectations else table[:waiting], lost
