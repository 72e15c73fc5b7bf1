"""docs/kernel-facts.md, asked of the engine: it answers every question there as the kernel did."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pytest
from tests.kernel.facts import asking, icmp, ip, state, tcp
from tests.kernel.oracle import ANSWER, words

import fastfw

PAGE = (Path(__file__).parents[2] / "docs" / "kernel-facts.md").read_text()
START = 1_000_000_000_000
SECOND = 1_000_000_000

QUESTIONS = {
    **{f"tcp {each.__name__}": each for each in tcp.ALL},
    **{f"icmp {each.__name__}": each for each in icmp.ALL},
    **{f"ip {each.__name__}": each for each in ip.ALL},
    **{f"state {each.__name__}": each for each in (state.confirmation, state.itself, state.udp_assured, state.lines)},
}

ROUTING = re.compile(r"IPv[46] (from|to) (?!its own)")
"""Packets whose addresses a router may refuse: that is routing's business, and the engine does not route."""

TRACKED_ELSEWHERE = ("132", "47", "136")
"""SCTP, GRE and UDP-Lite, which have tests of their own."""


class EngineAsker:
    """The engine behind the questions' own interface, with a clock that moves when the questions sleep."""

    now = START

    def __init__(self, **settings: int) -> None:
        self.engine = fastfw.Engine(settings=settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, packets: Sequence[bytes]) -> npt.NDArray[np.void]:
        answers = np.zeros(len(packets), ANSWER)
        length = np.array([len(each) for each in packets], np.uint32)
        offset = np.cumsum(length, dtype=np.uint64) - length
        out = self.engine.process(b"".join(packets), offset, length, np.full(len(length), EngineAsker.now))
        answers["answered"] = out["verdict"] == 1
        for name in ("state", "direction", "assured", "seen_reply", "expected"):
            answers[name] = out[name]
        return answers

    def say(self, packet: bytes) -> str:
        return words(self.ask([packet])[0])

    def fate(self, packet: bytes) -> str:
        said = self.say(packet)
        return "dropped" if said == "-" else said

    def table(self) -> list[str]:
        self.engine.expire(EngineAsker.now)
        return [str(each) for each in self.engine.connections()]

    def flush(self) -> None:
        self.engine.flush()

    def set(self, name: str, value: int) -> None:
        self.engine.settings[name] = value


def rows_of(text: str) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def plain(cell: str) -> str:
    """A cell without what time and place change: the second that may have passed, where a packet was lost."""
    cell = re.sub(r"refused|dropped after PREROUTING", "dropped", cell)
    return re.sub(r"(?<![\w.:=-])\d*9(?![\w.:,-])", lambda m: str(int(m[0]) + 1), cell)


def facts(title: str, rows: list[list[str]]) -> set[tuple[str, ...]]:
    """The rows of a table one by one; those that list several packets become one for each."""
    if title != "IP: what reaches connection tracking":
        return {tuple(plain(cell) for cell in row) for row in rows if row[1] not in TRACKED_ELSEWHERE}
    return {
        (f"{family} {name}", plain(fate), plain(entry))
        for family, fate, entry, names in rows
        for name in names.split("; ")
        if not ROUTING.match(f"{family} {name}")
    }


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_engine_answers_as_the_kernel_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of the page holds of the engine."""

    def sleep(seconds: float) -> None:
        EngineAsker.now += int(seconds * SECOND)

    monkeypatch.setattr(EngineAsker, "now", START)
    monkeypatch.setattr(time, "sleep", sleep)
    for module in (icmp, ip, state, tcp, asking):
        monkeypatch.setattr(module, "Asker", EngineAsker)
    found = QUESTIONS[name]()
    section = PAGE.partition(f"## {found.title}\n")[2].partition("\n## ")[0]
    wanted, got = facts(found.title, rows_of(section)), facts(found.title, rows_of(found.markdown()))
    assert wanted
    assert sorted(got - wanted) == sorted(wanted - got) == []
