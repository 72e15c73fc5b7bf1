"""bpf: a classic BPF program judges the packet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import text
from fastfw.ruleset.numbers import UINT32, strtoul

Instruction = tuple[int, int, int, int]
"""(operation, jump if true, jump if false, operand)."""

LENGTH_LIMIT = 64

_ALU = {4 | op | source for op in (0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xA0) for source in (0, 8)}
_JUMPS = {5 | op | source for op in (0x10, 0x20, 0x30, 0x40) for source in (0, 8)}
_RETURNS = {0x06, 0x16}
_ALWAYS = 0x05
_NEGATE = 0x84
_LOADS = {0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0x00, 0x01, 0xB1}
_MEMORY = {0x60, 0x61, 0x02, 0x03}
_STORES = {0x02, 0x03}
_MOVES = {0x07, 0x87}
_KNOWN = _ALU | _JUMPS | _RETURNS | {_ALWAYS, _NEGATE} | _LOADS | _MEMORY | _MOVES
_DIVISIONS = {0x34, 0x94}
_SHIFTS = {0x64, 0x74}


def fault(program: tuple[Instruction, ...]) -> str:
    """Why the kernel would not run a program, or ""."""
    for at, (code, jt, jf, k) in enumerate(program):
        left = len(program) - at - 1
        if code not in _KNOWN:
            return f"instruction {at} has an unknown operation {code}"
        if code in _DIVISIONS and not k:
            return f"instruction {at} divides by zero"
        if code in _SHIFTS and k >= 32:
            return f"instruction {at} shifts by {k} bits"
        if code in _MEMORY and k >= 16:
            return f"instruction {at} uses memory cell {k} of 16"
        if (code == _ALWAYS and k >= left) or (code in _JUMPS and max(jt, jf) >= left):
            return f"instruction {at} jumps beyond the end"
    if not program or program[-1][0] not in _RETURNS:
        return "the last instruction does not return"
    return _unwritten(program)


def _unwritten(program: tuple[Instruction, ...]) -> str:
    """Which instruction reads a memory cell that some way to it has not written, or "". As the kernel has it, what
    follows a return is reached through it too.
    """
    every = (1 << 16) - 1
    by_jump = [every] * len(program)
    falls = 0
    for at, (code, jt, jf, k) in enumerate(program):
        written = by_jump[at] & falls
        falls = written
        if code in _STORES:
            falls |= 1 << k
        elif code in _MEMORY and not written >> k & 1:
            return f"instruction {at} reads memory cell {k}, which may not be written yet"
        elif code == _ALWAYS or code in _JUMPS:
            for distance in (k,) if code == _ALWAYS else (jt, jf):
                by_jump[at + 1 + distance] &= written
            falls = every
    return ""


_INSTRUCTION = re.compile(
    r"\s*([+-]?[0-9]{1,20})\s+([+-]?[0-9]{1,20})\s+([+-]?[0-9]{1,20})\s+([+-]?[0-9]{1,20})", re.ASCII
)
_WIDTHS = (16, 8, 8, 32)


def _program(text: str, context: Context) -> tuple[Instruction, ...]:
    """`count,code jt jf k,...` in decimal, as tcpdump -ddd prints it with commas for newlines."""
    head, *parts = text.rstrip(",").split(",")
    count = strtoul(head)
    if count is None or count[1] or not count[0] or not parts:
        raise Refusal("bad program: expected its length, a comma and instructions `code jt jf k`")
    if count[0] > LENGTH_LIMIT:
        raise Refusal(f"program of {count[0]} instructions: expected at most {LENGTH_LIMIT}")
    program = []
    for at, part in enumerate(parts):
        found = _INSTRUCTION.match(part)
        if found is None:
            raise Refusal(f"bad instruction {at} `{part}': expected four numbers")
        code, jt, jf, k = (int(found[n + 1]) & ((1 << width) - 1) for n, width in enumerate(_WIDTHS))
        program.append((code, jt, jf, k))
    if len(program) != count[0]:
        raise Refusal(f"program of {len(program)} instructions, but it says {count[0]}")
    return tuple(program)


def _show(value: tuple[Instruction, ...], family: int) -> str:
    body = ",".join(f"{code} {jt} {jf} {k & UINT32}" for code, jt, jf, k in value)
    return f'"{len(value)},{body}"'


def _show_path(value: str, family: int) -> str:
    return value


@dataclass(slots=True)
class Bpf(Match):
    """True where the `program` returns other than 0. `pinned` is an eBPF object's path, which only the kernel knows."""

    name: ClassVar[str] = "bpf"

    program: tuple[Instruction, ...] | None = None
    pinned: str | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("bytecode", "program", _program, _show, excludes=("object-pinned",)),
        Option("object-pinned", "pinned", text(511), _show_path),
    )

    def finish(self, context: Context) -> None:
        """One of both must be given."""
        if not context.seen:
            raise Refusal("bpf needs --bytecode or --object-pinned")
        Match.finish(self, context)

    def check(self, site: Site) -> None:
        """The kernel's rules for programs."""
        wrong = fault(self.program) if self.program is not None else ""
        if wrong:
            raise Refusal(f"bpf: {wrong}")
