"""The words a decision is made of. The numbers are part of the result arrays' format and never change."""


cpdef enum Verdict:
    VERDICT_NONE = 0       # the record holds no IP packet: nothing to decide
    VERDICT_ACCEPT = 1
    VERDICT_DROP = 2
    VERDICT_REJECT = 3     # dropped, and the sender is to be told as the rule says
    VERDICT_HOLD = 4       # a fragment that waits for the rest of its datagram
    VERDICT_QUEUE = 5      # handed to another queue by a QUEUE or NFQUEUE rule


cpdef enum State:
    STATE_NONE = 0         # never reached connection tracking
    STATE_NEW = 1
    STATE_ESTABLISHED = 2
    STATE_RELATED = 3
    STATE_INVALID = 4
    STATE_UNTRACKED = 5


cdef enum:                # a direction
    ORIGINAL = 0
    REPLY = 1


cpdef enum Hook:
    HOOK_FORWARD = 0
    HOOK_INPUT = 1
    HOOK_OUTPUT = 2


# Bits of a connection's status, in nf_conntrack's own order; the top bits are this engine's.
cpdef enum Status:
    STATUS_EXPECTED = 1 << 0
    STATUS_SEEN_REPLY = 1 << 1
    STATUS_ASSURED = 1 << 2
    STATUS_CONFIRMED = 1 << 3
    STATUS_DYING = 1 << 9
    STATUS_FIXED_TIMEOUT = 1 << 10
    STATUS_TEMPLATE = 1 << 11
    STATUS_UNTRACKED = 1 << 12
    STATUS_HELPER = 1 << 13
    STATUS_LABELLED = 1 << 22    # its Extra has labels
    STATUS_SKIPS = 1 << 23       # its packets may pass without being seen here
    STATUS_TEMPLATED = 1 << 24   # its template holds
    STATUS_TIMED = 1 << 25       # its Extra says when it began
    STATUS_COUNTED = 1 << 26     # its Extra counts packets and bytes
    STATUS_UNREAD = 1 << 27      # its helper has not been called yet
    STATUS_HELPED = 1 << 28      # a helper reads its payload
    STATUS_MASTER = 1 << 29      # expectations may wait for this connection
    STATUS_ORIGIN_HI = 1 << 30   # the original source is the key's second endpoint


# Why a packet was refused, called INVALID, held or dropped before any rule judged it. 0: nothing to say.
cpdef enum Reason:
    REASON_NONE = 0
    # no packet for an IP stack
    NOT_IP = 1
    IP_VERSION = 2
    IP_HEADER_LENGTH = 3
    IP_TOTAL_LENGTH = 4
    IP_CHECKSUM = 5
    IP_TRUNCATED = 6
    IP_OPTIONS = 7
    IP_ADDRESS = 8
    TTL_EXPIRED = 9
    # no connection can be named
    FRAGMENT = 16
    FRAGMENT_BAD = 17
    FRAGMENT_LIMIT = 18
    EXTENSION_HEADER = 19
    TRANSPORT_TRUNCATED = 20
    CAPTURE_CUT = 21
    FRAGMENT_DUPLICATE = 22
    FRAGMENT_OVERLAP = 23
    # transport headers that cannot be right
    TCP_OFFSET = 32
    TCP_CHECKSUM = 33
    TCP_FLAGS = 34
    UDP_LENGTH = 35
    UDP_CHECKSUM = 36
    ICMP_CHECKSUM = 37
    ICMP_TYPE = 38
    ICMP_NO_REQUEST = 39
    ICMP_ERROR_MALFORMED = 40
    ICMP_ERROR_UNKNOWN = 41
    ICMP_ERROR_ADDRESS = 42
    SCTP_CHUNK = 43
    SCTP_CHECKSUM = 44
    SCTP_TAG = 45
    GRE_HEADER = 46
    PROTOCOL_FAMILY = 47
    # the connection does not allow it
    TCP_NOT_SYN = 64
    TCP_STATE = 65
    TCP_SEQ_OVER = 66
    TCP_ACK_OVER = 67
    TCP_RST_OLD = 68
    TCP_STRAY = 69
    SCTP_STATE = 70
    HOST_INVALID = 71
    # let through without judging, or judged with a remark; the state stands
    TCP_IGNORED = 96
    TCP_SEQ_UNDER = 97
    TCP_ACK_UNDER = 98
    TCP_OVERSENT = 99
    TCP_CHALLENGE_ACK = 100
    # dropped by connection tracking itself
    TABLE_FULL = 128
    INSERT_FAILED = 129
    HELPER_DROP = 130
    # dropped because nobody takes it
    QUEUE_UNREAD = 131
