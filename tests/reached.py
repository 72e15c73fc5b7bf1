"""Which lines and branches of the core a coverage build's tests reached: `python -m tests.reached build/coverage`.

gcov counts what the C compiler made of each line of Cython; a branch is counted where the line itself asks something,
not where generated code checks for an exception. Python's side of the core (classes, listings) is counted apart from
what runs per packet, which is everything in functions that are `noexcept nogil`.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASKS = re.compile(r"\b(if|elif|while|and|or|for)\b|\?")


def hot_lines(path: Path) -> set[int]:
    """The numbers of the lines that lie in functions without the GIL."""
    found: set[int] = set()
    lines = path.read_text(encoding="utf-8").splitlines()
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


def counted(build: Path) -> tuple[dict[str, dict[int, int]], dict[str, dict[tuple[int, int, int], int]]]:
    """Times each line ran, and each branch was taken, by source file."""
    lines: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    branches: dict[str, dict[tuple[int, int, int], int]] = defaultdict(lambda: defaultdict(int))
    for data in sorted(build.rglob("*.gcda")):
        with tempfile.TemporaryDirectory() as folder:
            command = ["gcov", "--json-format", "--branch-probabilities", str(data.resolve())]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            for report in Path(folder).glob("*.gcov.json.gz"):
                for file in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                    name = file["file"]
                    if "fastfw/core/" not in name or name.endswith(".c"):
                        continue
                    name = name[name.index("fastfw/core/") :]
                    for line in file["lines"]:
                        number = line["line_number"]
                        lines[name][number] += line["count"]
                        for place, branch in enumerate(line["branches"]):
                            branches[name][number, place, len(line["branches"])] += branch["count"]
    return lines, branches


def main(build: Path) -> int:
    lines, branches = counted(build)
    total = [0, 0, 0, 0]
    print(f"{'file':<36}{'lines':>14}{'branches':>16}")
    missed: list[str] = []
    for name in sorted(lines):
        path = ROOT / "src" / name
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8").splitlines()
        hot = hot_lines(path) if path.suffix in (".pyx", ".pxd") else set(range(1, len(text) + 1))
        here = {number: count for number, count in lines[name].items() if number in hot}
        asked = {
            key: count
            for key, count in branches[name].items()
            if key[0] in here and key[0] <= len(text) and ASKS.search(text[key[0] - 1])
        }
        ran, taken = sum(count > 0 for count in here.values()), sum(count > 0 for count in asked.values())
        if not here:
            continue
        total = [one + other for one, other in zip(total, (ran, len(here), taken, len(asked)), strict=True)]
        print(f"{name[12:]:<36}{ran:>7}/{len(here):<6}{taken:>8}/{len(asked):<7}")
        missed += [f"{name[12:]}:{number}: {text[number - 1].strip()}" for number in sorted(here) if not here[number]]
    for line in missed:
        print("not reached:", line)
    print(f"lines {total[0] / total[1]:.1%} of {total[1]}, branches {total[2] / total[3]:.1%} of {total[3]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
