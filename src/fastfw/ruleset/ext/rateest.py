"""rateest and RATEEST: estimated rates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site, Target
from fastfw.ruleset.ext.values import number, text
from fastfw.ruleset.numbers import UINT32

NAME_LIMIT = 15

_UNITS = (
    {"bit": 1.0, "bps": 8.0}
    | {f"{letter}bit": 1000.0**power for power, letter in enumerate("kmgt", 1)}
    | {f"{letter}ibit": 1024.0**power for power, letter in enumerate("kmgt", 1)}
    | {f"{letter}bps": 8 * 1000.0**power for power, letter in enumerate("kmgt", 1)}
    | {f"{letter}ibps": 8 * 1024.0**power for power, letter in enumerate("kmgt", 1)}
)
_RATE = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)([a-z]*)", re.ASCII)


def _rate(text: str, context: Context) -> int:
    """Bytes a second; a number without a unit counts bits."""
    if not text:
        return 0
    found = _RATE.fullmatch(lower(text))
    factor = _UNITS.get(found[2] or "bit") if found else None
    if found is None or factor is None:
        raise Refusal(f"`{text}' is not a rate: expected a number and bit, kbit, mbit, Bps, kBps, ...")
    return int(float(found[1]) * factor / 8) & UINT32


def _packets(text: str, context: Context) -> int:
    return int(number(UINT32)(text, context)) if text else 0


def _rate_text(count: int) -> str:
    bits = count * 8
    if bits >= 1000 * 1000000:
        return f"{bits / 1000000:.0f}Mbit"
    if bits >= 1000 * 1000:
        return f"{bits / 1000:.0f}Kbit"
    return f"{bits}bit"


@dataclass(slots=True)
class RateEst(Match):
    """Compares (`compare`: lt, gt or eq) estimator `first` with `second` or, when that is "", with a fixed rate.

    `bytes` and `packets` say what is compared; the pairs hold what is taken from the first estimator (with `delta`),
    and from the second or the fixed rate, in bytes and packets a second.
    """

    name: ClassVar[str] = "rateest"

    first: str = ""
    second: str = ""
    delta: bool = False
    compare: str = ""
    invert: bool = False
    bytes: bool = False
    packets: bool = False
    bps: tuple[int, int] = (0, 0)
    pps: tuple[int, int] = (0, 0)

    options: ClassVar[tuple[Option, ...]] = (
        Option("rateest1", "first", text(NAME_LIMIT), aliases=("rateest",)),
        Option("rateest2", "second", text(NAME_LIMIT)),
        Option("rateest-delta", "delta"),
        Option("rateest-bps1", "", _rate, optional=True),
        Option("rateest-bps2", "", _rate, aliases=("rateest-bps",), optional=True),
        Option("rateest-pps1", "", _packets, optional=True),
        Option("rateest-pps2", "", _packets, aliases=("rateest-pps",), optional=True),
        Option("rateest-lt", "compare", None, None, "invert", value="lt"),
        Option("rateest-gt", "compare", None, None, "invert", value="gt"),
        Option("rateest-eq", "compare", None, None, "invert", value="eq"),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """A rate also says what is compared."""
        if option.field:
            Match.read(self, option, text, invert, context)
            return
        assert option.parse is not None
        value = option.parse(text, context)
        second = option.name.endswith("2")
        if "bps" in option.name:
            self.bytes = True
            self.bps = (self.bps[0], value) if second else (value, self.bps[1])
        else:
            self.packets = True
            self.pps = (self.pps[0], value) if second else (value, self.pps[1])

    def check(self, site: Site) -> None:
        """There must be something to compare."""
        if not self.first:
            raise Refusal("rateest needs --rateest or --rateest1")
        if not self.compare:
            raise Refusal("rateest needs --rateest-lt, --rateest-gt or --rateest-eq")
        if not (self.bytes or self.packets):
            raise Refusal("rateest needs a rate in bytes or packets")

    def save(self, family: int) -> str:
        """Rates that nothing is taken from or compared with are left out."""
        fixed = not self.second
        out = " --rateest-delta" * self.delta
        out += f" --rateest{'' if fixed else '1'} {self.first}"
        if self.delta:
            if self.bytes:
                out += f" --rateest-bps1 {_rate_text(self.bps[0])}"
            if self.packets:
                out += f" --rateest-pps1 {self.pps[0]}"
        compared = f" {'! ' * self.invert}--rateest-{self.compare}"
        which = "2" * self.delta
        if self.bytes:
            out += f"{compared} --rateest-bps{which}"
            if fixed or self.delta:
                out += f" {_rate_text(self.bps[1])}"
        if self.packets:
            out += f"{compared} --rateest-pps{which}"
            if fixed or self.delta:
                out += f" {self.pps[1]}"
        return out if fixed else f"{out} --rateest2 {self.second}"


_SECONDS = {"": 1, "us": 1, "usec": 1, "usecs": 1, "ms": 1000, "msec": 1000, "msecs": 1000}
_SECONDS |= {"s": 1000000, "sec": 1000000, "secs": 1000000}
_TIME = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)([a-z]*)", re.ASCII)


def _time(text: str, context: Context) -> int:
    """Microseconds; also the unit of a bare number."""
    found = _TIME.fullmatch(lower(text))
    factor = _SECONDS.get(found[2]) if found else None
    if found is None or factor is None:
        raise Refusal(f"`{text}' is not a time: expected a number and s, ms or us")
    return int(float(found[1]) * factor)


def _time_text(microseconds: int) -> str:
    if microseconds >= 1000000:
        return f"{microseconds / 1000000:.1f}s"
    if microseconds >= 1000:
        return f"{microseconds / 1000:.1f}ms"
    return f"{microseconds}us"


@dataclass(slots=True)
class RateEstTarget(Target):
    """Counts into `estimator`: every 250 ms * 2**(`interval` + 2), averaged over 2**`ewma_log` of these."""

    name: ClassVar[str] = "RATEEST"

    estimator: str = ""
    interval: int = 0
    ewma_log: int = 0
    interval_us: int = 0
    ewma_us: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("rateest-name", "estimator", text(NAME_LIMIT), required=True),
        Option("rateest-interval", "interval_us", _time, required=True),
        Option("rateest-ewmalog", "ewma_us", _time, required=True),
    )

    def finish(self, context: Context) -> None:
        """Times become powers of two."""
        Target.finish(self, context)
        units = [250_000 << n for n in range(6)]
        self.interval = next((n for n, unit in enumerate(units) if self.interval_us <= unit), len(units)) - 2
        if self.interval > 3:
            raise Refusal("RATEEST --rateest-interval is at most 8 seconds")
        # Averaging over 2**n intervals forgets all but 1/e of the past in interval / -ln(1 - 2**-n).
        too_long = next((n for n in range(1, 32) if self.interval_us / -math.log(1 - 2**-n) > self.ewma_us), 32)
        self.ewma_log = too_long - 1
        if not 1 <= self.ewma_log <= 30:
            raise Refusal("RATEEST --rateest-ewmalog is out of range for its interval")
        self.interval_us = self.ewma_us = 0

    def save(self, family: int) -> str:
        """The times that the powers stand for."""
        period = 250_000 << (self.interval + 2)
        return (
            f" --rateest-name {self.estimator} --rateest-interval {_time_text(period)}"
            f" --rateest-ewmalog {_time_text(period << self.ewma_log)}"
        )
