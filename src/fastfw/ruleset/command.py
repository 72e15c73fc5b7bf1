"""What one line of iptables(8) asks for, and the options that say it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastfw.ruleset.ctype import is_digits
from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.registry import TARGETS
from fastfw.ruleset.ext.standard import VERDICTS
from fastfw.ruleset.model import Rule
from fastfw.ruleset.numbers import UINT64

CHAIN_LIMIT = 28
"""Bytes of a chain's name."""


class Misplaced(Refusal):
    """A refusal at a word, counted from 0."""

    def __init__(self, reason: str, word: int) -> None:
        super().__init__(reason)
        self.word = word


LONG = {
    "append": "A",
    "delete": "D",
    "check": "C",
    "insert": "I",
    "replace": "R",
    "list": "L",
    "list-rules": "S",
    "flush": "F",
    "zero": "Z",
    "new-chain": "N",
    "delete-chain": "X",
    "rename-chain": "E",
    "policy": "P",
    "source": "s",
    "destination": "d",
    "src": "s",
    "dst": "d",
    "protocol": "p",
    "in-interface": "i",
    "jump": "j",
    "table": "t",
    "match": "m",
    "numeric": "n",
    "out-interface": "o",
    "verbose": "v",
    "wait": "w",
    "wait-interval": "W",
    "exact": "x",
    "fragments": "f",
    "version": "V",
    "help": "h",
    "line-numbers": "0",
    "modprobe": "M",
    "set-counters": "c",
    "goto": "g",
    "ipv4": "4",
    "ipv6": "6",
}
"""Long options and the letter each stands for. Two names of one letter are one option to getopt."""

WITH_VALUE = frozenset("ADCIRNEPsdpijtmoMcg")
"""The letters that need a value."""

SHORT = frozenset(LONG.values()) - {"0"} | {"b"}
"""The letters that may be written with one dash."""

ALLOWED: dict[str, frozenset[str]] = {
    "A": frozenset("sdpjvigofcm"),
    "I": frozenset("sdpjvigofcm"),
    "R": frozenset("sdpjvigofcm"),
    "D": frozenset("sdpjvigofcm"),
    "C": frozenset("sdpjvigofm"),
    "L": frozenset("nvx0"),
    "S": frozenset("v"),
    "F": frozenset("v"),
    "Z": frozenset("v"),
    "N": frozenset("v"),
    "X": frozenset("v"),
    "E": frozenset("v"),
    "P": frozenset("vc"),
}
"""The options each command takes."""

EXACT = {f"-{letter}": letter for letter in SHORT} | {f"--{name}": letter for name, letter in LONG.items()}
"""The options of iptables itself as they are mostly written, which saves the closer look."""

INVERTIBLE = frozenset("sdpiof")
"""The letters that `!` may stand before."""

SPELLED = {
    "s": "-s",
    "d": "-d",
    "p": "-p",
    "i": "-i",
    "o": "-o",
    "j": "-j",
    "g": "-g",
    "f": "-f",
    "c": "-c",
    "n": "-n",
    "x": "-x",
    "0": "--line-numbers",
}
"""The options that a command may have once, as they are called in messages."""


@dataclass(slots=True)
class Command:
    """What one line asks for.

    `action` is the letter iptables uses (A I R D C L S F Z N X E P); `zero` says that -Z came with -L. `number` counts
    rules from 1 (0: none given). `name` is -E's new name or -P's policy. Several sources or destinations make several
    `rules`. `other_family` (-4 in IPv6 text, -6 in IPv4 text): the line is not meant for this ruleset.
    """

    action: str = ""
    table: str = "filter"
    chain: str = ""
    number: int = 0
    name: str = ""
    rules: list[Rule] = field(default_factory=list)
    counters: tuple[int, int] | None = None
    verbose: int = 0
    numeric: bool = False
    exact: bool = False
    line_numbers: bool = False
    zero: bool = False
    other_family: bool = False


def rule_number(text: str) -> int:
    """A rule's number, from 1."""
    if not is_digits(text) or len(text) > 9 or not int(text):
        raise Refusal(f"invalid rule number `{text}': expected 1 or more")
    return int(text)


def counter(text: str) -> int:
    """A counter of 64 bits; more is as much as it holds."""
    if not is_digits(text):
        raise Refusal(f"counter `{text}' is not a number")
    return min(int(text), UINT64) if len(text) < 40 else UINT64


def check_chain_name(name: str, new: bool = False) -> None:
    """A chain's name as a command names it; `new` also keeps it apart from targets. Refusal otherwise."""
    if not name:
        raise Refusal("empty chain name")
    if name[0] in "-!":
        raise Refusal(f"chain name `{name}' begins with `{name[0]}'")
    if len(name.encode("utf-8", "surrogateescape")) > CHAIN_LIMIT:
        raise Refusal(f"chain name `{name}' is longer than {CHAIN_LIMIT} bytes")
    if any(c in " \t\n\v\f\r" for c in name):
        raise Refusal(f"chain name `{name}' has a blank in it")
    if new and (name in VERDICTS or name in TARGETS[4] or name in TARGETS[6]):
        raise Refusal(f"chain name `{name}' is a target's name")
