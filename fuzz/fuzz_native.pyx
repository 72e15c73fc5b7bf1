# cython: language_level=3
"""libFuzzer's loop around the engine's C path, inside an ordinary Python.

`packet`: every input is one IP packet. `sequence`: an input is a row of records, each a byte of hook and clock step, a
byte that says how long the packet is (in fours), and the packet. Header checksums are made right, because a packet with
a wrong one goes nowhere. After each input the table must be in order: every live entry is found by its own key, and
there are no more than the ceiling allows.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport abort, malloc
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport sum_bytes, sum_fold
from fastfw.core.engine cimport BATCH, Core
from fastfw.core.flows cimport Entry, Flows, flows_clear, flows_find, flows_hash
from fastfw.core.terms cimport HOOK_OUTPUT, VERDICT_QUEUE
from fastfw.core.wire cimport Packet

cdef extern from * nogil:
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *, size_t) noexcept nogil)

cdef enum:
    CEILING = 64             # nf_conntrack_max of the engine under test: full after a few inputs' worth
    LONGEST = 1 << 16

cdef Core engine
cdef int64_t clock = 0
cdef uint8_t room[BATCH][LONGEST]


cdef void check(Flows *f) noexcept nogil:
    """The index and the slab agree."""
    cdef uint32_t index, live = 0
    cdef Entry *e
    if f.count > CEILING:
        abort()
    for index in range(1, f.used):
        e = f.entries + index
        if e.key.family:
            live += 1
            if flows_find(f, &e.key, flows_hash(f, &e.key)) != index:
                abort()
    if live != f.count:
        abort()


cdef void fill(Packet *p, uint8_t *into, const uint8_t *data, uint32_t size, uint8_t hook, bint exact) noexcept nogil:
    """A packet of a copy of `data` with, unless `exact`, the right IPv4 header checksum."""
    cdef uint32_t header
    cdef uint16_t total
    memset(p, 0, sizeof(Packet))
    memcpy(into, data, size)
    if not exact and size >= 20 and into[0] >> 4 == 4:
        header = (into[0] & 15) * 4
        if 20 <= header <= size:
            into[10] = into[11] = 0
            total = ~sum_fold(sum_bytes(into, header))
            memcpy(into + 10, &total, 2)
    p.data = into
    p.have = p.length = size
    p.hook = hook
    p.no_verify = hook == HOOK_OUTPUT
    p.now = clock


cdef int packet(const uint8_t *data, size_t size) noexcept nogil:
    cdef Packet p
    global clock
    if size > LONGEST - 1:
        return 0
    clock += 1_000_000
    fill(&p, room[0], data, <uint32_t> size, 0, True)
    engine.run(&p, 1)
    if p.verdict > VERDICT_QUEUE:
        abort()
    fill(&p, room[0], data, <uint32_t> size, 0, False)
    engine.run(&p, 1)
    if p.verdict > VERDICT_QUEUE:
        abort()
    check(&engine.tracker.flows)
    return 0


cdef int sequence(const uint8_t *data, size_t size) noexcept nogil:
    cdef Packet batch[BATCH]
    cdef uint32_t n = 0, length
    cdef uint8_t how
    cdef size_t at = 0
    global clock
    flows_clear(&engine.tracker.flows)
    engine.tracker.expects.count = 0
    engine.tracker.now = 0
    clock = 1
    while at + 2 <= size:
        how = data[at]
        length = <uint32_t> data[at + 1] * 4
        at += 2
        if length > size - at:
            length = <uint32_t> (size - at)
        clock += <int64_t> 1 << ((how >> 2) & 0x1f)     # 1 ns to 2 s
        if how & 0x80:
            clock += <int64_t> 100_000_000_000
        fill(batch + n, room[n], data + at, length, how % 3, False)
        at += length
        n += 1
        if n == BATCH or how & 0x40:
            engine.run(batch, n)
            n = 0
    if n:
        engine.run(batch, n)
    check(&engine.tracker.flows)
    return 0


def run(str target, list arguments, Core under_test):
    """Fuzz `target` (packet or sequence) with libFuzzer's own `arguments`; does not return where libFuzzer ends."""
    cdef int count = len(arguments) + 1
    cdef char **words = <char **> malloc((count + 1) * sizeof(char *))
    cdef list kept = [b"fastfw", *(word.encode() for word in arguments)]
    cdef int i
    global engine
    engine = under_test
    for i in range(count):
        words[i] = kept[i]
    words[count] = NULL
    cdef bint single = target == "packet"
    with nogil:
        i = LLVMFuzzerRunDriver(&count, &words, packet if single else sequence)
    return i
