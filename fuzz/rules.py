"""A ruleset of one rule of every shape that an engine can decide with, from the rules the real iptables has judged."""

from __future__ import annotations

import re
from pathlib import Path

import fastfw

FOLDER = Path(__file__).parents[1] / "tests" / "ruleset" / "rules"
LEFT_OUT = ("ACCEPT", "DROP", "RETURN", "REJECT", "QUEUE", "NFQUEUE", "NOTRACK", "--notrack")
"""What ends a packet's way, or keeps it from tracking, would hide what comes behind it."""


def shapes(family: int) -> dict[tuple[str, ...], tuple[str, str]]:
    """Table and rule by the rule's options without their values: the first of each that an engine takes."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for path in sorted(FOLDER.glob(f"v{family}-*.txt")):
        table = "filter"
        for line in path.read_text(encoding="utf-8").splitlines():
            place = re.fullmatch(r"\[(\w+)(?: .*)?\]", line)
            if place:
                table = place[1]
                continue
            words = line.split()
            if not words or words[0][0] == "#" or any(word in LEFT_OUT for word in words):
                continue
            shape = tuple(word for word in words if word[0] == "-")
            if shape not in found and takes(family, table, line):
                found[shape] = (table, line)
    return found


def takes(family: int, table: str, rule: str) -> bool:
    """Whether an engine decides with the rule."""
    try:
        fastfw.Engine(**{f"rules{family}": write(family, [(table, rule)])}, settings={"nf_conntrack_max": 8})
    except fastfw.RulesetError:
        return False
    return True


def write(family: int, rules: list[tuple[str, str]]) -> fastfw.Ruleset:
    """The rules, each where its table's packets come by first."""
    text = ""
    for table in ("raw", "mangle", "filter", "security"):
        chain = "PREROUTING" if table in ("raw", "mangle") else "FORWARD"
        lines = [f"-A {chain} {rule}\n" for where, rule in rules if where == table]
        if lines:
            text += f"*{table}\n{''.join(lines)}COMMIT\n"
    return fastfw.Ruleset.parse(text, family=family)


def everything(family: int) -> fastfw.Ruleset:
    """One rule of every shape."""
    return write(family, list(shapes(family).values()))
