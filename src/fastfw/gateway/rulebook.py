"""The rulesets in force: read from their files, changed by command, judged anew, written back."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fastfw.engine import Engine
from fastfw.ruleset import Ruleset, RulesetError
from fastfw.ruleset.apply import CHANGING, parse_command
from fastfw.ruleset.apply import run as run_command


class RulesError(ValueError):
    """A ruleset that cannot be had; the message says where and why."""


def read_rules(path: str, family: int) -> Ruleset:
    """The ruleset of a file. RulesError."""
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise RulesError(f"{path}: {error.strerror}") from None
    return parse_rules(text, family, path)


def parse_rules(text: str, family: int, name: str) -> Ruleset:
    """The ruleset of a text. RulesError."""
    try:
        rules = Ruleset.parse(text, family=family, filename=name)
    except RulesetError as error:
        raise RulesError(located(error, name)) from None
    rules.table("filter")  # as in the kernel, there is always one
    return rules


def located(error: RulesetError, name: str) -> str:
    """FILE:LINE:COLUMN: reason."""
    reason = error.reason.encode("utf-8", "backslashreplace").decode()
    return f"{name}:{error.line}:{error.column}: {reason}" if error.line else f"{name}: {reason}"


def write_whole(path: str, text: str, mode: int = 0o600) -> None:
    """Put a text in a file's place, whole or not at all, on the disk before the old one is gone; the file keeps its
    mode. OSError."""
    target = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode & 0o7777
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Rulebook:
    """An engine's rulesets. Changes happen one after the other; each is in force as a whole or not at all."""

    def __init__(self, engine: Engine, after: Callable[[], object]) -> None:
        self.engine = engine
        self.after = after
        """Called when rules were replaced."""
        self.lock = threading.RLock()

    def current(self, family: int) -> Ruleset:
        """A copy of what is in force, counters included; with a table filter in any case."""
        rules = self.engine.ruleset(family) or Ruleset(family)
        rules.table("filter")
        return rules

    def put(self, *rulesets: Ruleset, names: Sequence[str] = ()) -> None:
        """Put rulesets in force together. RulesError: the engine cannot; all stays as it was."""
        with self.lock:
            try:
                self.engine.replace(**{f"rules{rules.family}": rules for rules in rulesets})
            except RulesetError as error:
                raise RulesError(located(error, " and ".join(names) or "the ruleset")) from None
            self.after()

    def command(self, family: int, words: Sequence[str]) -> str:
        """One iptables(8) command line, all or nothing; the text it prints. Refusal or RulesError."""
        with self.lock:
            rules = self.current(family)
            asked = parse_command(words, rules)
            printed = run_command(words, rules)
            if asked.action in CHANGING or asked.action not in "LSC" or asked.zero:
                self.put(rules, names=("iptables" if family == 4 else "ip6tables",))
            return printed

    def restore(self, family: int, text: str, *, name: str, noflush: bool, counters: bool, test: bool) -> None:
        """Load a text as iptables-restore does. RulesError: all stays as it was."""
        with self.lock:
            rules = self.current(family)
            try:
                rules.restore(text if counters else without_counters(text), noflush=noflush, filename=name)
            except RulesetError as error:
                raise RulesError(located(error, name)) from None
            if test:
                self._try(rules, name)
            else:
                self.put(rules, names=(name,))

    def _try(self, rules: Ruleset, name: str) -> None:
        try:
            Engine(settings={"nf_conntrack_max": 1}).replace(**{f"rules{rules.family}": rules})
        except RulesetError as error:
            raise RulesError(located(error, name)) from None


_COUNTED = re.compile(r"^(?:\[\d+:\d+\]|:[^\n]*\[\d+:\d+\])", re.MULTILINE | re.ASCII)


def without_counters(text: str) -> str:
    """A ruleset's text with every counter zero, each word where it was."""
    return _COUNTED.sub(lambda found: re.sub(r"\d+:\d+(?=\]$)", _zeros, found[0], flags=re.ASCII), text)


def _zeros(found: re.Match[str]) -> str:
    packets, _, size = found[0].partition(":")
    return "0" * len(packets) + ":" + "0" * len(size)
