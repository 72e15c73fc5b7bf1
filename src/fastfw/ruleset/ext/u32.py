"""u32: tests of up to four bytes anywhere in a packet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ctype import BLANKS
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range
from fastfw.ruleset.numbers import UINT32, strtoul

LIMIT = 10
"""Tests in a rule, numbers in a location, ranges in a value."""

Step = tuple[str, int]

_OPERATOR = re.compile(r"\s*(&&|<<|>>|[&@=])", re.ASCII)
_NUMBER = re.compile(r"\s*\+?(0[xX][0-9a-fA-F]+|[0-9]+)", re.ASCII)


@dataclass(slots=True, frozen=True)
class Test:
    """`steps` are (operator, number), the first operator "" ; `ranges` are inclusive, one must hold the result."""

    steps: tuple[Step, ...]
    ranges: tuple[Range, ...]


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def number(self) -> int:
        found = _NUMBER.match(self.text, self.at)
        value = strtoul(found[1]) if found else None
        if found is None or value is None or value[1] or value[0] > UINT32:
            raise Refusal(f"u32: expected a number of 32 bits at character {self.at}")
        self.at = found.end()
        return value[0]

    def operator(self) -> str:
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            raise Refusal(f"u32: expected &, <<, >>, @ or = at character {self.at}")
        self.at = found.end()
        return found[1]

    def take(self, token: str) -> bool:
        rest = self.text[self.at :].lstrip(BLANKS)
        if not rest.startswith(token):
            return False
        self.at = len(self.text) - len(rest) + len(token)
        return True

    def done(self) -> bool:
        return not self.text[self.at :].strip(BLANKS)


def _ranges(scanner: _Scanner) -> tuple[Range, ...]:
    ranges: list[Range] = []
    while True:
        low = scanner.number()
        ranges.append((low, scanner.number() if scanner.take(":") else low))
        if len(ranges) > LIMIT:
            raise Refusal(f"u32: more than {LIMIT} ranges at character {scanner.at}")
        if not scanner.take(","):
            return tuple(ranges)


def _steps(scanner: _Scanner) -> tuple[Step, ...]:
    steps: list[Step] = [("", scanner.number())]
    while True:
        operator = scanner.operator()
        if operator == "=":
            return tuple(steps)
        if operator == "&&":
            raise Refusal(f"u32: a test has no value at character {scanner.at}")
        if len(steps) == LIMIT:
            raise Refusal(f"u32: more than {LIMIT} numbers at character {scanner.at}")
        number = scanner.number()
        if operator in ("<<", ">>") and number > 31:
            raise Refusal(f"u32: a shift by {number} bits at character {scanner.at}")
        steps.append((operator, number))


def _tests(text: str, context: Context) -> tuple[Test, ...]:
    scanner = _Scanner(text)
    tests: list[Test] = []
    while True:
        if len(tests) == LIMIT:
            raise Refusal(f"u32: more than {LIMIT} tests at character {scanner.at}")
        steps = _steps(scanner)
        tests.append(Test(steps, _ranges(scanner)))
        if scanner.done():
            return tuple(tests)
        if not scanner.take("&&"):
            raise Refusal(f"u32: expected && at character {scanner.at}")


def _show_test(test: Test) -> str:
    steps = "".join(f"{operator}{number:#x}" for operator, number in test.steps)
    ranges = ",".join(f"{low:#x}" if low == high else f"{low:#x}:{high:#x}" for low, high in test.ranges)
    return f"{steps}={ranges}"


def _show(value: tuple[Test, ...], family: int) -> str:
    return '"' + "&&".join(_show_test(test) for test in value) + '"'


@dataclass(slots=True)
class U32(Match):
    """All `tests` must hold."""

    name: ClassVar[str] = "u32"

    tests: tuple[Test, ...] = ()
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (Option("u32", "tests", _tests, _show, "invert", required=True),)
