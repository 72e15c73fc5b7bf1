"""Rules to ask the real iptables about: every option of every extension, right and wrong.

One rule a line, without `-A CHAIN`. A `[mangle POSTROUTING]` line says where the ones below it stand. Rules of
SHARED that hold no IPv4 address are asked of both families.
"""

from __future__ import annotations

import re
from pathlib import Path

SHARED = ("v4-base.txt", "v4-matches.txt", "v4-targets.txt", "v4-borders.txt", "v4-sets.txt", "v4-options.txt")

_IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+| 0/0")
_SET = re.compile(r"-?set (foo|p)\b")

Place = tuple[int, str, str]
"""Family, table, chain."""


def read(name: str, family: int) -> dict[Place, list[str]]:
    """The rules of one file by their places."""
    key = (family, "filter", "INPUT")
    found: dict[Place, list[str]] = {}
    for line in (Path(__file__).parent / "rules" / name).read_text().split("\n"):
        if line.startswith("["):
            table, chain = line.strip("[]").split()
            key = (family, table, chain)
        elif line and not line.startswith("#"):
            found.setdefault(key, []).append(line)
    return found


def shared(lines: list[str]) -> list[str]:
    """Those that can be asked of ip6tables; sets are of one family, and have another name there."""
    return [_SET.sub(r"\g<0>6", line) for line in lines if not _IPV4.search(line)]


def _all() -> dict[Place, list[str]]:
    found: dict[Place, list[str]] = {}
    for family in (4, 6):
        names = [path.name for path in sorted((Path(__file__).parent / "rules").glob(f"v{family}*.txt"))]
        for name in names + list(SHARED if family == 6 else ()):
            for key, lines in read(name, family).items():
                kept = lines if name.startswith(f"v{family}") else shared(lines)
                if kept:
                    found.setdefault(key, []).extend(kept)
    return {key: list(dict.fromkeys(lines)) for key, lines in found.items()}


CASES = _all()
"""For the real tool with its kernel, each rule of a place once."""

ALONE = {
    key: lines if family == 4 else shared(lines)
    for family in (4, 6)
    for key, lines in read("userspace.txt", family).items()
}
"""For the tool alone."""


def rules(family: int, table: str, chain: str) -> list[str]:
    """The rules of one place."""
    return CASES[family, table, chain]
