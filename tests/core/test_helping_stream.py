"""TCP payload as a stream: in order, once, whole records, and never more kept than the bound."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.core.talk import SECOND
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import DROP, Helper

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")


class Reader(Helper):
    """Writes down what it is handed of each direction."""

    name = "reader"
    ports = ((6, 999),)
    stream = True
    stream_limit = 4096

    def __init__(self, act: Any = None, **how: Any) -> None:
        self.heard: tuple[list[bytes], list[bytes]] = ([], [])
        self.act = act
        for name, value in how.items():
            setattr(self, name, value)

    def on_payload(self, payload: memoryview, flow: Any) -> Any:
        self.heard[flow.direction].append(bytes(payload))
        return self.act(bytes(payload), flow) if self.act else None


class Talk:
    """A TCP connection through an engine with one helper."""

    def __init__(
        self,
        helper: Helper,
        port: int = 5000,
        engine: fastfw.Engine | None = None,
        first: int = 1000,
        now: int = SECOND,
    ) -> None:
        settings = {"nf_conntrack_tcp_be_liberal": 1}
        self.engine = engine or fastfw.Engine(helpers=[helper], settings=settings)
        self.port, self.first, self.now = port, first, now
        self.send(0, b"", flags=p.SYN, at=-1)
        self.send(1, b"", flags=p.SYN | p.ACK, at=-1)
        self.send(0, b"", at=0)

    def send(self, direction: int, payload: bytes, at: int, flags: int = p.ACK) -> str:
        ends = [(A, self.port), (B, 999)][:: -1 if direction else 1]
        sequence = (self.first + at) & 0xFFFFFFFF
        packet = p.tcp_packet(
            ends[0][0], ends[1][0], ends[0][1], ends[1][1], flags, sequence, self.first, payload=payload
        )
        return self.engine.decide(packet, now=self.now).verdict


def test_in_order_as_it_comes() -> None:
    """What is in order is handed over at once, a repetition never again."""
    reader = Reader()
    talk = Talk(reader)
    for at, payload in ((0, b"abc"), (3, b"def"), (0, b"abc"), (2, b"cdefgh")):
        assert talk.send(0, payload, at) == "ACCEPT"
    talk.send(1, b"answer", 0)
    assert reader.heard == ([b"abc", b"def", b"gh"], [b"answer"])


def test_early_pieces_wait_for_their_turn() -> None:
    """Bytes that come before their turn are handed over with those that were missing."""
    reader = Reader()
    talk = Talk(reader)
    for at, payload in ((6, b"ghi"), (3, b"def"), (0, b"abc"), (9, b"j")):
        talk.send(0, payload, at)
    assert reader.heard[0] == [b"abcdefghi", b"j"]
    assert talk.engine._stream_statistics() == (1, 0, 0)


@pytest.mark.parametrize("first", [1000, 2**32 - 7])
def test_records_cut_at_every_byte_come_whole(first: int) -> None:
    """However a line is cut, it is handed over whole, and only once its end is there."""
    lines = b"HELLO world\nPORT 4000\nbye\n"
    for cut in range(1, len(lines)):
        reader = Reader(record_end=b"\n")
        talk = Talk(reader, first=first)
        talk.send(0, lines[:cut], 0)
        talk.send(0, lines[cut:], cut)
        assert b"".join(reader.heard[0]) == lines
        assert all(heard.endswith(b"\n") for heard in reader.heard[0])


def test_any_order_and_any_cut(seed: int) -> None:
    """Shuffled, repeated and overlapping segments make the same stream."""
    for number in range(40):
        chance = random.Random(f"{seed} {number}")
        said = bytes(chance.choice(b"abc\n") for _ in range(300)) + b"\n"
        pieces = [(at, min(len(said), at + chance.randrange(1, 30))) for at in range(0, len(said), 10)]
        pieces += [(at, min(len(said), at + 10)) for at in range(0, len(said), 10)]
        for start in range(0, len(pieces), 12):
            part = pieces[start : start + 12]
            chance.shuffle(part)
            pieces[start : start + 12] = part
        reader = Reader(record_end=chance.choice([b"", b"\n"]))
        talk = Talk(reader, first=chance.choice([1000, 2**32 - 100]))
        for low, high in pieces:
            talk.send(0, said[low:high], low)
        assert b"".join(reader.heard[0]) == said, f"seed {seed}, number {number}"


def test_what_is_held_comes_again() -> None:
    """hold() puts the end of the payload in front of what follows."""
    reader = Reader(lambda payload, flow: flow.hold(len(payload) % 4))
    talk = Talk(reader)
    for at in range(0, 8, 2):
        talk.send(0, b"01234567"[at : at + 2], at)
    assert reader.heard[0] == [b"01", b"0123", b"45", b"4567"]


def test_its_sequence_number_is_the_payloads() -> None:
    """flow.sequence is that of the first byte handed over."""
    seen: list[int] = []
    talk = Talk(Reader(lambda payload, flow: seen.append(flow.sequence), record_end=b"\n"))
    talk.send(0, b"ab", 0)
    talk.send(0, b"c\nd", 2)
    talk.send(0, b"e\n", 5)
    assert seen == [1000, 1004]


def test_python_is_not_entered_for_other_records() -> None:
    """Patterns are looked for in whole records, at the start of each."""
    reader = Reader(record_end=b"\n", prefixes=(b"PORT ",))
    talk = Talk(reader)
    talk.send(0, b"bulk\n" * 50, 0)
    talk.send(0, b"x PORT 1\nPO", 250)
    talk.send(0, b"RT 2\n", 261)
    assert reader.heard[0] == [b"PORT 2\n"]


@pytest.mark.parametrize(
    "how",
    [
        "long line",
        "one long segment",
        "far ahead",
        "over the bound",
        "many gaps",
        "contradiction",
        "late contradiction",
    ],
)
def test_at_a_bound_it_is_read_no_longer(how: str) -> None:
    """A line, a gap or a lie beyond the bounds detaches the helper; every packet goes on, and nothing is kept."""
    reader = Reader(record_end=b"\n")
    talk = Talk(reader)
    if how == "long line":
        verdicts = {talk.send(0, b"x" * 1000, at) for at in range(0, 6000, 1000)}
    elif how == "one long segment":
        verdicts = {talk.send(0, b"x" * 5000, 0)}
    elif how == "late contradiction":
        verdicts = {talk.send(0, b"abc", 3), talk.send(0, b"defxbc", 0)}
    elif how == "far ahead":
        verdicts = {talk.send(0, b"x", 5000)}
    elif how == "over the bound":
        verdicts = {talk.send(0, b"x" * 200, 4000)}
    elif how == "many gaps":
        verdicts = {talk.send(0, b"x", 2 + 2 * piece) for piece in range(20)}
    else:
        verdicts = {talk.send(0, b"abc", 3), talk.send(0, b"xbc", 3)}
    assert verdicts == {"ACCEPT"}
    assert talk.engine._stream_statistics() == (0, 0, 1)
    talk.send(0, b"line\n", 0)
    assert reader.heard[0] == []
    assert all(not connection.helper for connection in talk.engine.connections())


def test_a_gigabyte_line_costs_no_memory() -> None:
    """Line after line without an end: memory stays within the bound of one connection."""
    reader = Reader(record_end=b"\n")
    talk = Talk(reader)
    for at in range(0, 50 * 1400, 1400):
        talk.send(0, b"x" * 1400, at)
        assert talk.engine._stream_statistics()[1] <= 2 * reader.stream_limit
    assert talk.engine._stream_statistics() == (0, 0, 1)


def test_a_dropped_packet_comes_again() -> None:
    """What is dropped is handed over again when it is said again."""
    answers = [DROP, None]
    reader = Reader(lambda payload, flow: answers.pop(0), record_end=b"\n")
    talk = Talk(reader)
    talk.send(0, b"on", 0)
    assert talk.send(0, b"e\n", 2) == "DROP"
    assert talk.send(0, b"e\n", 2) == "ACCEPT"
    assert reader.heard[0] == [b"one\n", b"one\n"]


def test_what_is_dropped_with_early_bytes_is_read_no_longer() -> None:
    """Who sent the early bytes knows them taken, and does not say them again: what follows makes no sense."""
    reader = Reader(lambda payload, flow: DROP)
    talk = Talk(reader)
    assert talk.send(0, b"late", 3) == "ACCEPT"
    assert talk.send(0, b"one", 0) == "DROP"
    assert talk.engine._stream_statistics() == (0, 0, 1)
    assert talk.send(0, b"one", 0) == "ACCEPT"
    assert reader.heard[0] == [b"onelate"]


def test_a_stream_met_in_its_middle_begins_there() -> None:
    """Of a connection whose beginning nobody saw the first payload is the first that is read."""
    reader = Reader(record_end=b"\n")
    engine = fastfw.Engine(helpers=[reader])
    for payload, sequence in ((b"half a ", 9000), (b"line\n", 9007)):
        packet = p.tcp_packet(A, B, 5000, 999, p.ACK, sequence, 1, payload=payload)
        assert engine.decide(packet, now=SECOND).verdict == "ACCEPT"
    assert reader.heard[0] == [b"half a line\n"]


def test_a_piece_may_wait_at_the_very_bound() -> None:
    """What is kept grows by doubling, but never above the bound."""
    reader = Reader(stream_limit=600)
    talk = Talk(reader)
    talk.send(0, b"x" * 10, 590)
    assert talk.engine._stream_statistics() == (1, 600, 0)
    talk.send(0, b"y" * 590, 0)
    assert reader.heard[0] == [b"y" * 590 + b"x" * 10]


def test_an_exception_detaches(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once with its traceback, the packet goes on, and the stream is forgotten."""

    def fail(payload: bytes, flow: Any) -> None:
        raise RuntimeError("odd")

    reader = Reader(fail)
    talk = Talk(reader)
    assert [talk.send(0, b"a", 0), talk.send(0, b"b", 1)] == ["ACCEPT", "ACCEPT"]
    assert len(reader.heard[0]) == 1
    assert caplog.text.count("RuntimeError: odd") == 1
    assert talk.engine._stream_statistics() == (0, 0, 0)


def test_streams_of_dead_connections_go() -> None:
    """Connections that came and went leave nothing behind."""
    reader = Reader(record_end=b"\n")
    first = Talk(reader)
    for port in range(6000, 9000):
        Talk(reader, port, first.engine).send(0, b"half a line", 0)
        first.engine.flush()
    assert first.engine._stream_statistics()[0] < 3 * 1024


def test_what_dead_connections_kept_makes_room() -> None:
    """Few connections with much that waits use up what may be kept of all: once they are gone nothing is."""
    reader = Reader(record_end=b"\n", stream_limit=1 << 20)
    first = Talk(reader)
    for port in range(6000, 6080):
        Talk(reader, port, first.engine).send(0, b"x", 1_000_000)
    count, kept, lost = first.engine._stream_statistics()
    assert kept <= 64 << 20 < kept + (1 << 20)
    assert (count, lost) == (81 - lost, 80 - (kept >> 20))
    first.engine.flush()
    later = Talk(reader, 7000, first.engine, now=2 * SECOND)
    later.send(0, b"half a ", 0)
    later.send(0, b"line\n", 7)
    assert reader.heard[0] == [b"half a line\n"]
    assert first.engine._stream_statistics() == (1, 0, lost)


def test_whoever_keeps_for_longest_gives_way() -> None:
    """A thousand live connections that wait for a byte and fill what may be kept of all starve nobody: the oldest of
    them give way, are read no longer, and who came later is read whole."""
    reader = Reader(record_end=b"\n", stream_limit=1 << 16)
    first = Talk(reader)
    waiting = [Talk(reader, port, first.engine) for port in range(6000, 7100)]
    for one in waiting:
        one.send(0, b"x\n", 65_000)
    _, kept, lost = first.engine._stream_statistics()
    assert kept <= 64 << 20 < kept + (1 << 16)
    assert lost == 1100 - (kept >> 16)
    first.send(0, b"half a ", 0)
    first.send(0, b"line\n", 7)
    assert reader.heard[0] == [b"half a line\n"]
    oldest, newest = waiting[0], waiting[-1]
    oldest.send(0, b"." * 65_000, 0)
    assert len(reader.heard[0]) == 1
    newest.send(0, b"." * 65_000, 0)
    assert reader.heard[0][1:] == [b"." * 65_000 + b"x\n"]


def test_whoever_asks_is_not_the_one_that_gives_way() -> None:
    """The one that has kept something for longest wants to keep more: the next in line makes room for it."""
    reader = Reader(record_end=b"\n", stream_limit=1 << 20)
    first = Talk(reader)
    others = [Talk(reader, port, first.engine) for port in range(6000, 6063)]
    for one in (first, *others):
        one.send(0, b"x", 1_000_000)
    assert first.engine._stream_statistics() == (64, 64 << 20, 0)
    first.send(1, b"x", 1_000_000)
    assert first.engine._stream_statistics() == (63, 64 << 20, 1)
    assert [each.source_port for each in first.engine.connections() if not each.helper] == [6000]


def test_a_helper_that_fills_the_room_while_it_reads() -> None:
    """What a helper's own calls keep meanwhile counts: the rest that it then holds back has no room, and it reads on no
    longer. A packet of the connection it is just reading goes by unread."""
    more: list[Talk] = []

    def fill(payload: bytes, flow: Any) -> None:
        if payload != b"fill":
            return
        assert first.send(0, b"again", 0) == "ACCEPT"
        for one in more:
            one.send(0, b"x", 1_000_000)
        flow.hold(2)

    reader = Reader(fill, stream_limit=1 << 20)
    first = Talk(reader)
    more += [Talk(reader, port, first.engine) for port in range(6000, 6064)]
    assert first.send(0, b"fill", 0) == "ACCEPT"
    assert reader.heard[0] == [b"fill"]
    assert first.engine._stream_statistics() == (64, 64 << 20, 1)
    assert [each.source_port for each in first.engine.connections() if not each.helper] == [5000]


def test_half_the_sequence_space_away_is_no_payload() -> None:
    """A segment as far behind as numbers reach is taken for one that was read."""
    reader = Reader()
    talk = Talk(reader)
    talk.send(0, b"abc", 1 << 31)
    talk.send(0, b"abc", 0)
    assert reader.heard[0] == [b"abc"]


def test_a_new_connection_begins_afresh() -> None:
    """The same ends once more: nothing of the earlier connection is handed over."""
    reader = Reader(record_end=b"\n")
    talk = Talk(reader)
    talk.send(0, b"old ", 0)
    talk.engine.flush()
    Talk(reader, talk.port, talk.engine, first=9000).send(0, b"new\n", 0)
    assert reader.heard[0] == [b"new\n"]


@pytest.mark.parametrize("how", [{"stream_limit": 0}, {"stream_limit": 2 << 20}, {"record_end": b"\r\n"}])
def test_bounds_that_cannot_be(how: dict[str, Any]) -> None:
    """A helper that asks for what cannot be is refused when it is attached."""
    with pytest.raises(ValueError, match=next(iter(how))):
        fastfw.Engine(helpers=[Reader(**how)])
