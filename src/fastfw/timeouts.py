"""Timeout policies: what `nfct timeout add` makes and `-j CT --timeout` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastfw.core.settings import SYN_SENT2
from fastfw.core.settings import TABLE as SETTINGS

_TCP = (
    "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close", "unacknowledged",
)  # fmt: skip
_SCTP = (
    "closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent", "shutdown_recd", "shutdown_ack_sent",
    "heartbeat_sent",
)  # fmt: skip


def _slot(setting: str) -> int:
    return int(SETTINGS[f"nf_conntrack_{setting}"][0])


_PAIR = {"unreplied": "", "replied": "_stream"}
SLOTS: dict[str, dict[str, int]] = {
    "tcp": {name: _slot(f"tcp_timeout_{name}") for name in _TCP}
    | {"retrans": _slot("tcp_timeout_max_retrans"), "syn_sent2": SYN_SENT2},
    "udp": {name: _slot(f"udp_timeout{end}") for name, end in _PAIR.items()},
    "udplite": {name: _slot(f"udp_timeout{end}") for name, end in _PAIR.items()},
    "icmp": {"timeout": _slot("icmp_timeout")},
    "icmpv6": {"timeout": _slot("icmpv6_timeout")},
    "sctp": {name: _slot(f"sctp_timeout_{name}") for name in _SCTP},
    "gre": {name: _slot(f"gre_timeout{end}") for name, end in _PAIR.items()},
    "generic": {"timeout": _slot("generic_timeout")},
}
"""Where the timeouts of each protocol are kept, by nfct's names for them."""

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "sctp": 132, "udplite": 136}


@dataclass(frozen=True, slots=True)
class TimeoutPolicy:
    """How long connections last that begin by a rule with `-j CT --timeout`.

    `protocol` is one of `SLOTS`; `seconds` by nfct's names (`established`, `unreplied`, `timeout`, ...); what is not
    named lasts as the settings say when the engine is made. ValueError for any other name or number.
    """

    protocol: str
    seconds: Mapping[str, int] = field(default_factory=dict)
    family: int = 4

    def __post_init__(self) -> None:
        if self.protocol not in SLOTS:
            raise ValueError(f"protocol: one of {', '.join(SLOTS)} expected, not {self.protocol!r}")
        if self.family not in (4, 6):
            raise ValueError(f"family: 4 or 6 expected, not {self.family!r}")
        for name, value in self.seconds.items():
            if name not in SLOTS[self.protocol]:
                raise ValueError(f"{name}: one of {', '.join(SLOTS[self.protocol])} expected")
            if not isinstance(value, int) or not 0 <= value < 2**31:
                raise ValueError(f"{name}: a whole number of seconds from 0 to {2**31 - 1} expected, not {value!r}")

    def by_slot(self, settings: Mapping[str, int]) -> dict[int, int]:
        """Seconds by slot, of all the protocol's timeouts, the others taken from the settings."""
        standing = {int(entry[0]): settings[name] for name, entry in SETTINGS.items()} | {SYN_SENT2: 120}
        return {slot: self.seconds.get(name, standing[slot]) for name, slot in SLOTS[self.protocol].items()}

    def serves(self, number: int) -> bool:
        """Whether connections of the protocol of that number may last as it says."""
        if self.protocol == "generic":
            return number not in NUMBERS.values()
        return number == NUMBERS[self.protocol]
