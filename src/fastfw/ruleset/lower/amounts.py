"""The matches that count, remember or look at the clock: what changes from packet to packet."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from fastfw.core.program import RecentBit
from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.ext import connbytes as connbytes_words
from fastfw.ruleset.ext.connbytes import ConnBytes
from fastfw.ruleset.ext.limit import SCALE, Limit
from fastfw.ruleset.ext.quota import Quota
from fastfw.ruleset.ext.recent import Recent
from fastfw.ruleset.ext.statistic import Statistic
from fastfw.ruleset.ext.time import Time
from fastfw.ruleset.lower.program import Assembly, Predicate, Unknown, predicate, raw4, raw6
from fastfw.ruleset.numbers import UINT32, UINT64

CREDITS_PER_SECOND = 32_000
"""A tick of 4 ms brings 128."""

USUAL_STAMPS = 32
"""Packets that recent keeps of an address where no rule asks for a number of hits."""

RECENT = {
    "set": RecentBit.RECENT_SET,
    "rcheck": RecentBit.RECENT_CHECK,
    "update": RecentBit.RECENT_UPDATE,
    "remove": RecentBit.RECENT_REMOVE,
}


def credits(interval: int) -> int:
    """An interval of 1/10 000 s in the kernel's credits, in its arithmetic of 32 bits."""
    if interval > UINT32 // CREDITS_PER_SECOND:
        return interval // SCALE * CREDITS_PER_SECOND & UINT32
    return interval * CREDITS_PER_SECOND // SCALE


def limit(match: Limit, assembly: Assembly) -> Iterator[Predicate]:
    """A bucket that starts full."""
    assembly.limits.append((credits(match.interval), credits(match.interval * match.burst & UINT32)))
    yield predicate("LIMIT", len(assembly.limits) - 1)


def quota(match: Quota, assembly: Assembly) -> Iterator[Predicate]:
    """Bytes that are left."""
    yield predicate("QUOTA", assembly.register(match.quota), invert=match.invert)


def statistic(match: Statistic, assembly: Assembly) -> Iterator[Predicate]:
    """Every n-th packet, or chance."""
    if match.mode == "nth":
        last = match.every - 1
        yield predicate("NTH", assembly.register(last - match.packet), last, invert=match.invert)
    else:
        seed = secrets.randbits(63) | 1
        yield predicate("RANDOM", assembly.register(seed), match.probability, invert=match.invert)


def recent(match: Recent, assembly: Assembly) -> Iterator[Predicate]:
    """A list of addresses that rules of one name share; the first of them gives its mask."""
    full = FULL_MASK[assembly.family]
    mask = full if match.mask is None else match.mask
    stamps = 1 << (match.hitcount - 1).bit_length() if match.hitcount else USUAL_STAMPS
    words = (raw4(mask), 0) if assembly.family == 4 else raw6(mask)
    number = assembly.recent(match.list_name, stamps, words)
    bits = int(RECENT[match.action])
    bits |= int(RecentBit.RECENT_TTL) * match.rttl | int(RecentBit.RECENT_REAP) * match.reap
    bits |= int(RecentBit.RECENT_TARGET) * (match.side == "rdest")
    yield predicate("RECENT", number, bits, match.seconds, match.hitcount, invert=match.invert)


def connbytes(match: ConnBytes, assembly: Assembly) -> Iterator[Predicate]:
    """What a connection has carried; asking makes connections count."""
    assembly.wants_accounting = True
    yield predicate(
        "CONNBYTES",
        assembly.wide(*match.count),
        connbytes_words.MODES.index(match.mode),
        connbytes_words.DIRECTIONS.index(match.direction),
        invert=match.invert,
    )


def time(match: Time, assembly: Assembly) -> Iterator[Predicate]:
    """The packet's time, UTC or in the zone that was declared. Unknown: none was."""
    zone = assembly.declared.zone if match.kerneltz else 0
    if zone is None:
        raise Unknown("the kernel's time zone is not declared")
    place = assembly.wide(
        match.start,
        match.stop,
        match.day_start,
        match.day_stop,
        match.monthdays,
        match.weekdays,
        int(match.contiguous),
        zone * 60 & UINT64,
    )
    yield predicate("TIME", place)


AMOUNTS: dict[type, Callable[[Any, Assembly], Iterator[Predicate]]] = {
    ConnBytes: connbytes,
    Limit: limit,
    Quota: quota,
    Recent: recent,
    Statistic: statistic,
    Time: time,
}
