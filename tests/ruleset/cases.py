"""Rules to ask the real iptables about: every option of every extension, right and wrong.

One rule a line, without `-A CHAIN`. A `[mangle POSTROUTING]` line says where the ones below it stand.
"""

from __future__ import annotations

from pathlib import Path

CASES: dict[tuple[int, str, str], list[str]] = {}

for _family in (4, 6):
    for _file in sorted((Path(__file__).parent / "rules").glob(f"v{_family}*.txt")):
        _key = (_family, "filter", "INPUT")
        for _line in _file.read_text().split("\n"):
            if _line.startswith("["):
                _table, _chain = _line.strip("[]").split()
                _key = (_family, _table, _chain)
            elif _line and not _line.startswith("#"):
                CASES.setdefault(_key, []).append(_line)


def rules(family: int, table: str, chain: str) -> list[str]:
    """The rules of one place, each once."""
    return list(dict.fromkeys(CASES[family, table, chain]))
