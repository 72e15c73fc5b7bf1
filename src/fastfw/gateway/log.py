"""The daemon's log: one structured line an event, written by a thread of its own, so that a reader who stalls never
holds up packets."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from typing import IO

from fastfw.gateway.limits import Bucket

LEVELS = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
"""Names of syslog's severities, by number."""

PENDING = 4096
"""Lines that wait for a slow reader; what comes beyond is counted, not kept."""

AWKWARD = frozenset("'\"=\\ ")


def word(value: object) -> str:
    """A value as logfmt has it: bare where it is one plain word, otherwise quoted as JSON is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text and text.isprintable() and AWKWARD.isdisjoint(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


class Log:
    """Lines of `time=... level=... event=NAME key=value`, or JSON objects of the same.

    Every event name has its own allowance of `rate` lines a second and `burst` at once; the next line that may be
    written says how many were `suppressed`. Under systemd's journal a line begins with its severity instead of its
    time.
    """

    def __init__(
        self, form: str = "text", level: str = "info", rate: float = 10, burst: float = 50, file: IO[str] | None = None
    ) -> None:
        self.form = form
        self.level = LEVELS.index(level)
        self.rate = rate
        self.burst = burst
        self.file = file if file is not None else sys.stderr
        self.journal = file is None and bool(os.environ.get("JOURNAL_STREAM"))
        self.lost = 0
        self.suppressed_total = 0
        self._buckets: dict[str, tuple[Bucket, list[int]]] = {}
        self._lock = threading.Lock()
        self._lines: queue.Queue[str | None] = queue.Queue(PENDING)
        self._writer = threading.Thread(target=self._write, name="fastfw-log", daemon=True)
        self._writer.start()

    def __call__(self, level: str, event: str, /, *, limited: bool = True, **fields: object) -> None:
        """Log an event; fields that are None are left out. From any thread."""
        severity = LEVELS.index(level)
        if severity > self.level:
            return
        now = time.monotonic()
        with self._lock:
            bucket, missed = self._buckets.setdefault(event, (Bucket(self.rate, self.burst), [0]))
            if limited and not bucket.take(now):
                missed[0] += 1
                self.suppressed_total += 1
                return
            suppressed, missed[0] = missed[0], 0
        known = {name: value for name, value in fields.items() if value is not None}
        if suppressed:
            known["suppressed"] = suppressed
        try:
            self._lines.put_nowait(self._text(severity, event, known))
        except queue.Full:
            self.lost += 1

    def configure(self, form: str, level: str, rate: float, burst: float) -> None:
        """Write the next lines so; counts of what was suppressed go on."""
        with self._lock:
            self.form, self.level, self.rate, self.burst = form, LEVELS.index(level), rate, burst
            self._buckets = {event: (Bucket(rate, burst), missed) for event, (_, missed) in self._buckets.items()}

    def _text(self, severity: int, event: str, fields: dict[str, object]) -> str:
        when = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1000):03}Z"
        if self.form == "json":
            line = json.dumps({"time": stamp, "level": LEVELS[severity], "event": event, **fields}, default=str)
        else:
            parts = [] if self.journal else [f"time={stamp}"]
            parts += [f"level={LEVELS[severity]}", f"event={event}"]
            line = " ".join(parts + [f"{name}={word(value)}" for name, value in fields.items()])
        return f"<{severity}>{line}\n" if self.journal else line + "\n"

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self.file.write(line)
                if self._lines.empty():
                    self.file.flush()
            except (OSError, ValueError):  # nobody reads any more, or the disk is full: packets come first
                self.lost += 1

    def close(self, timeout: float = 2) -> None:
        """Write what waits, for so many seconds at most."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._writer.join(timeout)


class Bridge(logging.Handler):
    """Hands what the package's modules tell Python's logging to the daemon's log: faults of theirs. Losses, which are
    warnings there, the daemon tells with their names (`packets_lost`)."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.ERROR)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line; from any thread."""
        error = record.exc_info[1] if record.exc_info else None
        said = f"{type(error).__name__}: {error}" if error is not None else None
        self.log("error", "fault", at=record.name, message=record.getMessage(), error=said)
