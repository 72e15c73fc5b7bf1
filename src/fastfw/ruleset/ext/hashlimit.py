"""hashlimit: a token bucket for each group of packets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import FULL_MASK
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.limit import parse_rate, rate_text, unit_of
from fastfw.ruleset.ext.values import number, parse_prefix, text
from fastfw.ruleset.numbers import UINT32, UINT64, atoi

SCALE = 1_000_000
"""Units of an interval in a second."""

BURST_LIMIT = 1_000_000
SIZE_LIMIT = 1_048_576
NAME_LIMIT = 254

MODES = {"srcip": 2, "srcport": 8, "dstip": 1, "dstport": 4}

_BYTES = re.compile(r"\s*\+?([0-9]+)([a-z]?)b/s", re.ASCII)
_BURST = re.compile(r"\s*([0-9]{1,18})(kb|mb)?", re.ASCII)
_FACTORS = {"k": 1024, "m": 1024 * 1024}
_UNIT_BYTES = (("mb", 1024 * 1024), ("kb", 1024))


def cost_of(count: int) -> int:
    """The kernel's form of a rate in bytes a second: 2**32 over its units of 16."""
    return UINT32 // ((count >> 4) + 1)


def bytes_of(cost: int) -> int:
    """The rate in bytes a second that a cost stands for."""
    return ((UINT32 // cost if cost else UINT32) - 1) << 4


def _rate_bytes(count: int) -> str:
    """In the largest unit that is true to one part in 1024."""
    for unit, size in _UNIT_BYTES:
        if count >= size and count % size < count // size * (size >> 10):
            return f"{count // size}{unit}/s"
    return f"{count}b/s"


def _burst_bytes(count: int) -> str:
    for unit, size in _UNIT_BYTES:
        if count >= size:
            return f"{count // size}{unit}"
    return f"{count}b"


def _modes(text: str, context: Context) -> int:
    mode = 0
    for part in text.split(","):
        if part:
            if part not in MODES:
                raise Refusal(f"unknown mode `{part}': expected a comma-separated list of {', '.join(MODES)}")
            mode |= MODES[part]
    return mode


def _mask(text: str, context: Context) -> int:
    length = parse_prefix(text, context.family)
    if length is None:
        raise Refusal(f"`{text}' is not a prefix length")
    return length


def _burst(text: str, context: Context) -> int:
    found = _BURST.match(text)
    return int(found[1]) * _FACTORS.get((found[2] or " ")[0], 1) if found else 0


def _interval(text: str, context: Context) -> int:
    value = atoi(text)
    if value <= 0:
        raise Refusal(f"`{text}' is not an interval of seconds")
    return value


_CREDITS = (250 << 39) // SCALE
"""The kernel's credits in a microsecond, in its own arithmetic of 64 bits."""


def credits_of(interval: int) -> int:
    """An interval of microseconds in the kernel's credits for packets."""
    return interval * _CREDITS & UINT64


@dataclass(slots=True)
class HashLimit(Match):
    """Packets of one group (`mode`, an OR of `MODES`, under both prefix lengths) up to or `above` a rate.

    `average` is the time between two packets in microseconds, or with `in_bytes` a `cost_of` bytes a second, or with
    `rate_match` the number in `rate_interval` seconds. `burst` counts packets, or with `in_bytes` multiples of the rate
    (0: none). The table's `size` and `entries` may be 0 for the kernel's choice; `expire` and `collect` are in ms.
    Prefix lengths of None are full.
    """

    name: ClassVar[str] = "hashlimit"

    above: bool = False
    average: int = SCALE
    in_bytes: bool = False
    burst: int = 5
    mode: int = 0
    list_name: str = ""
    size: int = 0
    entries: int = 0
    collect: int = 1000
    expire: int = 0
    source_length: int | None = None
    destination_length: int | None = None
    rate_match: bool = False
    rate_interval: int = 1

    options: ClassVar[tuple[Option, ...]] = (
        Option("hashlimit-upto", "", lambda text, context: text, aliases=("hashlimit",), excludes=("hashlimit-above",)),
        Option("hashlimit-above", "", lambda text, context: text),
        Option("hashlimit-burst", "burst", _burst),
        Option("hashlimit-mode", "mode", _modes),
        Option("hashlimit-name", "list_name", text(NAME_LIMIT, 1), required=True),
        Option("hashlimit-htable-size", "size", number(UINT32)),
        Option("hashlimit-htable-max", "entries", number(UINT32)),
        Option("hashlimit-htable-gcinterval", "collect", number(UINT32)),
        Option("hashlimit-htable-expire", "expire", number(UINT32)),
        Option("hashlimit-srcmask", "source_length", _mask),
        Option("hashlimit-dstmask", "destination_length", _mask),
        Option("hashlimit-rate-match", "rate_match"),
        Option("hashlimit-rate-interval", "rate_interval", _interval),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """Both rates share their fields, and `!` exchanges them."""
        if option.field:
            Match.read(self, option, text, invert, context)
            return
        if option.name in context.seen:
            raise Refusal(f"option --{option.name} can only be used once")
        context.seen.add(option.name)
        self.above = (option.name == "hashlimit-above") != invert
        found = _BYTES.fullmatch(text)
        self.in_bytes = found is not None
        if found is not None:
            count = min(int(found[1][:24]), UINT64) * _FACTORS.get(found[2], 1)
            if not count:
                raise Refusal(f"bad rate `{text}'")
            self.average = cost_of(count)
        else:
            self.average = parse_rate(text, SCALE)
        context.seen.add(f" {1 if self.in_bytes else unit_of(text)}")

    def finish(self, context: Context) -> None:
        """What depends on the rate's unit: the burst's meaning, how long an entry lives."""
        seen = context.seen
        if not ("hashlimit-upto" in seen or "hashlimit-above" in seen):
            raise Refusal("hashlimit needs --hashlimit-upto or --hashlimit-above")
        seconds = next((int(note) for note in seen if note[0] == " "), 1)
        if "hashlimit-htable-expire" not in seen:
            self.expire = seconds * 1000
        if self.in_bytes:
            rate = bytes_of(self.average)
            if "hashlimit-burst" not in seen:
                self.burst = 0
            elif self.burst < rate or not rate:
                raise Refusal(f"burst cannot be smaller than the rate, {rate} bytes")
            else:
                self.burst = -(-self.burst // rate)
        elif not 1 <= self.burst <= BURST_LIMIT:
            raise Refusal(f"burst must be from 1 to {BURST_LIMIT}")
        if not self.rate_match:
            self.rate_interval = 1
        else:
            if "hashlimit-rate-interval" not in seen:
                self.rate_interval = seconds
            if not self.in_bytes:
                self.average = SCALE // (self.average // seconds)
        if self.size:
            self.size = min(self.size, SIZE_LIMIT)
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """The kernel's limits."""
        if not self.collect or not self.expire:
            raise Refusal("hashlimit's times must not be 0")
        if "/" in self.list_name:
            raise Refusal(f"`{self.list_name}' cannot be a list's name")
        if self.rate_match or self.in_bytes:
            if not self.average:
                raise Refusal("hashlimit's rate is out of range")
        elif credits_of(self.average * self.burst) < credits_of(self.average):
            raise Refusal("hashlimit's burst times its interval overflows the kernel's counter: lower the burst")

    def save(self, family: int) -> str:
        """Defaults are left out; how long an entry lives goes by the unit that is printed."""
        out = " --hashlimit-above " if self.above else " --hashlimit-upto "
        shown = 1
        if self.in_bytes:
            rate = bytes_of(self.average)
            out += _rate_bytes(rate)
            if self.burst:
                out += f" --hashlimit-burst {_burst_bytes(self.burst * rate)}"
        else:
            if self.rate_match:
                out += f"{self.average}/sec"
            else:
                printed = rate_text(self.average, SCALE)
                shown = unit_of(printed)
                out += printed
            out += f" --hashlimit-burst {self.burst}"
        if self.mode:
            out += " --hashlimit-mode " + ",".join(word for word, bit in MODES.items() if self.mode & bit)
        out += f" --hashlimit-name {self.list_name}"
        if self.size:
            out += f" --hashlimit-htable-size {self.size}"
        if self.entries:
            out += f" --hashlimit-htable-max {self.entries}"
        if self.collect != 1000:
            out += f" --hashlimit-htable-gcinterval {self.collect}"
        if self.expire != shown * 1000:
            out += f" --hashlimit-htable-expire {self.expire}"
        full = FULL_MASK[family].bit_length()
        if self.source_length not in (None, full):
            out += f" --hashlimit-srcmask {self.source_length}"
        if self.destination_length not in (None, full):
            out += f" --hashlimit-dstmask {self.destination_length}"
        if self.rate_match:
            out += " --hashlimit-rate-match"
            if self.rate_interval != 1:
                out += f" --hashlimit-rate-interval {self.rate_interval}"
        return out
