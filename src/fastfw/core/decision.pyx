"""One packet's decision as a Python object; names are made when they are asked for."""
cimport cython

from fastfw.core.reasons import sentence
from fastfw.core.terms import Reason
from fastfw.core.terms cimport VERDICT_QUEUE, VERDICT_REJECT
from fastfw.core.wire cimport ANSWER_BYPASS, ANSWER_RESET

cdef tuple VERDICTS = ("-", "ACCEPT", "DROP", "REJECT", "HOLD", "QUEUE")
cdef tuple STATES = ("-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")

# What a REJECT rule answers with: names of the ICMP (RFC 792, 1122, 1812) and ICMPv6 (RFC 4443) errors by type << 8 |
# code, and the TCP reset.
REJECTS = {
    4: {0x300: "icmp-net-unreachable", 0x301: "icmp-host-unreachable", 0x302: "icmp-proto-unreachable",
        0x303: "icmp-port-unreachable", 0x309: "icmp-net-prohibited", 0x30a: "icmp-host-prohibited",
        0x30d: "icmp-admin-prohibited", ANSWER_RESET: "tcp-reset"},
    6: {0x100: "icmp6-no-route", 0x101: "icmp6-adm-prohibited", 0x103: "icmp6-addr-unreachable",
        0x104: "icmp6-port-unreachable", 0x105: "icmp6-policy-fail", 0x106: "icmp6-reject-route",
        ANSWER_RESET: "tcp-reset"},
}


# It refers to a ruleset, which never refers to it: no cycle for the collector to look for.
@cython.no_gc
@cython.freelist(64)
cdef class Decision:
    """What the engine decided of one packet."""

    @property
    def verdict(self):
        """ACCEPT, DROP, REJECT, QUEUE, HOLD (a fragment that waits), or `-` for no IP packet."""
        return VERDICTS[self.verdict_code]

    @property
    def state(self):
        """NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED, or `-` for what never reached connection tracking."""
        return STATES[self.state_code]

    @property
    def direction(self):
        """ORIGINAL or REPLY; `-` where there is no state."""
        if self.state_code == 0:
            return "-"
        return "REPLY" if self.direction_code else "ORIGINAL"

    @property
    def rule(self):
        """The rule or policy that decided, as TRACE names it (`filter:FORWARD:rule:3`); None where none did."""
        if self.rule_index < 0 or self.rules is None:
            return None
        return self.rules.rule_name(self.rule_index)

    @property
    def reject(self):
        """What a REJECT rule answers with, by iptables' name (`icmp-port-unreachable`, `tcp-reset`); None for any other
        verdict."""
        return REJECTS[self.family][self.answer] if self.verdict_code == VERDICT_REJECT else None

    @property
    def queue(self):
        """The queue that a QUEUE or NFQUEUE rule chose, 0 to 65535; None for any other verdict."""
        return self.answer & 0xffff if self.verdict_code == VERDICT_QUEUE else None

    @property
    def queue_bypass(self):
        """Whether the packet passes on to the next table where nobody reads that queue."""
        return self.verdict_code == VERDICT_QUEUE and self.answer & ANSWER_BYPASS != 0

    @property
    def reason(self):
        """The name of what connection tracking had to say of the packet; None for nothing."""
        return Reason(self.reason_code).name.lower() if self.reason_code else None

    @property
    def detail(self):
        """The two numbers behind the reason; fastfw.core.reasons.sentence puts them in words."""
        return self.detail_a, self.detail_b

    @property
    def explanation(self):
        """The reason in a sentence, with its numbers; empty without one."""
        return sentence(self.reason_code, (self.detail_a, self.detail_b))

    def __repr__(self):
        return (f"Decision(verdict={self.verdict!r}, state={self.state!r}, direction={self.direction!r}, "
                f"assured={self.assured}, seen_reply={self.seen_reply}, expected={self.expected}, rule={self.rule!r}, "
                f"reason={self.reason!r}, mark={self.mark})")
