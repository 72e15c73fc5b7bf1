"""LOG: a line in the kernel's log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Target
from fastfw.ruleset.ext.values import show_number, show_text, text
from fastfw.ruleset.numbers import strtoul

PREFIX_LIMIT = 29

LEVELS = {
    "emerg": 0,
    "panic": 0,
    "alert": 1,
    "crit": 2,
    "error": 3,
    "warning": 4,
    "notice": 5,
    "info": 6,
    "debug": 7,
}


def _level(text: str, context: Context) -> int:
    level = LEVELS.get(text)
    if level is None:
        number = strtoul(text)
        if number is None or number[1] or number[0] > 7:
            raise Refusal(f"unknown log level `{text}': expected 0 to 7 or {', '.join(LEVELS)}")
        level = number[0]
    return level


@dataclass(slots=True)
class Log(Target):
    """Not a verdict: the rules go on."""

    name: ClassVar[str] = "LOG"

    prefix: str = ""
    level: int = LEVELS["warning"]
    tcp_sequence: bool = False
    tcp_options: bool = False
    ip_options: bool = False
    uid: bool = False
    macdecode: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("log-prefix", "prefix", text(PREFIX_LIMIT, 1), show_text, hide=""),
        Option("log-level", "level", _level, show_number, hide=LEVELS["warning"]),
        Option("log-tcp-sequence", "tcp_sequence"),
        Option("log-tcp-options", "tcp_options"),
        Option("log-ip-options", "ip_options"),
        Option("log-uid", "uid"),
        Option("log-macdecode", "macdecode"),
    )
