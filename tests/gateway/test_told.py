"""What the daemon was told reaches every engine that judges for it, and what is refused leaves nothing behind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgspec")

import fastfw
from fastfw.connection import from_expectation_event
from fastfw.core.snapshot import EXPECTATION_EVENT, entries, take_events
from fastfw.gateway.commands import Commands
from fastfw.gateway.config import Config, parse_config
from fastfw.gateway.daemon import Daemon
from fastfw.gateway.log import Log
from fastfw.gateway.protocol import Request
from fastfw.gateway.rejudge import rejudge
from fastfw.gateway.rulebook import RulesError
from fastfw.listing import expectation_event_line
from traffic.packets import address, udp_packet

CONFIG = """
[conntrack]
helpers = ["ftp"]
timeouts.short = { protocol = "udp", seconds = { unreplied = 3 } }
[host]
groups.eth0 = 7
assume.cpu = true
"""
RULES = """*raw
-A PREROUTING -p udp -j CT --timeout short
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -m devgroup --src-group 7 -m cpu --cpu 0 -j ACCEPT
COMMIT
"""
NEAR, FAR = address("127.0.0.1"), address("127.0.0.2")


def daemon(text: str = CONFIG, place: Path | None = None) -> Daemon:
    """One that is not started."""
    given = text if place is None else f'rules.ipv4 = "{place}"\n{text}'
    return Daemon(parse_config(given), log=Log(file=io.StringIO()))


def test_a_trial_knows_what_the_engine_knows() -> None:
    """`restore --test` refuses and takes what restoring would: the policies, facts and assumptions are the same."""
    book = daemon().rulebook
    for test in (True, False):
        book.restore(4, RULES, name="x", noflush=False, counters=False, test=test)
        with pytest.raises(RulesError, match="x:2:1: CT --timeout: no timeout policy `long'"):
            book.restore(4, RULES.replace("short", "long"), name="x", noflush=False, counters=False, test=test)


def test_judging_anew_knows_what_the_engine_knows() -> None:
    """A connection that the rules let begin by what the host was told of is not forgotten when they are asked again."""
    made = daemon('[host]\nassume.cpu = true\n[conntrack]\nhelpers = ["ftp"]')
    rules = "*filter\n:INPUT DROP [0:0]\n-A INPUT -m cpu --cpu 0 -j ACCEPT\nCOMMIT\n"
    made.rulebook.restore(4, rules, name="x", noflush=False, counters=False, test=False)
    assert made.engine.decide(udp_packet(NEAR, FAR, 1, 2, b""), hook="INPUT", iif="lo").verdict == "ACCEPT"
    assert rejudge(made.engine) == (1, 0)
    made.rulebook.restore(4, rules.replace("--cpu", "! --cpu"), name="x", noflush=False, counters=False, test=False)
    assert rejudge(made.engine) == (1, 0)
    made.rulebook.restore(4, rules.replace("cpu --cpu 0", "mark --mark 1"), name="x", noflush=False,
                          counters=False, test=False)  # fmt: skip
    assert rejudge(made.engine) == (1, 1)


def test_a_refused_reload_attaches_nothing(tmp_path: Path) -> None:
    """A helper that a new configuration names reads nothing where the rules beside it are refused, and is one with the
    helper of that name that rules have named before."""
    rules = tmp_path / "rules"
    rules.write_text("*raw\n-A PREROUTING -p tcp --dport 2121 -j CT --helper tftp\nCOMMIT\n".replace("tftp", "ftp"))
    made = daemon("", rules)
    made.check()
    before = made.engine.helper_names()
    new = parse_config(f'rules.ipv4 = "{rules}"\nconntrack.helpers = ["tftp", "ftp"]')
    made.reread = lambda: new
    good = rules.read_text()
    rules.write_text("*filter\n-A INPUT -j NOSUCH\nCOMMIT\n")
    with pytest.raises(RulesError):
        made.reload()
    assert made.engine.helper_names() == before
    assert made.config != new
    rules.write_text("*raw\n-A OUTPUT -j CT --zone-orig 5\nCOMMIT\n")  # an engine refuses it, not its grammar
    with pytest.raises(RulesError):
        made.reload()
    assert made.engine.helper_names() == before
    rules.write_text(good)
    made.reload()
    assert sorted(made.engine.helper_names()) == ["", "ftp", "tftp"]


def test_what_waits_for_a_restart_is_said() -> None:
    """A reload says of each fact of the host, and of the policies, that it is taken over at a restart."""
    made = daemon("")
    made.reread = lambda: parse_config(CONFIG)
    notes = made.reload()
    assert [note for note in notes if note.endswith("is taken over at a restart")] == [
        "host.groups is taken over at a restart",
        "host.assume is taken over at a restart",
        "conntrack.timeouts is taken over at a restart",
    ]


def test_a_connection_put_in_takes_grants_back() -> None:
    """While `conntrack -I` enters a connection no other skips the queue."""
    made = daemon("")
    made.engine.decide(udp_packet(NEAR, FAR, 1, 2, b""), hook="INPUT", iif="lo")
    table, indices, _ = entries(made.engine)
    made.engine.flush()
    within: list[int] = []

    @contextmanager
    def taken_back() -> Iterator[None]:
        before = made.engine.conntrack_count
        yield
        within.append(made.engine.conntrack_count - before)

    made.taken_back = taken_back  # type: ignore[method-assign]
    request = Request(v=1, verb="insert", rows=table.tobytes(), numbers=np.asarray(indices).tobytes())
    replies = list(Commands(made).handle(request))
    assert [reply.status for reply in replies if reply is not None] == [0]
    assert within == [1]


def test_expectations_are_followed() -> None:
    """Who follows expectations is told of those that come and go, and of nothing else; no other table is there."""
    made = daemon('[conntrack]\nhelpers = ["tftp"]')
    commands = Commands(made)
    answer = commands.handle(Request(v=1, verb="events", options={"table": "expect", "seconds": 60}))
    first = next(answer)
    assert first is not None
    assert first.data["helpers"] == ["", "tftp"]
    made.engine.decide(udp_packet(NEAR, FAR, 1000, 69, b"\0\1file\0octet\0"), hook="INPUT", iif="lo")
    made.engine.flush()
    reply = next(answer)
    assert reply is not None
    rows = np.frombuffer(reply.rows, EXPECTATION_EVENT).tolist()
    told = [from_expectation_event(row, first.data["helpers"], first.data["classes"]) for row in rows]
    same = (
        "300 proto=17 src=127.0.0.2 dst=127.0.0.1 sport=0 dport=1000 mask-src=255.255.255.255 mask-dst=255.255.255.255"
        " sport=0 dport=65535 master-src=127.0.0.1 master-dst=127.0.0.2 sport=1000 dport=69 class=0 helper=tftp"
    )
    assert [expectation_event_line(one) for one in told] == [f"    [NEW] {same}", f"[DESTROY] {same}"]
    answer.close()  # type: ignore[attr-defined]
    assert take_events(made.engine, True)[0].size == 0
    refused = list(commands.handle(Request(v=1, verb="events", options={"table": "dying"})))
    assert [reply.status for reply in refused if reply is not None] == [2]


def test_the_default_tells_nothing() -> None:
    """An engine made of an empty configuration is one made of nothing."""
    engine = fastfw.Engine(**Config().told())
    assert dict(engine.settings) == dict(fastfw.Engine().settings)
    assert engine.helper_names() == [""]
