"""The daemon's log: its form, its limits, and that nobody waits for who reads it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from pathlib import Path

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.limits import Bucket, Buckets
from fastfw.gateway.log import PENDING, Bridge, Log, word

ROOT = Path(__file__).parents[2]


def lines(log: Log) -> list[str]:
    """What was written."""
    log.close()
    assert isinstance(log.file, io.StringIO)
    return log.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("value", "text"),
    [("plain", "plain"), ("two words", '"two words"'), ("", '""'), ('a"b', '"a\\"b"'), ("a=b", '"a=b"'), (3, "3"),
     (True, "yes"), (False, "no"), ("a\nb", '"a\\nb"'), ("\x1b[2J", '"\\u001b[2J"'), ("é", "é"), ("é ü", '"é ü"')],
)  # fmt: skip
def test_words(value: object, text: str) -> None:
    """A value is bare where it is one word, and otherwise quoted so that no line and no terminal is broken."""
    assert word(value) == text


def test_text() -> None:
    """A line is the time, the level, the event and the fields that there are."""
    log = Log(file=io.StringIO())
    log("warning", "happened", queue=3, why="too much", nothing=None)
    log("debug", "unseen")
    (line,) = lines(log)
    assert re.fullmatch(
        r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=warning event=happened queue=3 why="too much"', line
    )


def test_json() -> None:
    """As JSON every line is an object of the same."""
    log = Log("json", "debug", file=io.StringIO())
    log("debug", "happened", queue=3, why="a\nb")
    found = json.loads(lines(log)[0])
    assert found.pop("time").endswith("Z")
    assert found == {"level": "debug", "event": "happened", "queue": 3, "why": "a\nb"}


def test_journal() -> None:
    """For systemd's journal a line begins with its severity, and has no time."""
    log = Log(file=io.StringIO())
    log.journal = True
    log("error", "happened")
    assert lines(log) == ["<3>level=error event=happened"]


def test_limits() -> None:
    """Each event has its own allowance; the next line after it says how many were kept back; what must be said is."""
    log = Log(rate=1e-6, burst=2, file=io.StringIO())
    for _ in range(10):
        log("info", "often")
    log("info", "seldom")
    log("info", "often", limited=False)
    written = [line.split("event=")[1] for line in lines(log)]
    assert written == ["often", "often", "seldom", "often suppressed=8"]
    assert log.suppressed_total == 8


def test_configured_anew() -> None:
    """A reload's level, form and limits hold for the next line."""
    log = Log(rate=1e-6, burst=1, file=io.StringIO())
    for _ in range(3):
        log("info", "often")
    log.configure("json", "warning", 0, 1)
    log("info", "unseen")
    log("warning", "often")
    log("warning", "often")
    written = lines(log)
    assert len(written) == 3
    assert json.loads(written[1])["suppressed"] == 2


def test_stalled_reader() -> None:
    """One who does not read holds up nobody: lines beyond what may wait are lost and counted; so are those that cannot
    be written."""
    read, write = os.pipe()
    log = Log(rate=0, file=os.fdopen(write, "w", buffering=1))
    done = threading.Event()

    def talk() -> None:
        for _ in range(PENDING * 3):
            log("info", "happened", text="x" * 100)
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(60)
    assert log.lost > 0
    os.close(read)  # the writer's write fails now
    log.close()
    closed = Log(file=io.StringIO())
    closed.file.close()
    closed("info", "happened")
    closed.close()
    assert closed.lost == 1


def test_faults_of_modules() -> None:
    """What a module tells Python's logging as an error is a line; warnings, which the daemon tells itself, are not."""
    log = Log(file=io.StringIO())
    logger, bridge = logging.getLogger("fastfw.test"), Bridge(log)
    logger.addHandler(bridge)
    try:
        logger.warning("queue 0: lost packets")
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("helper %s failed", "ftp")
    finally:
        logger.removeHandler(bridge)
    (line,) = lines(log)
    assert line.endswith('event=fault at=fastfw.test message="helper ftp failed" error="ValueError: bad"')


def test_every_event_is_described() -> None:
    """docs/gateway.md names every event that there is, and no other."""
    code = "".join(path.read_text() for path in (ROOT / "src/fastfw/gateway").glob("*.py"))
    told = set(re.findall(r'log\(\s*(?:"[a-z]+"|level), "([a-z_]+)"', code))
    table = (ROOT / "docs/gateway.md").read_text().split("| event | says |")[1].split("\n\n")[0]
    names = "".join(row.split("|")[1] for row in table.splitlines() if row)
    described = set(re.findall(r"`([a-z_]+)`", names))
    assert told == described


def test_bucket() -> None:
    """A bucket gives its burst at once and its rate in time, never more; a rate of 0 gives for ever."""
    bucket = Bucket(10, 5)
    assert [bucket.take(100) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(100.25) for _ in range(4)] == [True, True, False, False]
    assert sum(bucket.take(1000) for _ in range(20)) == 5
    assert all(Bucket(0, 1).take(1) for _ in range(100))


def test_buckets() -> None:
    """Every key has its own; who invents keys pushes out the one used longest ago."""
    buckets = Buckets(1, 1, room=2)
    assert buckets.take("a", 1)
    assert not buckets.take("a", 1)
    assert buckets.take("b", 1)
    assert not buckets.take("a", 1)
    assert buckets.take("c", 1)
    assert not buckets.take("a", 1)
    assert buckets.take("b", 1)
    assert len(buckets.of) == 2
