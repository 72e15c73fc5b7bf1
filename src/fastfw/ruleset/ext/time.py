"""time: dates, days and times of day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option

LAST_DATE = 0x7FFFFFFF
LAST_TIME = 86_399
ALL_MONTHDAYS = 0xFFFFFFFE
ALL_WEEKDAYS = 0xFE
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DATE = re.compile(
    r"([0-9]{1,4})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:T(?:([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2}))?)?)?)?)?)?"
)
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _date(text: str, context: Context) -> int:
    """Seconds since 1970, UTC; a day beyond the month's end runs into the next month."""
    found = _DATE.fullmatch(text)
    if found is not None:
        year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups())
        month, day = 1 if month is None else month, 1 if day is None else day
        hour, minute, second = hour or 0, minute or 0, second or 0
        if year and 1970 <= year <= 2038 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60:
            then = datetime(year, month, 1, tzinfo=UTC) + timedelta(day - 1, second, 0, 0, minute, hour)
            value = int((then - _EPOCH).total_seconds())
            if second < 60:
                return min(value, LAST_DATE)
    raise Refusal(f"`{text}' is not a date YYYY[-MM[-DD[Thh[:mm[:ss]]]]] from 1970 to 2038")


def _show_date(value: int, family: int) -> str:
    return (_EPOCH + timedelta(0, value)).strftime("%Y-%m-%dT%H:%M:%S")


def _time(text: str, context: Context) -> int:
    """Seconds since midnight."""
    found = _TIME.fullmatch(text)
    if found is not None:
        hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
        if hour < 24 and minute < 60 and second < 60:
            return hour * 3600 + minute * 60 + second
    raise Refusal(f"`{text}' is not a time hh:mm[:ss]")


def _show_time(value: int) -> str:
    return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"


def _monthdays(text: str, context: Context) -> int:
    days = 0
    for part in text.split(","):
        if part:
            if not part.isdecimal() or not part.isascii() or len(part) > 4 or int(part) > 31:
                raise Refusal(f"`{part}' is not a day from 1 to 31")
            days |= 1 << int(part)
    return days & ALL_MONTHDAYS


def _weekdays(text: str, context: Context) -> int:
    days = 0
    for part in text.split(","):
        if not part:
            continue
        if part.isdecimal() and part.isascii() and len(part) < 4:
            number = int(part)
            if not number or number > 31:
                raise Refusal(f"`{part}' is not a weekday from 1 (Monday) to 7")
        else:
            number = next((n for n, name in enumerate(DAYS, 1) if part in (name, name[:2])), 0)
            if not number:
                raise Refusal(f"`{part}' is not a weekday: expected {', '.join(DAYS)} or 1 to 7")
        days |= 1 << number
    return days & ALL_WEEKDAYS


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
            out += f" --datestart {_show_date(self.start, family)}"
        out += f" --datestop {_show_date(self.stop, family)}"
        return out + " --kerneltz" * self.kerneltz + " --contiguous" * self.contiguous
