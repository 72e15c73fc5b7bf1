"""NFLOG and NFQUEUE: packets for user space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.values import Range, number, number_range, show_number, show_text, text
from fastfw.ruleset.numbers import UINT16, UINT32

PREFIX_LIMIT = 63


@dataclass(slots=True)
class NfLog(Target):
    """Not a verdict. `range` has no effect; `size` None: the whole packet; `threshold` 0: the group's own."""

    name: ClassVar[str] = "NFLOG"

    prefix: str = ""
    group: int = 0
    range: int = 0
    size: int | None = None
    threshold: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("nflog-prefix", "prefix", text(PREFIX_LIMIT, 1), show_text, hide=""),
        Option("nflog-group", "group", number(UINT16), show_number, hide=0),
        Option("nflog-range", "range", number(UINT32), show_number, hide=0, excludes=("nflog-size",)),
        Option("nflog-size", "size", number(UINT32), show_number),
        Option("nflog-threshold", "threshold", number(UINT16), show_number, hide=0),
    )


def _balance(text: str, context: Context) -> Range:
    low, high = number_range(UINT16)(text, context)
    if ":" not in text or high <= low:
        raise Refusal(f"bad range of queues `{text}': expected first:last")
    return low, high


@dataclass(slots=True)
class NfQueue(Target):
    """Queues `first` to `last`; `bypass`: accept when nobody listens; `cpu_fanout`: the queue goes by the CPU."""

    name: ClassVar[str] = "NFQUEUE"

    first: int = 0
    last: int = 0
    bypass: bool = False
    cpu_fanout: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("queue-num", "first", number(UINT16), None, excludes=("queue-balance",)),
        Option("queue-balance", "first", _balance),
        Option("queue-bypass", "bypass"),
        Option("queue-cpu-fanout", "cpu_fanout", requires=("queue-balance",)),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """One queue, or a range of them."""
        if option.name == "queue-balance":
            Target.read(self, option, text, invert, context)
            self.first, self.last = _balance(text, context)
        else:
            Target.read(self, option, text, invert, context)
            if option.field == "first":
                self.last = self.first

    def check(self, site: Site) -> None:
        """The kernel counts the queues in 16 bits."""
        if self.last - self.first >= UINT16:
            raise Refusal(f"NFQUEUE balances over at most {UINT16} queues")

    def save(self, family: int) -> str:
        """One queue is printed as a number."""
        one = self.last == self.first
        out = f" --queue-num {self.first}" if one else f" --queue-balance {self.first}:{self.last}"
        return out + " --queue-bypass" * self.bypass + " --queue-cpu-fanout" * self.cpu_fanout
