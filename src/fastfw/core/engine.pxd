"""The engine's C face: what drivers written in Cython call."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.conntrack cimport Tracker
from fastfw.core.decision cimport Decision
from fastfw.core.helping cimport Attached
from fastfw.core.defrag cimport Defrag
from fastfw.core.program cimport Logs, Rewrite
from fastfw.core.rules cimport Program, Rules
from fastfw.core.wire cimport Packet


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutexattr_init(pthread_mutexattr_t *)
    int pthread_mutexattr_settype(pthread_mutexattr_t *, int)
    int PTHREAD_MUTEX_RECURSIVE


cdef enum:
    BATCH = 128              # packets that go through the stages together


# One packet's decision in a result array; the layout is DECISION's.
ctypedef struct Outcome:     # 16 bytes
    uint8_t verdict
    uint8_t state
    uint8_t direction
    uint8_t assured
    uint8_t seen_reply
    uint8_t expected
    uint16_t reason
    int32_t rule
    uint32_t mark


cdef class Core:
    cdef Tracker tracker
    cdef Defrag defrag
    cdef pthread_mutex_t lock        # recursive; taken without the GIL, held per batch
    cdef Rules rules4
    cdef Rules rules6
    cdef Program *program4           # NULL: everything is accepted
    cdef Program *program6
    cdef uint32_t path_base[2]       # IPv4, IPv6: the first path id that no ruleset so far has used
    cdef Logs logs
    cdef Rewrite rewrite
    cdef uint64_t *queues            # malloc'ed, a bit for each queue that is read; NULL: all are
    cdef list kept_logs              # (records, packets, IPv4's rules, IPv6's) of rulesets no longer in force
    cdef uint64_t lost_logs
    cdef dict interfaces             # name -> number
    cdef dict templates              # what a CT rule asks for -> number
    cdef Attached attached           # the helpers
    cdef object clock                # returns ns; asked where a caller gives no time
    cdef uint8_t reads_payload[3]    # rules of IPv4, of IPv6, helpers: 1: they look into payload

    # Judge n <= BATCH packets whose data, have, length, hook, iif, oif, now, mark and no_verify are set. The lock is
    # held.
    cdef void run(self, Packet *batch, uint32_t n) noexcept nogil
    cdef void call_helper(self, Packet *p, bint begun) noexcept with gil
    cdef int keep_logs(self) except -1
    cdef uint16_t interface(self, str name) except? 0
    cdef Decision decision(self, const Packet *p)
    # Whether anybody looks into payload, so that a driver must not cut packets. Needs no lock.
    cdef inline bint wants_payload(self) noexcept nogil:
        return self.reads_payload[0] or self.reads_payload[1] or self.reads_payload[2]
