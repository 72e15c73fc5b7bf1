"""Numbers and addresses as text within a payload, read as leniently or strictly as Linux reads them."""

from __future__ import annotations

import re

DOTTED = re.compile(rb"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)(?![0-9A-Fa-f.])")
GROUP = re.compile(rb"[0-9A-Fa-f]+")
IPV6_CHARACTERS = re.compile(rb"[0-9A-Fa-f:.]*")


def wrapped(digits: bytes, bits: int) -> int:
    """A decimal number, however long, in a machine word of `bits` bits; no digits are 0.

    10**bits is a multiple of 2**bits, so that the last `bits` digits decide.
    """
    return int(digits[-bits:] or b"0") & ((1 << bits) - 1)


def parse_dotted(text: bytes) -> tuple[bytes, int] | None:
    """Four decimal numbers up to 255, leading zeros allowed, at the start of `text`: 4 bytes, and their length."""
    found = DOTTED.match(text)
    if found is None:
        return None
    octets = [digits.lstrip(b"0") for digits in found.groups()]
    if any(len(digits) > 3 or int(digits or b"0") > 255 for digits in octets):
        return None
    return bytes(int(digits or b"0") for digits in octets), found.end()


def parse_ipv6(text: bytes, delimiter: int) -> tuple[bytes, int] | None:
    """An IPv6 address (RFC 4291 2.2) that ends at `delimiter` or NUL: its 16 bytes and the length of its text.

    A group may have any number of leading zeros. An IPv4 tail may also end at a colon, which then takes the
    delimiter's place.
    """
    ends = [at for at in (text.find(delimiter), text.find(0)) if at >= 0]
    return whole_ipv6(text[: min(ends, default=len(text))])


def parse_ipv6_prefix(text: bytes) -> tuple[bytes, int] | None:
    """The IPv6 address at the start of `text`, which ends before anything that cannot be part of one."""
    found = IPV6_CHARACTERS.match(text)
    assert found is not None  # it matches the empty string
    return whole_ipv6(found[0])


def whole_ipv6(body: bytes) -> tuple[bytes, int] | None:
    """All of `body` as an IPv6 address, or up to the colon after an IPv4 tail."""
    words: list[bytes] = []  # two bytes a group
    gap = -1  # where among them `::` stands
    at = 0
    if body.startswith(b"::"):
        gap, at = 0, 2
    while at < len(body):
        group = GROUP.match(body, at)
        if group is None or int(group[0], 16) > 0xFFFF or len(words) == 8:
            return None
        if body[group.end() : group.end() + 1] == b".":
            tail = parse_dotted(body[at:])
            if tail is None:
                return None
            words += [tail[0][:2], tail[0][2:]]
            at += tail[1]
            if at < len(body) and body[at] != 0x3A:
                return None
            return complete(words, gap, at)
        words.append(int(group[0], 16).to_bytes(2, "big"))
        at = group.end()
        if at == len(body):
            break
        if body[at] != 0x3A:
            return None
        at += 1
        if body[at : at + 1] == b":":
            if gap >= 0:
                return None
            gap = len(words)
            at += 1
        elif at == len(body):
            return None
    return complete(words, gap, at)


def complete(words: list[bytes], gap: int, length: int) -> tuple[bytes, int] | None:
    """The address, `::` filled with zeros."""
    missing = 8 - len(words)
    if missing < 0 or (gap < 0 and missing) or (gap >= 0 and not missing):
        return None
    if gap >= 0:
        words = words[:gap] + [b"\0\0"] * missing + words[gap:]
    return b"".join(words), length
