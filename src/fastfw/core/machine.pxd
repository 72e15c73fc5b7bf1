"""An engine's parts and the lock they share."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastfw.core.conntrack cimport Tracker
from fastfw.core.defrag cimport Defrag
from fastfw.core.helping cimport Attached
from fastfw.core.program cimport Logs, Program, Rewrite
from fastfw.core.rules cimport Rules


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_mutexattr_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, const pthread_mutexattr_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_trylock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutexattr_init(pthread_mutexattr_t *)
    int pthread_mutexattr_settype(pthread_mutexattr_t *, int)
    int PTHREAD_MUTEX_RECURSIVE


# Where the clock stops, ns (in 2116): the longest timeout on top of it is still a time.
cdef extern from * nogil:
    """
    #define LATEST ((int64_t)1 << 62)
    """
    int64_t LATEST


cdef class Machine:
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

    cdef int keep_logs(self) except -1
    cdef uint16_t interface(self, str name) except? 0
    cdef void _name_interface(self, int number, str name) except *
    # Whether anybody looks into payload, so that a driver must not cut packets. Needs no lock.
    cdef inline bint wants_payload(self) noexcept nogil:
        return self.reads_payload[0] or self.reads_payload[1] or self.reads_payload[2]
