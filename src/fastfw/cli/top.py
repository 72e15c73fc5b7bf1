"""`fastfw top`: how a running daemon is doing, on a terminal, second after second."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastfw.cli.conntrack import answered
from fastfw.cli.daemonclient import check_layout, connect
from fastfw.cli.errors import CliError
from fastfw.cli.inputs import Parser
from fastfw.cli.names import protocol_name
from fastfw.cli.render import Section, render
from fastfw.connection import ICMP, ICMPV6, SCTP, TCP, from_entry
from fastfw.core.reasons import SCTP_STATES, TCP_STATES
from fastfw.core.snapshot import ENTRY, EXTRA
from fastfw.listing import address

DESCRIPTION = """Show a running daemon's packets, losses, connections, and what is dropped and why; on a terminal until
`q' is pressed, otherwise once. Rates are of the time between two looks."""

LISTED = 50_000
"""Connections above which they are not asked for at every look: that would be megabytes."""

ENTER, LEAVE, HOME, LINE_END, SCREEN_END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J"

#: Key of a queue's status -> what is lost there.
LOSSES = {
    "queue_dropped": "the kernel's queue was full",
    "user_dropped": "the socket was full",
    "refused_verdicts": "the kernel refused the verdict",
}

Array = npt.NDArray[Any]


@dataclass
class Look:
    """What was seen at one moment: `drops` by what dropped them, `extras` where the daemon counts by connection."""

    at: float
    status: dict[str, Any]
    drops: dict[str, int]
    now: int = 0
    helpers: list[str] = field(default_factory=lambda: [""])
    table: Array | None = None
    numbers: Array | None = None
    extras: Array | None = None


def main(prog: str, argv: Sequence[str]) -> int:
    """0 done, 2 unusable."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("--control", metavar="SOCKET", help="the daemon's control socket")
    parser.add_argument("-d", "--delay", metavar="SECONDS", type=float, default=2.0, help="between looks (default 2)")
    parser.add_argument("-n", "--count", metavar="N", type=int, help="so many looks and no more")
    parser.add_argument("-l", "--lines", metavar="N", type=int, default=10, help="rows of a table at most (default 10)")
    args = parser.parse_args(argv)
    if not 0.1 <= args.delay <= 3600:
        raise CliError(f"--delay {args.delay:g}: 0.1 to 3600 seconds expected")
    for name in ("count", "lines"):
        if (value := getattr(args, name)) is not None and not 1 <= value <= 10**9:
            raise CliError(f"--{name} {value}: at least 1 expected")
    shows = sys.stdout.isatty()
    count = args.count or (10**9 if shows else 1)
    with connect(args.control) as client:
        check_layout(client)
        before = look(client)
        with screen(shows):
            for _ in range(count):
                if pressed(args.delay):
                    break
                after = look(client)
                show(frame(before, after, args.lines), shows)
                before = after
    return 0


# -- the terminal -----------------------------------------------------------------------------------------------------


@contextmanager
def screen(shows: bool) -> Iterator[None]:
    """A terminal of its own, given back as it was."""
    keys = shows and sys.stdin.isatty()
    saved = termios.tcgetattr(sys.stdin) if keys else None
    try:
        if keys:
            tty.setcbreak(sys.stdin)
        if shows:
            print(ENTER, end="", flush=True)
        yield
    finally:
        if shows:
            print(LEAVE, end="", flush=True)
        if saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def pressed(seconds: float) -> bool:
    """Let time pass; whether `q` was pressed meanwhile."""
    until = time.monotonic() + seconds
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        time.sleep(seconds)
        return False
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and os.read(sys.stdin.fileno(), 1) in (b"q", b"Q", b""):
            return True
    return False


def show(text: str, shows: bool) -> None:
    """A frame: cut to the terminal, or whole."""
    if not shows:
        print(text, flush=True)
        return
    width, height = shutil.get_terminal_size()
    lines = [line[:width] for line in text.splitlines()[: height - 1]]
    print(HOME + "".join(f"{line}{LINE_END}\n" for line in lines) + SCREEN_END, end="", flush=True)


# -- what is seen -----------------------------------------------------------------------------------------------------

_COUNTED = re.compile(r"^\[(\d+):\d+\] (-A \S+ .*-j (?:DROP|REJECT)\b.*)$|^:(\S+) DROP \[(\d+):\d+\]$", re.MULTILINE)


def dropped_by_rules(text: str, family: int) -> dict[str, int]:
    """Packets of each rule and policy of iptables-save's text that drops."""
    found = {}
    for packets, rule, chain, policy in _COUNTED.findall(text):
        found[f"IPv{family} {rule or f'-P {chain} DROP'}"] = int(packets or policy or 0)
    return found


def look(client: Any) -> Look:
    """Ask the daemon."""
    status = answered(client, "status")[-1].data
    drops: dict[str, int] = {}
    for family in (4, 6):
        text = "".join(r.out for r in answered(client, "save", options={"family": family, "counters": True}))
        drops |= dropped_by_rules(text, family)
    for key, said in LOSSES.items():
        drops[said] = sum(queue.get(key, 0) for queue in status["queues"].values())
    drops |= {f"tracking: {name}": value for name, value in status["reasons"].items()}
    seen = Look(time.monotonic(), status, drops)
    if status["connections"] <= LISTED:
        replies = answered(client, "table")
        seen.now, seen.helpers = replies[0].data["now"], replies[0].data["helpers"]
        seen.table = np.frombuffer(b"".join(reply.rows for reply in replies), ENTRY)
        seen.numbers = np.frombuffer(b"".join(reply.numbers for reply in replies), np.uint32)
        extras = b"".join(reply.extras for reply in replies)
        seen.extras = np.frombuffer(extras, EXTRA) if extras else None
    return seen


# -- what is shown ----------------------------------------------------------------------------------------------------


def frame(before: Look, after: Look, lines: int) -> str:
    """What is shown of two looks."""
    status = after.status
    seconds = max(after.at - before.at, 1e-3)
    days, rest = divmod(int(status["uptime"]), 86400)
    limit = f" of {status['connections_max']:,}" if status["connections_max"] else ""
    head = (
        f"fastfw {status['release']}  pid {status['pid']}"
        f"  up {days} d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
        f"  {'healthy' if status['healthy'] else 'NOT HEALTHY: a queue stands still'}"
        f"  fails {'open' if status['fail_open'] else 'closed'}\n"
        f"{status['connections']:,} connections{limit}, {status['expectations']:,} expected\n\n"
    )
    text = io.StringIO()
    parts = [queues(before, after, seconds), drops(before, after, seconds, lines), protocols(after, lines)]
    hints = []
    if after.table is None:
        hints.append(f"connections are listed while there are {LISTED:,} or fewer")
    elif after.extras is None:
        hints.append("with conntrack.settings.nf_conntrack_acct = 1 the busiest connections are listed")
    else:
        parts.append(busiest(before, after, seconds, lines))
    render(parts, hints, text)
    return head + text.getvalue()


def rate(before: int, after: int, seconds: float) -> int:
    """Per second; a count that began anew counts from zero."""
    return round((after - before if after >= before else after) / seconds)


def queues(before: Look, after: Look, seconds: float) -> Section:
    """A row for each queue."""
    rows = []
    for name, now in after.status["queues"].items():
        old = before.status["queues"].get(name, {})
        rates = [rate(old.get(key, 0), now.get(key, 0), seconds) for key in ("received", "accepted", "dropped")]
        lost = sum(rate(old.get(key, 0), now.get(key, 0), seconds) for key in LOSSES)
        rows.append((name, "open" if now["serving"] else "closed", *rates, lost, now["received"], now["failures"]))
    columns = ("queue", "is", "packets/s", "accepted/s", "dropped/s", "lost/s", "packets", "failures")
    return Section("Queues", columns, rows)


def drops(before: Look, after: Look, seconds: float, lines: int) -> Section:
    """What dropped packets or was found wrong with them, the busiest first."""
    rows = [
        (rate(before.drops.get(what, 0), count, seconds), count, what) for what, count in after.drops.items() if count
    ]
    return Section("Dropped or doubted", ("packets/s", "packets", "by"), sorted(rows, reverse=True)[:lines])


def protocols(after: Look, lines: int) -> Section:
    """Connections by protocol and state."""
    rows = []
    if after.table is not None:
        kinds = np.stack([after.table["proto"], after.table["state"]], axis=1)
        for (proto, state), count in zip(*np.unique(kinds, axis=0, return_counts=True), strict=True):
            names = {TCP: TCP_STATES, SCTP: SCTP_STATES}.get(int(proto), ())
            rows.append((int(count), protocol_name(int(proto)), names[state] if state < len(names) else ""))
    columns = ("connections", "protocol", "state")
    return Section("Connections by state", columns, sorted(rows, reverse=True)[:lines])


def endpoint(host: bytes, port: int) -> str:
    """An address with its port, if it has one."""
    text = address(host)
    return f"[{text}]:{port}" if port and ":" in text else f"{text}:{port}" if port else text


def busiest(before: Look, after: Look, seconds: float, lines: int) -> Section:
    """The connections that carried most bytes between the looks."""
    assert after.table is not None
    assert after.numbers is not None
    assert after.extras is not None
    moved = after.extras["bytes"].sum(axis=1).astype(np.int64)
    packets = after.extras["packets"].sum(axis=1).astype(np.int64)
    if before.table is not None and before.numbers is not None and before.extras is not None:
        # the same slot, endpoints and protocol: the same connection
        at = {number: row for row, number in enumerate(before.numbers.tolist())}
        old = np.array([at.get(number, -1) for number in after.numbers.tolist()], np.int64)
        same = old >= 0
        for name in ("lo", "hi", "lo_port", "hi_port", "proto"):
            same[same] = after.table[name][same] == before.table[name][old[same]]
        for now, then in ((moved, before.extras["bytes"]), (packets, before.extras["packets"])):
            past = then.sum(axis=1).astype(np.int64)[old[same]]
            now[same] = np.where(now[same] >= past, now[same] - past, now[same])
    rows = []
    for row in np.argsort(-moved, kind="stable")[:lines].tolist():
        if moved[row] <= 0:
            break
        made = from_entry(
            after.table[row].tolist(), int(after.numbers[row]), after.now, after.helpers, after.extras[row].tolist()
        )
        ported = made.protocol not in (ICMP, ICMPV6)
        source = endpoint(made.source, made.source_port if ported else 0)
        destination = endpoint(made.destination, made.destination_port if ported else 0)
        rows.append((round(moved[row] / seconds), round(packets[row] / seconds), protocol_name(made.protocol),
                     made.state, source, destination))  # fmt: skip
    columns = ("bytes/s", "packets/s", "protocol", "state", "from", "to")
    return Section("Busiest connections", columns, rows)
