"""What is fuzzed in Python: bytes go in, and a result or the one documented error comes out."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

from fuzz.packets import tcp, udp

import fastfw
import fastfw.helpers
import fastfw.ruleset.reader
import fastfw.ruleset.writer
from fastfw.gateway.commands import Commands
from fastfw.gateway.config import ConfigError, parse_config
from fastfw.gateway.protocol import ProtocolError, encode, read_reply, read_request
from fastfw.helpers import TCP, Flow, Helper, find, known
from fastfw.ruleset.apply import run
from fastfw.ruleset.errors import Refusal

BASE = """*filter
:INPUT DROP [7:420]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
-A INPUT -p tcp -m multiport --dports 22,80 -j web
-A web -m state --state NEW,ESTABLISHED -j ACCEPT
COMMIT
"""


def body(rules: fastfw.Ruleset) -> str:
    """What is written, without what tells when."""
    return "".join(line for line in rules.save(counters=True).splitlines(True) if line[0] != "#")


def settle(rules: fastfw.Ruleset) -> None:
    """What is written is read again as what is written the same: at once, or after the few rules that the real program
    writes in a form which it reads as another, or refuses."""
    saved = body(rules)
    try:
        again = body(fastfw.Ruleset.parse(saved))
        assert again == saved or body(fastfw.Ruleset.parse(again)) == again
    except fastfw.RulesetError as error:
        if error.line < 1 or not error.reason:
            raise AssertionError("an error that does not say where and why") from error


def ruleset(data: bytes) -> None:
    """Text that parses is written as text that parses, to the same text."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        rules = fastfw.Ruleset.parse(text)
    except fastfw.RulesetError as error:
        if error.line < 0 or not error.reason:
            raise AssertionError("an error that does not say where and why") from error
        return
    settle(rules)


UNCHANGED: list[tuple[fastfw.Ruleset, str]] = []
"""A ruleset of BASE that no command has changed, and what is written of it; made anew after one has."""


def command(data: bytes) -> None:
    """A line of iptables(8) changes a ruleset into one that can be written and read again, or is refused and changes
    nothing."""
    words = data.decode("utf-8", "surrogateescape").split()
    if not UNCHANGED:
        made = fastfw.Ruleset.parse(BASE)
        UNCHANGED.append((made, body(made)))
    rules, before = UNCHANGED[0]
    try:
        run(words, rules)
    except Refusal as error:
        if not str(error):
            raise AssertionError("a refusal that does not say why") from error
        assert body(rules) == before
        return
    UNCHANGED.clear()
    settle(rules)


# The fuzzer is guided by modules that it saw imported: those that the package imports when it needs them are so above,
# and helpers, which are found by name, here.
HELPERS = [find(name) for name in known()]

SAID = bytes(range(251)) * 8
"""What each direction of a stream says; a piece of it is a place and a size."""


class InOrder(Helper):
    """Reads a stream, holds some of it back, and notes where it is handed other bytes than were said there."""

    name = "in-order"
    ports = ((TCP, 7001),)
    stream = True
    stream_limit = 600

    def __init__(self, record_end: bytes = b"") -> None:
        self.record_end = record_end  # type: ignore[misc]
        self.wrong: list[str] = []

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        at = flow.sequence - (500 if flow.direction else 100)
        if bytes(payload) != SAID[at : at + len(payload)]:
            self.wrong.append(f"{at}: {bytes(payload)!r}")
        if len(payload) % 3 == 0:
            flow.hold(len(payload) // 3)


STREAMS = [InOrder(), InOrder(b"\x40")]
HELPERS += STREAMS


class Failures(logging.Handler):
    """Keeps what is logged of helpers that raised; their packets pass."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


FAILURES = Failures()
logging.getLogger("fastfw.helpers").addHandler(FAILURES)


@cache
def helped(number: int) -> tuple[Helper, fastfw.Engine]:
    """A helper by its place among all, and an engine with it alone."""
    chosen = HELPERS[number]
    engine = fastfw.Engine(settings={"nf_conntrack_checksum": 0, "nf_conntrack_max": 64})
    engine.attach(chosen)
    return chosen, engine


def helper(data: bytes) -> None:
    """Payload never stops a helper: the first byte chooses it, the second the direction of the rest."""
    if len(data) < 2:
        return
    chosen, engine = helped(data[0] % len(HELPERS))
    engine.flush()
    FAILURES.said.clear()
    for protocol, port in chosen.ports:
        payload = data[2:1400]
        if protocol == 17:
            engine.decide(udp(1, 2, 4000, port, payload), now=1)
            engine.decide(udp(2, 1, port, 4000, payload), now=2)
            continue
        engine.decide(tcp(1, 2, 4000, port, 0x02, 99, 0), now=1)
        engine.decide(tcp(2, 1, port, 4000, 0x12, 499, 100), now=2)
        engine.decide(tcp(1, 2, 4000, port, 0x10, 100, 500), now=3)
        if chosen in STREAMS:
            pieces(data[2:], port, chosen, engine)
        elif data[1] & 1:
            engine.decide(tcp(2, 1, port, 4000, 0x18, 500, 100, payload), now=4)
        else:
            engine.decide(tcp(1, 2, 4000, port, 0x18, 100, 500, payload), now=4)
    assert not FAILURES.said, FAILURES.said[0]


def pieces(data: bytes, port: int, chosen: Helper, engine: fastfw.Engine) -> None:
    """Three bytes say a piece of a stream: its size and direction, and its place. It is handed over as it was said."""
    for at in range(0, min(len(data), 300) - 2, 3):
        size, place = data[at] >> 1, (data[at + 1] << 8 | data[at + 2]) % 1500
        said = SAID[place : place + size]
        if data[at] & 1:
            engine.decide(tcp(2, 1, port, 4000, 0x18, 500 + place, 100, said), now=4)
        else:
            engine.decide(tcp(1, 2, 4000, port, 0x18, 100 + place, 500, said), now=4)
    assert isinstance(chosen, InOrder)
    assert not chosen.wrong, chosen.wrong


ANSWERABLE = {"hello", "settings", "table", "expectations", "delete", "insert", "change", "flush", "flush-expectations"}
"""What the control socket answers from the engine alone; everything else needs a daemon, or ends it."""


@cache
def asked_engine() -> fastfw.Engine:
    """The engine behind the control socket."""
    return fastfw.Engine(settings={"nf_conntrack_max": 64})


def request(data: bytes) -> None:
    """A line at the control socket is no request, or gets replies that a client can read, the last one with a
    status."""
    try:
        asked = read_request(data)
    except ProtocolError as error:
        if not str(error):
            raise AssertionError("an error that does not say why") from error
        return
    engine = asked_engine()
    engine.flush()
    engine.settings["nf_conntrack_max"] = 64
    engine.decide(udp(1, 2, 4000, 53), now=1)
    commands = Commands(cast("Any", SimpleNamespace(engine=engine, taken_back=nullcontext)))
    if asked.verb in commands.verbs and asked.verb not in ANSWERABLE:
        return
    replies = [read_reply(encode(reply)) for reply in commands.handle(asked) if reply is not None]
    assert [reply.status is not None for reply in replies] == [False] * (len(replies) - 1) + [True]
    for connection in engine.connections():
        str(connection)


def config(data: bytes) -> None:
    """A configuration is read, or refused with its line and what was expected."""
    try:
        parse_config(data.decode("utf-8", "replace"), "fastfw.toml")
    except ConfigError as error:
        if not str(error).startswith("fastfw.toml:"):
            raise AssertionError("an error that does not say where") from error
