"""string: bytes anywhere in a packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import number, show_number, show_plain, text
from fastfw.ruleset.numbers import UINT16

PATTERN_LIMIT = 128
ALGORITHMS = ("bm", "kmp")


def _checked(pattern: bytes) -> bytes:
    if len(pattern) > PATTERN_LIMIT:
        raise Refusal(f"pattern of {len(pattern)} bytes: expected at most {PATTERN_LIMIT}")
    return pattern


def _pattern(text: str, context: Context) -> bytes:
    return _checked(text.encode("utf-8", "surrogateescape"))


def _hex_pattern(text: str, context: Context) -> bytes:
    """Text with blocks of hexadecimal bytes between bars; a backslash takes the next byte as it is."""
    raw = text.encode("utf-8", "surrogateescape")
    if not raw:
        raise Refusal("the pattern must have at least one byte")
    pattern = bytearray()
    at = 0
    while at < len(raw):
        byte = raw[at : at + 1]
        at += 1
        if byte == b"\\" and at < len(raw):
            byte = raw[at : at + 1]
            at += 1
        elif byte == b"|":
            end = raw.find(b"|", at)
            digits = raw[at:end].replace(b" ", b"") if end >= 0 else b""
            try:
                if not digits:
                    raise ValueError
                byte = bytes.fromhex(digits.decode("ascii"))
            except ValueError:
                raise Refusal("bad block of hexadecimal bytes: expected pairs of digits between bars") from None
            at = end + 1
        pattern += byte
    return _checked(bytes(pattern))


def shown(value: bytes) -> str:
    """Printable ASCII as text; with any other byte, all of it as hexadecimal."""
    if all(0x20 <= byte < 0x7F for byte in value):
        escaped = value.decode("ascii").replace("\\", "\\\\").replace('"', '\\"')
        return f'--string "{escaped}"'
    return f'--hex-string "|{value.hex()}|"'


@dataclass(slots=True)
class String(Match):
    """`pattern` from offset `start` up to `end`, both inclusive; `algorithm` only tells how to search."""

    name: ClassVar[str] = "string"

    pattern: bytes = b""
    invert: bool = False
    algorithm: str = ""
    start: int = 0
    end: int = UINT16
    ignore_case: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("string", "pattern", _pattern, None, "invert", excludes=("hex-string",)),
        Option("hex-string", "pattern", _hex_pattern, None, "invert"),
        Option("algo", "algorithm", text(15), show_plain, required=True),
        Option("from", "start", number(UINT16), show_number, hide=0),
        Option("to", "end", number(UINT16), show_number, hide=UINT16),
        Option("icase", "ignore_case"),
    )

    def finish(self, context: Context) -> None:
        """A pattern must be given."""
        if "string" not in context.seen and "hex-string" not in context.seen:
            raise Refusal("string needs --string or --hex-string")
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """The kernel wants a pattern, a range in order and an algorithm it has."""
        if not self.pattern:
            raise Refusal("string's pattern must have at least one byte")
        if self.start > self.end:
            raise Refusal("string's --from is beyond its --to")
        if self.algorithm not in ALGORITHMS:
            raise Refusal(f"unknown algorithm `{self.algorithm}': expected {' or '.join(ALGORITHMS)}")

    def save(self, family: int) -> str:
        """The pattern in the form that shows all of it, then the options."""
        return f" {'! ' * self.invert}{shown(self.pattern)}{Match.save(self, family)}"
