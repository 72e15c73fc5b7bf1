"""time: dates, days and times of day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.numbers import UINT32, strtoul

LAST_DATE = 0x7FFFFFFF
LAST_TIME = 86_399
ALL_MONTHDAYS = 0xFFFFFFFE
ALL_WEEKDAYS = 0xFE
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# Pieces may be empty, which is 0, and have blanks or a plus sign in front, as strtoul(3) has it.
_PIECE = r"(\s*\+?[0-9]{1,4}|)"
_DATE = re.compile(rf"{_PIECE}(?:-{_PIECE}(?:-{_PIECE}(?:T{_PIECE}(?::{_PIECE}(?::{_PIECE})?)?)?)?)?", re.ASCII)
_TIME = re.compile(rf"{_PIECE}:{_PIECE}(?::{_PIECE})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _pieces(found: re.Match[str], missing: tuple[int, ...]) -> list[int]:
    return [int(piece or 0) if piece is not None else low for piece, low in zip(found.groups(), missing, strict=True)]


def _date(text: str, context: Context) -> int:
    """Seconds since 1970, UTC; month or day 0 is the last one before, a day beyond the month one of the next month."""
    found = _DATE.fullmatch(text)
    if found is not None:
        year, month, day, hour, minute, second = _pieces(found, (0, 1, 1, 0, 0, 0))
        if 1970 <= year <= 2038 and month <= 12 and day <= 31 and hour < 24 and minute < 60 and second < 60:
            first = datetime(year, month, 1, tzinfo=UTC) if month else datetime(year - 1, 12, 1, tzinfo=UTC)
            then = first + timedelta(day - 1, second, 0, 0, minute, hour)
            return int((then - _EPOCH).total_seconds()) & UINT32
    raise Refusal(f"`{text}' is not a date YYYY[-MM[-DD[Thh[:mm[:ss]]]]] from 1970 to 2038")


def date_text(value: int) -> str:
    """Seconds since 1970 as a date and time of day, UTC."""
    return (_EPOCH + timedelta(0, value)).strftime("%Y-%m-%dT%H:%M:%S")


def _time(text: str, context: Context) -> int:
    """Seconds since midnight."""
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = _pieces(found, (0, 0, 0))
        if hour < 24 and minute < 60 and second < 60:
            return hour * 3600 + minute * 60 + second
    raise Refusal(f"`{text}' is not a time hh:mm[:ss]")


def _show_time(value: int) -> str:
    return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"


def _monthdays(text: str, context: Context) -> int:
    """Only the first two characters of a day count, as in the real tool."""
    days = 0
    for part in text.split(","):
        if part:
            day = strtoul(part[:2])
            if day is None or day[1] or day[0] > 31:
                raise Refusal(f"`{part}' is not a day from 1 to 31")
            days |= 1 << day[0]
    return days & ALL_MONTHDAYS


def _weekdays(text: str, context: Context) -> int:
    """Only the first two letters of a name count, and numbers beyond the week are no day, as in the real tool."""
    days = 0
    parts = text.split(",")
    if not parts[-1]:
        parts.pop()
    for part in parts:
        found = strtoul(part)
        if found is not None and found[0] and not found[1]:
            number = found[0]
        else:
            number = next((n for n, name in enumerate(DAYS, 1) if part[:2] == name[:2]), 0)
            if not number:
                raise Refusal(f"`{part}' is not a weekday: expected {', '.join(DAYS)} or 1 to 7")
        if number <= len(DAYS):
            days |= 1 << number
    return days


@dataclass(slots=True)
class Time(Match):
    """`start` and `stop` in seconds since 1970, `day_start` and `day_stop` since midnight, all inclusive.

    Bit n of `monthdays` is day n; bit n of `weekdays` is day n of the week, Monday 1. `contiguous`: a time of day that
    ends before it begins goes on into the next day. `kerneltz`: the kernel's time zone, not UTC.
    """

    name: ClassVar[str] = "time"

    start: int = 0
    stop: int = LAST_DATE
    day_start: int = 0
    day_stop: int = LAST_TIME
    monthdays: int = ALL_MONTHDAYS
    weekdays: int = ALL_WEEKDAYS
    kerneltz: bool = False
    contiguous: bool = False
    monthdays_invert: bool = False
    weekdays_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("datestart", "start", _date),
        Option("datestop", "stop", _date),
        Option("timestart", "day_start", _time),
        Option("timestop", "day_stop", _time),
        Option("monthdays", "monthdays", _monthdays, None, "monthdays_invert"),
        Option("weekdays", "weekdays", _weekdays, None, "weekdays_invert"),
        Option("utc", "kerneltz", value=False, excludes=("kerneltz",)),
        Option("kerneltz", "kerneltz", aliases=("localtz",)),
        Option("contiguous", "contiguous"),
    )

    def finish(self, context: Context) -> None:
        """Inverted days become the others."""
        if self.monthdays_invert:
            self.monthdays ^= ALL_MONTHDAYS
            self.monthdays_invert = False
        if self.weekdays_invert:
            self.weekdays ^= ALL_WEEKDAYS
            self.weekdays_invert = False
        if self.contiguous and self.day_start <= self.day_stop:
            raise Refusal("time --contiguous makes sense only when --timestop is before --timestart")
        Match.finish(self, context)

    def save(self, family: int) -> str:
        """The last date is printed always, as the real tool does."""
        out = ""
        if self.day_start != 0 or self.day_stop != LAST_TIME:
            out += f" --timestart {_show_time(self.day_start)} --timestop {_show_time(self.day_stop)}"
        if self.monthdays != ALL_MONTHDAYS:
            out += " --monthdays " + ",".join(str(day) for day in range(1, 32) if self.monthdays >> day & 1)
        if self.weekdays != ALL_WEEKDAYS:
            out += " --weekdays " + ",".join(name for day, name in enumerate(DAYS, 1) if self.weekdays >> day & 1)
        if self.start:
            out += f" --datestart {date_text(self.start)}"
        out += f" --datestop {date_text(self.stop)}"
        return out + " --kerneltz" * self.kerneltz + " --contiguous" * self.contiguous
