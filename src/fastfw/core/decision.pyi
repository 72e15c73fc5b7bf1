"""One packet's decision as a Python object; names are made when they are asked for."""

REJECTS: dict[int, dict[int, str]]
"""What a REJECT rule answers with, by family: the errors of ICMP and ICMPv6 by type << 8 | code, and the reset."""

class Decision:
    """What the engine decided of one packet."""

    @property
    def verdict(self) -> str:
        """ACCEPT, DROP, REJECT, QUEUE, HOLD (a fragment that waits), or `-` for no IP packet."""

    @property
    def state(self) -> str:
        """NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED, or `-` for what never reached connection tracking."""

    @property
    def direction(self) -> str:
        """ORIGINAL or REPLY; `-` where there is no state."""

    @property
    def assured(self) -> bool:
        """The connection survives a full table."""

    @property
    def seen_reply(self) -> bool:
        """The other side has answered."""

    @property
    def expected(self) -> bool:
        """A helper announced the connection."""

    @property
    def rule(self) -> str | None:
        """The rule or policy that decided, as TRACE names it (`filter:FORWARD:rule:3`); None where none did."""

    @property
    def reject(self) -> str | None:
        """What a REJECT rule answers with, by iptables' name (`icmp-port-unreachable`, `tcp-reset`); None for any other
        verdict."""

    @property
    def queue(self) -> int | None:
        """The queue that a QUEUE or NFQUEUE rule chose, 0 to 65535; None for any other verdict."""

    @property
    def queue_bypass(self) -> bool:
        """Whether the packet passes on to the next table where nobody reads that queue."""

    @property
    def reason(self) -> str | None:
        """The name of what connection tracking had to say of the packet; None for nothing."""

    @property
    def detail(self) -> tuple[int, int]:
        """The two numbers behind the reason; fastfw.core.reasons.sentence puts them in words."""

    @property
    def explanation(self) -> str:
        """The reason in a sentence, with its numbers; empty without one."""

    @property
    def mark(self) -> int:
        """The packet's mark after the rules."""
