"""The settings' names, defaults and ranges: the sysctls of /proc/sys/net/netfilter on Linux 6.18, without prefix,
those of net.ipv4 that govern its fragments, and nf_conntrack_helper, which older kernels had."""
from fastfw.core.settings cimport (
    SET_ACCT, SET_BUCKETS, SET_CHECKSUM, SET_EVENTS, SET_EXPECT_MAX, SET_FRAG4_HIGH, SET_FRAG4_LOW,
    SET_FRAG4_MAX_DIST, SET_FRAG4_TIMEOUT, SET_FRAG6_HIGH, SET_FRAG6_LOW, SET_FRAG6_TIMEOUT, SET_GENERIC, SET_GRE,
    SET_GRE_STREAM, SET_HELPER, SET_ICMP, SET_ICMPV6, SET_LOG_INVALID, SET_MAX, SET_SCTP, SET_TCP,
    SET_TCP_IGNORE_INVALID_RST, SET_TCP_LIBERAL, SET_TCP_LOOSE, SET_TCP_MAX_RETRANS, SET_TCP_MAX_RETRANS_TIME,
    SET_TCP_UNACKNOWLEDGED, SET_TIMESTAMP, SET_UDP, SET_UDP_STREAM, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED,
    TCP_FIN_WAIT, TCP_LAST_ACK, TCP_SYN_RECV, TCP_SYN_SENT, TCP_SYN_SENT2, TCP_TIME_WAIT,
)

SECOND = 1_000_000_000
SYN_SENT2 = int(SET_TCP + TCP_SYN_SENT2)
INT_MAX = 2**31 - 1

# The lowest value where it is not 0: the kernel lets something be expected whatever it is told.
LOWEST = {"nf_conntrack_expect_max": 1}

# name: (slot, default, highest value, nanoseconds a unit or 0)
TABLE = {
    "ipfrag_high_thresh": (SET_FRAG4_HIGH, 4194304, INT_MAX, 0),
    "ipfrag_low_thresh": (SET_FRAG4_LOW, 3145728, INT_MAX, 0),
    "ipfrag_max_dist": (SET_FRAG4_MAX_DIST, 64, INT_MAX, 0),
    "ipfrag_time": (SET_FRAG4_TIMEOUT, 30, INT_MAX, SECOND),
    "nf_conntrack_acct": (SET_ACCT, 0, 1, 0),
    "nf_conntrack_buckets": (SET_BUCKETS, 262144, INT_MAX, 0),
    "nf_conntrack_checksum": (SET_CHECKSUM, 1, 1, 0),
    "nf_conntrack_events": (SET_EVENTS, 2, 2, 0),
    "nf_conntrack_expect_max": (SET_EXPECT_MAX, 4096, INT_MAX, 0),
    "nf_conntrack_frag6_high_thresh": (SET_FRAG6_HIGH, 4194304, INT_MAX, 0),
    "nf_conntrack_frag6_low_thresh": (SET_FRAG6_LOW, 3145728, INT_MAX, 0),
    "nf_conntrack_frag6_timeout": (SET_FRAG6_TIMEOUT, 60, INT_MAX, SECOND),
    "nf_conntrack_generic_timeout": (SET_GENERIC, 600, INT_MAX, SECOND),
    "nf_conntrack_gre_timeout": (SET_GRE, 30, INT_MAX, SECOND),
    "nf_conntrack_gre_timeout_stream": (SET_GRE_STREAM, 180, INT_MAX, SECOND),
    "nf_conntrack_helper": (SET_HELPER, 0, 1, 0),
    "nf_conntrack_icmp_timeout": (SET_ICMP, 30, INT_MAX, SECOND),
    "nf_conntrack_icmpv6_timeout": (SET_ICMPV6, 30, INT_MAX, SECOND),
    "nf_conntrack_log_invalid": (SET_LOG_INVALID, 0, 255, 0),
    "nf_conntrack_max": (SET_MAX, 262144, INT_MAX, 0),
    "nf_conntrack_sctp_timeout_closed": (SET_SCTP + 1, 10, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_cookie_wait": (SET_SCTP + 2, 3, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_cookie_echoed": (SET_SCTP + 3, 3, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_established": (SET_SCTP + 4, 210, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_shutdown_sent": (SET_SCTP + 5, 3, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_shutdown_recd": (SET_SCTP + 6, 3, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_shutdown_ack_sent": (SET_SCTP + 7, 3, INT_MAX, SECOND),
    "nf_conntrack_sctp_timeout_heartbeat_sent": (SET_SCTP + 8, 30, INT_MAX, SECOND),
    "nf_conntrack_tcp_be_liberal": (SET_TCP_LIBERAL, 0, 1, 0),
    "nf_conntrack_tcp_ignore_invalid_rst": (SET_TCP_IGNORE_INVALID_RST, 0, 1, 0),
    "nf_conntrack_tcp_loose": (SET_TCP_LOOSE, 1, 1, 0),
    "nf_conntrack_tcp_max_retrans": (SET_TCP_MAX_RETRANS, 3, 255, 0),
    "nf_conntrack_tcp_timeout_close": (SET_TCP + TCP_CLOSE, 10, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_close_wait": (SET_TCP + TCP_CLOSE_WAIT, 60, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_established": (SET_TCP + TCP_ESTABLISHED, 432000, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_fin_wait": (SET_TCP + TCP_FIN_WAIT, 120, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_last_ack": (SET_TCP + TCP_LAST_ACK, 30, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_max_retrans": (SET_TCP_MAX_RETRANS_TIME, 300, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_syn_recv": (SET_TCP + TCP_SYN_RECV, 60, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_syn_sent": (SET_TCP + TCP_SYN_SENT, 120, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_time_wait": (SET_TCP + TCP_TIME_WAIT, 120, INT_MAX, SECOND),
    "nf_conntrack_tcp_timeout_unacknowledged": (SET_TCP_UNACKNOWLEDGED, 300, INT_MAX, SECOND),
    "nf_conntrack_timestamp": (SET_TIMESTAMP, 0, 1, 0),
    "nf_conntrack_udp_timeout": (SET_UDP, 30, INT_MAX, SECOND),
    "nf_conntrack_udp_timeout_stream": (SET_UDP_STREAM, 120, INT_MAX, SECOND),
}
