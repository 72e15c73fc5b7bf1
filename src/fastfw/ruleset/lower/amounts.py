"""The matches that count, remember or look at the clock: what changes from packet to packet."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from fastfw.core.program import RecentBit
from fastfw.core.rates import RateBit
from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.ext import connbytes as connbytes_words
from fastfw.ruleset.ext.connbytes import ConnBytes
from fastfw.ruleset.ext.connlabel import ConnLabel
from fastfw.ruleset.ext.connlimit import ConnLimit
from fastfw.ruleset.ext.hashlimit import MODES, HashLimit, bytes_of
from fastfw.ruleset.ext.hashlimit import credits_of as packet_credits
from fastfw.ruleset.ext.limit import SCALE, Limit
from fastfw.ruleset.ext.quota import Quota
from fastfw.ruleset.ext.recent import Recent
from fastfw.ruleset.ext.statistic import Statistic
from fastfw.ruleset.ext.time import Time
from fastfw.ruleset.lower.program import Assembly, Predicate, Unknown, predicate, raw4, raw6
from fastfw.ruleset.numbers import UINT32, UINT64

CREDITS_PER_SECOND = 32_000
"""A tick of 4 ms brings 128."""

MS_PER_TICK = 4
TICKS_PER_SECOND = 250

FULL_BYTES = 250 << 24
"""hashlimit's credits of a full bucket of bytes."""

USUAL_SIZE = 8192
"""hashlimit's buckets where no rule asks for a number, on a machine with more than 1 GB of memory."""

GROUPED = {
    "dstip": RateBit.RATE_TARGET,
    "dstport": RateBit.RATE_TARGET_PORT,
    "srcip": RateBit.RATE_SOURCE,
    "srcport": RateBit.RATE_SOURCE_PORT,
}

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


def _ticks(milliseconds: int) -> int:
    return -(-milliseconds // MS_PER_TICK)


def _rate_form(match: HashLimit) -> tuple[int, ...]:
    """Cost, cap and refills in the kernel's arithmetic."""
    if match.rate_match:
        if match.in_bytes:
            rate = bytes_of(match.average)
            return rate, (match.burst * rate if match.burst else rate) & UINT64, 0
        return match.average, match.burst + match.average, 0
    if match.in_bytes:
        return match.average * FULL_BYTES >> 32, FULL_BYTES, match.burst
    return packet_credits(match.average), packet_credits(match.average * match.burst), 0


def _mask_words(length: int | None, family: int) -> tuple[int, int]:
    full = FULL_MASK[family].bit_length()
    mask = ((1 << full) - 1) ^ ((1 << full - (full if length is None else length)) - 1)
    return (raw4(mask), 0) if family == 4 else raw6(mask)


def hashlimit(match: HashLimit, assembly: Assembly) -> Iterator[Predicate]:
    """A table that rules of one name share; the first of them gives its form."""
    bits = sum(int(bit) for mode, bit in GROUPED.items() if match.mode & MODES[mode])
    bits |= int(RateBit.RATE_BYTES) * match.in_bytes | int(RateBit.RATE_WINDOW) * match.rate_match
    size = match.size or USUAL_SIZE
    most = max(match.entries, size) if match.entries else 8 * size
    if match.list_name not in assembly.rates:
        assembly.rates[match.list_name] = (
            secrets.randbits(64),
            *_mask_words(match.source_length, assembly.family),
            *_mask_words(match.destination_length, assembly.family),
            *_rate_form(match),
            bits,
            most,
            _ticks(match.expire),
            match.rate_interval * TICKS_PER_SECOND,
            max(1, _ticks(match.collect)),
        )
    number = list(assembly.rates).index(match.list_name)
    yield predicate("RATE", number, bits | int(RateBit.RATE_ABOVE) * match.above)


def connlabel(match: ConnLabel, assembly: Assembly) -> Iterator[Predicate]:
    """A connection's label, which asking may set."""
    assembly.wants_labels = True
    yield predicate("LABEL", match.label, int(match.set), invert=match.invert)


def connlimit(match: ConnLimit, assembly: Assembly) -> Iterator[Predicate]:
    """Connections of a host or network, each rule's own count."""
    assembly.crowds.append((secrets.randbits(64), *_mask_words(match.length, assembly.family)))
    number = len(assembly.crowds) - 1
    yield predicate("CROWD", number, match.limit, int(match.destination), invert=not match.above)


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
    ConnLabel: connlabel,
    ConnLimit: connlimit,
    HashLimit: hashlimit,
    Limit: limit,
    Quota: quota,
    Recent: recent,
    Statistic: statistic,
    Time: time,
}
