"""Addresses and interfaces as rules name them, and their text."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from functools import lru_cache

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.numbers import strtoul

FULL_MASK = {4: 0xFFFFFFFF, 6: (1 << 128) - 1}
"""The mask of a single address, by family."""

INTERFACE_LIMIT = 15
"""Bytes an interface's name may have, the `+` included."""


@dataclass(slots=True)
class Network:
    """Addresses `a` with `a & mask == value` (32 or 128 bits); the mask's ones need not be contiguous."""

    value: int
    mask: int
    invert: bool = False


@dataclass(slots=True)
class Interface:
    """An interface's name; with `wildcard`, every name that begins with it (text: a trailing `+`)."""

    name: str
    wildcard: bool = False
    invert: bool = False

    def __str__(self) -> str:
        return self.name + "+" * self.wildcard


def address_text(value: int, family: int) -> str:
    """An address as it is printed: dotted quad, or compressed text for family 6."""
    if family == 4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


def mask_length(mask: int, family: int) -> int | None:
    """The prefix length of a mask, or None when its ones are not contiguous."""
    inverse = mask ^ FULL_MASK[family]
    if inverse & (inverse + 1):
        return None
    return (32 if family == 4 else 128) - inverse.bit_length()


def network_text(value: int, mask: int, family: int) -> str:
    """`address/length`, or `address/mask` when the mask is not contiguous."""
    length = mask_length(mask, family)
    return f"{address_text(value, family)}/{address_text(mask, family) if length is None else length}"


def prefix_mask(length: int, family: int) -> int:
    """The mask of a prefix length."""
    full = FULL_MASK[family]
    return full ^ (full >> length)


def _octets(text: str, whole: bool) -> int | None:
    """One to four numbers below 256 with dots between, the first the highest byte; `whole` asks for all four."""
    parts = text.split(".")
    if len(parts) > 4 or (whole and len(parts) < 4):
        return None
    value = 0
    for part in parts:
        number = strtoul(part)
        if number is None or number[1] or number[0] > 255:
            return None
        value = value << 8 | number[0]
    return value << 8 * (4 - len(parts))


_CLASSIC = re.compile(r"[0-9a-fA-FxX.]+")


def classic_ipv4(text: str) -> int | None:
    """The address of inet_aton(3): up to four numbers, the last of which fills the remaining bytes."""
    if not _CLASSIC.fullmatch(text):
        return None
    try:
        return int.from_bytes(socket.inet_aton(text), "big")
    except OSError:
        return None


def numeric_address(text: str, family: int) -> int | None:
    """An address in its plain numeric form, or None. IPv4's missing bytes are zeros at the end: 10.1 is 10.1.0.0."""
    try:
        if family == 4:
            return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, ValueError):
        return _octets(text, whole=False) if family == 4 else None


def _expected(text: str, family: int) -> Refusal:
    form = "IPv4 address a.b.c.d" if family == 4 else "IPv6 address"
    return Refusal(f"`{text}' is not an {form}; host names are not looked up")


def parse_address(text: str, family: int) -> int:
    """An address where a rule's own `-s` or `-d` takes one. Refusal: it is none (names are not looked up)."""
    value = numeric_address(text, family)
    if value is None and family == 4:
        value = classic_ipv4(text)
    if value is None:
        raise _expected(text, family)
    return value


def parse_host(text: str, family: int) -> int:
    """An address where an extension takes a host: IPv4 in the forms of inet_aton(3)."""
    value = classic_ipv4(text) if family == 4 else numeric_address(text, family)
    if value is None:
        raise _expected(text, family)
    return value


def parse_plain(text: str, family: int) -> int:
    """An address of the plain numeric form alone. Refusal: it is none."""
    value = numeric_address(text, family)
    if value is None:
        raise _expected(text, family)
    return value


@lru_cache(maxsize=256)
def parse_mask(text: str, family: int) -> int:
    """A prefix length, or a mask written as an address. Refusal: neither."""
    bits = 32 if family == 4 else 128
    number = strtoul(text)
    length = bits + 1 if number is None or number[1] else number[0]
    if length <= bits:
        return prefix_mask(length, family)
    mask = _octets(text, whole=True) if family == 4 else numeric_address(text, family)
    if mask is None:
        raise Refusal(f"invalid mask `{text}': expected 0 to {bits} or a mask like an address")
    return mask


def parse_network(text: str, family: int) -> tuple[int, int]:
    """`address[/mask]` of a rule's own `-s` or `-d` as (address & mask, mask)."""
    address, slash, mask_text = text.rpartition("/")
    if not slash:
        return parse_address(text, family), FULL_MASK[family]
    mask = parse_mask(mask_text, family)
    return parse_address(address, family) & mask, mask


def parse_interface(text: str) -> Interface:
    """An interface's name, with a trailing `+` for every name that begins so. Refusal: empty or too long."""
    if not text:
        raise Refusal("expected an interface name, found nothing")
    if len(text.encode("utf-8", "surrogateescape")) > INTERFACE_LIMIT:
        raise Refusal(f"interface name `{text}' is longer than {INTERFACE_LIMIT} bytes")
    if text[-1] == "+":
        return Interface(text[:-1], True)
    return Interface(text)
