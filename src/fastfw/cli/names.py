"""The words for the numbers of a decision, as the command line prints them. `-` stands for what is not there."""

from __future__ import annotations

from fastfw.connection import IP_PROTOCOL_NAMES
from fastfw.core.terms import Hook, Reason, State, Verdict
from fastfw.drivers.capture import LINK_REASONS

ABSENT = "-"

VERDICTS = {int(v): v.name.removeprefix("VERDICT_") if v else ABSENT for v in Verdict}
STATES = {int(s): s.name.removeprefix("STATE_") if s else ABSENT for s in State}
HOOK_NAMES = {int(h): h.name.removeprefix("HOOK_") for h in Hook}
REASONS = {int(r): r.name.lower() if r else ABSENT for r in Reason}

#: States in which a packet belongs to a connection, so that it has a direction.
TRACKED = {int(State.STATE_NEW), int(State.STATE_ESTABLISHED), int(State.STATE_RELATED)}

#: What a packet with that reason met, in words for people.
MEANINGS = {
    "arp": "ARP, not IP",
    "link_truncated": "cut within its link-level header",
    "link_type_unsupported": "recorded on an interface whose link type cannot be read",
    "interface_unknown": "of an interface the file does not describe",
    "record_damaged": "the record claims more bytes than the file holds",
    "too_many_vlan_tags": "behind more VLAN tags than are followed",
    "ip_version_mismatch": "the link announces another IP version than the packet carries",
    "not_ip": "not an IP packet",
    "ip_version": "IP version neither 4 nor 6",
    "ip_header_length": "impossible IP header length",
    "ip_total_length": "IP length disagrees with the packet",
    "ip_checksum": "wrong IP header checksum",
    "ip_truncated": "shorter than an IP header",
    "ip_options": "malformed IP options",
    "ip_address": "an address no packet may carry",
    "ttl_expired": "its time to live ran out here",
    "fragment": "fragment held until its datagram is whole",
    "fragment_bad": "fragment that fits no datagram",
    "fragment_limit": "fragment beyond what may be held",
    "extension_header": "malformed IPv6 extension header",
    "transport_truncated": "shorter than its transport header",
    "capture_cut": "cut by the capture before what must be seen",
    "tcp_offset": "impossible TCP header length",
    "tcp_checksum": "wrong TCP checksum",
    "tcp_flags": "TCP flags that no stack sends together",
    "udp_length": "UDP length disagrees with the packet",
    "udp_checksum": "wrong UDP checksum",
    "icmp_checksum": "wrong ICMP checksum",
    "icmp_type": "ICMP type out of range",
    "icmp_no_request": "ICMP that neither asks nor answers a known request",
    "icmp_error_malformed": "ICMP error that quotes no usable packet",
    "icmp_error_unknown": "ICMP error about a packet of no known connection",
    "icmp_error_address": "ICMP error addressed to someone else than the quoted packet's sender",
    "sctp_chunk": "malformed SCTP chunk",
    "sctp_checksum": "wrong SCTP checksum",
    "sctp_tag": "SCTP verification tag of another association",
    "gre_header": "malformed GRE header",
    "protocol_family": "a protocol of the other IP version",
    "tcp_not_syn": "TCP without a connection and not its first packet",
    "tcp_state": "TCP flags the connection's state does not allow",
    "tcp_seq_over": "TCP data beyond the receiver's window",
    "tcp_ack_over": "TCP acknowledgement of data never sent",
    "tcp_rst_old": "TCP reset that misses the expected sequence number",
    "tcp_stray": "TCP packet of an earlier connection",
    "sctp_state": "SCTP chunk the association's state does not allow",
    "tcp_ignored": "TCP packet let through without judging it",
    "tcp_seq_under": "TCP data from before the window",
    "tcp_ack_under": "TCP acknowledgement from before the window",
    "tcp_oversent": "TCP data somewhat beyond the window",
    "tcp_challenge_ack": "TCP challenge acknowledgement",
    "table_full": "no room for another connection (nf_conntrack_max)",
    "insert_failed": "another packet made the same connection first",
    "helper_drop": "stopped by its helper",
}


def protocol_name(number: int) -> str:
    """The transport's name, or its number where /proc/net/nf_conntrack has none."""
    return IP_PROTOCOL_NAMES.get(number, str(number))


def reason_name(reason: int, link_reason: int) -> str:
    """Why a record was no packet, or why a packet was refused or INVALID; ABSENT if there is nothing to say."""
    return LINK_REASONS[link_reason] if link_reason else REASONS.get(reason, str(reason))
