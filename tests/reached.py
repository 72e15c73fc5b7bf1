"""Which lines and branches of the core a coverage build's tests reached: `python -m tests.reached build/coverage`.

gcov counts what the C compiler made of each line of Cython. Lines are all that the compiler made anything of, in every
file of the core. Branches are those of what runs per packet, which is everything in functions that are `noexcept
nogil`: elsewhere generated code asks after every call whether it failed, which is no branch of the line's own.

Status 1 unless every line is reached but those that tests/unreached.txt names with a reason, all that it names are not
reached, and 95 of 100 branches are. `--branches` lists what else was never taken.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXCEPTIONS = ROOT / "tests" / "unreached.txt"
ASKS = re.compile(r"\b(if|elif|while|and|or|for)\b|\?")
DEFINES = re.compile(r"( *)(?:cdef|cpdef|def|static)\b[^=]*?(\w+)\(")
WANTED = 0.95
"""Of the branches."""


@dataclass
class File:
    """One source file: how often each line ran, and each branch (line, place) of those that run per packet."""

    text: list[str]
    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[tuple[int, int], int] = field(default_factory=dict)

    def source(self, number: int) -> str:
        return self.text[number - 1].strip()

    def function(self, number: int) -> str:
        """The name of the one that a line is in, `-` outside of all."""
        indent = len(self.text[number - 1]) - len(self.text[number - 1].lstrip())
        for line in reversed(self.text[:number]):
            head = DEFINES.match(line)
            if head and (len(head[1]) < indent or line is self.text[number - 1]):
                return head[2]
        return "-"

    def unreached(self) -> list[int]:
        return [number for number, count in sorted(self.lines.items()) if not count]


def hot_lines(lines: list[str]) -> set[int]:
    """The numbers of the lines that lie in functions without the GIL."""
    found: set[int] = set()
    at = 0
    while at < len(lines):
        line = lines[at]
        if not re.match(r"\s*cdef .*\(", line):
            at += 1
            continue
        indent = len(line) - len(line.lstrip())
        head = at
        while not lines[at].rstrip().endswith((":", ")")) or lines[at].count("(") > lines[at].count(")"):
            at += 1
            if at == len(lines):
                return found
        declared = " ".join(lines[head : at + 1])
        at += 1
        begin = at
        while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > indent):
            at += 1
        if declared.rstrip().endswith("nogil:"):
            found.update(range(begin + 1, at + 1))
    return found


def counted(build: Path) -> dict[str, File]:
    """The core's files by name. What several modules are made of, as inline functions, is reached where any of them
    ran it."""
    files: dict[str, File] = {}
    hot: dict[str, set[int]] = {}
    every: dict[str, dict[tuple[int, int, int], int]] = defaultdict(lambda: defaultdict(int))
    for data in sorted(build.rglob("*.gcda")):
        with tempfile.TemporaryDirectory() as folder:
            command = ["gcov", "--json-format", "--branch-probabilities", str(data.resolve())]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            for report in Path(folder).glob("*.gcov.json.gz"):
                for part in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                    name = part["file"]
                    if "fastfw/core/" not in name or not name.endswith((".pyx", ".pxd", ".h")):
                        continue
                    name = name[name.index("fastfw/core/") + len("fastfw/core/") :]
                    if name.startswith("../"):
                        continue
                    if name not in files:
                        path = ROOT / "src" / "fastfw" / "core" / name
                        files[name] = File(path.read_text(encoding="utf-8").splitlines())
                        whole = set(range(1, len(files[name].text) + 1))
                        hot[name] = whole if path.suffix == ".h" else hot_lines(files[name].text)
                    file = files[name]
                    for line in part["lines"]:
                        number = line["line_number"]
                        if not 0 < number <= len(file.text):
                            continue
                        file.lines[number] = file.lines.get(number, 0) + line["count"]
                        if number in hot[name] and ASKS.search(file.text[number - 1]):
                            for place, branch in enumerate(line["branches"]):
                                every[name][number, place, len(line["branches"])] += branch["count"]
    for name, branches in every.items():
        files[name].branches = {(number, place): 0 for number, place, _ in branches}
        for (number, place, _), count in branches.items():
            files[name].branches[number, place] += count
    return dict(sorted(files.items()))


def exceptions(text: str) -> dict[tuple[str, str], str]:
    """(file and function, line without its indent) -> why no test reaches it: paragraphs, a reason behind `#` and lines
    `FILE FUNCTION: SOURCE`."""
    found: dict[tuple[str, str], str] = {}
    for paragraph in text.split("\n\n"):
        rows = paragraph.strip().splitlines()
        reason = " ".join(row[1:].strip() for row in rows if row.startswith("#"))
        for row in rows:
            if not row.startswith("#"):
                name, colon, source = row.partition(": ")
                if not colon or not reason:
                    raise ValueError(f"{EXCEPTIONS.name}: `FILE FUNCTION: SOURCE' below a reason expected, not {row!r}")
                found[name, source.strip()] = reason
    return found


def judge(files: dict[str, File], excused: dict[tuple[str, str], str], wanted: float) -> list[str]:
    """What is wrong: lines that nothing reaches or excuses, excuses nobody needs, too few branches."""
    missing = {
        (f"{name} {file.function(at)}", file.source(at)): at for name, file in files.items() for at in file.unreached()
    }
    wrong = [f"not reached: {key[0]}: {key[1]} (line {at})" for key, at in missing.items() if key not in excused]
    wrong += [f"excused but reached: {place}: {text}" for place, text in excused if (place, text) not in missing]
    taken, branches = ratio(file.branches.values() for file in files.values())
    if taken < wanted * branches:
        wrong.append(f"{taken} of {branches} branches were taken: fewer than {wanted:.0%}")
    return wrong


def ratio(counts: Iterable[Iterable[int]]) -> tuple[int, int]:
    """How many counts are above 0, of how many."""
    flat = [count > 0 for part in counts for count in part]
    return sum(flat), len(flat)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reached")
    parser.add_argument("build", type=Path)
    parser.add_argument("--branches", action="store_true", help="list lines with a branch that was never taken")
    options = parser.parse_args(arguments)
    files = counted(options.build)
    excused = exceptions(EXCEPTIONS.read_text(encoding="utf-8"))
    print(f"{'file':<28}{'lines':>14}{'branches':>16}")
    for name, file in files.items():
        ran, lines = ratio([file.lines.values()])
        taken, branches = ratio([file.branches.values()])
        print(f"{name:<28}{ran:>7}/{lines:<6}{taken:>8}/{branches:<7}")
    if options.branches:
        for name, file in files.items():
            never: dict[int, list[int]] = defaultdict(list)
            for (number, place), count in sorted(file.branches.items()):
                if not count:
                    never[number].append(place)
            for number, places in never.items():
                print(f"branches {places} never taken: {name}:{number}: {file.source(number)}")
    wrong = judge(files, excused, WANTED)
    print(*wrong, sep="\n")
    ran, lines = ratio(file.lines.values() for file in files.values())
    taken, branches = ratio(file.branches.values() for file in files.values())
    share = taken / max(branches, 1)
    print(f"lines {ran} of {lines}, {len(excused)} excused; branches {taken} of {branches} ({share:.1%})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
