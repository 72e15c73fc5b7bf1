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


CHARACTERS: dict[str, list[str]] = {
    "taken": [
        "-m time --timestart \v1:\f0 --monthdays \v1,+2 --weekdays \v1,0x2",
        '-m mac --mac-source " 1:+2:-3::\v5:6"',
        "-m realm --realm +1",
        "-m devgroup --src-group \v1",
        "-m connlabel --label +1",
        "-m statistic --mode random --probability \v0.5",
        "-m statistic --mode random --probability nan",
        '-m u32 --u32 "+0=\v1\f"',
        '-m bpf --bytecode "1,\v6 +0\f0 -1"',
        "-s 1.2.3.4,\v1.2.3.5",
    ],
    "refused": [
        "-m time --timestop \x1c23:59:59",
        "-m time --timestart 1:\x850",
        "-m time --datestart \u20032016",
        "-m time --monthdays \x1c1",
        "-m time --monthdays 08",
        "-m time --weekdays ٣",
        "-m time --weekdays 08",
        "-m mac --mac-source 0:0:0:0:0:٣",
        "-m realm --realm -1",
        "-m statistic --mode random --probability \xa00.5",
        "-m statistic --mode random --probability \u0660.5",
        '-m u32 --u32 "\x1c0=1"',
        '-m u32 --u32 "0=1\x1f"',
        '-m bpf --bytecode "1,6\x1c0 0 0"',
        "-m hashlimit --hashlimit-name a --hashlimit-upto \x1c5kb/s",
        "-m ttl --ttl-eq -0",
        "-m mark --mark -1",
        "-m quota --quota -1",
        "-s 1.2.3.4,\xa01.2.3.5",
        "-p tcp --tcp-flags \u017fYN SYN",
        "-p \u017fctp",
        "-m addrtype --src-type BLAC\u212aHOLE",
        "-m conntrack --ctdir OR\u0131GINAL",
        "-p sctp --chunk-types any \u017fHUTDOWN",
        "-m limit --limit 5/\u017fecond",
        "-j REJECT --reject-with \u0131cmp-net-unreachable",
    ],
}
"""Rules of table filter with the characters by which C and Python part: blanks, digits, letters and signs."""


def rules(family: int, table: str, chain: str) -> list[str]:
    """The rules of one place."""
    return CASES[family, table, chain]
