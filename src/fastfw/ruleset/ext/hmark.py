"""HMARK: a mark from a hash of the packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Target
from fastfw.ruleset.ext.values import number, prefix
from fastfw.ruleset.numbers import UINT16, UINT32

_FULL = {4: 32, 6: 128}

# What a word of --hmark-tuple stands for: the option it sets in full.
_TUPLE = {
    "src": "hmark-src-prefix",
    "dst": "hmark-dst-prefix",
    "sport": "hmark-sport-mask",
    "dport": "hmark-dport-mask",
    "spi": "hmark-spi-mask",
    "proto": "hmark-proto-mask",
    "ct": "ct",
}


@dataclass(slots=True)
class HMark(Target):
    """mark = hash % `modulus` + `offset`; None: not part of the hash. `ct`: the connection's original addresses."""

    name: ClassVar[str] = "HMARK"

    source_length: int | None = None
    destination_length: int | None = None
    sport_mask: int | None = None
    dport_mask: int | None = None
    spi_mask: int | None = None
    sport: int | None = None
    dport: int | None = None
    spi: int | None = None
    proto_mask: int | None = None
    rnd: int = 0
    modulus: int = 0
    offset: int | None = None
    ct: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("hmark-tuple", "", lambda text, context: text),
        Option("hmark-src-prefix", "source_length", prefix),
        Option("hmark-dst-prefix", "destination_length", prefix),
        Option("hmark-sport-mask", "sport_mask", number(UINT16)),
        Option("hmark-dport-mask", "dport_mask", number(UINT16)),
        Option("hmark-spi-mask", "spi_mask", number(UINT32)),
        Option("hmark-sport", "sport", number(UINT16)),
        Option("hmark-dport", "dport", number(UINT16)),
        Option("hmark-spi", "spi", number(UINT32)),
        Option("hmark-proto-mask", "proto_mask", number(UINT16)),
        Option("hmark-rnd", "rnd", number(UINT32)),
        Option("hmark-mod", "modulus", number(UINT32, 1)),
        Option("hmark-offset", "offset", number(UINT32)),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """A tuple is several options at once."""
        if option.field:
            Target.read(self, option, text, invert, context)
            return
        for word in text.split(","):
            name = _TUPLE.get(word)
            if name is None:
                raise Refusal(f"unknown tuple member `{word}': expected {', '.join(_TUPLE)}")
            if name in context.seen:
                raise Refusal(f"option --{name} can only be used once")
            if word == "ct":
                self.ct = True
                continue
            context.seen.add(name)
            if word == "src":
                self.source_length = _FULL[context.family]
            elif word == "dst":
                self.destination_length = _FULL[context.family]
            elif word == "spi":
                self.spi_mask = UINT32
            else:
                setattr(self, f"{word}_mask", UINT16)

    def finish(self, context: Context) -> None:
        """What goes with what."""
        if "hmark-mod" not in context.seen:
            raise Refusal("HMARK needs --hmark-mod")
        if "hmark-rnd" not in context.seen:
            raise Refusal("HMARK needs --hmark-rnd")
        if self.spi_mask is not None and (self.sport_mask is not None or self.dport_mask is not None):
            raise Refusal("HMARK --hmark-spi-mask cannot be used together with a port mask")
        parts = (self.spi_mask, self.spi, self.sport_mask, self.dport_mask, self.sport, self.dport, self.proto_mask)
        if self.source_length is None and self.destination_length is None and all(part is None for part in parts):
            raise Refusal("HMARK needs something to hash")

    def save(self, family: int) -> str:
        """Masks in hexadecimal of their width."""
        out = ""
        for name, value, width in (
            ("src-prefix", self.source_length, 0),
            ("dst-prefix", self.destination_length, 0),
            ("sport-mask", self.sport_mask, 4),
            ("dport-mask", self.dport_mask, 4),
            ("spi-mask", self.spi_mask, 8),
            ("sport", self.sport, 4),
            ("dport", self.dport, 4),
            ("spi", self.spi, 8),
            ("proto-mask", self.proto_mask, 1),
            ("rnd", self.rnd, 8),
        ):
            if value is not None:
                out += f" --hmark-{name} " + (f"0x{value:0{width}x}" if width else str(value))
        out += f" --hmark-mod {self.modulus}"
        if self.offset is not None:
            out += f" --hmark-offset {self.offset}"
        return out + " --hmark-tuple ct" * self.ct
