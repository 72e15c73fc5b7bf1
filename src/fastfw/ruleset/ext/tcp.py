"""tcp: ports, flags and options of the TCP header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import upper
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, number, port_range, show_number, show_range

ALL_PORTS: Range = (0, 0xFFFF)

FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
_WORDS = FLAGS | {"ALL": 0x3F, "NONE": 0}
SYN_ONLY = (FLAGS["SYN"] | FLAGS["RST"] | FLAGS["ACK"] | FLAGS["FIN"], FLAGS["SYN"])


def _flag_bits(text: str) -> int:
    value = 0
    for word in text.split(","):
        if word:
            bit = _WORDS.get(upper(word))
            if bit is None:
                raise Refusal(f"unknown TCP flag `{word}': expected {', '.join(_WORDS)}")
            value |= bit
    return value


def _flags(text: str, context: Context) -> tuple[int, int]:
    mask, compare = text.split("\0")
    return _flag_bits(mask), _flag_bits(compare)


def _flag_names(value: int) -> str:
    return ",".join(word for word, bit in FLAGS.items() if value & bit) or "NONE"


def _show_flags(value: tuple[int, int], family: int) -> str:
    return f"{_flag_names(value[0])} {_flag_names(value[1])}"


@dataclass(slots=True)
class Tcp(Match):
    """`flags` is (mask, comparison): header flags & mask == comparison. `option` is an option's kind, 0: not asked."""

    name: ClassVar[str] = "tcp"
    protocols: ClassVar[tuple[int, ...]] = (6,)

    sport: Range = ALL_PORTS
    sport_invert: bool = False
    dport: Range = ALL_PORTS
    dport_invert: bool = False
    option: int = 0
    option_invert: bool = False
    flags: tuple[int, int] = (0, 0)
    flags_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("sport", "sport", port_range("tcp"), show_range, "sport_invert", ("source-port",), hide=ALL_PORTS),
        Option("dport", "dport", port_range("tcp"), show_range, "dport_invert", ("destination-port",), hide=ALL_PORTS),
        Option("tcp-option", "option", number(255, 1), show_number, "option_invert", hide=0),
        Option("tcp-flags", "flags", _flags, _show_flags, "flags_invert", words=2, excludes=("syn",), hide=(0, 0)),
        Option("syn", "flags", None, None, "flags_invert", value=SYN_ONLY, silent=True),
    )

    def save(self, family: int) -> str:
        """A full port range is no condition and is not printed, whether inverted or not."""
        out = ""
        if self.sport != ALL_PORTS:
            out += f" {'! ' * self.sport_invert}--sport {show_range(self.sport, family)}"
        if self.dport != ALL_PORTS:
            out += f" {'! ' * self.dport_invert}--dport {show_range(self.dport, family)}"
        if self.option or self.option_invert:
            out += f" {'! ' * self.option_invert}--tcp-option {self.option}"
        if self.flags[0] or self.flags_invert:
            out += f" {'! ' * self.flags_invert}--tcp-flags {_show_flags(self.flags, family)}"
        return out
