"""What an engine consists of, and what its owner can set and read. `Machine` holds it all under one lock; the packets
are engine.pyx's."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastfw.core.conntrack cimport (
    COUNTERS, Template, Tracker, conntrack_delete, conntrack_init, conntrack_sweep, conntrack_template,
)
from fastfw.core.defrag cimport Defrag, Family, defrag_expire, defrag_free
from fastfw.core.events cimport ENDED_DELETED, events_free
from fastfw.core.expect cimport expects_clear, expects_free
from fastfw.core.flows cimport (
    Flows, flows_clear, flows_crowding, flows_free, flows_init, flows_reserve, flows_want_extras,
)
from fastfw.core.gre cimport gre_keys_clear, gre_keys_free, gre_keys_init
from fastfw.core.helping cimport Attached
from fastfw.core.logs cimport logs_free, logs_open, logs_take
from fastfw.core.program cimport Program
from fastfw.core.rewrite cimport rewrite_free, rewrite_reserve
from fastfw.core.rules cimport Rules
from fastfw.core.settings import TABLE as SETTINGS
from fastfw.core.settings cimport SET_ACCT, SET_MAX, SET_TCP, SET_TIMESTAMP, TCP_SYN_SENT2
from fastfw.core.walk cimport walk_follow, walk_forget_paths, walk_next_base

# Room to begin with where there is no limit (nf_conntrack_max 0); the table then grows as it fills.
cdef uint32_t UNLIMITED_START = 1 << 20


cdef class Machine:
    def __cinit__(self, *args, **kwargs):
        cdef pthread_mutexattr_t kind
        pthread_mutexattr_init(&kind)
        pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE)
        pthread_mutex_init(&self.lock, &kind)
        memset(&self.tracker, 0, sizeof(Tracker))
        memset(&self.defrag, 0, sizeof(Defrag))
        self.interfaces = {"": 0}
        self.templates = {}
        self.attached = Attached()
        self.kept_logs = []

    def __init__(self, dict settings, bytes seed, clock):
        """`settings` has every name of core.settings.TABLE; `seed` is 88 random bytes for the table's hash; `clock`
        returns ns."""
        if len(seed) != 88:
            raise ValueError("seed: 88 bytes expected")
        if self.tracker.flows.buckets != NULL:
            raise RuntimeError("an engine is set up once")
        self.clock = clock
        for name, value in settings.items():
            self._set(name, value)
        # the one state without a setting
        self.tracker.settings.of[SET_TCP + TCP_SYN_SENT2] = <int64_t> 120_000_000_000
        cdef uint32_t room = settings["nf_conntrack_max"] or UNLIMITED_START
        if flows_init(&self.tracker.flows, room, seed) < 0:
            raise MemoryError(f"no memory for a table of {room} connections")
        self.tracker.expects.secret = self.tracker.flows.secret[0]
        if gre_keys_init(&self.tracker.gre_keys, self.tracker.flows.secret[0]) < 0:
            raise MemoryError("no memory for calls")
        conntrack_init(&self.tracker)
        if settings["nf_conntrack_acct"] or settings["nf_conntrack_timestamp"]:
            if flows_want_extras(&self.tracker.flows) < 0:
                raise MemoryError(f"no memory for the accounting of {room} connections")

    def __dealloc__(self):
        flows_free(&self.tracker.flows)
        expects_free(&self.tracker.expects)
        events_free(&self.tracker.events)
        events_free(&self.tracker.expect_events)
        logs_free(&self.logs)
        rewrite_free(&self.rewrite)
        free(self.queues)
        gre_keys_free(&self.tracker.gre_keys)
        free(self.tracker.templates)
        defrag_free(&self.defrag)
        pthread_mutex_destroy(&self.lock)

    # -- configuration --------------------------------------------------------------------------------------------

    def _set(self, str name, int64_t value):
        """Set one setting, checked by the caller; a higher nf_conntrack_max makes room at once."""
        slot, _default, _highest, unit = SETTINGS[name]
        cdef int place = slot
        cdef int64_t scaled = value * <int64_t> (unit or 1)
        cdef int grown = 0
        cdef uint32_t room = <uint32_t> value, i
        cdef bint is_max = place == SET_MAX, wants_extras = place == SET_ACCT or place == SET_TIMESTAMP
        with nogil:
            pthread_mutex_lock(&self.lock)
            if is_max and self.tracker.flows.buckets != NULL:
                grown = flows_reserve(&self.tracker.flows, room)
            if wants_extras and value and self.tracker.flows.buckets != NULL:
                grown = flows_want_extras(&self.tracker.flows)
            if grown == 0:
                self.tracker.settings.of[place] = scaled
                for i in range(1, self.tracker.template_count):
                    if not self.tracker.templates[i].kept >> place & 1:
                        self.tracker.templates[i].settings.of[place] = scaled
            pthread_mutex_unlock(&self.lock)
        if grown < 0:
            raise MemoryError(f"no memory for a table of {value} connections")

    def _template(self, uint16_t zone, bint zone_of_mark, uint8_t helper, dict timeouts, uint16_t events,
                  uint16_t expect_events):
        """A number for what a CT rule asks for; `timeouts` has seconds by slot, `events` bits by TELL_..."""
        key = zone, zone_of_mark, helper, tuple(sorted(timeouts.items())), events, expect_events
        if key in self.templates:
            return self.templates[key]
        cdef Template made
        cdef uint16_t number
        memset(&made, 0, sizeof(Template))
        made.zone = zone
        made.zone_of_mark = zone_of_mark
        made.helper = helper
        made.events = events
        made.expect_events = expect_events
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            made.settings = self.tracker.settings
            for slot, seconds in timeouts.items():
                made.settings.of[<int> slot] = seconds * 1_000_000_000
                made.kept |= <uint64_t> 1 << <int> slot
            number = conntrack_template(&self.tracker, &made)
        finally:
            pthread_mutex_unlock(&self.lock)
        if not number:
            raise MemoryError("no room for more than 65535 combinations of CT options")
        self.templates[key] = number
        return number

    def _templates(self):
        """What CT rules have asked for of connections that began, by number: timeouts (seconds by slot), events and
        expectation events (bits)."""
        return {number: (dict(key[3]), key[4], key[5]) for key, number in self.templates.items()}

    def _want_labels(self, bint wanted):
        """Whether connections that begin from now on have labels."""
        cdef int made = 0
        with nogil:
            pthread_mutex_lock(&self.lock)
            if wanted:
                made = flows_want_extras(&self.tracker.flows)
            if made == 0:
                self.tracker.labels = wanted
            pthread_mutex_unlock(&self.lock)
        if made < 0:
            raise MemoryError(f"no memory for the labels of {self.tracker.flows.capacity} connections")

    def _get(self, str name):
        slot, _default, _highest, unit = SETTINGS[name]
        return self.tracker.settings.of[<int> slot] // (unit or 1)

    def _replace(self, int family, Rules rules):
        """Put a compiled ruleset, or None, in the place of the one in force, between two batches."""
        cdef Program *program = NULL
        if rules is not None:
            for name, number in list(self.interfaces.items()):
                rules.bind_interface(number, name)
            program = &rules.program
            program.logs = &self.logs
            program.rewrite = &self.rewrite
            program.queues = self.queues
            if program.rewrites and rewrite_reserve(&self.rewrite) < 0:
                raise MemoryError("no memory for packets whose headers rules change")
        cdef Program **place = &self.program4 if family == 4 else &self.program6
        cdef uint32_t *base = &self.path_base[family == 6]
        if rules is not None and rules.reads_payload:    # before the rules that need it
            self.reads_payload[family == 6] = 1
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            if rules is not None:                # again: names may have come while the lock was waited for
                for name, number in self.interfaces.items():
                    rules.bind_interface(number, name)
            self.keep_logs()
            if place[0] != NULL:
                base[0] = walk_next_base(place[0])
            if program != NULL:
                walk_follow(program, &self.tracker, base[0])
                walk_forget_paths(program, &self.tracker)
            place[0] = program
            if family == 4:
                self.rules4 = rules
            else:
                self.rules6 = rules
        finally:
            rules = self._rules(family)          # those before, where the new ones found no memory
            self.reads_payload[family == 6] = rules is not None and rules.reads_payload
            pthread_mutex_unlock(&self.lock)

    def _read_queues(self, numbers):
        """Tell which queues are read; None: all of them. Before the first ruleset."""
        cdef uint32_t number
        if numbers is None:
            return
        self.queues = <uint64_t *> calloc(1024, sizeof(uint64_t))
        if self.queues == NULL:
            raise MemoryError("no memory for the queues")
        for one in numbers:
            number = one
            if number > 65535:
                raise ValueError(f"queues: numbers from 0 to 65535 expected, not {one}")
            self.queues[number >> 6] |= <uint64_t> 1 << (number & 63)

    def _rules(self, int family):
        return self.rules4 if family == 4 else self.rules6

    def _rule_counters(self, int family):
        """Packets and bytes of every rule of the family's ruleset; None without one."""
        rules = self.rules4 if family == 4 else self.rules6
        if rules is None:
            return None
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            return rules.counters()
        finally:
            pthread_mutex_unlock(&self.lock)

    def _held(self, call):
        """What `call` returns, while no batch runs."""
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            return call()
        finally:
            pthread_mutex_unlock(&self.lock)

    cdef uint16_t interface(self, str name) except? 0:
        if self.tracker.flows.buckets == NULL:
            raise RuntimeError("the engine was not set up: a subclass must call super().__init__")
        if not name:
            return 0
        number = self.interfaces.get(name)
        if number is not None:
            return number
        if len(self.interfaces) > 65535:
            raise ValueError("more than 65535 interface names")
        # rules in force grow: no batch may be walking them
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            number = self.interfaces.get(name)
            if number is None:
                number = len(self.interfaces)
                self._name_interface(number, name)
        finally:
            pthread_mutex_unlock(&self.lock)
        return number

    cdef void _name_interface(self, int number, str name) except *:
        """Give a name its number: all rules in force know it then, or, where memory is short, none. Under the lock."""
        try:
            for rules in (self.rules4, self.rules6):
                if rules is not None:
                    rules.bind_interface(number, name)
            self.interfaces[name] = number
        except BaseException:
            for rules in (self.rules4, self.rules6):
                if rules is not None:
                    rules.unbind_interface(number)
            raise

    # -- logs -----------------------------------------------------------------------------------------------------

    def _forget_paths(self):
        """Walk every packet's way again: what it tells of may be asked for now."""
        with nogil:
            pthread_mutex_lock(&self.lock)
            if self.program4 != NULL:
                walk_forget_paths(self.program4, &self.tracker)
            if self.program6 != NULL:
                walk_forget_paths(self.program6, &self.tracker)
            pthread_mutex_unlock(&self.lock)

    def _open_logs(self, uint32_t room, uint32_t snap):
        """Begin to keep the last `room` logged packets, `snap` bytes of each; 0: none any more."""
        cdef int failed
        with nogil:
            pthread_mutex_lock(&self.lock)
            failed = logs_open(&self.logs, room, snap)
            pthread_mutex_unlock(&self.lock)
        self._forget_paths()
        self.kept_logs = []
        self.lost_logs = 0
        if failed:
            raise MemoryError(f"no memory for {room} logged packets")

    cdef int keep_logs(self) except -1:
        """Move what the ring holds to the list, with the rulesets in force; the oldest go where room is short. The lock
        is held."""
        cdef uint64_t waiting = self.logs.written - self.logs.read
        if not waiting:
            return 0
        if waiting > self.logs.room:
            self.lost_logs += waiting - self.logs.room
        records, packets = logs_take(&self.logs)
        self.kept_logs.append((records, packets, self.rules4, self.rules6))
        while len(self.kept_logs) > 1 and sum(len(part[1]) for part in self.kept_logs) > self.logs.room:
            self.lost_logs += len(self.kept_logs.pop(0)[1])
        return 0

    def _take_logs(self):
        """[(records of dtype LOG, the bytes kept of each packet, IPv4's ruleset, IPv6's)] since the last call, oldest
        first, and how many records were lost unread."""
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            self.keep_logs()
            taken, self.kept_logs = self.kept_logs, []
            lost, self.lost_logs = self.lost_logs, 0
        finally:
            pthread_mutex_unlock(&self.lock)
        return taken, lost

    def _interface_names(self):
        """The interfaces' names by number."""
        return list(self.interfaces)

    # -- the table ------------------------------------------------------------------------------------------------

    @property
    def conntrack_count(self):
        """Connections in the table, those included whose time is up but which no packet has met since."""
        cdef uint32_t count
        with nogil:
            pthread_mutex_lock(&self.lock)
            count = self.tracker.flows.count
            pthread_mutex_unlock(&self.lock)
        return count

    @property
    def fragments(self):
        """What waits for reassembly, IPv4 and IPv6: (datagrams, bytes charged for them) each."""
        cdef Family four, six
        with nogil:
            pthread_mutex_lock(&self.lock)
            four = self.defrag.family[0]
            six = self.defrag.family[1]
            pthread_mutex_unlock(&self.lock)
        return (four.queues, four.charge), (six.queues, six.charge)

    @property
    def now(self):
        """The engine's clock, ns."""
        cdef int64_t now
        with nogil:
            pthread_mutex_lock(&self.lock)
            now = self.tracker.now
            pthread_mutex_unlock(&self.lock)
        return now

    def _table_statistics(self):
        """How the table stands: entries, room, the index's size and how well it is spread."""
        cdef uint32_t spilled, fullest
        cdef Flows f
        with nogil:
            pthread_mutex_lock(&self.lock)
            f = self.tracker.flows
            flows_crowding(&f, &spilled, &fullest)
            pthread_mutex_unlock(&self.lock)
        return {"count": f.count, "capacity": f.capacity, "used": f.used - 1, "bucket_count": f.bucket_count,
                "spilled": spilled, "fullest": fullest}

    def _flush(self):
        cdef uint32_t index
        with nogil:
            pthread_mutex_lock(&self.lock)
            if self.tracker.events.ring != NULL:
                for index in range(1, self.tracker.flows.used):
                    if self.tracker.flows.entries[index].key.family:
                        conntrack_delete(&self.tracker, index, ENDED_DELETED)
            expects_clear(&self.tracker.expects)
            flows_clear(&self.tracker.flows)
            gre_keys_clear(&self.tracker.gre_keys)
            pthread_mutex_unlock(&self.lock)

    def _sweep(self, int64_t now):
        """Let time pass to `now` without a packet and delete everything whose time is up."""
        if now > LATEST:
            now = LATEST
        with nogil:
            pthread_mutex_lock(&self.lock)
            if now > self.tracker.now:
                self.tracker.now = now
            conntrack_sweep(&self.tracker, self.tracker.flows.used)
            defrag_expire(&self.defrag, self.tracker.now)
            pthread_mutex_unlock(&self.lock)

    def helper_names(self):
        """Of the helpers the engine carries, by number; 0 is none."""
        return self.attached.names()

    def helper_classes(self):
        """What each helper calls its classes of expectations, by the helper's number."""
        return self.attached.classes()

    def _stream_statistics(self):
        """Of helpers that read streams: connections read, bytes kept, connections given up at a bound."""
        return self._held(self.attached.stream_statistics)

    def _declare(self, broadcasts):
        """Before any packet: IPv4 broadcast addresses of the host's networks and their masks, 4 bytes each."""
        self.attached.declare(broadcasts)

    def _attach(self, helper, ports):
        """Attach a Helper to new connections to `ports`, (protocol number, port) pairs; none: to CT rules alone."""
        self._attaching(self.attached.add, helper, ports)

    def _attach_unasked(self, helpers):
        """Attach Helpers, and no others that nobody asked for, to those of their ports that have none."""
        self._attaching(self.attached.add_unasked, helpers)

    def _attaching(self, add, *given):
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            add(*given)
            self.reads_payload[2] = 1
            self.tracker.helper_of_port[0] = self.attached.port_map(6)
            self.tracker.helper_of_port[1] = self.attached.port_map(17)
        finally:
            pthread_mutex_unlock(&self.lock)

    def _counters(self):
        with nogil:
            pthread_mutex_lock(&self.lock)
        try:
            return [self.tracker.counters[i] for i in range(COUNTERS)], [self.tracker.reasons[i] for i in range(256)]
        finally:
            pthread_mutex_unlock(&self.lock)
