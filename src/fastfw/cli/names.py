"""The words for the numbers of a decision, as the command line prints them. `-` stands for what is not there."""

from __future__ import annotations

from fastfw.connection import IP_PROTOCOL_NAMES
from fastfw.core.reasons import SENTENCES, reason_name
from fastfw.core.terms import Hook, Reason, State, Verdict
from fastfw.drivers.capture import LINK_REASONS

ABSENT = "-"

VERDICTS = {int(v): v.name.removeprefix("VERDICT_") if v else ABSENT for v in Verdict}
STATES = {int(s): s.name.removeprefix("STATE_") if s else ABSENT for s in State}
HOOK_NAMES = {int(h): h.name.removeprefix("HOOK_") for h in Hook}

#: What a link-level reason means, in words for people; the engine's reasons have theirs in fastfw.core.reasons.
LINK_MEANINGS = {
    "arp": "ARP",
    "not_ip": "not an IP packet",
    "link_truncated": "the record ends within its link-level header",
    "link_type_unsupported": "recorded on an interface whose link type cannot be read",
    "interface_unknown": "recorded on an interface that the file does not describe",
    "record_damaged": "the record claims more bytes than its block holds",
    "too_many_vlan_tags": "more VLAN tags than are followed",
    "ip_version_mismatch": "the link announces another IP version than the packet carries",
}


def direction_name(state: int, direction: int) -> str:
    """ORIGINAL or REPLY; ABSENT for what never reached connection tracking."""
    return ("REPLY" if direction else "ORIGINAL") if state else ABSENT


def protocol_name(number: int) -> str:
    """The transport's name, or its number where /proc/net/nf_conntrack has none."""
    return IP_PROTOCOL_NAMES.get(number, str(number))


def why(reason: int, link_reason: int) -> str:
    """Why a record was no packet, or what the engine had to say of the packet; ABSENT for nothing."""
    return LINK_REASONS[link_reason] if link_reason else reason_name(reason)


class _Any(str):
    """Stands in a sentence for a number, whatever form the sentence gives it."""

    def __format__(self, form: str) -> str:
        return str(self)


def meaning(reason: int, link_reason: int) -> str:
    """The same in a sentence that holds for all such packets: N and M stand for each one's numbers."""
    if link_reason:
        return LINK_MEANINGS[LINK_REASONS[link_reason]]
    if not reason:
        return ""
    return SENTENCES[Reason(reason)].format(
        _Any("N"), _Any("M"), flags="...", state="...", sctp="...", end="...", kind="..."
    )
