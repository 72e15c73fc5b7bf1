"""Counting decisions: every packet falls into a class of packets that were decided alike, and into a conversation.

Classes are few, so whatever is said of all packets (tables, sums, the text of a CSV line) is said once per class.
Classes and conversations live in open-addressing tables, at most half full and keyed with a random seed, so that no
capture can be made to collide.
"""

import os

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from fastfw.cli.header cimport Header, read_header
from fastfw.core.bytes cimport prefetch, raw32, raw64
from fastfw.core.terms cimport HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT, VERDICT_DROP, VERDICT_REJECT

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef enum:
    # Conversations told apart; the packets of further ones are counted together.
    MAX_FLOWS = 1 << 20
    TOGETHER = 32            # packets whose slots are fetched at once

# A record of the engine's result array; fastfw.core.engine.DECISION is its layout.
cdef struct Decision:
    uint8_t verdict
    uint8_t state
    uint8_t direction
    uint8_t assured
    uint8_t seen_reply
    uint8_t expected
    uint16_t reason
    int32_t rule
    uint32_t mark

# Packets decided alike. The first 16 bytes are what they have in common.
cdef struct Class:
    uint8_t verdict
    uint8_t state
    uint8_t direction
    uint8_t assured
    uint8_t seen_reply
    uint8_t expected
    uint16_t reason
    int32_t rule
    uint8_t family
    uint8_t protocol
    uint8_t hook
    uint8_t link_reason
    uint64_t packets
    uint64_t bytes

cdef enum:
    CLASS_KEY = 16
    FLOW_KEY = 40

# Two endpoints that talk to each other, 64 bytes. The first 40 bytes are the key, its endpoints in a fixed order: five
# words, the last of both ports, family and protocol.
cdef struct Flow:
    uint8_t low[16]
    uint8_t high[16]
    uint8_t low_port[2]
    uint8_t high_port[2]
    uint8_t family
    uint8_t protocol
    uint8_t pad[2]
    uint32_t high_first      # the first packet came from `high`
    uint32_t refused         # packets dropped or rejected; saturates
    uint64_t packets         # 0: a free slot
    uint64_t bytes

# A packet between its two stages: which conversation it belongs to is told some packets before it is counted.
cdef struct Talk:
    Flow key
    uint32_t hash
    uint32_t size            # bytes of the IP packet
    uint8_t family           # 0: no IP packet, which belongs to no conversation
    uint8_t protocol
    bint swapped             # it came from `high`

DECISION_SIZE = sizeof(Decision)
CLASS_FIELDS = (
    "verdict", "state", "direction", "assured", "seen_reply", "expected", "reason", "rule", "family", "protocol",
    "hook", "link_reason", "packets", "bytes",
)


cdef inline uint64_t mix(uint64_t hash, uint64_t word) noexcept nogil:
    hash = (hash ^ word) * <uint64_t>0x9E3779B97F4A7C15
    return hash ^ (hash >> 32)


cdef inline uint64_t hash_words(const void *key, int size, uint64_t seed) noexcept nogil:
    cdef uint64_t word
    cdef int at
    for at in range(0, size, 8):
        memcpy(&word, <const uint8_t *>key + at, 8)
        seed = mix(seed, word)
    return seed


cdef Flow *flow_table(size_t slots) noexcept nogil:
    """Free slots, each a cache line of its own; NULL without memory."""
    cdef Flow *table = <Flow *>aligned_alloc(64, slots * sizeof(Flow))
    if table != NULL:
        memset(table, 0, slots * sizeof(Flow))
    return table


cdef class Tally:
    """Counts packets by class and conversation.

    `local4` and `local6` hold the addresses of this machine, packed one after the other in network order.
    """
    cdef bytes local4, local6
    cdef uint64_t seed
    cdef Class *classes
    cdef uint32_t *class_slots               # class number + 1, or 0
    cdef uint32_t class_mask, class_room
    cdef readonly uint32_t class_count
    cdef Flow *flows
    cdef uint32_t flow_mask
    cdef readonly uint32_t flow_count
    cdef readonly uint64_t other_packets     # of conversations that found no more room
    cdef uint32_t last_class

    def __cinit__(self, bytes local4=b"", bytes local6=b""):
        self.local4 = local4
        self.local6 = local6
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.class_room = 1 << 8
        self.class_mask = (1 << 9) - 1
        self.flow_mask = (1 << 13) - 1
        self.classes = <Class *>malloc(self.class_room * sizeof(Class))
        self.class_slots = <uint32_t *>calloc(<size_t>self.class_mask + 1, sizeof(uint32_t))
        self.flows = flow_table(<size_t>self.flow_mask + 1)
        if self.classes == NULL or self.class_slots == NULL or self.flows == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.classes)
        free(self.class_slots)
        free(self.flows)

    def hooks(self, const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length):
        """The hook each packet meets, as uint8: INPUT to this machine's addresses, OUTPUT from them, else FORWARD."""
        cdef size_t count = offset.shape[0], i
        out = np.empty(count, np.uint8)
        cdef uint8_t[::1] hook = out
        cdef const uint8_t *base = &data[0] if data.shape[0] else NULL
        cdef const uint8_t *known4 = <const uint8_t *>PyBytes_AS_STRING(self.local4)
        cdef const uint8_t *known6 = <const uint8_t *>PyBytes_AS_STRING(self.local6)
        cdef Py_ssize_t size4 = len(self.local4), size6 = len(self.local6)
        cdef Header header
        self.check(data, offset, length)
        with nogil:
            for i in range(count):
                read_header(base + offset[i], length[i], length[i], &header)
                hook[i] = HOOK_FORWARD
                if header.family == 4:
                    if listed(known4, size4, 4, header.destination):
                        hook[i] = HOOK_INPUT
                    elif listed(known4, size4, 4, header.source):
                        hook[i] = HOOK_OUTPUT
                elif header.family == 6:
                    if listed(known6, size6, 16, header.destination):
                        hook[i] = HOOK_INPUT
                    elif listed(known6, size6, 16, header.source):
                        hook[i] = HOOK_OUTPUT
        return out

    def add(self, const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length,
            const uint32_t[::1] wire_length, const uint8_t[::1] link_reason, const uint8_t[::1] hooks, int hook,
            const uint8_t[::1] decisions):
        """Counts a batch and returns the number of each packet's class (uint32).

        `hooks` may be None: all met `hook`. `decisions` is the engine's result array as bytes.
        """
        cdef size_t count = offset.shape[0], i
        out = np.empty(count, np.uint32)
        cdef uint32_t[::1] number = out
        cdef const uint8_t *base = &data[0] if data.shape[0] else NULL
        cdef const Decision *decision = <const Decision *>(&decisions[0] if count else NULL)
        cdef bint has_hooks = hooks is not None
        cdef size_t first = 0, stop = 0
        cdef Talk talks[TOGETHER]
        cdef Talk *talk
        cdef Header header
        cdef Class key
        self.check(data, offset, length)
        if not (<size_t>wire_length.shape[0] == <size_t>link_reason.shape[0] == count
                and <size_t>decisions.shape[0] == count * sizeof(Decision)
                and (not has_hooks or <size_t>hooks.shape[0] == count)):
            raise ValueError("one item a packet expected in every array")
        memset(&key, 0, sizeof(Class))
        with nogil:
            while first < count:
                stop = first + TOGETHER if count - first > TOGETHER else count
                for i in range(first, stop):
                    read_header(base + offset[i], length[i], wire_length[i], &header)
                    self.name(&header, talks + (i - first))
                for i in range(first, stop):
                    talk = talks + (i - first)
                    memcpy(&key, decision + i, 12)
                    key.family = talk.family
                    key.protocol = talk.protocol
                    key.hook = hooks[i] if has_hooks else <uint8_t>hook
                    key.link_reason = link_reason[i]
                    if not self.classify(&key, talk.size, &number[i]):
                        break
                    if talk.family and not self.converse(
                            talk, key.verdict == VERDICT_DROP or key.verdict == VERDICT_REJECT):
                        break
                else:
                    first = stop
                    continue
                break
        if first < count:
            raise MemoryError
        return out

    cdef int check(self, const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length) except -1:
        cdef size_t size = data.shape[0], i, count = offset.shape[0]
        if <size_t>length.shape[0] != count:
            raise ValueError("one item a packet expected in every array")
        for i in range(count):
            if offset[i] > size or length[i] > size - offset[i]:
                raise ValueError(f"packet {i} lies outside the data")
        return 0

    cdef inline bint classify(self, const Class *key, uint32_t size, uint32_t *number) noexcept nogil:
        """Counts a packet of `size` bytes in its class; False without memory."""
        cdef uint32_t slot
        cdef Class *found = self.classes + self.last_class
        # Packets come in runs of the same class.
        if not self.class_count or memcmp(found, key, CLASS_KEY):
            if self.class_count == self.class_room and not self.grow_classes():
                return False
            slot = <uint32_t>hash_words(key, CLASS_KEY, self.seed) & self.class_mask
            while True:
                if not self.class_slots[slot]:
                    found = self.classes + self.class_count
                    memcpy(found, key, CLASS_KEY)
                    found.packets = found.bytes = 0
                    self.class_count += 1
                    self.class_slots[slot] = self.class_count
                    break
                found = self.classes + (self.class_slots[slot] - 1)
                if not memcmp(found, key, CLASS_KEY):
                    break
                slot = (slot + 1) & self.class_mask
            self.last_class = <uint32_t>(found - self.classes)
        found.packets += 1
        found.bytes += size
        number[0] = self.last_class
        return True

    cdef bint grow_classes(self) noexcept nogil:
        cdef uint32_t mask = self.class_mask * 2 + 1, i, slot
        cdef Class *classes = <Class *>realloc(self.classes, <size_t>self.class_room * 2 * sizeof(Class))
        cdef uint32_t *slots
        if classes == NULL:
            return False
        self.classes = classes
        slots = <uint32_t *>calloc(<size_t>mask + 1, sizeof(uint32_t))
        if slots == NULL:
            return False
        for i in range(self.class_count):
            slot = <uint32_t>hash_words(classes + i, CLASS_KEY, self.seed) & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = i + 1
        free(self.class_slots)
        self.class_slots = slots
        self.class_mask = mask
        self.class_room *= 2
        return True

    cdef inline void name(self, const Header *header, Talk *talk) noexcept nogil:
        """The conversation of a packet, and its slot on the way to the cache. What is no IP packet has none."""
        # word by word: what is written in smaller pieces than it is read in has to wait for the cache
        cdef uint64_t *word = <uint64_t *>&talk.key
        cdef const uint8_t *low = header.source
        cdef const uint8_t *high = header.destination
        cdef uint64_t ports = raw32(header.ports) if header.ports != NULL else 0
        cdef int order
        talk.family = header.family
        talk.protocol = header.protocol
        talk.size = header.size
        if not header.family:
            return
        order = memcmp(low, high, 4) if header.family == 4 else memcmp(low, high, 16)
        if order == 0 and header.ports != NULL:
            order = memcmp(header.ports, header.ports + 2, 2)
        talk.swapped = order > 0
        if talk.swapped:
            low, high = high, low
            ports = ports >> 16 | (ports & 0xFFFF) << 16
        word[1] = word[3] = 0
        if header.family == 4:
            word[0] = raw32(low)
            word[2] = raw32(high)
        else:
            word[0] = raw64(low)
            word[1] = raw64(low + 8)
            word[2] = raw64(high)
            word[3] = raw64(high + 8)
        word[4] = ports | <uint64_t>header.family << 32 | <uint64_t>header.protocol << 40
        talk.hash = <uint32_t>hash_words(word, FLOW_KEY, self.seed)
        prefetch(self.flows + (talk.hash & self.flow_mask))

    cdef inline bint converse(self, const Talk *talk, bint refused) noexcept nogil:
        """Counts a packet in its conversation; False without memory."""
        cdef Flow *found
        cdef uint32_t slot
        if self.flow_count > self.flow_mask >> 1 and self.flow_mask < 2 * MAX_FLOWS - 1 and not self.grow_flows():
            return False
        slot = talk.hash & self.flow_mask
        while True:
            found = self.flows + slot
            if not found.packets:
                if self.flow_count == MAX_FLOWS:
                    self.other_packets += 1
                    return True
                memcpy(found, &talk.key, FLOW_KEY)
                found.high_first = talk.swapped
                self.flow_count += 1
                break
            if not memcmp(found, &talk.key, FLOW_KEY):
                break
            slot = (slot + 1) & self.flow_mask
        found.packets += 1
        found.bytes += talk.size
        if refused and found.refused < <uint32_t>0xFFFFFFFF:
            found.refused += 1
        return True

    cdef bint grow_flows(self) noexcept nogil:
        cdef uint32_t mask = self.flow_mask * 2 + 1, i, slot
        cdef Flow *flows = flow_table(<size_t>mask + 1)
        if flows == NULL:
            return False
        for i in range(self.flow_mask + 1):
            if self.flows[i].packets:
                slot = <uint32_t>hash_words(self.flows + i, FLOW_KEY, self.seed) & mask
                while flows[slot].packets:
                    slot = (slot + 1) & mask
                flows[slot] = self.flows[i]
        free(self.flows)
        self.flows = flows
        self.flow_mask = mask
        return True

    def classes_from(self, uint32_t first):
        """The classes from number `first` on, as tuples with the items of CLASS_FIELDS."""
        cdef Class *c
        cdef uint32_t i
        rows = []
        for i in range(first, self.class_count):
            c = self.classes + i
            rows.append((
                c.verdict, c.state, c.direction, c.assured, c.seen_reply, c.expected, c.reason, c.rule, c.family,
                c.protocol, c.hook, c.link_reason, c.packets, c.bytes,
            ))
        return rows

    def top_flows(self, uint32_t count):
        """The `count` conversations with the most bytes, the largest first, as tuples (family, protocol, source,
        source port, destination, destination port, packets, bytes, refused packets); addresses are packed."""
        volume = np.zeros(<size_t>self.flow_mask + 1, np.uint64)
        cdef uint64_t[::1] bytes_of = volume
        cdef uint32_t i
        cdef Flow *f
        with nogil:
            for i in range(self.flow_mask + 1):
                bytes_of[i] = self.flows[i].bytes
        rows = []
        best = np.argpartition(volume, -min(count, len(volume)))[-min(count, len(volume)):] if count else []
        for i in best:
            f = self.flows + i
            if not f.packets:
                continue
            ends = [
                ((<const char *>f.low)[:4 if f.family == 4 else 16], f.low_port[0] << 8 | f.low_port[1]),
                ((<const char *>f.high)[:4 if f.family == 4 else 16], f.high_port[0] << 8 | f.high_port[1]),
            ]
            if f.high_first:
                ends.reverse()
            rows.append((f.family, f.protocol, *ends[0], *ends[1], f.packets, f.bytes, f.refused))
        rows.sort(key=lambda row: (-row[7], -row[6], row))
        return rows


cdef inline bint listed(const uint8_t *known, Py_ssize_t total, int size, const uint8_t *address) noexcept nogil:
    cdef Py_ssize_t at = 0
    while at < total:
        if not memcmp(known + at, address, size):
            return True
        at += size
    return False


def numbered_lines(const uint32_t[::1] numbers, uint64_t first, list endings):
    """One line a packet: its number, counted up from `first`, and the ending (bytes with the newline) of its class."""
    cdef size_t count = numbers.shape[0], i, kinds = len(endings), total = 0
    cdef const char **text = <const char **>malloc((kinds + 1) * sizeof(char *))
    cdef uint32_t *size = <uint32_t *>malloc((kinds + 1) * sizeof(uint32_t))
    cdef char digits[24]
    cdef int start, at
    cdef uint64_t rest = first
    cdef char *out
    try:
        if text == NULL or size == NULL:
            raise MemoryError
        for i in range(kinds):
            ending = <bytes?>endings[i]
            text[i] = PyBytes_AS_STRING(ending)
            size[i] = <uint32_t>PyBytes_GET_SIZE(ending)
        for i in range(count):
            if numbers[i] >= kinds:
                raise IndexError("a class without an ending")
            total += size[numbers[i]]
        # The number as text, right-aligned and counted up in place.
        start = 24
        while True:
            start -= 1
            digits[start] = 48 + <char>(rest % 10)
            rest //= 10
            if not rest:
                break
        lines = PyBytes_FromStringAndSize(NULL, total + count * 20)
        out = PyBytes_AS_STRING(lines)
        with nogil:
            for i in range(count):
                memcpy(out, digits + start, 24 - start)
                out += 24 - start
                memcpy(out, text[numbers[i]], size[numbers[i]])
                out += size[numbers[i]]
                at = 23
                while at >= start and digits[at] == 57:
                    digits[at] = 48
                    at -= 1
                if at < start:
                    start = at
                    digits[at] = 48
                digits[at] += 1
        return memoryview(lines)[:out - PyBytes_AS_STRING(lines)]
    finally:
        free(text)
        free(size)
