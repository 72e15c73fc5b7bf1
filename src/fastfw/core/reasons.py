"""What a reason says, with the numbers behind it."""

from __future__ import annotations

from fastfw.core.terms import Reason

TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)

SCTP_STATES = (
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
)

TCP_FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def flag_names(flags: int) -> str:
    """The names of a TCP flag byte's bits, `none` for none."""
    return " ".join(name for bit, name in enumerate(TCP_FLAG_NAMES) if flags >> bit & 1) or "none"


SENTENCES = {
    Reason.NOT_IP: "the record holds no IP packet: {0} of its {1} bytes are there",
    Reason.IP_VERSION: "IP version {0} is neither 4 nor 6",
    Reason.IP_HEADER_LENGTH: "the IP header says it has {0} bytes: under 20, or more than the packet's {1}",
    Reason.IP_TOTAL_LENGTH: "the IP header says {0} bytes, the packet has {1}",
    Reason.IP_CHECKSUM: "the IPv4 header's checksum is {0:#06x}, right were {1:#06x}",
    Reason.IP_TRUNCATED: "the packet ends after {0} bytes, within an IP header of {1}",
    Reason.IP_OPTIONS: "among {0} bytes of IP options is one that a stack does not pass on",
    Reason.IP_ADDRESS: "the {end}, {1:#010x} in front, is {kind}: it cannot travel",
    Reason.TTL_EXPIRED: "the time to live is {0}: a router may not forward it",
    Reason.FRAGMENT: "a fragment, held until its datagram is whole",
    Reason.FRAGMENT_BAD: "a fragment of bytes {0} to {1} that contradicts the others of its datagram",
    Reason.FRAGMENT_LIMIT: "no room for more fragments: {1} bytes wait",
    Reason.FRAGMENT_DUPLICATE: "a fragment whose bytes {0} to {1} came before",
    Reason.FRAGMENT_OVERLAP: "a fragment of bytes {0} to {1}, some of which came before: its datagram is given up",
    Reason.EXTENSION_HEADER: "the chain of IPv6 extension headers leads to no transport header: type {0}, in {1} bytes",
    Reason.TRANSPORT_TRUNCATED: "the packet has {0} bytes of a transport header of at least {1}",
    Reason.CAPTURE_CUT: "the capture was cut after {0} bytes, before the transport header's end at {1}",
    Reason.TCP_OFFSET: "the TCP header says it has {0} bytes: under 20, or more than the segment's {1}",
    Reason.TCP_CHECKSUM: "the TCP checksum is {0:#06x}, right were {1:#06x}",
    Reason.TCP_FLAGS: "no TCP segment carries these flags: {flags}",
    Reason.UDP_LENGTH: "the UDP header says {0} bytes, the packet has {1}",
    Reason.UDP_CHECKSUM: "the UDP checksum is {0:#06x}, right were {1:#06x}",
    Reason.ICMP_CHECKSUM: "the ICMP checksum is {0:#06x}, right were {1:#06x}",
    Reason.ICMP_TYPE: "ICMP type {0} code {1} belongs to no connection",
    Reason.ICMP_NO_REQUEST: "an ICMP reply, type {0} code {1}, to no request",
    Reason.ICMP_ERROR_MALFORMED: "an ICMP error, type {0} code {1}, that quotes too little or no first fragment",
    Reason.ICMP_ERROR_UNKNOWN: "an ICMP error, type {0} code {1}, about no known connection",
    Reason.ICMP_ERROR_ADDRESS: "an ICMP error, type {0} code {1}, not addressed to whom the quoted packet came from",
    Reason.SCTP_CHUNK: "the chunks of the SCTP packet cannot stand together: chunk type {0}, {1} bytes",
    Reason.SCTP_CHECKSUM: "the SCTP checksum is {0:#010x}, right were {1:#010x}",
    Reason.SCTP_TAG: "the SCTP verification tag is {0:#010x}, the connection's {1:#010x}",
    Reason.GRE_HEADER: "a GRE header of version 1 with protocol {0:#06x}, which is not PPP",
    Reason.PROTOCOL_FAMILY: "ICMP by protocol {0}, which is not IP version {1}'s",
    Reason.TCP_NOT_SYN: "no connection, and nf_conntrack_tcp_loose forbids to pick one up; flags: {flags}",
    Reason.TCP_STATE: "{flags} cannot follow in state {state}",
    Reason.TCP_SEQ_OVER: "sequence {0} is past the window's upper edge {1}",
    Reason.TCP_ACK_OVER: "acknowledgement {0} is of data not sent yet, {1} was",
    Reason.TCP_RST_OLD: "the RST's sequence {0} is before the highest acknowledgement {1}",
    Reason.TCP_STRAY: "no connection that it could belong to; flags: {flags}",
    Reason.SCTP_STATE: "SCTP chunk type {0} cannot follow in state {sctp}",
    Reason.HOST_INVALID: (
        "the host's own connection tracking, which saw what was not seen here, calls sequence {0} INVALID; "
        "here {1} is next"
    ),
    Reason.TCP_IGNORED: "{flags} in state {state} is let through unjudged",
    Reason.TCP_SEQ_UNDER: "the segment's end {0} is before the window's lower edge {1}: old data, let through",
    Reason.TCP_ACK_UNDER: "acknowledgement {0} is before the lower edge {1}: late, let through",
    Reason.TCP_OVERSENT: "sequence {0} is past the window's upper edge {1} by less than a window: let through",
    Reason.TCP_CHALLENGE_ACK: "acknowledgement {0} challenges the stray SYN {1}: not believed to acknowledge the FIN",
    Reason.TABLE_FULL: "the table is full, {0} connections of at most {1}, and none in reach can be evicted",
    Reason.INSERT_FAILED: "the connection found no place in the table beside {0} others",
    Reason.HELPER_DROP: "the helper of port {0} cannot follow these {1} bytes",
    Reason.QUEUE_UNREAD: "nobody reads queue {0}, of {1} that the rule chooses from",
}

WITH_FLAGS = {Reason.TCP_FLAGS, Reason.TCP_NOT_SYN, Reason.TCP_STATE, Reason.TCP_STRAY, Reason.TCP_IGNORED}

ADDRESS_KINDS = (
    "the unspecified address",
    "a loopback address",
    "the broadcast address",
    "a group",
    "a group of the interface",
    "an address of the link",
)
"""By AddressKind (core/headers.pxd)."""
ADDRESS_TARGET = 16


def named(names: tuple[str, ...], number: int) -> str:
    """The name of that number, `?` for none."""
    return names[number] if number < len(names) else "?"


def reason_name(reason: int) -> str:
    """A reason's name as results and counters print it, `-` for none."""
    return Reason(reason).name.lower() if reason else "-"


def sentence(reason: int, detail: tuple[int, int] = (0, 0)) -> str:
    """What happened, in a sentence; `detail` are the numbers the tracker left beside the reason. Empty for none."""
    if not reason:
        return ""
    known = Reason(reason)
    if known == Reason.UDP_CHECKSUM and detail == (0, 0):
        return "UDP-Lite without a checksum: its field is zero"
    text = SENTENCES.get(known, known.name.lower().replace("_", " "))
    if known == Reason.IP_ADDRESS:
        end = "destination" if detail[0] & ADDRESS_TARGET else "source"
        return text.format(*detail, end=end, kind=named(ADDRESS_KINDS, detail[0] & ~ADDRESS_TARGET))
    if known == Reason.SCTP_STATE:
        return text.format(*detail, sctp=named(SCTP_STATES, detail[1]))
    if known in WITH_FLAGS:
        return text.format(*detail, flags=flag_names(detail[0]), state=named(TCP_STATES, detail[1]))
    return text.format(*detail)
