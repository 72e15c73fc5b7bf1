"""AUDIT, CHECKSUM, CLASSIFY, IDLETIMER, LED and TRACE: small targets that let the packet go on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.values import keyword, number, show_number, show_plain, show_text, text
from fastfw.ruleset.numbers import UINT16, UINT32, UINT64

AUDIT_TYPES = {"accept": 0, "drop": 1, "reject": 2}
_AUDIT_NAMES = {number: name for name, number in AUDIT_TYPES.items()}


def _show_type(value: int, family: int) -> str:
    return _AUDIT_NAMES[value]


@dataclass(slots=True)
class Audit(Target):
    """`type` is one of `AUDIT_TYPES`."""

    name: ClassVar[str] = "AUDIT"

    type: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("type", "type", keyword(AUDIT_TYPES, "audit type"), _show_type, required=True),
    )


@dataclass(slots=True)
class Checksum(Target):
    """Fills in the transport checksum."""

    name: ClassVar[str] = "CHECKSUM"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    fill: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("checksum-fill", "fill", required=True),)


# As scanf(3) reads: what follows is passed over.
_HEXADECIMAL = r"\s*([+-]?)(?=[0-9a-fA-F])(?:0[xX])?([0-9a-fA-F]*)"
_CLASS = re.compile(f"{_HEXADECIMAL}:{_HEXADECIMAL}", re.ASCII)


def _class(text: str, context: Context) -> int:
    found = _CLASS.match(text)
    if found is None:
        raise Refusal(f"bad class `{text}': expected hexadecimal MAJOR:MINOR")
    major, minor = (
        min(int(digits or "0", 16), UINT64) * (-1 if sign == "-" else 1)
        for sign, digits in (found.group(1, 2), found.group(3, 4))
    )
    return (major << 16 & UINT32) | (minor & UINT16)


def _show_class(value: int, family: int) -> str:
    return f"{value >> 16:04x}:{value & 0xFFFF:04x}"


@dataclass(slots=True)
class Classify(Target):
    """`priority` is major << 16 | minor of the queueing class."""

    name: ClassVar[str] = "CLASSIFY"
    hooks: ClassVar[tuple[str, ...]] = ("FORWARD", "OUTPUT", "POSTROUTING")

    priority: int = 0

    options: ClassVar[tuple[Option, ...]] = (Option("set-class", "priority", _class, _show_class, required=True),)


LABEL_LIMIT = 27
TIMEOUT_LIMIT = 2_147_483


@dataclass(slots=True)
class IdleTimer(Target):
    """`timeout` in seconds, restarted by every packet."""

    name: ClassVar[str] = "IDLETIMER"

    timeout: int = 0
    label: str = ""
    alarm: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("timeout", "timeout", number(UINT32), show_number, required=True),
        Option("label", "label", text(LABEL_LIMIT), show_plain, required=True),
        Option("alarm", "alarm"),
    )

    def check(self, site: Site) -> None:
        """The kernel's limits; a label is a file's name."""
        if not 0 < self.timeout < TIMEOUT_LIMIT:
            raise Refusal(f"IDLETIMER --timeout is from 1 to {TIMEOUT_LIMIT - 1}")
        if not self.label or "/" in self.label:
            raise Refusal(f"`{self.label}' cannot be a timer's label")


TRIGGER_LIMIT = 16
FOREVER = UINT32


def _delay(text: str, context: Context) -> int:
    return FOREVER if lower(text) == "inf" else int(number(UINT32)(text, context))


def _show_delay(value: int, family: int) -> str:
    return "inf" if value == FOREVER else str(value)


@dataclass(slots=True)
class Led(Target):
    """`delay` in milliseconds; `FOREVER`: stays on."""

    name: ClassVar[str] = "LED"

    trigger: str = ""
    delay: int = 0
    always_blink: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("led-trigger-id", "trigger", text(TRIGGER_LIMIT, 1, TRIGGER_LIMIT), show_text, required=True),
        Option("led-delay", "delay", _delay, _show_delay, hide=0),
        Option("led-always-blink", "always_blink"),
    )


@dataclass(slots=True)
class Trace(Target):
    """Every rule the packet meets from here on is logged."""

    name: ClassVar[str] = "TRACE"
    tables: ClassVar[tuple[str, ...]] = ("raw",)
