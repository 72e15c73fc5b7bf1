"""Reading ASN.1's aligned packed encoding (ITU-T X.691, basic aligned variant) by a schema in ASN.1's own notation.

Of the notation what h323_schema.py uses: SEQUENCE, CHOICE, SEQUENCE OF, BOOLEAN, NULL, INTEGER with bounds, OCTET
STRING, OBJECT IDENTIFIER, and IA5String of sixteen permitted characters. Schemas are not recursive, so a message costs
no more than its own length; a SEQUENCE OF takes at least a bit an element. What an extension adds is skipped by its
length where the schema does not know it or calls it `skip...`, or `skipsN` for N of them; one of a SEQUENCE called
`stop`, the last one, or any behind it ends the reading with what is known up to there.

Octets that are no proper encoding are read as Linux reads them, so that a message it makes sense of makes the same
sense here: a length is one octet or fourteen bits and never the mark of a fragment, and mostly two octets must be there
where one would do; a normally small number is seven bits; a large number that is read, and not only stepped over, needs
as many octets again behind it; of the additions to a SEQUENCE that the schema does not know those that are not there
have a length too; what an open type holds may run on past its length up to the
end of the message, and reading goes on behind the length all the same; of a list of contained values those that are too
many must be readable, but for the open types in them.

asn1tools reads this encoding too, but goes on right behind what it understood of an addition and not behind the
addition's length: a schema cut to what is needed cannot be used with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

MOST_ADDITIONS = 32  # to one SEQUENCE


class Unreadable(Exception):
    """The octets are no value of the type."""


class Bits:
    """Octets, a position in them and the end, both in bits."""

    def __init__(self, octets: bytes, at: int = 0, end: int | None = None) -> None:
        self.octets, self.at, self.end = octets, at, len(octets) * 8 if end is None else end
        self.stopped = False  # nothing more is read, up to the end of the open type around
        self.passing = False  # what is read is not wanted: open types within are stepped over

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

    def length(self, there: int = 2) -> int:
        """A general length (X.691 11.9.3.5), where so many octets are there at least."""
        self.align()
        if self.at + 8 * there > self.end:
            raise Unreadable
        first = self.take(8)
        return first if first < 0x80 else (first & 0x3F) << 8 | self.take(8)

    def small(self) -> int:
        """A normally small number (X.691 11.6)."""
        return self.take(7)

    def opened(self, read: Callable[[Bits], Any] | None, there: int = 2) -> Any:
        """What an open type (X.691 11.2) holds, None where it is only skipped; the position is then behind it."""
        behind = 8 * self.length(there)
        behind += self.at
        if behind > self.end:
            raise Unreadable
        value = None if read is None or self.passing else read(self)
        self.at, self.stopped = behind, False
        return value


Read = Callable[[Bits], Any]


def whole_number(lowest: int, highest: int, room: bool = False) -> Read:
    """X.691 11.5. `room`: as many octets as a large number takes must be there once more behind it."""
    span = highest - lowest
    width = span.bit_length()
    if span < 255:
        return lambda bits: lowest + bits.take(width)
    if span < 65536:
        octets = (width + 7) // 8
        return lambda bits: lowest + int.from_bytes(bits.take_octets(octets), "big")
    sizes = whole_number(1, (width + 7) // 8)

    def read(bits: Bits) -> int:
        size = sizes(bits)
        value = int.from_bytes(bits.take_octets(size), "big")
        if room and bits.at + 8 * size > bits.end:
            raise Unreadable
        return lowest + value

    return read


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

    def read(bits: Bits) -> list[Any]:
        value = []
        for _ in range(bits.length() if size is None else size(bits)):
            value.append(element(bits))
            if bits.stopped:
                break
        return value

    return read


def passed(element: Read) -> Read:
    """What must be a value, which one does not matter."""

    def read(bits: Bits) -> None:
        bits.passing = True
        element(bits)
        bits.passing = False

    return read


def contained(element: Read, most: int) -> Read:
    """SEQUENCE OF octet strings that hold a value each, of which so many are wanted at most."""
    over = passed(element)
    return lambda bits: [bits.opened(element if place < most else over) for place in range(bits.length())][:most]


def stop(bits: Bits) -> None:
    """What ends the reading."""
    bits.stopped = True


def choice(root: list[tuple[str, Read]], additions: list[tuple[str, Read]] | None) -> Read:
    """X.691 23. A value is its name and what it is; the name of one that is not known is empty."""
    index_of = whole_number(0, len(root) - 1)

    def read(bits: Bits) -> tuple[str, Any]:
        if additions is not None and bits.take(1):
            index = bits.small()
            if index >= len(additions):
                bits.opened(None)
                return "", None
            name, read_addition = additions[index]
            skipped = name.startswith("skip")
            return "" if skipped else name, bits.opened(None if skipped else read_addition, there=1)
        index = index_of(bits)
        if index >= len(root):
            raise Unreadable
        return root[index][0], root[index][1](bits)

    return read


def sequence(root: list[tuple[str, Read, bool]], additions: list[tuple[str, Read, bool]] | None) -> Read:
    """X.691 19. Members are (name, type, whether it is optional); a value is a dictionary of what is there."""
    optional = sum(member[2] for member in root)
    ends = bool(additions) and additions is not None and additions[-1][0] == "stop"

    def read(bits: Bits) -> dict[str, Any]:
        extended = additions is not None and bits.take(1)
        there = bits.take(optional)
        value = {}
        left = optional
        for name, read_member, may_lack in root:
            left -= may_lack
            if not may_lack or there >> left & 1:
                value[name] = read_member(bits)
                if bits.stopped:
                    return value
        if extended and additions is not None:
            count = bits.small() + 1
            if count > MOST_ADDITIONS:
                raise Unreadable
            if bits.at % 8 + count == MOST_ADDITIONS:
                bits.at &= ~7  # so Linux counts them where they end four whole octets
            there = bits.take(count)
            bits.align()
            for index in range(count):
                present = there >> (count - 1 - index) & 1
                if index >= len(additions) and not ends:
                    bits.opened(None)
                    continue
                if not present:
                    continue
                name, read_addition, _ = additions[min(index, len(additions) - 1)]
                if name == "stop":
                    bits.stopped = True
                    return value
                if name.startswith("skip"):
                    bits.opened(None)
                else:
                    value[name] = bits.opened(read_addition)
        return value

    return read


class Schema:
    """The types of one module. ValueError where its notation is none of the above.

    `imports`: another's types, as OCTET STRINGs contain them in lists; how many of a list are read at most is `most`.
    """

    def __init__(self, text: str, imports: Schema | None = None, most: dict[str, int] | None = None) -> None:
        self._imports, self._most = imports, most or {}
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
        if word == "Seconds":
            return whole_number(1, 0xFFFFFFFF, room=True)
        if word == "OBJECT":
            self._eat("IDENTIFIER")
            return lambda bits: bits.take_octets(int.from_bytes(bits.take_octets(1), "big"))
        if word == "Unread":
            return stop
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
            if self._next == "CONTAINED":
                self._eat()
                name = self._eat()
                types = (self._imports or self)._types
                return contained(lambda bits: types[name](bits), self._most[name])
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
                many = re.fullmatch(r"skips(\d+)", name)
                members = [(name, read, optional)] * (int(many[1]) if many else 1)
                (root if additions is None else additions).extend(members)
            if self._eat() == "}":
                return root, additions
