"""Reading ASN.1's aligned packed encoding (ITU-T X.691, basic aligned variant) by a schema in ASN.1's own notation.

Of the notation what h323_schema.py uses: SEQUENCE, CHOICE, SEQUENCE OF, BOOLEAN, NULL, INTEGER with bounds, OCTET
STRING, and IA5String of sixteen permitted characters. Of the encoding all of these, but no fragments of 16 384 and
more. Schemas are not recursive, so a message costs no more than its own length; a SEQUENCE OF takes at least a bit an
element. What an extension adds is skipped by its length where the schema does not know it or calls it `skip...`.

asn1tools reads this encoding too, but goes on right behind what it understood of an addition and not behind the
addition's length: a schema cut to what is needed cannot be used with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

MOST_ADDITIONS = 256  # to one SEQUENCE: no recommendation comes near it


class Unreadable(Exception):
    """The octets are no value of the type."""


class Bits:
    """Octets, a position in them and the end, both in bits."""

    def __init__(self, octets: bytes, at: int = 0, end: int | None = None) -> None:
        self.octets, self.at, self.end = octets, at, len(octets) * 8 if end is None else end

    def take(self, count: int) -> int:
        """The next bits as a number."""
        at, self.at = self.at, self.at + count
        if self.at > self.end:
            raise Unreadable
        last = (self.at + 7) // 8
        return int.from_bytes(self.octets[at // 8 : last], "big") >> (last * 8 - self.at) & ((1 << count) - 1)

    def align(self) -> None:
        self.at = (self.at + 7) & ~7

    def take_octets(self, count: int) -> bytes:
        """The next whole octets."""
        self.align()
        at, self.at = self.at, self.at + 8 * count
        if self.at > self.end:
            raise Unreadable
        return self.octets[at // 8 : self.at // 8]

    def length(self) -> int:
        """A general length (X.691 11.9.3.5), without fragments."""
        self.align()
        first = self.take(8)
        if first < 0x80:
            return first
        if first >= 0xC0:
            raise Unreadable
        return (first & 0x3F) << 8 | self.take(8)

    def small(self) -> int:
        """A normally small number (X.691 11.6)."""
        if not self.take(1):
            return self.take(6)
        return int.from_bytes(self.take_octets(self.length()), "big")

    def inside(self) -> Bits:
        """What an open type (X.691 11.2) holds; the position is then behind it."""
        size = self.length()
        at = self.at
        self.at += 8 * size
        if self.at > self.end:
            raise Unreadable
        return Bits(self.octets, at, self.at)


Read = Callable[[Bits], Any]


def whole_number(lowest: int, highest: int) -> Read:
    """X.691 11.5."""
    span = highest - lowest
    width = span.bit_length()
    if span < 255:
        return lambda bits: lowest + bits.take(width)
    if span < 65536:
        octets = (width + 7) // 8
        return lambda bits: lowest + int.from_bytes(bits.take_octets(octets), "big")
    sizes = whole_number(1, (width + 7) // 8)
    return lambda bits: lowest + int.from_bytes(bits.take_octets(sizes(bits)), "big")


def octet_string(size: Read | None, aligned: bool) -> Read:
    """X.691 17."""
    if size is None:
        return lambda bits: bits.take_octets(bits.length())

    def read(bits: Bits) -> bytes:
        count = size(bits)
        return bits.take_octets(count) if aligned else bits.take(8 * count).to_bytes(count, "big")

    return read


def digits(size: Read) -> Read:
    """X.691 30, of characters of four bits each: which they are does not matter, and none is returned."""

    def read(bits: Bits) -> None:
        count = size(bits)
        bits.align()
        bits.take(4 * count)

    return read


def sequence_of(size: Read | None, element: Read) -> Read:
    """X.691 20."""
    return lambda bits: [element(bits) for _ in range(bits.length() if size is None else size(bits))]


def choice(root: list[tuple[str, Read]], additions: list[tuple[str, Read]] | None) -> Read:
    """X.691 23. A value is its name and what it is; the name of one that is not known is empty."""
    index_of = whole_number(0, len(root) - 1)

    def read(bits: Bits) -> tuple[str, Any]:
        if additions is not None and bits.take(1):
            index = bits.small()
            held = bits.inside()
            if index >= len(additions) or additions[index][0].startswith("skip"):
                return "", None
            return additions[index][0], additions[index][1](held)
        index = index_of(bits)
        if index >= len(root):
            raise Unreadable
        return root[index][0], root[index][1](bits)

    return read


def sequence(root: list[tuple[str, Read, bool]], additions: list[tuple[str, Read, bool]] | None) -> Read:
    """X.691 19. Members are (name, type, whether it is optional); a value is a dictionary of what is there."""
    optional = sum(member[2] for member in root)

    def read(bits: Bits) -> dict[str, Any]:
        extended = additions is not None and bits.take(1)
        there = bits.take(optional)
        value = {}
        left = optional
        for name, read_member, may_lack in root:
            left -= may_lack
            if not may_lack or there >> left & 1:
                value[name] = read_member(bits)
        if extended and additions is not None:
            count = bits.small() + 1
            if count > MOST_ADDITIONS:
                raise Unreadable
            there = bits.take(count)
            for index in range(count):
                if not there >> (count - 1 - index) & 1:
                    continue
                held = bits.inside()
                if index < len(additions) and not additions[index][0].startswith("skip"):
                    value[additions[index][0]] = additions[index][1](held)
        return value

    return read


class Schema:
    """The types of one module. ValueError where its notation is none of the above."""

    def __init__(self, text: str) -> None:
        tokens = re.findall(r"\.\.\.|\.\.|::=|[\w-]+|[{}(),]|\"[^\"]*\"", re.sub(r"--.*", "", text))
        self._tokens: Iterator[str] = iter(tokens)
        self._next = ""
        self._types: dict[str, Read] = {}
        while self._advance() != "BEGIN":
            pass
        self._advance()
        while self._next != "END":
            name = self._eat()
            self._eat("::=")
            self._types[name] = self._type()

    def read(self, name: str, octets: bytes) -> Any:
        """The value of a named type at the head of the octets. Raises Unreadable."""
        return self._types[name](Bits(octets))

    def _advance(self) -> str:
        self._next = next(self._tokens, "END")
        return self._next

    def _eat(self, wanted: str = "") -> str:
        token = self._next
        if wanted and token != wanted:
            raise ValueError(f"schema: {wanted} expected, not {token}")
        self._advance()
        return token

    def _bounds(self) -> tuple[int, int]:
        self._eat("(")
        lowest = highest = int(self._eat())
        if self._next == "..":
            self._eat()
            highest = int(self._eat())
        self._eat(")")
        return lowest, highest

    def _size(self) -> tuple[int, int] | None:
        if self._next != "(":
            return None
        self._eat("(")
        self._eat("SIZE")
        bounds = self._bounds()
        self._eat(")")
        return bounds

    def _type(self) -> Read:
        word = self._eat()
        if word == "NULL":
            return lambda bits: None
        if word == "BOOLEAN":
            return lambda bits: bool(bits.take(1))
        if word == "INTEGER":
            return whole_number(*self._bounds())
        if word in ("OCTET", "IA5String"):
            return self._string(word)
        if word == "CHOICE":
            root, additions = self._members()
            return choice(
                [member[:2] for member in root], None if additions is None else [member[:2] for member in additions]
            )
        if word == "SEQUENCE":
            if self._next == "{":
                return sequence(*self._members())
            size = self._size()
            self._eat("OF")
            return sequence_of(None if size is None else whole_number(*size), self._type())
        return lambda bits: self._types[word](bits)

    def _string(self, word: str) -> Read:
        if word == "OCTET":
            self._eat("STRING")
            size = self._size()
            return octet_string(None if size is None else whole_number(*size), size is None or size[1] > 2)
        size = self._size()
        self._eat("(")
        self._eat("FROM")
        self._eat("(")
        if size is None or len(self._eat().strip('"')) != 16:
            raise ValueError("schema: an IA5String of a bounded size and sixteen characters expected")
        self._eat(")")
        self._eat(")")
        return digits(whole_number(*size))

    def _members(self) -> tuple[list[tuple[str, Read, bool]], list[tuple[str, Read, bool]] | None]:
        root: list[tuple[str, Read, bool]] = []
        additions: list[tuple[str, Read, bool]] | None = None
        self._eat("{")
        while True:
            if self._next == "...":
                self._eat()
                additions = []
            else:
                name = self._eat()
                read = self._type()
                optional = self._next == "OPTIONAL"
                if optional:
                    self._eat()
                (root if additions is None else additions).append((name, read, optional))
            if self._eat() == "}":
                return root, additions
