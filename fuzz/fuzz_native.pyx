# cython: language_level=3
"""libFuzzer's loop around the C paths, inside an ordinary Python.

`packet`: every input is one IP packet. `sequence`: an input is a row of records, each a byte of hook and clock step, a
byte that says how long the packet is (in fours), and the packet. Header checksums are made right, because a packet with
a wrong one goes nowhere. `fragments`: an input is a row of fragments of a few datagrams, as `fragment` reads them.
`netlink`: an input is a row of messages, each behind two bytes of length, that a queue receives from
what it takes for the kernel. Any other target is a Python function of bytes, and every module it meets in C reports its
coverage.

After each input the table must be in order: every live entry is found by its own key, there are no more than the
ceiling allows, and what waits for reassembly is what it is charged for.
"""
import os
import socket as sockets
import traceback

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport abort, malloc
from libc.string cimport memcpy, memset

from fastfw.core.bytes cimport sum_bytes, sum_fold
from fastfw.core.defrag cimport Defrag, Family, Queue as Datagram, defrag_expire
from fastfw.core.engine cimport BATCH, Core
from fastfw.core.expect cimport expects_clear
from fastfw.core.flows cimport Entry, Flows, flows_delete, flows_find, flows_hash
from fastfw.core.terms cimport HOOK_FORWARD, HOOK_OUTPUT, VERDICT_QUEUE
from fastfw.core.wire cimport Packet
from fastfw.drivers.nfqueue cimport Queue

cdef extern from * nogil:
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *, size_t) noexcept nogil)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    int MSG_DONTWAIT

cdef enum:
    CEILING = 64             # nf_conntrack_max of the engine under test: full after a few inputs' worth
    LONGEST = 1 << 16
    HIGHEST = 40000          # the thresholds of what may wait for reassembly, bytes
    DEAREST = 70000          # what one more fragment may cost on top of it
    REPORTS = 64             # verdict messages a read of the queue's answers may hold

cdef Core engine
cdef Queue queue
cdef int kernel_side
cdef object function
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


cdef void check_fragments(Defrag *d) noexcept nogil:
    """The queues by age are all there are, their charge is what is counted, and it is bounded."""
    cdef uint32_t every = 0, here
    cdef uint64_t charge
    cdef Family *family
    cdef Datagram *q
    cdef int i
    for i in range(2):
        family = &d.family[i]
        here = 0
        charge = 0
        q = family.oldest
        while q != NULL:
            here += 1
            charge += q.charge + (200 if i == 0 else 184)
            if q.meat > q.length or q.length > 2 * LONGEST or (q.newer == NULL) != (q == family.newest):
                abort()
            q = q.newer
        if here != family.queues or charge != family.charge or charge > HIGHEST + DEAREST:
            abort()
        every += here
    if every != d.queues:
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


cdef void forget() noexcept nogil:
    """The engine as it began. Entry by entry: giving pages back and taking them again would take most of the time."""
    global clock
    cdef Flows *f = &engine.tracker.flows
    cdef uint32_t index
    for index in range(1, f.used):
        if f.entries[index].key.family:
            flows_delete(f, index)
    f.used = 1
    f.hand = 1
    f.free = 0
    expects_clear(&engine.tracker.expects)
    engine.tracker.gre_keys.count = 0
    defrag_expire(&engine.defrag, <int64_t> 0x7fffffffffffffff)
    engine.tracker.now = 0
    clock = 1


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
    forget()
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
    check_fragments(&engine.defrag)
    return 0


cdef uint32_t fragment(uint8_t *into, const uint8_t *record, const uint8_t *payload, uint32_t given) noexcept nogil:
    """Write the fragment that a record of six bytes names; its length. Byte 0: family, more fragments, output hook,
    datagram, source, clock; 1 and 2: offset in eights, ECN, don't fragment; 3: length in eights; 4: bytes more than
    that; 5: protocol or next header."""
    cdef uint8_t how = record[0]
    cdef uint32_t offset = ((record[1] << 8 | record[2]) & 0x1fff) * 8
    cdef uint32_t length = record[3] * 8 + (record[4] & 7), header
    cdef uint8_t ecn = record[1] >> 5 & 3
    if how & 1:
        header = 48
        memset(into, 0, header)
        into[0] = 0x60
        into[1] = ecn << 4
        into[4] = <uint8_t> ((length + 8) >> 8)
        into[5] = <uint8_t> (length + 8)
        into[6] = 44
        into[7] = 64
        into[8] = into[24] = 0xfd
        into[23] = how >> 5 & 3
        into[39] = 9
        into[40] = record[5]
        into[42] = <uint8_t> (offset >> 8)
        into[43] = <uint8_t> (offset & 0xf8) | (how >> 1 & 1)
        into[47] = how >> 3 & 3
    else:
        header = 20
        memset(into, 0, header)
        into[0] = 0x45
        into[1] = ecn
        into[2] = <uint8_t> ((length + 20) >> 8)
        into[3] = <uint8_t> (length + 20)
        into[5] = how >> 3 & 3
        into[6] = <uint8_t> (offset >> 11) | (how >> 1 & 1) << 5 | (record[1] >> 7) << 6
        into[7] = <uint8_t> (offset >> 3)
        into[8] = 64
        into[9] = record[5]
        into[12] = into[16] = 10
        into[15] = how >> 5 & 3
        into[19] = 9
    memset(into + header, 0, length)
    memcpy(into + header, payload, given if given < length else length)
    return header + length


cdef int fragments(const uint8_t *data, size_t size) noexcept nogil:
    cdef Packet p
    cdef uint8_t made[4096]
    cdef size_t at = 0
    cdef uint32_t given, length
    global clock
    forget()
    while at + 7 <= size:
        given = data[at + 6] & 0x3f
        if given > size - at - 7:
            given = <uint32_t> (size - at - 7)
        length = fragment(made, data + at, data + at + 7, given)
        clock += <int64_t> 35_000_000_000 if data[at] & 0x80 else 1_000_000
        fill(&p, room[0], made, length, HOOK_OUTPUT if data[at] & 4 else HOOK_FORWARD, False)
        if data[at + 6] & 0x40 and length > 64:
            p.have = length / 2          # as a capture that was cut
        at += 7 + given
        engine.run(&p, 1)
        if p.verdict > VERDICT_QUEUE or p.data != room[0]:
            abort()
        check_fragments(&engine.defrag)
    check(&engine.tracker.flows)
    return 0


cdef void check_answers() noexcept nogil:
    """What the queue says is whole messages of the three kinds it may send: verdicts, and what it wants copied."""
    cdef uint8_t answers[LONGEST]
    cdef ssize_t came
    cdef uint32_t at, length
    cdef uint16_t kind
    while True:
        came = recv(kernel_side, answers, LONGEST, MSG_DONTWAIT)
        if came <= 0:
            return
        at = 0
        while at < came:
            memcpy(&length, answers + at, 4)
            memcpy(&kind, answers + at + 4, 2)
            if (length != 32 and length != 40) or kind < 0x301 or kind > 0x303:
                abort()
            at += length
        if at != came:
            abort()


cdef int netlink(const uint8_t *data, size_t size) noexcept nogil:
    cdef uint8_t message[2048]
    cdef size_t at = 0
    cdef uint32_t length, sent = 0
    cdef uint64_t counted
    forget()
    queue.held.count = 0
    while at + 2 <= size and sent < 60:
        length = data[at] | <uint32_t> (data[at + 1] & 7) << 8
        at += 2
        if length > size - at:
            length = <uint32_t> (size - at)
        memcpy(message, data + at, length)
        if length and data[at - 1] & 0x80 and length >= 4:
            memset(message, 0, 4)
            memcpy(message, &length, 4)      # a header that tells the truth
        at += length
        if length:
            send(kernel_side, message, length, MSG_DONTWAIT)
            sent += 1
    counted = queue.received - queue.accepted - queue.dropped - queue.held.count
    while queue.serve() > 0:
        pass
    if counted != queue.received - queue.accepted - queue.dropped - queue.held.count:
        abort()                              # a packet with two fates, or none
    check_answers()
    check(&engine.tracker.flows)
    return 0


cdef void call(const uint8_t *data, size_t size) noexcept with gil:
    try:
        function((<const char *> data)[:size])
        check(&engine.tracker.flows)
    except BaseException:
        traceback.print_exc()
        abort()


cdef int python(const uint8_t *data, size_t size) noexcept nogil:
    call(data, size)
    return 0


def run(str target, list arguments, Core under_test, of_bytes=None):
    """Fuzz `target`, or the Python function `of_bytes`, with libFuzzer's own `arguments`; does not return where
    libFuzzer ends."""
    cdef int count = len(arguments) + 1
    cdef char **words = <char **> malloc((count + 1) * sizeof(char *))
    cdef list kept = [b"fastfw", *(word.encode() for word in arguments)]
    cdef int i
    cdef int (*callback)(const uint8_t *, size_t) noexcept nogil
    global engine, function, queue, kernel_side
    engine = under_test
    for i in range(count):
        words[i] = kept[i]
    words[count] = NULL
    callback = python
    if of_bytes is not None:
        function = of_bytes
    elif target == "packet":
        callback = packet
    elif target == "sequence":
        callback = sequence
    elif target == "fragments":
        callback = fragments
    elif target == "netlink":
        callback = netlink
        mine, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_DGRAM)
        # a queue as it is once it is bound, its socket one that we write to
        queue = Queue.__new__(Queue)
        queue.core = under_test
        queue.most_held = 32
        queue.buffer_size = 2048
        queue.buffers = <uint8_t *> malloc(64 * 2048)
        queue.verdicts = <uint8_t *> malloc(LONGEST)
        queue.socket = mine.detach()
        kernel_side = theirs.detach()
        os.set_blocking(queue.socket, False)
    else:
        raise ValueError(f"no target {target!r}")
    with nogil:
        i = LLVMFuzzerRunDriver(&count, &words, callback)
    return i
