"""One packet's decision as a Python object; names are made when they are asked for."""
from fastfw.core.reasons import sentence
from fastfw.core.terms import Reason

cdef tuple VERDICTS = ("-", "ACCEPT", "DROP", "REJECT", "HOLD", "QUEUE")
cdef tuple STATES = ("-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")


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
