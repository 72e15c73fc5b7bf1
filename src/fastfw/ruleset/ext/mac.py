"""mac: the Ethernet source address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option


def _mac(text: str, context: Context) -> bytes:
    parts = text.split(":")
    try:
        if len(parts) == 6 and all(0 < len(part) <= 2 and part.isalnum() for part in parts):
            return bytes(int(part, 16) for part in parts)
    except ValueError:
        pass
    raise Refusal(f"`{text}' is not a MAC address: expected XX:XX:XX:XX:XX:XX")


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
