"""A progress bar for long captures, on a terminal only, and warnings that do not disturb it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from fastfw.cli.errors import printable

PATIENCE = 1.0
"""Seconds of silence before a bar appears."""

INTERVAL = 0.1
"""Seconds between two drawings of the plain bar."""


class Progress:
    """Shows how far reading and judging are, on standard error if that is a terminal, once it takes long.

    With rich installed the bar is rich's; without, it is one line that is overwritten.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._label = ""
        self._plain = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done()

    def say(self, text: str) -> None:
        """A warning, on a line of its own."""
        self.done()
        print(f"fastfw: {printable(text)}", file=sys.stderr)

    def reading(self, path: str) -> Callable[[int, int], None]:
        """The callback for indexing a capture."""
        self._label = path
        return lambda done, total: self._show(f"reading {path}", done, total)

    def judged(self, done: int, total: int) -> None:
        self._show(f"judging {self._label}", done, total)

    def done(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        if self._plain:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._plain = False

    def _show(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._terminal or now - self._begun < PATIENCE:
            return
        if self._bar is None and not self._plain:
            self._open()
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(what, total=total)
            self._bar.update(self._task, description=what, completed=done, total=total)
        elif now - self._drawn >= INTERVAL:
            self._drawn = now
            print(f"\r\x1b[K{what}: {100 * done // max(total, 1)} %", end="", file=sys.stderr, flush=True)

    def _open(self) -> None:
        try:
            from rich.console import Console
            from rich.progress import Progress as Bar
        except ModuleNotFoundError:
            self._plain = True
            return
        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._bar.start()
