"""The kernel's conntrack sysctls as one array. Timeouts are kept in nanoseconds, everything else as written."""
from libc.stdint cimport int64_t


# TCP's states in nf_conntrack's order; the timeouts of the first block follow it.
cdef enum:
    TCP_NONE = 0
    TCP_SYN_SENT
    TCP_SYN_RECV
    TCP_ESTABLISHED
    TCP_FIN_WAIT
    TCP_CLOSE_WAIT
    TCP_LAST_ACK
    TCP_TIME_WAIT
    TCP_CLOSE
    TCP_SYN_SENT2
    TCP_STATES


cdef enum:
    SET_TCP = 0                       # + TcpState; slot 0 is unused, SYN_SENT2 has no sysctl
    SET_TCP_MAX_RETRANS_TIME = 10
    SET_TCP_UNACKNOWLEDGED = 11
    SET_TCP_LOOSE = 12
    SET_TCP_LIBERAL = 13
    SET_TCP_IGNORE_INVALID_RST = 14
    SET_TCP_MAX_RETRANS = 15
    SET_UDP = 16
    SET_UDP_STREAM = 17
    SET_ICMP = 18
    SET_ICMPV6 = 19
    SET_GENERIC = 20
    SET_GRE = 21
    SET_GRE_STREAM = 22
    SET_SCTP = 24                     # + SctpState
    SET_HELPER = 33                   # the ports that helpers are attached to follow from it
    SET_CHECKSUM = 34
    SET_ACCT = 35
    SET_MAX = 36
    SET_EXPECT_MAX = 37
    SET_BUCKETS = 38
    SET_EVENTS = 39
    SET_TIMESTAMP = 40
    SET_LOG_INVALID = 41
    SET_FRAG6_TIMEOUT = 42
    SET_FRAG6_HIGH = 43
    SET_FRAG6_LOW = 44
    SET_FRAG4_TIMEOUT = 45
    SET_FRAG4_HIGH = 46
    SET_FRAG4_MAX_DIST = 47
    SET_FRAG4_LOW = 23                # as SET_FRAG6_LOW: kept, and without effect, as in the kernel
    SETTING_COUNT = 48


ctypedef struct Settings:
    int64_t of[SETTING_COUNT]


cdef inline int64_t tcp_timeout(const Settings *s, int state) noexcept nogil:
    return s.of[SET_TCP + state]
