"""What the questions share: a table of answers, an oracle that also counts, and a TCP connection to drive about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.kernel.oracle import IN_DEVICE, Oracle, words
from tests.traffic import packets as p

CLIENT4, SERVER4, ROUTER4 = p.address("10.1.0.1"), p.address("10.2.0.1"), p.address("10.3.0.1")
CLIENT6, SERVER6, ROUTER6 = p.address("fd00:1::1"), p.address("fd00:2::1"), p.address("fd00:3::1")
ENDS = {4: (CLIENT4, SERVER4, ROUTER4), 6: (CLIENT6, SERVER6, ROUTER6)}

COUNTING = f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i {IN_DEVICE}
COMMIT
"""


@dataclass(frozen=True)
class Table:
    """The answers to one question."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as a section of a Markdown page."""
        lines = [f"## {self.title}", "", self.about, "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join([*lines, ""])


class Asker(Oracle):
    """An oracle that knows whether a packet without an answer reached netfilter at all."""

    def __init__(self, **settings: int | str) -> None:
        super().__init__(dict(settings), COUNTING, COUNTING)

    def reached(self) -> int:
        """Packets that met the first netfilter hook so far."""
        found = 0
        for family in (4, 6):
            for line in self.counters(family).splitlines():
                count = re.match(rf"\[(\d+):\d+\] -A PREROUTING -i {IN_DEVICE}$", line)
                found += int(count[1]) if count else 0
        return found

    def fate(self, packet: bytes) -> str:
        """A packet's answer in words, or where it was lost."""
        before = self.reached()
        answer = self.ask([packet])[0]
        if answer["answered"]:
            return words(answer)
        return "dropped after PREROUTING" if self.reached() > before else "refused"


def short(line: str) -> str:
    """A line of the table without what every line has; IPv6 addresses in their short form."""
    line = " ".join(line.split()[2:]).removesuffix(" use=2").removesuffix(" mark=0 zone=0")
    return re.sub(r"[0-9a-f]{4}(:[0-9a-f]{4}){7}", lambda found: str(ip_address(found[0])), line)


def entry(line: str | None) -> str:
    """State and time left of a TCP connection's line, or that there is none."""
    if line is None:
        return "none"
    parts = line.split()
    return f"{parts[5]} {parts[4]}"


@dataclass
class Connection:
    """A TCP connection the questions drive from state to state; end 0 is the client."""

    oracle: Oracle
    port: int
    next: list[int] = field(default_factory=lambda: [1000, 5000])
    windows: list[int] = field(default_factory=lambda: [65535, 65535])
    options: tuple[bytes, bytes] = (b"", b"")
    """What each end's SYN carries."""

    def packet(
        self, end: int, flags: int, size: int = 0, seq: int = 0, ack: int = 0, options: bytes | None = None
    ) -> bytes:
        """A segment; ``seq`` and ``ack`` move its numbers away from the right ones."""
        client, server = (CLIENT4, self.port), (SERVER4, 80)
        (source, sport), (destination, dport) = (client, server) if end == 0 else (server, client)
        if options is None:
            options = self.options[end] if flags & p.SYN else b""
        number = self.next[end] + seq
        acknowledged = self.next[1 - end] + ack if flags & p.ACK else 0
        return p.tcp_packet(
            source, destination, sport, dport, flags, number, acknowledged, self.windows[end], options, bytes(size)
        )

    def send(
        self, end: int, flags: int, size: int = 0, seq: int = 0, ack: int = 0, options: bytes | None = None
    ) -> str:
        """Send a segment and return its answer; one at the right place counts as sent."""
        packet = self.packet(end, flags, size, seq, ack, options)
        if not seq:
            self.next[end] += size + bool(flags & p.SYN) + bool(flags & p.FIN)
        return self.oracle.say(packet)

    def follow(self, path: Sequence[tuple[int, int]]) -> None:
        for end, flags in path:
            self.send(end, flags)

    def line(self) -> str | None:
        """The connection's line in the table."""
        return next((line for line in self.oracle.table() if f"sport={self.port} " in line), None)

    def entry(self) -> str:
        return entry(self.line())


S, SA, A, FA, R, RA = p.SYN, p.SYN | p.ACK, p.ACK, p.FIN | p.ACK, p.RST, p.RST | p.ACK
OPEN = [(0, S), (1, SA), (0, A)]
PATHS: dict[str, list[tuple[int, int]]] = {
    "NONE": [],
    "SYN_SENT": [(0, S)],
    "SYN_SENT2": [(0, S), (1, S)],
    "SYN_RECV": [(0, S), (1, SA)],
    "ESTABLISHED": OPEN,
    "FIN_WAIT": [*OPEN, (0, FA)],
    "CLOSE_WAIT": [*OPEN, (0, FA), (1, A)],
    "LAST_ACK": [*OPEN, (0, FA), (1, A), (1, FA)],
    "TIME_WAIT": [*OPEN, (0, FA), (1, A), (1, FA), (0, A)],
    "CLOSE": [*OPEN, (0, R)],
}
"""Who sends what, in order, to bring a fresh connection into each state."""
