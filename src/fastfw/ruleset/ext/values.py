"""Parsers and printers of the values that many extensions share, in the form `Option` takes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastfw.ruleset import numbers
from fastfw.ruleset.address import FULL_MASK, address_text, mask_length, parse_host, parse_mask
from fastfw.ruleset.ctype import is_digits, lower, upper
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Parser, Printer
from fastfw.ruleset.names import protocol_number, service_port
from fastfw.ruleset.numbers import parse_number, parse_range

Range = tuple[int, int]
"""Both ends count."""


def number(high: int, low: int = 0) -> Parser:
    """A whole number in bounds."""

    def parse(text: str, context: Context) -> int:
        return parse_number(text, high, low)

    return parse


def number_range(high: int) -> Parser:
    """`n` or `n:m`, either end left out; not put in order, as iptables does not."""

    def parse(text: str, context: Context) -> Range:
        return parse_range(text, high)

    return parse


def show_hex(digits: int) -> Printer:
    """A hexadecimal number of at least so many digits."""

    def show(value: int, family: int) -> str:
        return f"0x{value:0{digits}x}"

    return show


def masked(high: int = numbers.UINT32) -> Parser:
    """`value[/mask]` as a pair."""

    def parse(text: str, context: Context) -> tuple[int, int]:
        return numbers.parse_masked(text, high)

    return parse


def show_number(value: int, family: int) -> str:
    """A decimal number."""
    return str(value)


def show_range(value: Range, family: int) -> str:
    """`n` or `n:m`."""
    return numbers.range_text(value)


def show_masked(value: tuple[int, int], family: int) -> str:
    """`0xvalue[/0xmask]` of 32 bits."""
    return numbers.masked_text(*value)


def parse_port(text: str, protocol: str | None) -> int:
    """A port's number or service name. Refusal: neither."""
    if is_digits(text) and len(text) < 6 and text[0] != "0":
        port = int(text)
        if port <= 0xFFFF:
            return port
    value = numbers.strtoul(text)
    if value is not None and not value[1] and value[0] <= 0xFFFF:
        return value[0]
    known = service_port(text, protocol) if text else None
    if known is None:
        over = f" over {protocol}" if protocol else ""
        raise Refusal(f"`{text}' is neither a port from 0 to 65535 nor a known service{over}")
    return known


def port_range(protocol: str) -> Parser:
    """`port[:port]` of tcp, udp and their like; ends left out are 0 and 65535; they must be in order."""

    def parse(text: str, context: Context) -> Range:
        first, colon, last = text.partition(":")
        if not colon:
            port = parse_port(first, protocol)
            return port, port
        low = parse_port(first, protocol) if first else 0
        high = parse_port(last, protocol) if last else 0xFFFF
        if low > high:
            raise Refusal(f"port range `{text}' ends before it begins")
        return low, high

    return parse


def any_port(text: str) -> int:
    """A port whose number is kept to 16 bits, as the real tool keeps it, or a service of any protocol."""
    value = numbers.strtoul(text)
    if value is not None and not value[1] and "-" not in text:
        return value[0] & 0xFFFF
    port = service_port(text, None)
    if port is None:
        raise Refusal(f"`{text}' is neither a port nor a known service")
    return port


def any_port_range(text: str, context: Context) -> Range:
    """`port[:port]` of `any_port`s in any order; ends left out are 0 and 65535, and nothing at all is 0."""
    first, colon, last = text.partition(":")
    if ":" in last:
        raise Refusal(f"`{text}' has too many parts: expected port[:port]")
    low = any_port(first) if first else 0
    if not colon:
        return low, low
    return low, any_port(last) if last else 0xFFFF


def protocol(text: str, context: Context) -> int:
    """A protocol's number or name."""
    return parse_protocol(text)


def parse_protocol(text: str) -> int:
    """A protocol's number (0 to 255) or its name in any case. Refusal: neither."""
    value = numbers.strtoul(text)
    if value is not None and not value[1] and value[0] <= 255:
        return value[0]
    known = protocol_number(text) if text else None
    if known is None or known > 255:
        raise Refusal(f"unknown protocol `{text}': expected a name or a number from 0 to 255")
    return known


def connection_direction(text: str, context: Context) -> str:
    """A direction of a connection, in any case."""
    if upper(text) not in ("ORIGINAL", "REPLY"):
        raise Refusal(f"unknown direction `{text}': expected ORIGINAL or REPLY")
    return upper(text)


def text(limit: int, low: int = 0, high: int | None = None) -> Parser:
    """A text of `low` to `high` bytes, of which the first `limit` are kept, as the kernel's field holds them."""

    def parse(text: str, context: Context) -> str:
        raw = text.encode("utf-8", "surrogateescape")
        if len(raw) < low or (high is not None and len(raw) > high):
            raise Refusal(f"text of {len(raw)} bytes: expected {low} to {high or limit}")
        return text if len(raw) <= limit else raw[:limit].decode("utf-8", "surrogateescape")

    return parse


def keyword(words: Mapping[str, int], what: str) -> Parser:
    """One word of a table, in any case, as its number."""

    def parse(text: str, context: Context) -> int:
        value = words.get(lower(text))
        if value is None:
            raise Refusal(f"unknown {what} `{text}': expected {', '.join(words)}")
        return value

    return parse


def bits(words: Mapping[str, int], what: str, abbreviated: bool = True) -> Parser:
    """A comma-separated list of words in any case (or their beginnings) as the OR of their bits."""

    def one(text: str) -> int:
        low = lower(text)
        for word, bit in words.items():
            name = word.lower()
            if (name.startswith(low) if abbreviated else name == low) and low:
                return bit
        raise Refusal(f"unknown {what} `{text}': expected a comma-separated list of {', '.join(words)}")

    def parse(text: str, context: Context) -> int:
        value = 0
        for part in text.split(","):
            value |= one(part)
        return value

    return parse


def show_bits(words: Mapping[str, int]) -> Printer:
    """The words of the bits that are set, in the table's order."""

    def show(value: int, family: int) -> str:
        return ",".join(word for word, bit in words.items() if value & bit)

    return show


def host(text: str, context: Context) -> int:
    """An address, IPv4 in any of inet_aton(3)'s forms."""
    return parse_host(text, context.family)


def host_mask(text: str, context: Context) -> tuple[int, int]:
    """`address[/mask]`; the address keeps its bits outside the mask."""
    address, slash, mask = text.partition("/")
    return parse_host(address, context.family), parse_mask(mask, context.family) if slash else FULL_MASK[context.family]


def show_host(value: int, family: int) -> str:
    """An address."""
    return address_text(value, family)


def show_host_mask(value: tuple[int, int], family: int) -> str:
    """`address/length`; a full mask is left out, and so is one whose ones are not contiguous."""
    length = mask_length(value[1], family)
    whole = length is None or value[1] == FULL_MASK[family]
    return address_text(value[0], family) + ("" if whole else f"/{length}")


def parse_prefix(text: str, family: int) -> int | None:
    """A prefix length, or a mask like an address as its length; None: a mask whose ones are not contiguous."""
    bits = FULL_MASK[family].bit_length()
    value = numbers.strtoul(text)
    if value is not None and not value[1] and value[0] <= bits:
        return value[0]
    try:
        return mask_length(parse_host(text, family), family)
    except Refusal:
        raise Refusal(f"`{text}' is neither a prefix length from 0 to {bits} nor a mask") from None


def prefix(text: str, context: Context) -> int:
    """A prefix length or a mask; one whose ones are not contiguous counts as full."""
    length = parse_prefix(text, context.family)
    return FULL_MASK[context.family].bit_length() if length is None else length


_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED = re.compile(r"([\"\\'])")


def quoted(text: str) -> str:
    """A text as iptables-save prints it: bare when letters, digits, `_` and `-` are all it has, else in quotes."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + _ESCAPED.sub(r"\\\1", text) + '"'


def show_text(value: str, family: int) -> str:
    """A text, in quotes where it needs them."""
    return quoted(value)


def show_plain(value: str, family: int) -> str:
    """A text as it is."""
    return value
