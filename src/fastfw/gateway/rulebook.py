"""The rulesets in force: read from their files, changed by command, judged anew, written back."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from fastfw.engine import Engine
from fastfw.ruleset import Ruleset, RulesetError
from fastfw.ruleset.apply import CHANGING, parse_command
from fastfw.ruleset.apply import run as run_command
from fastfw.ruleset.errors import RulesetNotice
from fastfw.ruleset.reader import read_file
from fastfw.sets import SetError, Sets

NAMES = {4: "iptables", 6: "ip6tables"}


class RulesError(ValueError):
    """A ruleset that cannot be had; the message says where and why."""


def read_rules(path: str, family: int) -> Ruleset:
    """The ruleset of a file. RulesError."""
    return parse_rules(read_text(path), family, path)


def read_text(path: str) -> str:
    """The text of rules or sets; bytes that are no UTF-8 survive as surrogates. RulesError."""
    try:
        with open(path, "rb") as file:
            return read_file(file, path)
    except OSError as error:
        raise RulesError(f"{path}: {error.strerror}") from None
    except RulesetError as error:
        raise RulesError(located(error, path)) from None


def read_sets(files: Iterable[tuple[str, str]]) -> Sets:
    """The sets of texts as `ipset save` prints them, each with its file's name. RulesError."""
    sets = Sets()
    for path, text in files:
        try:
            sets.load(text)
        except SetError as error:
            raise RulesError(located(error, path)) from None
    return sets


def parse_rules(text: str, family: int, name: str) -> Ruleset:
    """The ruleset of a text. RulesError."""
    try:
        rules = Ruleset.parse(text, family=family, filename=name)
    except RulesetError as error:
        raise RulesError(located(error, name)) from None
    rules.table("filter")  # as in the kernel, there is always one
    return rules


def located(error: RulesetError | SetError | RulesetNotice, name: str) -> str:
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

    def __init__(
        self,
        engine: Engine,
        after: Callable[[], object],
        notice: Callable[[str], object] = lambda text: None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.engine = engine
        self.after = after
        """Called when rules were replaced."""
        self.around = around
        """Surrounds every change."""
        self.notice = notice
        """Called with what is not done as the kernel would do it, and where it stands."""
        self.lock = threading.RLock()

    def current(self, family: int) -> Ruleset:
        """A copy of what is in force, counters included; with a table filter in any case."""
        rules = self.engine.ruleset(family) or Ruleset(family)
        rules.table("filter")
        return rules

    def put(self, *rulesets: Ruleset, names: Mapping[int, str] = NAMES, sets: Sets | None = None) -> None:
        """Put rulesets in force together, and sets if there are new ones; `names` says by family where they are from.
        RulesError: the engine cannot; all stays as it was."""
        given: dict[str, Any] = {f"rules{rules.family}": rules for rules in rulesets}
        with self.lock, self.around(), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", RulesetNotice)
            try:
                self.engine.replace(**given, sets=sets)
            except RulesetError as error:
                raise RulesError(located(error, names[error.family])) from None
            except SetError as error:
                raise RulesError(located(error, "sets")) from None
            for notice in told:
                if isinstance(notice.message, RulesetNotice):
                    self.notice(located(notice.message, names[notice.message.family]))
            self.after()

    def command(self, family: int, words: Sequence[str]) -> str:
        """One iptables(8) command line, all or nothing; the text it prints. Refusal or RulesError."""
        with self.lock:
            rules = self.current(family)
            asked = parse_command(words, rules)
            printed = run_command(words, rules)
            if asked.action in CHANGING or asked.action not in "LSC" or asked.zero:
                self.put(rules)
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
                self.put(rules, names={family: name})

    def _try(self, rules: Ruleset, name: str) -> None:
        try:
            with warnings.catch_warnings(action="ignore", category=RulesetNotice):
                rules4, rules6 = (rules, None) if rules.family == 4 else (None, rules)
                self.engine.twin(rules4, rules6, 1)
        except RulesetError as error:
            raise RulesError(located(error, name)) from None


_COUNTED = re.compile(r"^(?:\[\d+:\d+\]|:[^\n]*\[\d+:\d+\])", re.MULTILINE | re.ASCII)


def without_counters(text: str) -> str:
    """A ruleset's text with every counter zero, each word where it was."""
    return _COUNTED.sub(lambda found: re.sub(r"\d+:\d+(?=\]$)", _zeros, found[0], flags=re.ASCII), text)


def _zeros(found: re.Match[str]) -> str:
    packets, _, size = found[0].partition(":")
    return "0" * len(packets) + ":" + "0" * len(size)
