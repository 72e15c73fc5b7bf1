"""CT and NOTRACK: what connection tracking is to do with a packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.values import bits, show_bits, show_plain, text
from fastfw.ruleset.numbers import UINT16, strtoul

EVENTS = {
    "new": 1,
    "related": 2,
    "destroy": 4,
    "reply": 8,
    "assured": 16,
    "protoinfo": 32,
    "helper": 64,
    "mark": 128,
    "natseqinfo": 256,
    "secmark": 512,
}
EXPECTATION_EVENTS = {"new": 1}

HELPERS = {
    "ftp": (6,),
    "tftp": (17,),
    "irc": (6,),
    "sip": (6, 17),
    "pptp": (6,),
    "amanda": (17,),
    "sane": (6,),
    "netbios-ns": (17,),
    "snmp": (17,),
    "RAS": (17,),
    "Q.931": (6,),
    "H.245": (6,),
}
"""The kernel's helpers with the protocols they work over."""

NAME_LIMIT = 15
TIMEOUT_NAME_LIMIT = 31

MARK = -1
"""A zone taken from the packet's mark."""


def _events(text: str, context: Context) -> int:
    if text != text.lower():
        raise Refusal(f"unknown event `{text}': expected {', '.join(EVENTS)}")
    return int(bits(EVENTS, "event", abbreviated=False)(text, context))


def _expectation_events(text: str, context: Context) -> int:
    if text != text.lower():
        raise Refusal(f"unknown event `{text}': expected {', '.join(EXPECTATION_EVENTS)}")
    return int(bits(EXPECTATION_EVENTS, "event", abbreviated=False)(text, context))


def _zone(text: str, context: Context) -> int:
    if text == "mark":
        return MARK
    value = strtoul(text)
    if value is None or value[1] or value[0] > UINT16:
        raise Refusal(f"`{text}' is not a zone: expected 0 to {UINT16} or mark")
    return value[0]


@dataclass(slots=True)
class Ct(Target):
    """`zone` is a number or `MARK`, for both directions or the one in `zone_direction` (original or reply).

    `events` and `expectation_events` are ORs of `EVENTS`, 0: all; "" for no helper and the usual timeouts.
    """

    name: ClassVar[str] = "CT"
    tables: ClassVar[tuple[str, ...]] = ("raw",)

    notrack: bool = False
    helper: str = ""
    timeout: str = ""
    events: int = 0
    expectation_events: int = 0
    zone: int = 0
    zone_direction: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("notrack", "notrack"),
        Option("helper", "helper", text(NAME_LIMIT), show_plain, hide=""),
        Option("timeout", "timeout", text(TIMEOUT_NAME_LIMIT), show_plain, hide=""),
        Option("ctevents", "events", _events, show_bits(EVENTS), hide=0),
        Option("expevents", "expectation_events", _expectation_events, show_bits(EXPECTATION_EVENTS), hide=0),
        Option("zone-orig", "zone", _zone, silent=True),
        Option("zone-reply", "zone", _zone, silent=True),
        Option("zone", "zone", _zone, silent=True),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """The directions of all zone options given add up, and the last number but that of `mark` holds."""
        marked = self.zone == MARK
        Target.read(self, option, text, invert, context)
        if option.field == "zone":
            if marked:
                self.zone = MARK
            direction = {"zone-orig": "original", "zone-reply": "reply"}.get(option.name, "")
            if direction:
                both = self.zone_direction not in ("", direction)
                self.zone_direction = "" if both else direction

    def check(self, site: Site) -> None:
        """A helper must be one the kernel has, over a protocol it works over."""
        Target.check(self, site)
        if self.helper:
            protocols = HELPERS.get(self.helper.rstrip("-0123456789") or self.helper)
            if protocols is None and self.helper not in HELPERS:
                raise Refusal(f"no conntrack helper `{self.helper}': expected {', '.join(HELPERS)}")
            if site.rule.protocol_invert or site.rule.protocol not in (HELPERS.get(self.helper) or protocols or ()):
                raise Refusal(f"CT --helper {self.helper} needs the helper's protocol with -p")

    def save(self, family: int) -> str:
        """The zone comes last, and zone 0 is the default."""
        out = Target.save(self, family)
        if self.zone:
            direction = {"original": "-orig", "reply": "-reply"}.get(self.zone_direction, "")
            out += f" --zone{direction} {'mark' if self.zone == MARK else self.zone}"
        return out


@dataclass(slots=True)
class NoTrack(Target):
    """The packet is not tracked."""

    name: ClassVar[str] = "NOTRACK"
    tables: ClassVar[tuple[str, ...]] = ("raw",)
