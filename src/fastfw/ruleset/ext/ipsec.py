"""esp, ah and ipcomp: the headers of IPsec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import Range, number, number_range, show_number, show_range
from fastfw.ruleset.numbers import UINT32

ALL_SPIS: Range = (0, UINT32)


def _spi(name: str) -> Option:
    return Option(name, "spi", number_range(UINT32), show_range, "spi_invert", hide=ALL_SPIS)


@dataclass(slots=True)
class _Spi(Match):
    spi: Range = ALL_SPIS
    spi_invert: bool = False

    def save(self, family: int) -> str:
        """A full range is no condition and is not printed, whether inverted or not."""
        if self.spi == ALL_SPIS:
            return ""
        return f" {'! ' * self.spi_invert}--{self.options[0].name} {show_range(self.spi, family)}"


@dataclass(slots=True)
class Esp(_Spi):
    """`spi` is an inclusive range."""

    name: ClassVar[str] = "esp"
    protocols: ClassVar[tuple[int, ...]] = (50,)
    options: ClassVar[tuple[Option, ...]] = (_spi("espspi"),)


@dataclass(slots=True)
class Ah4(_Spi):
    """`spi` is an inclusive range."""

    name: ClassVar[str] = "ah"
    families: ClassVar[tuple[int, ...]] = (4,)
    protocols: ClassVar[tuple[int, ...]] = (51,)
    options: ClassVar[tuple[Option, ...]] = (_spi("ahspi"),)


@dataclass(slots=True)
class Ah6(_Spi):
    """`spi` is an inclusive range; `length` in octets, 0: not asked; `reserved`: the reserved field is zero."""

    name: ClassVar[str] = "ah"
    families: ClassVar[tuple[int, ...]] = (6,)

    length: int = 0
    length_invert: bool = False
    reserved: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        _spi("ahspi"),
        Option("ahlen", "length", number(UINT32), show_number, "length_invert", hide=0),
        Option("ahres", "reserved"),
    )

    def save(self, family: int) -> str:
        """Range, length, reserved."""
        out = _Spi.save(self, family)
        if self.length or self.length_invert:
            out += f" {'! ' * self.length_invert}--ahlen {self.length}"
        return out + " --ahres" * self.reserved


@dataclass(slots=True)
class IpComp(Match):
    """`spi` is an inclusive range of compression parameter indices; `reserved`: the reserved field is zero."""

    name: ClassVar[str] = "ipcomp"
    protocols: ClassVar[tuple[int, ...]] = (108,)

    spi: Range = (0, 0)
    spi_invert: bool = False
    reserved: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("ipcompspi", "spi", number_range(UINT32), show_range, "spi_invert"),
        Option("compres", "reserved"),
    )
