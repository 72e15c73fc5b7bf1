"""What lowering writes to: the arrays of the compiled program as they grow."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fastfw.core.program import OPS
from fastfw.declared import Declared, declare
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.ct import Ct


class Unknown(Exception):
    """A match that nobody but the host's kernel can answer; the message says why."""


Predicate = tuple[int, int, int, int, int, int, int]
"""op, invert, size, a, b, c, d, as fastfw.core.program lays them out."""

RATE_WORDS, CROWD_WORDS = 13, 3
"""Words of a table's form, as fastfw.core.amounts takes them."""

FULL16 = (0, 0xFFFF)


def predicate(
    op: str, a: int = 0, b: int = 0, c: int = 0, d: int = 0, *, size: int = 0, invert: bool = False
) -> Predicate:
    """One predicate by the name of its op."""
    return (OPS[op], int(invert), size, a, b, c, d)


def raw4(address: int) -> int:
    """An IPv4 address as a 32-bit load from a packet gives it."""
    return socket.htonl(address)


def raw6(address: int) -> tuple[int, int]:
    """An IPv6 address as two 64-bit loads from a packet give it."""
    packed = address.to_bytes(16, "big")
    return int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")


def halves(address: int) -> tuple[int, int]:
    """An IPv6 address in two 64-bit numbers, the high one first."""
    return address >> 64, address & (1 << 64) - 1


def no_sets(name: str, family: int) -> int:
    """The number of a set where none is declared."""
    raise Refusal(f"set `{name}' does not exist: no sets are declared")


@dataclass(slots=True)
class Assembly:
    """The program under construction.

    `words` (64 bits) and `numbers` (32 bits) hold what does not fit into a predicate, `limits` (cost, cap) of every
    bucket, `registers` the words that rules remember things in, `recents` stamps kept and mask of every list by name,
    `rates` hashlimit's tables by name, `crowds` connlimit's lists,
    `patterns` the interfaces' names by (beginning, wildcard). `helper_number` gives a helper's number by name,
    `set_number` a set's, `template` that of what a CT target asks for, `protocol` is that of the rule in hand, 0: any,
    `declared` is what the engine was told.
    `notices` are what users are to be told once, each with the line and column of the first rule it is about; `place`
    is that of the rule being lowered.
    """

    family: int
    words: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    limits: list[tuple[int, int]] = field(default_factory=list)
    registers: list[int] = field(default_factory=list)
    recents: dict[str, list[int]] = field(default_factory=dict)
    rates: dict[str, tuple[int, ...]] = field(default_factory=dict)
    crowds: list[tuple[int, ...]] = field(default_factory=list)
    patterns: dict[tuple[str, bool], int] = field(default_factory=dict)
    status_mask: int = 0
    looks_at_connmark: bool = False
    wants_accounting: bool = False
    wants_labels: bool = False
    traces: bool = False
    rewrites: bool = False
    notices: dict[str, tuple[int, int]] = field(default_factory=dict)
    place: tuple[int, int] = (0, 0)
    reads_payload: bool = False
    protocol: int = 0
    helper_number: Callable[[str], int] = lambda name: 0
    set_number: Callable[[str, int], int] = no_sets
    template: Callable[[Ct, Assembly], int] = lambda target, assembly: 0
    declared: Declared = field(default_factory=declare)

    def notice(self, reason: str) -> None:
        """Tell users, once, of something that is not done as the kernel would do it."""
        self.notices.setdefault(reason, self.place)

    def pattern(self, name: str, wildcard: bool) -> int:
        """The number of an interface pattern."""
        return self.patterns.setdefault((name, wildcard), len(self.patterns))

    def register(self, value: int) -> int:
        """A word that a rule remembers something in, and what it begins with."""
        self.registers.append(value)
        return len(self.registers) - 1

    def recent(self, name: str, stamps: int, mask: tuple[int, int]) -> int:
        """The number of a list of addresses; it keeps as many packets of each as the most demanding rule asks for."""
        known = self.recents.setdefault(name, [stamps, *mask])
        known[0] = max(known[0], stamps)
        return list(self.recents).index(name)

    def rate_rows(self) -> npt.NDArray[np.uint64]:
        """The forms of hashlimit's tables."""
        return np.array(list(self.rates.values()), np.uint64).reshape(-1, RATE_WORDS)

    def crowd_rows(self) -> npt.NDArray[np.uint64]:
        """The forms of connlimit's lists."""
        return np.array(self.crowds, np.uint64).reshape(-1, CROWD_WORDS)

    def wide(self, *words: int) -> int:
        """Place of 64-bit words."""
        place = len(self.words)
        self.words += words
        return place

    def keep(self, *numbers: int) -> int:
        """Place of 32-bit numbers."""
        place = len(self.numbers)
        self.numbers += numbers
        return place

    def network(self, op: str, value: int, mask: int, *, invert: bool, c: int = 0, d: int = 0) -> Predicate:
        """A test of an address under a mask; `op` goes without its family."""
        if self.family == 4:
            return predicate(f"{op}4", raw4(value & mask), raw4(mask), c, d, invert=invert)
        place = self.wide(*raw6(value & mask), *raw6(mask))
        return predicate(f"{op}6", place, 0, c, d, invert=invert)

    def between(self, op: str, low: int, high: int, *, invert: bool) -> Predicate:
        """A test of an address against both ends of a range."""
        if self.family == 4:
            return predicate(f"{op}4", low, high, invert=invert)
        return predicate(f"{op}6", self.wide(*halves(low), *halves(high)), invert=invert)
