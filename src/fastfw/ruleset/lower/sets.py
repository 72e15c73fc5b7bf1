"""set and SET: ipset's sets, by the numbers the engine knows them by."""

from __future__ import annotations

from collections.abc import Iterator

from fastfw.core.program import ACTIONS
from fastfw.core.setstore import ASK, COMPARE, NONE, USUAL
from fastfw.ruleset.ext.set import Counter, Reference, Set, SetTarget
from fastfw.ruleset.lower.program import Assembly, Predicate, predicate

COMPARED = {("eq", False): "equal", ("eq", True): "other", ("lt", False): "less", ("gt", False): "more"}


def sides(reference: Reference) -> int:
    """The bits that say which sides of a packet make its element."""
    bits = sum(1 << place for place, side in enumerate(reference.sides) if side == "src")
    return bits | len(reference.sides) * ASK["PARTS"]


def _compared(counter: Counter | None) -> tuple[int, int]:
    if counter is None:
        return COMPARE["none"], 0
    return COMPARE[COMPARED[counter.compare, counter.invert]], counter.value


def match(asked: Set, assembly: Assembly) -> Iterator[Predicate]:
    """Whether the packet's element is in a set; its counters count it."""
    if asked.reference is None:
        raise TypeError("a set match without a set")
    (packets, packets_value), (size, size_value) = _compared(asked.packets), _compared(asked.bytes)
    bits = sides(asked.reference) | ASK["NOMATCH"] * asked.return_nomatch | ASK["STILL"] * asked.no_update_counters
    bits |= ASK["STILL_BELOW"] * asked.no_update_subcounters | ASK["PACKETS"] * packets | ASK["BYTES"] * size
    number = assembly.set_number(asked.reference.set_name, assembly.family)
    yield predicate("SET", number, bits, assembly.wide(packets_value, size_value), invert=asked.invert)


def target(asked: SetTarget, assembly: Assembly) -> tuple[int, int, int, int]:
    """Add, delete and map, in this order. Priorities and queues are for what sends packets."""
    numbers = []
    for reference in (asked.add, asked.delete, asked.map):
        if reference is None:
            numbers += [NONE, 0]
        else:
            numbers += [assembly.set_number(reference.set_name, assembly.family), sides(reference)]
    numbers[1] |= ASK["EXIST"] * asked.exist
    timeout = USUAL if asked.timeout is None else asked.timeout
    return ACTIONS["SET"], 0, assembly.keep(*numbers, timeout, int(asked.map_mark)), 0
