"""tcpmss, TCPMSS and TCPOPTSTRIP: options of the TCP header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site, Target
from fastfw.ruleset.ext.tcp import FLAGS, Tcp
from fastfw.ruleset.ext.values import Range, number, number_range, show_number, show_range
from fastfw.ruleset.numbers import UINT16, strtoul

MSS_LIMIT = {4: 65_515, 6: 65_495}


def _range(text: str, context: Context) -> Range:
    low, high = number_range(UINT16)(text, context)
    if high < low:
        raise Refusal(f"range `{text}' ends before it begins")
    return low, high


@dataclass(slots=True)
class TcpMss(Match):
    """Both ends of `mss` count."""

    name: ClassVar[str] = "tcpmss"
    protocols: ClassVar[tuple[int, ...]] = (6,)

    mss: Range = (0, UINT16)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("mss", "mss", _range, show_range, "invert", required=True),)


def _mss(text: str, context: Context) -> int:
    return int(number(MSS_LIMIT[context.family])(text, context))


@dataclass(slots=True)
class SetTcpMss(Target):
    """`mss` in octets; None: clamp to the path's MTU."""

    name: ClassVar[str] = "TCPMSS"
    protocols: ClassVar[tuple[int, ...]] = (6,)

    mss: int | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("set-mss", "mss", _mss, show_number),
        Option("clamp-mss-to-pmtu", "mss", value=None),
    )

    def finish(self, context: Context) -> None:
        """One of both must be given."""
        if not context.seen:
            raise Refusal("TCPMSS needs --set-mss or --clamp-mss-to-pmtu")

    def check(self, site: Site) -> None:
        """Only SYN packets carry the option, and only on the way out the path is known."""
        Target.check(self, site)
        if self.mss is None and not site.hooks <= {"FORWARD", "OUTPUT", "POSTROUTING"}:
            raise Refusal("TCPMSS --clamp-mss-to-pmtu is valid only in FORWARD, OUTPUT and POSTROUTING")
        for match in site.rule.matches:
            if isinstance(match, Tcp) and match.flags[1] & FLAGS["SYN"] and not match.flags_invert:
                return
        raise Refusal("TCPMSS works only on SYN packets: expected --syn or --tcp-flags with SYN set")


OPTIONS = {"wscale": 3, "mss": 2, "sack-permitted": 4, "sack": 5, "timestamp": 8, "md5": 19}


def _kinds(text: str, context: Context) -> tuple[int, ...]:
    kinds = set()
    for part in text.split(","):
        kind = OPTIONS.get(part)
        if kind is None:
            value = strtoul(part)
            if value is None or value[1] or not 2 <= value[0] <= 255:
                raise Refusal(f"bad TCP option `{part}': expected 2 to 255 or {', '.join(OPTIONS)}")
            kind = value[0]
        kinds.add(kind)
    return tuple(sorted(kinds))


def _show_kinds(value: tuple[int, ...], family: int) -> str:
    return ",".join(str(kind) for kind in value)


@dataclass(slots=True)
class TcpOptStrip(Target):
    """`kinds` are the options' numbers."""

    name: ClassVar[str] = "TCPOPTSTRIP"
    tables: ClassVar[tuple[str, ...]] = ("mangle",)
    protocols: ClassVar[tuple[int, ...]] = (6,)

    kinds: tuple[int, ...] = ()

    options: ClassVar[tuple[Option, ...]] = (Option("strip-options", "kinds", _kinds, _show_kinds, hide=()),)
