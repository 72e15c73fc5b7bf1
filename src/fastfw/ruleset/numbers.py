"""Numbers as the C library reads them, which is how iptables reads all of its own."""

from __future__ import annotations

import re

from fastfw.ruleset.ctype import is_digits
from fastfw.ruleset.errors import Refusal

UINT8, UINT16, UINT32, UINT64 = 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF

_NUMBER = re.compile(r"\s*\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"\s*([+-]?)([0-9]+)", re.ASCII)


def strtoul(text: str) -> tuple[int, str] | None:
    """strtoul(3) with base 0 (decimal, 0x hexadecimal, 0 octal): (value, the rest), or None where no number begins.

    As iptables calls it: a number with a minus sign is none. A value beyond 64 bits is given as it is.
    """
    found = _NUMBER.match(text)
    if found is None:
        return None
    digits = found[1]
    if digits[:2] in ("0x", "0X"):
        value = int(digits, 16)
    elif len(digits) > 4000:
        return None  # no number anyone means, and slow to convert
    else:
        value = int(digits, 8 if digits[0] == "0" else 10)
    return value, text[found.end() :]


def atoi(text: str) -> int:
    """atoi(3): the decimal number a text begins with, kept to 32 bits with sign; 0 without one."""
    found = _DECIMAL.match(text)
    if found is None or len(found[2]) > 4000:
        return 0
    value = min(int(found[2]), (1 << 63) - 1)
    value = (-value if found[1] == "-" else value) & UINT32
    return value - (1 << 32) if value >> 31 else value


def parse_number(text: str, high: int, low: int = 0) -> int:
    """A whole number from `low` to `high` and nothing after it. Refusal otherwise."""
    if is_digits(text) and text[0] != "0" and len(text) < 20:
        value = int(text)
        if low <= value <= high:
            return value
    else:
        number = strtoul(text)
        if number is not None and not number[1] and low <= number[0] <= high:
            return number[0]
    raise Refusal(f"`{text}' is not a number from {low} to {high}")


def parse_range(text: str, high: int) -> tuple[int, int]:
    """`n`, `n:m`, `n:`, `:m` or `:`; what is left out is 0 or `high`, and the empty text is 0."""
    parts = text.split(":")
    if len(parts) > 2:
        raise Refusal(f"`{text}' has too many parts: expected number[:number]")
    first = parse_number(parts[0], high) if parts[0] else 0
    if len(parts) == 1:
        return first, first
    return first, parse_number(parts[1], high) if parts[1] else high


def range_text(pair: tuple[int, int]) -> str:
    """`n`, or `n:m`."""
    low, high = pair
    return str(low) if low == high else f"{low}:{high}"


def parse_masked(text: str, high: int = UINT32) -> tuple[int, int]:
    """`value[/mask]`; without a mask all bits count."""
    number = strtoul(text)
    if number is None or number[0] > high:
        raise Refusal(f"`{text}' is not value[/mask] with numbers from 0 to {high:#x}")
    value, rest = number
    if not rest:
        return value, high
    number = strtoul(rest[1:]) if rest[0] == "/" else None
    if number is None or number[0] > high or number[1]:
        raise Refusal(f"`{text}' is not value[/mask] with numbers from 0 to {high:#x}")
    return value, number[0]


def masked_text(value: int, mask: int, full: int = UINT32) -> str:
    """`0xvalue`, or `0xvalue/0xmask` unless all bits count."""
    return f"{value:#x}" if mask == full else f"{value:#x}/{mask:#x}"
