"""frag, hbh, dst, rt, ipv6header, mh, srh and eui64: the headers of IPv6 (RFC 8200, 6275, 8754, 4291)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.address import address_text, network_text, parse_plain
from fastfw.ruleset.ctype import lower
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, host_mask, number, number_range, show_number, show_range
from fastfw.ruleset.names import protocol_number
from fastfw.ruleset.numbers import UINT8, UINT16, UINT32, parse_number, strtoul

ONLY_IPV6 = (6,)
ALL: Range = (0, UINT32)
LIST_LIMIT = 16


def _plain_range(option: str, value: Range, invert: bool) -> str:
    """A full range is no condition and is not printed, whether inverted or not."""
    return "" if value == ALL else f" {'! ' * invert}--{option} {show_range(value, 6)}"


@dataclass(slots=True)
class Frag(Match):
    """`id` is an inclusive range of identifications; `length` None: not asked."""

    name: ClassVar[str] = "frag"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    id: Range = ALL
    id_invert: bool = False
    length: int | None = None
    length_invert: bool = False
    reserved: bool = False
    first: bool = False
    more: bool = False
    last: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("fragid", "id", number_range(UINT32), None, "id_invert"),
        Option("fraglen", "length", number(UINT32), show_number, "length_invert"),
        Option("fragres", "reserved"),
        Option("fragfirst", "first"),
        Option("fragmore", "more", excludes=("fraglast",)),
        Option("fraglast", "last"),
    )

    def save(self, family: int) -> str:
        """The range, then the others."""
        return _plain_range("fragid", self.id, self.id_invert) + Match.save(self, family)


OptionType = tuple[int, int | None]
"""An option's type and its length in octets, None: any."""


def _option_types(text: str, context: Context) -> tuple[OptionType, ...]:
    """`type[:length],...`, each kept to 8 bits; length 255 is any."""
    types: list[OptionType] = []
    for part in text.split(","):
        kind, colon, length = part.partition(":")
        types.append((_octet(kind), _octet(length) if colon else None))
        if colon and not types[-1][0]:
            raise Refusal("option 0, a single octet of padding, has no length")
        if types[-1][1] == UINT8:
            types[-1] = types[-1][0], None
    if len(types) > LIST_LIMIT:
        raise Refusal(f"more than {LIST_LIMIT} options")
    return tuple(types)


def _octet(text: str) -> int:
    value = strtoul(text)
    if value is None or value[1] or value[0] > UINT32:
        raise Refusal(f"`{text}' is not a number")
    return value[0] & UINT8


def _show_types(value: tuple[OptionType, ...], family: int) -> str:
    return ",".join(str(kind) if length is None else f"{kind}:{length}" for kind, length in value)


@dataclass(slots=True)
class HopByHop(Match):
    """The hop-by-hop options header: `length` in octets, its options in order; None and empty: not asked."""

    name: ClassVar[str] = "hbh"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    length: int | None = None
    length_invert: bool = False
    types: tuple[OptionType, ...] = ()

    options: ClassVar[tuple[Option, ...]] = (
        Option("hbh-len", "length", number(UINT32), show_number, "length_invert"),
        Option("hbh-opts", "types", _option_types, _show_types, hide=()),
    )


@dataclass(slots=True)
class DestinationOptions(Match):
    """The destination options header: `length` in octets, its options in order; None and empty: not asked."""

    name: ClassVar[str] = "dst"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    length: int | None = None
    length_invert: bool = False
    types: tuple[OptionType, ...] = ()

    options: ClassVar[tuple[Option, ...]] = (
        Option("dst-len", "length", number(UINT32), show_number, "length_invert"),
        Option("dst-opts", "types", _option_types, _show_types, hide=()),
    )


def _addresses(text: str, context: Context) -> tuple[int, ...]:
    addresses = tuple(parse_plain(part, 6) for part in text.split(","))
    if len(addresses) > LIST_LIMIT:
        raise Refusal(f"more than {LIST_LIMIT} addresses")
    return addresses


def _show_addresses(value: tuple[int, ...], family: int) -> str:
    return ",".join(address_text(address, 6) for address in value)


@dataclass(slots=True)
class Routing(Match):
    """The routing header; `addresses` of type 0 in order, `not_strict`: with others between."""

    name: ClassVar[str] = "rt"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    type: int | None = None
    type_invert: bool = False
    segments: Range = ALL
    segments_invert: bool = False
    length: int | None = None
    length_invert: bool = False
    reserved: bool = False
    addresses: tuple[int, ...] = ()
    not_strict: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("rt-type", "type", number(UINT32), show_number, "type_invert"),
        Option("rt-segsleft", "segments", number_range(UINT32), show_range, "segments_invert"),
        Option("rt-len", "length", number(UINT32), show_number, "length_invert"),
        Option("rt-0-res", "reserved"),
        Option("rt-0-addrs", "addresses", _addresses, _show_addresses, hide=()),
        Option("rt-0-not-strict", "not_strict"),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """What belongs to type 0 comes after `--rt-type 0`."""
        if option.name.startswith("rt-0") and (self.type != 0 or self.type_invert):
            raise Refusal(f"--{option.name} needs --rt-type 0 in front of it")
        if option.name == "rt-0-not-strict" and not self.addresses:
            raise Refusal("--rt-0-not-strict needs --rt-0-addrs in front of it")
        Match.read(self, option, text, invert, context)

    def save(self, family: int) -> str:
        """A full range is no condition and is not printed, whether inverted or not."""
        out = Match.save(self, family)
        full = f" {'! ' * self.segments_invert}--rt-segsleft {show_range(ALL, 6)}"
        return out.replace(full, "") if self.segments == ALL else out


HEADERS = {
    "hop-by-hop": 0x80,
    "ipv6-opts": 0x40,
    "ipv6-route": 0x20,
    "ipv6-frag": 0x10,
    "ah": 0x08,
    "esp": 0x04,
    "ipv6-nonxt": 0x02,
    "protocol": 0x01,
}
"""The names that are printed, each with its bit."""

_SHORT = {
    "hop": 0x80,
    "dst": 0x40,
    "route": 0x20,
    "frag": 0x10,
    "auth": 0x08,
    "none": 0x02,
    "prot": 0x01,
}
_NUMBERS = {0: 0x80, 60: 0x40, 43: 0x20, 44: 0x10, 51: 0x08, 50: 0x04, 59: 0x02, 255: 0x01}


def _headers(text: str, context: Context) -> int:
    value = 0
    for part in text.split(","):
        bit = HEADERS.get(part) or _SHORT.get(part)
        if bit is None:
            number = strtoul(part)
            protocol = number[0] if number is not None and not number[1] else None
            if protocol is None and part == part.lower():
                protocol = protocol_number(part)
            bit = _NUMBERS.get(-1 if protocol is None else protocol)
        if bit is None:
            raise Refusal(f"unknown header `{part}': expected {', '.join(HEADERS)}, {', '.join(_SHORT)}")
        value |= bit
    return value


def _show_headers(value: int, family: int) -> str:
    return ",".join(name for name, bit in HEADERS.items() if value & bit)


@dataclass(slots=True)
class Ipv6Header(Match):
    """`headers` is an OR of `HEADERS`: exactly these, or with `soft` at least these."""

    name: ClassVar[str] = "ipv6header"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    headers: int = 0
    invert: bool = False
    soft: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("header", "headers", _headers, _show_headers, "invert", required=True),
        Option("soft", "soft"),
    )


MOBILITY = {
    "binding-refresh-request": 0,
    "brr": 0,
    "home-test-init": 1,
    "hoti": 1,
    "careof-test-init": 2,
    "coti": 2,
    "home-test": 3,
    "hot": 3,
    "careof-test": 4,
    "cot": 4,
    "binding-update": 5,
    "bu": 5,
    "binding-acknowledgement": 6,
    "ba": 6,
    "binding-error": 7,
    "be": 7,
}
ALL_TYPES: Range = (0, UINT8)


def _mobility_type(text: str) -> int:
    """A name, the beginning of one, or a number."""
    low = lower(text)
    exact = MOBILITY.get(low)
    if exact is not None:
        return exact
    for name, kind in MOBILITY.items():
        if name.startswith(low):
            return kind
    return parse_number(text, UINT8)


def _mobility(text: str, context: Context) -> Range:
    first, colon, last = text.partition(":")
    if not colon:
        kind = _mobility_type(first)
        return kind, kind
    low = _mobility_type(first) if first else 0
    high = _mobility_type(last) if last else UINT8
    if high < low:
        raise Refusal(f"range `{text}' ends before it begins")
    return low, high


@dataclass(slots=True)
class Mobility(Match):
    """Both ends of `type` count."""

    name: ClassVar[str] = "mh"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6
    aliases: ClassVar[tuple[str, ...]] = ("mobility-header", "ipv6-mh")
    protocols: ClassVar[tuple[int, ...]] = (135,)

    type: Range = ALL_TYPES
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("mh-type", "type", _mobility, None, "invert"),)

    def save(self, family: int) -> str:
        """A full range is no condition and is not printed, whether inverted or not."""
        return "" if self.type == ALL_TYPES else f" {'! ' * self.invert}--mh-type {show_range(self.type, family)}"


HostMask = tuple[int, int]


def _show_sid(value: HostMask, family: int) -> str:
    text = network_text(*value, 6)
    return text if text.rpartition("/")[2].isdecimal() else f"{address_text(value[0], 6)}/128"


def _byte(name: str, field: str) -> Option:
    return Option(name, field, number(UINT8), show_number, f"{field}_invert", repeat=True)


@dataclass(slots=True)
class SegmentRouting(Match):
    """The segment routing header; None: not asked. Segments are (address, mask)."""

    name: ClassVar[str] = "srh"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6

    next_header: int | None = None
    next_header_invert: bool = False
    length_eq: int | None = None
    length_eq_invert: bool = False
    length_gt: int | None = None
    length_gt_invert: bool = False
    length_lt: int | None = None
    length_lt_invert: bool = False
    left_eq: int | None = None
    left_eq_invert: bool = False
    left_gt: int | None = None
    left_gt_invert: bool = False
    left_lt: int | None = None
    left_lt_invert: bool = False
    last_eq: int | None = None
    last_eq_invert: bool = False
    last_gt: int | None = None
    last_gt_invert: bool = False
    last_lt: int | None = None
    last_lt_invert: bool = False
    tag: int | None = None
    tag_invert: bool = False
    previous: HostMask | None = None
    previous_invert: bool = False
    next: HostMask | None = None
    next_invert: bool = False
    last: HostMask | None = None
    last_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("srh-next-hdr", "next_header", number(UINT8), show_number, "next_header_invert"),
        _byte("srh-hdr-len-eq", "length_eq"),
        _byte("srh-hdr-len-gt", "length_gt"),
        _byte("srh-hdr-len-lt", "length_lt"),
        _byte("srh-segs-left-eq", "left_eq"),
        _byte("srh-segs-left-gt", "left_gt"),
        _byte("srh-segs-left-lt", "left_lt"),
        _byte("srh-last-entry-eq", "last_eq"),
        _byte("srh-last-entry-gt", "last_gt"),
        _byte("srh-last-entry-lt", "last_lt"),
        Option("srh-tag", "tag", number(UINT16), show_number, "tag_invert"),
        Option("srh-psid", "previous", host_mask, _show_sid, "previous_invert"),
        Option("srh-nsid", "next", host_mask, _show_sid, "next_invert"),
        Option("srh-lsid", "last", host_mask, _show_sid, "last_invert"),
    )

    def read(self, option: Option, text: str, invert: bool, context: Context) -> None:
        """Comparisons of one field share one number: the last one given."""
        Match.read(self, option, text, invert, context)
        group, _, compare = option.field.rpartition("_")
        if compare in ("eq", "gt", "lt"):
            value = getattr(self, option.field)
            for other in ("eq", "gt", "lt"):
                if getattr(self, f"{group}_{other}") is not None:
                    setattr(self, f"{group}_{other}", value)


@dataclass(slots=True)
class Eui64(Match):
    """The source address ends in the interface identifier made of the source MAC address."""

    name: ClassVar[str] = "eui64"
    families: ClassVar[tuple[int, ...]] = ONLY_IPV6
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "INPUT", "FORWARD")
