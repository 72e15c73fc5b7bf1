"""policy: what IPsec did or will do with a packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from fastfw.ruleset.errors import OptionRefusal, Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import host_mask, number, parse_protocol, show_host_mask
from fastfw.ruleset.numbers import UINT32

DEPTH_LIMIT = 4

PROTOCOLS = {"esp": 50, "ah": 51, "ipcomp": 108}
_NAMES = {number: name for name, number in PROTOCOLS.items()}

HostMask = tuple[int, int]


def _direction(text: str, context: Context) -> str:
    if text not in ("in", "out"):
        raise Refusal(f"unknown direction `{text}': expected in or out")
    return text


def _pol(text: str, context: Context) -> str:
    if text not in ("ipsec", "none"):
        raise Refusal(f"unknown policy `{text}': expected ipsec or none")
    return text


def _proto(text: str, context: Context) -> int:
    protocol = parse_protocol(text)
    if protocol not in _NAMES:
        raise Refusal(f"protocol `{text}' is not IPsec's: expected ah, esp or ipcomp")
    return protocol


def _mode(text: str, context: Context) -> str:
    if text not in ("tunnel", "transport"):
        raise Refusal(f"unknown mode `{text}': expected tunnel or transport")
    return text


@dataclass(slots=True)
class Element:
    """One transformation; None: not asked."""

    reqid: int | None = None
    reqid_invert: bool = False
    spi: int | None = None
    spi_invert: bool = False
    proto: int | None = None
    proto_invert: bool = False
    mode: str | None = None
    mode_invert: bool = False
    source: HostMask | None = None
    source_invert: bool = False
    destination: HostMask | None = None
    destination_invert: bool = False

    @property
    def empty(self) -> bool:
        """Whether it asks nothing."""
        return self == Element()

    def save(self, family: int) -> str:
        """Its options."""
        out = ""
        if self.reqid is not None:
            out += f" {'! ' * self.reqid_invert}--reqid {self.reqid}"
        if self.spi is not None:
            out += f" {'! ' * self.spi_invert}--spi {self.spi:#x}"
        if self.proto is not None:
            out += f" {'! ' * self.proto_invert}--proto {_NAMES[self.proto]}"
        if self.mode is not None:
            out += f" {'! ' * self.mode_invert}--mode {self.mode}"
        if self.destination is not None:
            out += f" {'! ' * self.destination_invert}--tunnel-dst {show_host_mask(self.destination, family)}"
        if self.source is not None:
            out += f" {'! ' * self.source_invert}--tunnel-src {show_host_mask(self.source, family)}"
        return out


@dataclass(slots=True)
class Policy(Match):
    """`elements` must all be there in this order if `strict`; else the only one must be found anywhere."""

    name: ClassVar[str] = "policy"

    direction: str = ""
    pol: str = "ipsec"
    strict: bool = False
    elements: list[Element] = field(default_factory=lambda: [Element()])

    options: ClassVar[tuple[Option, ...]] = (
        Option("dir", "direction", _direction),
        Option("pol", "pol", _pol),
        Option("strict", "strict"),
        Option("reqid", "", number(UINT32)),
        Option("spi", "", number(UINT32)),
        Option("proto", "", _proto),
        Option("mode", "", _mode),
        Option("tunnel-src", "", host_mask),
        Option("tunnel-dst", "", host_mask),
        Option("next", ""),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """An element's option goes to the last element."""
        if option.field:
            Match.read(self, option, text, invert, context)
            return
        if option.name == "next":
            if invert:
                raise OptionRefusal("option --next cannot be inverted")
            if len(self.elements) == DEPTH_LIMIT:
                raise OptionRefusal(f"policy has at most {DEPTH_LIMIT} elements")
            self.elements.append(Element())
            context.seen.add("next")
            return
        assert option.parse is not None
        name = {"tunnel-src": "source", "tunnel-dst": "destination"}.get(option.name, option.name)
        element = self.elements[-1]
        if getattr(element, name) is not None:
            raise OptionRefusal(f"option --{option.name} is given twice for one element")
        setattr(element, name, option.parse(text, context))
        setattr(element, f"{name}_invert", invert)

    def finish(self, context: Context) -> None:
        """What goes with what."""
        if not self.direction:
            raise Refusal("policy needs --dir in or --dir out")
        if "next" in context.seen and not self.strict:
            raise Refusal("policy --next needs --strict")
        if self.pol == "none":
            if self.strict:
                raise Refusal("policy --pol none cannot be --strict")
            self.elements = [Element()]
            return
        for element in self.elements:
            if self.strict and element.empty:
                raise Refusal("policy --strict has an element that asks nothing")
            tunnel = element.mode == "tunnel" and not element.mode_invert
            if not tunnel and (element.source is not None or element.destination is not None):
                raise Refusal("policy --tunnel-src and --tunnel-dst need --mode tunnel")

    def check(self, site: Site) -> None:
        """What came in is known where packets come in, what goes out where they go out."""
        if self.direction == "in" and site.hooks & {"OUTPUT", "POSTROUTING"}:
            raise Refusal("policy --dir in is not valid in OUTPUT and POSTROUTING")
        if self.direction == "out" and site.hooks & {"PREROUTING", "INPUT"}:
            raise Refusal("policy --dir out is not valid in PREROUTING and INPUT")

    def save(self, family: int) -> str:
        """Elements in order."""
        out = f" --dir {self.direction} --pol {self.pol}" + " --strict" * self.strict
        return out + " --next".join(element.save(family) for element in self.elements)
