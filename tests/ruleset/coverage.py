"""What of the language the rules of the tables name: every option of every extension, plain and inverted."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator

from fastfw.ruleset.ext.base import Extension
from fastfw.ruleset.ext.registry import MATCHES, OPTIONS, TARGETS
from fastfw.ruleset.names import protocol_number

Named = tuple[int, str, str, str, bool]
"""Family, "-m" or "-j", the extension, the option without its dashes ("": none), whether it is inverted."""


def wanted() -> set[Named]:
    """All there is, by our own tables: every name of each option, and `!` where it may stand."""
    found: set[Named] = set()
    for flag, known in (("-m", MATCHES), ("-j", TARGETS)):
        for family, extensions in known.items():
            for name, extension in extensions.items():
                found.add((family, flag, name, "", False))
                for option in OPTIONS[extension]:
                    found.add((family, flag, name, option, False))
                    if OPTIONS[extension][option].negate:
                        found.add((family, flag, name, option, True))
    return found


def loaded(words: list[str], family: int) -> Iterator[tuple[str, str, type[Extension]]]:
    """The extensions that a rule names, also by its protocol alone."""
    for flag, value in itertools.pairwise(words):
        if flag in ("-m", "--match") and value in MATCHES[family]:
            yield "-m", value, MATCHES[family][value]
        if flag in ("-j", "--jump") and value in TARGETS[family]:
            yield "-j", value, TARGETS[family][value]
        if flag in ("-p", "--protocol", "--proto"):
            for name, extension in MATCHES[family].items():
                if name == value or (extension.protocols and protocol_number(value) in extension.protocols):
                    yield "-m", name, extension


def named(rule: str, family: int) -> set[Named]:
    """What one rule names."""
    try:
        words = shlex.split(rule)
    except ValueError:
        return set()
    found: set[Named] = set()
    for flag, name, extension in loaded(words, family):
        found.add((family, flag, name, "", False))
        for place, word in enumerate(words):
            option = word[2:].partition("=")[0]
            if word.startswith("--") and option in OPTIONS[extension]:
                found.add((family, flag, name, option, place > 0 and words[place - 1] == "!"))
    return found
