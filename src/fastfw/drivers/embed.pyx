"""The engine for C programs: the functions that fastfw.h declares, as a capsule."""
import os

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastfw.core.engine cimport BATCH, Core, pthread_mutex_lock, pthread_mutex_unlock
from fastfw.core.terms cimport (
    HOOK_FORWARD, HOOK_INPUT, HOOK_OUTPUT, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW, STATE_NONE, STATE_RELATED,
    STATE_UNTRACKED, VERDICT_ACCEPT, VERDICT_DROP, VERDICT_HOLD, VERDICT_NONE, VERDICT_QUEUE, VERDICT_REJECT,
)
from fastfw.core.wire cimport Packet

cdef extern from "fastfw.h" nogil:
    enum:
        FASTFW_API_VERSION
        FASTFW_FORWARD
        FASTFW_INPUT
        FASTFW_OUTPUT
        FASTFW_NONE
        FASTFW_ACCEPT
        FASTFW_DROP
        FASTFW_REJECT
        FASTFW_HOLD
        FASTFW_QUEUE
        FASTFW_STATE_NONE
        FASTFW_NEW
        FASTFW_ESTABLISHED
        FASTFW_RELATED
        FASTFW_INVALID
        FASTFW_UNTRACKED
    ctypedef struct fastfw_engine:
        pass
    ctypedef struct fastfw_packet:
        const uint8_t *data
        uint32_t have
        uint32_t length
        int64_t now
        uint16_t iif
        uint16_t oif
        uint8_t hook
        uint8_t vouched
        uint32_t mark
        int32_t rule
        uint16_t reason
        uint8_t verdict
        uint8_t state
        uint8_t reply
    ctypedef struct fastfw_api:
        uint32_t version
        uint32_t packet_size
        fastfw_engine *(*engine)(void *) except NULL
        int (*interface)(fastfw_engine *, const char *) except -1
        void (*decide)(fastfw_engine *, fastfw_packet *, size_t) noexcept nogil
        uint64_t (*connections)(fastfw_engine *) noexcept nogil
    const char *FASTFW_CAPSULE

SAME = (
    (FASTFW_FORWARD, HOOK_FORWARD), (FASTFW_INPUT, HOOK_INPUT), (FASTFW_OUTPUT, HOOK_OUTPUT),
    (FASTFW_NONE, VERDICT_NONE), (FASTFW_ACCEPT, VERDICT_ACCEPT), (FASTFW_DROP, VERDICT_DROP),
    (FASTFW_REJECT, VERDICT_REJECT), (FASTFW_HOLD, VERDICT_HOLD), (FASTFW_QUEUE, VERDICT_QUEUE),
    (FASTFW_STATE_NONE, STATE_NONE), (FASTFW_NEW, STATE_NEW), (FASTFW_ESTABLISHED, STATE_ESTABLISHED),
    (FASTFW_RELATED, STATE_RELATED), (FASTFW_INVALID, STATE_INVALID), (FASTFW_UNTRACKED, STATE_UNTRACKED),
)

if any(theirs != ours for theirs, ours in SAME):
    raise ImportError("fastfw.drivers.embed: the header has other numbers than the core")


cdef void judge(Core engine, Packet *batch, uint32_t n) noexcept nogil:
    pthread_mutex_lock(&engine.lock)
    engine.run(batch, n)
    pthread_mutex_unlock(&engine.lock)


cdef uint64_t count_of(Core engine) noexcept nogil:
    return engine.tracker.flows.count


# The same for a handle, which is an engine's address: turned into an object where there is no GIL, it would be counted.
cdef void (*judge_handle)(void *, Packet *, uint32_t) noexcept nogil
judge_handle = <void (*)(void *, Packet *, uint32_t) noexcept nogil> judge
cdef uint64_t (*count_handle)(void *) noexcept nogil
count_handle = <uint64_t (*)(void *) noexcept nogil> count_of


cdef fastfw_engine *engine_of(void *object) except NULL:
    if not isinstance(<object> object, Core):
        raise TypeError(f"a fastfw.Engine expected, not {<object> object!r:.60}")
    return <fastfw_engine *> object


cdef int interface_of(fastfw_engine *engine, const char *name) except -1:
    return (<Core> <void *> engine).interface(name.decode())


cdef void decide(fastfw_engine *engine, fastfw_packet *packets, size_t count) noexcept nogil:
    cdef Packet batch[BATCH]
    cdef Packet *p
    cdef fastfw_packet *given
    cdef size_t done = 0
    cdef uint32_t i, n
    while done < count:
        n = <uint32_t> (count - done) if count - done < BATCH else BATCH
        memset(batch, 0, n * sizeof(Packet))
        for i in range(n):
            p = batch + i
            given = packets + done + i
            p.data = given.data
            p.have = given.have
            p.length = given.length if given.length > given.have else given.have
            p.now = given.now
            p.iif = given.iif
            p.oif = given.oif
            p.hook = given.hook if given.hook <= HOOK_OUTPUT else HOOK_FORWARD
            p.no_verify = given.vouched
            p.mark = given.mark
        judge_handle(<void *> engine, batch, n)
        for i in range(n):
            p = batch + i
            given = packets + done + i
            given.mark = p.mark
            given.rule = p.rule
            given.reason = p.reason
            given.verdict = p.verdict
            given.state = p.state
            given.reply = p.direction
        done += n


cdef uint64_t connections(fastfw_engine *engine) noexcept nogil:
    return count_handle(<void *> engine)


cdef fastfw_api functions
functions.version = FASTFW_API_VERSION
functions.packet_size = sizeof(fastfw_packet)
functions.engine = engine_of
functions.interface = interface_of
functions.decide = decide
functions.connections = connections

api = PyCapsule_New(&functions, FASTFW_CAPSULE, NULL)


def include_directory():
    """The directory of fastfw.h, for a compiler's -I."""
    return os.path.dirname(os.path.abspath(__file__))
