"""What lowering writes to: the arrays of the compiled program as they grow."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from fastfw.core.program import OPS

Predicate = tuple[int, int, int, int, int, int, int]
"""op, invert, size, a, b, c, d, as fastfw.core.program lays them out."""

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


@dataclass(slots=True)
class Assembly:
    """The program under construction.

    `words` (64 bits) and `numbers` (32 bits) hold what does not fit into a predicate, `limits` (cost, cap) of every
    bucket, `patterns` the interfaces' names by (beginning, wildcard).
    """

    family: int
    words: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    limits: list[tuple[int, int]] = field(default_factory=list)
    patterns: dict[tuple[str, bool], int] = field(default_factory=dict)
    status_mask: int = 0
    looks_at_connmark: bool = False

    def pattern(self, name: str, wildcard: bool) -> int:
        """The number of an interface pattern."""
        return self.patterns.setdefault((name, wildcard), len(self.patterns))

    def wide(self, *words: int) -> int:
        """Place of 64-bit words."""
        place = len(self.words)
        self.words += words
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
