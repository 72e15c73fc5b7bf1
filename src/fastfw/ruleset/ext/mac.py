"""mac: the Ethernet source address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option

# Up to two characters, as strtoul(3) reads them.
_BYTE = re.compile(r"|[0-9a-fA-F]{1,2}|[\s+-][0-9a-fA-F]", re.ASCII)


def _mac(text: str, context: Context) -> bytes:
    parts = text.split(":")
    if len(parts) != 6 or not all(_BYTE.fullmatch(part) for part in parts):
        raise Refusal(f"`{text}' is not a MAC address: expected XX:XX:XX:XX:XX:XX")
    return bytes(int(part or "0", 16) & 0xFF for part in parts)


def _show(value: bytes, family: int) -> str:
    return value.hex(":")


@dataclass(slots=True)
class Mac(Match):
    """`source` is six bytes."""

    name: ClassVar[str] = "mac"
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "INPUT", "FORWARD")

    source: bytes = bytes(6)
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("mac-source", "source", _mac, _show, "invert", required=True),)
