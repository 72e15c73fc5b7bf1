"""DNAT, SNAT, REDIRECT, MASQUERADE, NETMAP, SNPT and DNPT: address translation, kept and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import FULL_MASK, address_text, mask_length, parse_host, parse_mask, prefix_mask
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Site, Target
from fastfw.ruleset.ext.values import Range, parse_port, parse_prefix
from fastfw.ruleset.numbers import UINT16, strtoul

PORT_PROTOCOLS = (1, 6, 17, 33, 58, 132)

NAT = ("nat",)


def _needs_ports(context: Context) -> None:
    if context.rule.protocol not in PORT_PROTOCOLS:
        raise Refusal("ports need -p tcp, udp, sctp, dccp or icmp in front of them")


def _port(text: str) -> int:
    try:
        return parse_port(text, None)
    except Refusal:
        raise Refusal(f"`{text}' is not a port from 0 to {UINT16} or a service") from None


def _ports(text: str, context: Context) -> tuple[Range, int | None]:
    """`first[-last[/base]]`, or a service's name."""
    _needs_ports(context)
    if ":" in text:
        raise Refusal(f"bad ports `{text}': expected first-last with a dash")
    number = strtoul(text)
    if number is None:
        port = _port(text)
        return (port, port), None
    if number[0] > UINT16:
        raise Refusal(f"`{text}' is not a port from 0 to {UINT16}")
    low, rest = number
    if not rest:
        return (low, low), None
    if rest[0] != "-":
        port = _port(text)
        return (port, port), None
    end = strtoul(rest[1:])
    if end is None or not low <= end[0] <= UINT16:
        raise Refusal(f"bad port range `{text}'")
    if not end[1]:
        return (low, end[0]), None
    if end[1][0] != "/":
        raise Refusal(f"unexpected `{end[1]}' after the ports")
    return (low, end[0]), _port(end[1][1:])


def ports_text(ports: Range) -> str:
    """`port` or `first-last`."""
    low, high = ports
    return str(low) if low == high else f"{low}-{high}"


def _plain_ports(text: str, context: Context) -> Range:
    ports, base = _ports(text, context)
    if base is not None:
        raise Refusal("a base port is only for DNAT")
    return ports


def _show_ports(value: Range, family: int) -> str:
    return ports_text(value)


@dataclass(slots=True, frozen=True)
class To:
    """Addresses and ports to translate to, both inclusive ranges, None: not translated. `base` shifts the ports."""

    addresses: Range | None = None
    ports: Range | None = None
    base: int | None = None

    def text(self, family: int) -> str:
        """`first-last:ports/base`, with brackets around IPv6 addresses that ports follow."""
        out = ""
        if self.addresses is not None:
            low, high = self.addresses
            out = address_text(low, family)
            if high != low:
                out += f"-{address_text(high, family)}"
            if family == 6 and self.ports is not None:
                out = f"[{out}]"
        if self.ports is not None:
            out += f":{ports_text(self.ports)}" + ("" if self.base is None else f"/{self.base}")
        return out


def _exact_address(text: str, family: int) -> int:
    if family == 4 and text.count(".") != 3:
        raise Refusal(f"`{text}' is not an IPv4 address a.b.c.d; host names are not looked up")
    return parse_host(text, family)


def _to(text: str, context: Context) -> To:
    family = context.family
    addresses, ports = text, None
    if family == 6:
        if text[:1] == "[":
            addresses, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and rest[0] != ":"):
                raise Refusal(f"bad address `{text}': expected [address]:ports")
            ports = rest[1:] if rest else None
        elif text[:1] == ":" and text[:2] != "::":
            addresses, ports = "", text[1:]
    else:
        addresses, colon, after = text.partition(":")
        ports = after if colon else None
    found: Range | None = None
    if addresses or ports is None:
        first, dash, last = addresses.partition("-")
        low = _exact_address(first, family)
        found = low, _exact_address(last, family) if dash else low
    if ports is None:
        return To(found)
    return To(found, *_ports(ports, context))


def _show_to(value: To, family: int) -> str:
    return value.text(family)


def _source(text: str, context: Context) -> To:
    to = _to(text, context)
    return To(to.addresses, to.ports, None if to.base is None else 0)


@dataclass(slots=True)
class Dnat(Target):
    """Rewrites the destination."""

    name: ClassVar[str] = "DNAT"
    tables: ClassVar[tuple[str, ...]] = NAT
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "OUTPUT")

    to: To = To()
    random: bool = False
    persistent: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("to-destination", "to", _to, _show_to, required=True),
        Option("random", "random", repeat=True),
        Option("persistent", "persistent", repeat=True),
    )


@dataclass(slots=True)
class Snat(Target):
    """Rewrites the source."""

    name: ClassVar[str] = "SNAT"
    tables: ClassVar[tuple[str, ...]] = NAT
    hooks: ClassVar[tuple[str, ...]] = ("POSTROUTING", "INPUT")

    to: To = To()
    random: bool = False
    random_fully: bool = False
    persistent: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("to-source", "to", _source, _show_to, required=True),
        Option("random", "random", repeat=True),
        Option("random-fully", "random_fully", repeat=True),
        Option("persistent", "persistent", repeat=True),
    )


@dataclass(slots=True)
class Redirect(Target):
    """Rewrites the destination to this host."""

    name: ClassVar[str] = "REDIRECT"
    tables: ClassVar[tuple[str, ...]] = NAT
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "OUTPUT")

    ports: Range | None = None
    random: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("to-ports", "ports", _plain_ports, _show_ports),
        Option("random", "random", repeat=True),
    )


@dataclass(slots=True)
class Masquerade(Target):
    """Rewrites the source to the outgoing interface's address."""

    name: ClassVar[str] = "MASQUERADE"
    tables: ClassVar[tuple[str, ...]] = NAT
    hooks: ClassVar[tuple[str, ...]] = ("POSTROUTING",)

    ports: Range | None = None
    random: bool = False
    random_fully: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("to-ports", "ports", _plain_ports, _show_ports),
        Option("random", "random", repeat=True),
        Option("random-fully", "random_fully", repeat=True),
    )


Prefix = tuple[int, int]
"""(address, prefix length)."""


def _map(text: str, context: Context) -> Prefix:
    family = context.family
    full = FULL_MASK[family].bit_length()
    address, slash, mask = text.partition("/")
    length = parse_prefix(mask, family) if slash else full
    value = parse_host(address, family)
    if length is None:
        return value, full
    return value & prefix_mask(length, family), length


def shown_prefix(value: Prefix, family: int) -> str:
    """`address/length`."""
    return f"{address_text(value[0], family)}/{value[1]}"


@dataclass(slots=True)
class NetMap(Target):
    """Maps one network onto another of the same size."""

    name: ClassVar[str] = "NETMAP"
    tables: ClassVar[tuple[str, ...]] = NAT

    to: Prefix = (0, 0)

    options: ClassVar[tuple[Option, ...]] = (Option("to", "to", _map, shown_prefix, required=True),)


def _prefix(text: str, context: Context) -> Prefix:
    address, slash, mask = text.partition("/")
    length = mask_length(parse_mask(mask, 6), 6) if slash else 128
    if length is None:
        raise Refusal(f"the mask of `{text}' is not contiguous")
    return parse_host(address, 6), length


@dataclass(slots=True)
class _PrefixTranslation(Target):
    families: ClassVar[tuple[int, ...]] = (6,)
    tables: ClassVar[tuple[str, ...]] = ("mangle",)

    source: Prefix = (0, 0)
    destination: Prefix = (0, 0)

    options: ClassVar[tuple[Option, ...]] = (
        Option("src-pfx", "source", _prefix, shown_prefix, required=True),
        Option("dst-pfx", "destination", _prefix, shown_prefix, required=True),
    )

    def check(self, site: Site) -> None:
        """Prefixes of at most 64 bits with nothing behind them."""
        Target.check(self, site)
        for address, length in (self.source, self.destination):
            if length > 64:
                raise Refusal(f"{self.name} takes prefixes of at most 64 bits")
            if address & ~prefix_mask(length, 6):
                raise Refusal(f"{self.name}'s prefix {shown_prefix((address, length), 6)} has bits beyond its length")


@dataclass(slots=True)
class Snpt(_PrefixTranslation):
    """Translates the source's prefix (RFC 6296)."""

    name: ClassVar[str] = "SNPT"
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "POSTROUTING")


@dataclass(slots=True)
class Dnpt(_PrefixTranslation):
    """Translates the destination's prefix (RFC 6296)."""

    name: ClassVar[str] = "DNPT"
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "OUTPUT")
