"""TCP conversations as text that says what is sent, what the tracker answers, and what it remembers.

A file of transcripts holds any number of them; each begins with a line `# SENTENCE`, which says what must hold::

    # Data is ESTABLISHED, and waits five minutes for its acknowledgement
    open
    → ACK len 100            | ESTABLISHED ASSURED
    = ESTABLISHED 300 ASSURED

`→` is the client, `←` the server. A segment is its flags and any of `seq`, `ack`, `len`, `win`, `mss`, `scale N`,
`sackok`, `sack LEFT-RIGHT,…`, `raw HEX` (options as bytes). Numbers not given are right ones; `+N` and `-N` move them
from there. Only a segment without `seq` counts as sent. The client's first sequence number is 1000, the server's 5000.

Behind the bar stands the answer: the state, `REPLY`, `ASSURED` (SEEN_REPLY goes with ESTABLISHED), and in small letters
the engine's reason. `= STATE SECONDS FLAGS` is the table's entry at this point, `= none` that there is none. `wait N`
lets N seconds pass, `set NAME VALUE` changes a setting, `ends client:7
server:80` names the ends, `open` is a plain
handshake.

``python -m tests.core.transcript FILE...`` prints transcripts with the running kernel's answers.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.kernel.oracle import Oracle, words
from tests.traffic import packets as p

import fastfw

HERE = Path(__file__).with_name("transcripts")
FLAGS = {name: getattr(p, name) for name in ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")}
FIRST = (1000, 5000)
START = 1_000_000_000_000
SECOND = 1_000_000_000
SLACK = 2
"""Seconds that may pass in the kernel between a packet and the reading of the table."""

HANDSHAKE = (
    "→ SYN | NEW",
    "← SYN ACK | ESTABLISHED REPLY",
    "→ ACK | ESTABLISHED ASSURED",
)
ENDS = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}


@dataclass(frozen=True)
class Transcript:
    """One conversation: its sentence, and its lines with their numbers in the file."""

    name: str
    file: str
    lines: tuple[tuple[int, str], ...]

    @property
    def settings(self) -> dict[str, int]:
        """The settings it changes, from the first line on."""
        found = {}
        for _, line in self.lines:
            if line.startswith("set "):
                _, name, value = line.split()
                found[name] = int(value)
        return found

    @property
    def waits(self) -> float:
        """Seconds it takes."""
        return sum(float(line.split()[1]) for _, line in self.lines if line.startswith("wait "))


def read(path: Path) -> Iterator[Transcript]:
    """The transcripts of a file."""
    name, lines = "", []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        line = raw.strip()
        if line.startswith("#"):
            if name:
                yield Transcript(name, path.name, tuple(lines))
            name, lines = line.lstrip("# "), []
        elif line == "open":
            lines += [(number, each) for each in HANDSHAKE]
        elif line:
            lines.append((number, line))
    if name:
        yield Transcript(name, path.name, tuple(lines))


def everything() -> list[Transcript]:
    """All transcripts, in the order of their files."""
    return [each for path in sorted(HERE.glob("*.txt")) for each in read(path)]


@dataclass
class Conversation:
    """Turns a transcript's segments into packets."""

    family: int = 4
    port: int = 40000
    next: list[int] = field(default_factory=lambda: list(FIRST))
    ends: list[tuple[bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        client, server = ENDS[self.family]
        self.ends = [(p.address(client), self.port), (p.address(server), 80)]

    def name_ends(self, line: str) -> None:
        """The client's and the server's address and port, each `client:PORT` or `server:PORT`."""
        names = dict(zip(("client", "server"), ENDS[self.family], strict=True))
        ends = [each.split(":") for each in line.split()[1:]]
        self.ends = [(p.address(names[name]), int(port)) for name, port in ends]

    def packet(self, line: str) -> bytes:
        """The packet of a segment's line, without the bar and what follows it."""
        end = "→←".index(line[0])
        bits, size, window, options = 0, 0, 65535, b""
        numbers: dict[str, str] = {}
        tokens = iter(line[1:].split())
        for token in tokens:
            if token in FLAGS:
                bits |= FLAGS[token]
            elif token == "none":
                bits = 0
            elif token in ("seq", "ack"):
                numbers[token] = next(tokens)
            elif token == "len":
                size = int(next(tokens))
            elif token == "win":
                window = int(next(tokens))
            elif token == "mss":
                options += p.maximum_segment(int(next(tokens)))
            elif token == "scale":
                options += p.window_scale(int(next(tokens)))
            elif token == "sackok":
                options += p.sack_permitted()
            elif token == "sack":
                blocks = [each.split("-") for each in next(tokens).split(",")]
                options += p.selective_acks([(int(left), int(right)) for left, right in blocks])
            elif token == "raw":
                options += bytes.fromhex(next(tokens))
            else:
                raise ValueError(f"{token!r} in {line!r}")
        seq = number(numbers.get("seq", "+0"), self.next[end])
        ack = number(numbers.get("ack", "+0"), self.next[1 - end]) if bits & p.ACK or "ack" in numbers else 0
        if "seq" not in numbers:
            self.next[end] += size + bool(bits & p.SYN) + bool(bits & p.FIN)
        (source, sport), (target, dport) = self.ends[end], self.ends[1 - end]
        return p.tcp_packet(source, target, sport, dport, bits, seq, ack, window, options, bytes(size))


def number(text: str, right: int) -> int:
    """A sequence number: `+N` and `-N` from the right one, or as it stands."""
    return right + int(text) if text[0] in "+-" else int(text)


def expected(line: str) -> tuple[str, str]:
    """The answer and the reason a segment's line asks for."""
    said = line.partition("|")[2].split()
    return " ".join(word for word in said if word.isupper()), " ".join(word for word in said if word.islower())


def same_entry(wanted: str, found: str, slack: int) -> bool:
    """Whether an entry is the one wanted, its seconds at most `slack` less."""
    if wanted in ("", "none") or found == "none":
        return wanted == found
    (state, seconds, *flags), (state2, seconds2, *flags2) = wanted.split(), found.split()
    return (state, flags) == (state2, flags2) and 0 <= int(seconds) - int(seconds2) <= slack


def entry_of(lines: list[str]) -> str:
    """The only TCP entry among lines of /proc/net/nf_conntrack: state, seconds and flags."""
    found = [line.split() for line in lines if " tcp " in line]
    if not found:
        return "none"
    (parts,) = found
    return " ".join([parts[5], parts[4], *(word.strip("[]") for word in parts if word in ("[UNREPLIED]", "[ASSURED]"))])


@dataclass
class EngineSide:
    """The engine as the one who answers."""

    settings: dict[str, int]
    slack: int = 0
    now: int = START

    def __post_init__(self) -> None:
        self.engine = fastfw.Engine(settings=self.settings)

    def say(self, packet: bytes) -> tuple[str, str]:
        """A packet's answer and reason."""
        d = self.engine.decide(packet, now=self.now)
        assert d.verdict == "ACCEPT"
        assert d.seen_reply == (d.state == "ESTABLISHED")
        return " ".join([d.state, *["REPLY"] * (d.direction == "REPLY"), *["ASSURED"] * d.assured]), d.reason or ""

    def entry(self) -> str:
        """The table's only entry."""
        return entry_of([str(each) for each in self.engine.connections()])

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.engine.expire(self.now)

    def set(self, name: str, value: int) -> None:
        self.engine.settings[name] = value


@dataclass
class KernelSide:
    """The running kernel as the one who answers; it gives no reasons."""

    oracle: Oracle
    slack: int = SLACK

    def __post_init__(self) -> None:
        self.oracle.flush()
        self.changed: dict[str, str] = {}

    def say(self, packet: bytes) -> tuple[str, None]:
        """A packet's answer."""
        said = words(self.oracle.ask([packet])[0]).split()
        assert ("SEEN_REPLY" in said) == (said[0] == "ESTABLISHED")
        return " ".join(word for word in said if word != "SEEN_REPLY"), None

    def entry(self) -> str:
        """The table's only entry."""
        return entry_of(self.oracle.table())

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def set(self, name: str, value: int) -> None:
        self.changed.setdefault(name, self.oracle.get(name))
        self.oracle.set(name, value)

    def restore(self) -> None:
        """Put the settings back as they were."""
        for name, value in self.changed.items():
            self.oracle.set(name, value)


def play(
    transcript: Transcript,
    side: EngineSide | KernelSide,
    family: int = 4,
    hear: Callable[[str, str], None] | None = None,
) -> list[str]:
    """Play a transcript to one side; what it said otherwise than the transcript has it. `hear` is told each line and
    what was said.
    """
    conversation = Conversation(family)
    wrong = []
    for at, line in transcript.lines:
        said = ""
        if line[0] in "→←":
            answer, reason = side.say(conversation.packet(line.partition("|")[0]))
            wanted, why = expected(line)
            said = answer if reason is None else f"{answer} {reason}".strip()
            good = answer == wanted and (reason is None or reason == why)
        elif line[0] == "=":
            said = side.entry()
            good = same_entry(line[1:].strip(), said, side.slack)
        else:
            good = True
            command, *arguments = line.split()
            if command == "wait":
                side.wait(float(arguments[0]))
            elif command == "set":
                side.set(arguments[0], int(arguments[1]))
            elif command == "ends":
                conversation.name_ends(line)
            else:
                raise ValueError(f"{transcript.file}:{at}: {line!r}")
        if not good:
            wrong.append(f"{transcript.file}:{at}: {line}\n    said: {said}")
        if hear:
            hear(line, said)
    return wrong


def answered(path: Path, oracle: Oracle) -> Iterator[str]:
    """The lines of a file with the kernel's answers and the engine's reasons put in; `!!` marks where they disagree,
    `??` where something else was expected.
    """
    said: dict[int, str] = {}
    for transcript in read(path):
        heard: list[str] = []
        kernel = KernelSide(oracle)
        play(transcript, kernel, hear=lambda _, said, heard=heard: heard.append(said))
        kernel.restore()
        ours: list[str] = []
        play(transcript, EngineSide({}), hear=lambda _, said, ours=ours: ours.append(said))
        for (at, line), theirs, mine in zip(transcript.lines, heard, ours, strict=True):
            if line[0] == "=":
                good = same_entry(mine, theirs, SLACK)
                text, old = f"= {mine if good else theirs}", line[1:].strip()
                old = "" if text == f"= {old}" else old
            elif line[0] in "→←":
                good = re.sub(r" ?[a-z_]+", "", mine) == theirs
                reason = mine[len(theirs) :] if good else ""
                before, _, old = (part.strip() for part in line.partition("|"))
                text = f"{before:<40} | {theirs}{reason}"
                old = "" if text.endswith(f"| {old}") else old
            else:
                continue
            text += "" if good else f"   !! {mine}"
            text += f"   ?? {old}" if old else ""
            said[at] = text if line not in HANDSHAKE or "!!" in text else said.get(at, line)
    for at, line in enumerate(path.read_text().splitlines(), 1):
        yield line if line == "open" and "!!" not in said[at] else said.get(at, line)


def main(names: list[str]) -> int:
    """Print files of transcripts as the running kernel answers them."""
    with Oracle() as oracle:
        lines = [line for name in names for line in answered(Path(name), oracle)]
    print("\n".join(lines))
    return int(any("!!" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
