"""Tables in files: what is saved comes back, and nothing else is believed."""

from __future__ import annotations

import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fastfw import Engine, Ruleset, TimeoutPolicy
from fastfw.core.snapshot import (
    CALL,
    ENTRY,
    EXPECT,
    EXTRA,
    entries,
    expectations,
    put_calls,
    put_entries,
    put_expectations,
)
from fastfw.core.terms import Status
from fastfw.helpers import DROP, GRE, UDP, Flow, Helper, Verdict
from fastfw.state import HEADER, LATE, Loaded, StateError
from traffic import packets as p
from traffic.describe import is_fragment
from traffic.generate import generate
from traffic.packets import ACK, FIN, RST, SYN, TCP, address, ipv4, tcp

NOW = 10**18
SETTINGS = {"nf_conntrack_max": 4096}


def fed(count: int, seed: int, **more: object) -> tuple[Engine, list[bytes]]:
    """An engine that has seen generated conversations, and those that come next; no packet comes in pieces: what waits
    for the rest of its datagram is no part of a table."""
    packets = [packet for packet in generate(seed, 2 * count) if not is_fragment(packet)]
    engine = Engine(settings={**SETTINGS, **more})  # type: ignore[dict-item]
    for packet in packets[:count]:
        engine.decide(packet, now=NOW)
    return engine, packets[count:]


def lines(engine: Engine) -> list[str]:
    return sorted(str(connection) for connection in engine.connections())


def test_round_trip(tmp_path: Path, seed: int) -> None:
    """A saved table loaded again lists the same connections and decides the next packets as the original does."""
    original, coming = fed(3000, seed)
    assert original.save_state(tmp_path / "state") == len(lines(original)) > 100
    copy = Engine(settings=SETTINGS)
    copy.expire(NOW)
    assert copy.load_state(tmp_path / "state") == Loaded(len(lines(original)), 0, 0)
    assert lines(copy) == lines(original)
    for packet in coming:
        assert repr(copy.decide(packet, now=NOW)) == repr(original.decide(packet, now=NOW))
    assert lines(copy) == lines(original)


def test_accounting_is_kept(tmp_path: Path) -> None:
    """Counters and ages are saved with their connections, and left out by an engine that does not count."""
    original, _ = fed(500, 1, nf_conntrack_acct=1, nf_conntrack_timestamp=1)
    original.save_state(tmp_path / "state")
    counting = Engine(settings={**SETTINGS, "nf_conntrack_acct": 1})
    plain = Engine(settings=SETTINGS)
    for engine in (counting, plain):
        engine.expire(NOW)
        engine.load_state(tmp_path / "state")
    assert lines(counting) == lines(original)
    assert not any("packets=" in line for line in lines(plain))


def test_known_connections_stay(tmp_path: Path) -> None:
    """Loading does not touch what the table already holds, and takes nothing whose time is up."""
    original, _ = fed(500, 2)
    original.save_state(tmp_path / "state")
    before = lines(original)
    assert original.load_state(tmp_path / "state") == Loaded(0, 0, 0)
    assert lines(original) == before
    late = Engine(settings=SETTINGS)
    late.expire(NOW + 10**15)
    assert late.load_state(tmp_path / "state").connections == 0


def test_full_table(tmp_path: Path) -> None:
    """What does not fit under nf_conntrack_max is refused, and counted."""
    original, _ = fed(2000, 3)
    count = original.save_state(tmp_path / "state")
    small = Engine(settings={"nf_conntrack_max": 50})
    small.expire(NOW)
    assert small.load_state(tmp_path / "state") == Loaded(50, count - 50, 0)


def test_damage_is_found(tmp_path: Path, seed: int) -> None:
    """A file cut at any place, or with any bit changed, is refused and changes nothing."""
    chance = random.Random(seed)
    original, _ = fed(200, 4)
    path = tmp_path / "state"
    original.save_state(path)
    whole = path.read_bytes()
    engine = Engine(settings=SETTINGS)
    engine.expire(NOW)
    for _ in range(300):
        path.write_bytes(whole[: chance.randrange(len(whole))])
        with pytest.raises(StateError):
            engine.load_state(path)
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(StateError):
            engine.load_state(path)
    assert engine.conntrack_count == 0


def retell(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a saved table tells of templates and notes, its size and checksum with it."""
    data = path.read_bytes()[:-4]
    *head, size = HEADER.unpack_from(data)
    more = json.loads(data[-size:])
    change(more)
    text = json.dumps(more).encode()
    data = HEADER.pack(*head, len(text)) + data[HEADER.size : len(data) - size] + text
    path.write_bytes(data + struct.pack("<I", zlib.crc32(data)))


def rewrite(path: Path, array: str, change: Callable[[npt.NDArray[np.void]], None]) -> None:
    """Change the entries or expectations of a saved table, its checksum with them."""
    data = bytearray(path.read_bytes()[:-4])
    _, _, count, extras, _, waiting, told, _, names, _ = HEADER.unpack_from(data)
    start = HEADER.size + names + 4 * count
    kind, size = {"entries": (ENTRY, count), "expectations": (EXPECT, waiting), "calls": (CALL, told)}[array]
    if array != "entries":
        start += count * ENTRY.itemsize + extras * EXTRA.itemsize
    if array == "calls":
        start += waiting * EXPECT.itemsize
    change(np.frombuffer(memoryview(data)[start : start + size * kind.itemsize], kind))
    path.write_bytes(bytes(data) + struct.pack("<I", zlib.crc32(data)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("family", 5), ("state", 200), ("status", 0), ("helper", 9), ("proto", 6), ("proto", 99)],
)
def test_impossible_records_are_refused(tmp_path: Path, field: str, value: int) -> None:
    """Records with a right checksum that no engine would have written are refused, one and all."""
    original, _ = fed(200, 5)
    path = tmp_path / "state"
    original.save_state(path)

    def change(table: npt.NDArray[np.void]) -> None:
        table[field] = value

    rewrite(path, "entries", change)
    engine = Engine(settings=SETTINGS)
    engine.expire(NOW)
    with pytest.raises(StateError):
        engine.load_state(path)
    assert engine.conntrack_count == 0


@pytest.mark.parametrize("family", [4, 6])
def test_icmp_records_are_queries(tmp_path: Path, family: int) -> None:
    """Of ICMP only a request's type names a connection, the requester first: no other record is taken or listed."""
    engine = Engine()
    source, target = (p.address(end) for end in (("10.0.0.1", "10.0.0.2") if family == 4 else ("fd00::1", "fd00::2")))
    engine.decide(p.echo(source, target, 7, 1), now=NOW)
    path = tmp_path / "state"
    assert engine.save_state(path) == 1
    whole = path.read_bytes()
    taken = []
    for kind in range(256):

        def retype(table: npt.NDArray[np.void], kind: int = kind) -> None:
            table["hi_port"] = kind << 8

        path.write_bytes(whole)
        rewrite(path, "entries", retype)
        engine.flush()
        try:
            engine.load_state(path)
            taken.append(kind)
            assert f"type={kind} " in str(next(iter(engine.connections())))
        except StateError:
            assert engine.conntrack_count == 0
    assert taken == ([8, 13, 15, 17] if family == 4 else [128, 139])

    def turn(table: npt.NDArray[np.void]) -> None:
        table["status"] |= np.uint32(Status.STATUS_ORIGIN_HI)

    path.write_bytes(whole)
    rewrite(path, "entries", turn)
    with pytest.raises(StateError):
        engine.load_state(path)


class Announcer(Helper):
    """Announces a connection of every kind there is."""

    name = "announcer"
    ports = ((UDP, 7000),)
    limit = 0

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        end = flow.destination
        flow.expect(destination=end, port=1)
        flow.expect(destination=end, port=2, source=flow.source)
        flow.expect(destination=end, port=3, source=flow.source, source_port=9, permanent=True)
        flow.expect(destination=end, port=4, source=flow.source, inactive=True)
        if len(end) == 4:
            flow.expect(destination=end, port=5, source=flow.source, source_mask=b"\xff\xff\xff\0", protocol=UDP)


def announced(family: int) -> Engine:
    """An engine in which a connection has announced others."""
    engine = Engine(helpers=[Announcer()])
    source, target = (p.address(end) for end in (("10.0.0.1", "10.0.0.2") if family == 4 else ("fd00::1", "fd00::2")))
    engine.decide(p.udp_packet(source, target, 4000, 7000, b"!"), now=NOW)
    return engine


@pytest.mark.parametrize("family", [4, 6])
def test_expectations_come_back(tmp_path: Path, family: int) -> None:
    """Whatever a helper can announce is saved and taken over: the same list, met by the same packets."""
    original = announced(family)
    waiting = 5 if family == 4 else 4
    assert original.save_state(tmp_path / "state") == 1
    copy = Engine(helpers=[Announcer()])
    copy.expire(NOW)
    assert copy.load_state(tmp_path / "state") == Loaded(1, 0, waiting)
    assert [str(one) for one in copy.expectations()] == [str(one) for one in original.expectations()]
    if family == 4:
        near = p.udp_packet(p.address("10.0.0.9"), p.address("10.0.0.2"), 4001, 5, b"")
        assert [engine.decide(near, now=NOW).state for engine in (original, copy)] == ["RELATED", "RELATED"]


@pytest.mark.parametrize("then", ["nothing", "gone", "another"])
def test_nothing_is_awaited_for_a_master_that_went_meanwhile(then: str) -> None:
    """A connection that ends between its entry and that of what it announced takes it along, even where another has
    its place by then."""
    original, copy = announced(4), Engine(helpers=[Announcer()])
    copy.expire(NOW)
    table, indices = entries(original)[:2]
    waiting = expectations(original)
    numbers = np.arange(len(copy.helper_names()), dtype=np.uint8)
    assert len(waiting) == 5
    _, _, where = put_entries(copy, table, indices, None, numbers)
    assert len(where) == 1
    told = np.zeros(1, CALL)
    told["family"], told["master"] = 4, next(iter(where))
    if then != "nothing":
        copy.flush()
    if then == "another":
        copy.decide(p.udp_packet(p.address("10.0.0.3"), p.address("10.0.0.4"), 1, 2, b""), now=NOW)
        assert entries(copy)[1].tolist() == [new for new, _ in where.values()]
    there = then == "nothing"
    strange = told.copy()
    strange["master"] += 1
    assert put_calls(copy, strange, where) == 0
    assert put_calls(copy, told, where) == (1 if there else 0)
    assert put_expectations(copy, waiting, numbers, where) == (5 if there else 0)
    assert len(list(copy.expectations())) == (5 if there else 0)
    assert [int(one) & Status.STATUS_MASTER != 0 for one in entries(copy)[0]["status"]] == {
        "nothing": [True],
        "gone": [],
        "another": [False],
    }[then]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", 5),
        ("flags", 32),
        ("helper", 9),
        ("child_helper", 9),
        ("source", b"\x0a\0\0\x01\xff"),
        ("destination", b"\x0a\0\0\x01\0\0\0\0\x01"),
    ],
)
def test_impossible_expectations_are_refused(tmp_path: Path, field: str, value: object) -> None:
    """An expectation that no engine would have written refuses the whole file: no connection of it is entered."""
    announced(4).save_state(tmp_path / "state")

    def change(table: npt.NDArray[np.void]) -> None:
        table[field][0] = value

    rewrite(tmp_path / "state", "expectations", change)
    engine = Engine(helpers=[Announcer()])
    engine.expire(NOW)
    with pytest.raises(StateError):
        engine.load_state(tmp_path / "state")
    assert engine.conntrack_count == 0


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The error names the file that was asked for."""
    path = tmp_path / "nowhere" / "table"
    with pytest.raises(FileNotFoundError) as caught:
        Engine().save_state(path)
    assert caught.value.filename == str(path)


class Caller(Helper):
    """Announces a tunnel both ways, as PPTP's does."""

    name = "caller"
    ports = ((UDP, 7000),)
    limit = 0

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        a, b = flow.source, flow.destination
        flow.expect(source=a, source_port=5, destination=b, port=6, protocol=GRE)
        flow.expect(source=b, source_port=6, destination=a, port=5, protocol=GRE)


def tunnel(source: bytes, target: bytes, key: int) -> bytes:
    return p.ip(source, target, GRE, p.gre(key, b"data", version=1, protocol=0x880B))


@pytest.mark.parametrize("family", [4, 6])
def test_tunnels_come_back(tmp_path: Path, family: int) -> None:
    """A tunnel told by its calls' keys goes on after its table is taken over, and ends with its control connection."""
    a, b = (p.address(end) for end in (("10.0.0.1", "10.0.0.2") if family == 4 else ("fd00::1", "fd00::2")))
    original = Engine(helpers=[Caller()])
    original.decide(p.udp_packet(a, b, 4000, 7000, b"!"), now=NOW)
    assert [original.decide(tunnel(*way), now=NOW).state for way in ((a, b, 6), (b, a, 5))] == [
        "RELATED",
        "ESTABLISHED",
    ]
    original.save_state(tmp_path / "state")
    copy = Engine(helpers=[Caller()])
    copy.expire(NOW)
    assert copy.load_state(tmp_path / "state") == Loaded(2, 0, 0)
    for engine in (original, copy):
        assert [engine.decide(tunnel(*way), now=NOW).state for way in ((a, b, 6), (b, a, 5))] == ["ESTABLISHED"] * 2
        engine.delete(lambda one: one.protocol == UDP)
        assert engine.decide(tunnel(a, b, 6), now=NOW).state == "NEW"


class Canceller(Caller):
    """Announces a tunnel, and takes back one that it never announced."""

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        super().on_payload(payload, flow)
        flow.cancel(protocol=GRE, source=flow.source, source_port=8, destination=flow.destination, port=9)
        flow.cancel(protocol=UDP, source=None, source_port=None, destination=flow.destination, port=9)


def test_calls_that_nobody_knows() -> None:
    """A tunnel of another call is one of its own beside those that are known, and taking back an unknown call changes
    none."""
    a, b = p.address("10.0.0.1"), p.address("10.0.0.2")
    engine = Engine(helpers=[Canceller()])
    engine.decide(p.udp_packet(a, b, 4000, 7000, b"!"), now=NOW)
    states = [engine.decide(tunnel(*way), now=NOW).state for way in ((a, b, 99), (a, b, 6), (b, a, 5))]
    assert states == ["NEW", "RELATED", "ESTABLISHED"]


def test_a_tunnel_from_an_address_to_itself() -> None:
    """Only the calls' keys tell its ends apart."""
    a = p.address("10.0.0.1")
    engine = Engine(helpers=[Caller()])
    engine.decide(p.udp_packet(a, a, 4000, 7000, b"!"), hook="OUTPUT", now=NOW)
    told = [engine.decide(tunnel(a, a, key), hook="OUTPUT", now=NOW) for key in (6, 5, 6)]
    assert [one.state for one in told] == ["RELATED", "ESTABLISHED", "ESTABLISHED"]
    assert [one.direction for one in told] == ["ORIGINAL", "REPLY", "ORIGINAL"]


@pytest.mark.parametrize(("field", "value"), [("family", 5), ("source", b"\x0a\0\0\x01\xff"), ("call", 9)])
def test_impossible_calls_are_refused(tmp_path: Path, field: str, value: object) -> None:
    """Calls that no engine would have written, or one told of twice, refuse the whole file."""
    a, b = p.address("10.0.0.1"), p.address("10.0.0.1")
    original = Engine(helpers=[Caller()])
    original.decide(p.udp_packet(a, b, 4000, 7000, b"!"), now=NOW)
    original.save_state(tmp_path / "state")

    def change(table: npt.NDArray[np.void]) -> None:
        assert len(table) == 2
        table[field] = value

    rewrite(tmp_path / "state", "calls", change)
    engine = Engine(helpers=[Caller()])
    engine.expire(NOW)
    with pytest.raises(StateError):
        engine.load_state(tmp_path / "state")
    assert engine.conntrack_count == 0


def test_saving_is_all_or_nothing(tmp_path: Path) -> None:
    """A state that cannot be written leaves the one before it, and no leavings."""
    original, _ = fed(100, 6)
    path = tmp_path / "state"
    original.save_state(path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="Is a directory"):
        original.save_state(tmp_path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state"]


def download(bursts: int) -> list[bytes]:
    """A connection in which the server sends a full window at a time, one segment of it late; then both ends close."""
    size, window = 1400, 32
    ends = address("10.0.0.1"), address("10.0.0.2")

    def up(flags: int, seq: int, ack: int = 0) -> bytes:
        return ipv4(*ends, TCP, tcp(*ends, 4000, 80, flags, seq, ack))

    def down(flags: int, seq: int, ack: int, payload: bytes = b"") -> bytes:
        back = ends[::-1]
        return ipv4(*back, TCP, tcp(*back, 80, 4000, flags, seq, ack, payload=payload))

    said = [up(SYN, 100), down(SYN | ACK, 500, 101), up(ACK, 101, 501)]
    at = 501
    for _ in range(bursts):
        burst = [down(ACK, at + size * n, 101, b"x" * size) for n in range(window)]
        late = burst.pop(3)
        said += [*burst, up(ACK, 101, at + size * 3), late, up(ACK, 101, at + size * window)]
        at += size * window
    return [*said, up(ACK | FIN, 101, at), down(ACK | FIN, at, 102), up(ACK, 102, at + 1)]


def test_taken_over_late(tmp_path: Path, seed: int) -> None:
    """Traffic that went on between saving and loading ends no connection: wherever it is taken up again its segments
    are its own, until it closes; what is foreign to it is found out as before. Without being told that the table is
    behind, the engine refuses them."""
    chance = random.Random(seed)
    said = download(12)
    refused = 0
    for _ in range(15):
        saved, loaded = sorted(chance.sample(range(3, len(said) - 8), 2))
        original = Engine(settings=SETTINGS)
        for packet in said[:saved]:
            assert original.decide(packet, now=NOW).state != "INVALID"
        original.save_state(tmp_path / "state")
        for behind in (True, False):
            engine = Engine(settings=SETTINGS)
            engine.expire(NOW)
            engine.load_state(tmp_path / "state", behind=behind)
            states = [engine.decide(packet, now=NOW).state for packet in said[loaded:]]
            if behind:
                assert set(states) == {"ESTABLISHED"}, (saved, loaded, states)
                assert "TIME_WAIT" in lines(engine)[0]
            else:
                refused += "INVALID" in states
    assert refused > 3


def test_few_segments_move_windows(tmp_path: Path) -> None:
    """Of a connection taken over late no more than a few forged segments move the windows; resets never do."""
    said = download(1)
    original = Engine(settings=SETTINGS)
    for packet in said[:3]:
        original.decide(packet, now=NOW)
    original.save_state(tmp_path / "state")
    engine = Engine(settings=SETTINGS)
    engine.expire(NOW)
    engine.load_state(tmp_path / "state", behind=True)
    ends = address("10.0.0.1"), address("10.0.0.2")
    forged = [
        ipv4(*ends, TCP, tcp(*ends, 4000, 80, flags, 2**20 * n, 2**20 * n))
        for flags in (RST, ACK)
        for n in range(1, 40)
    ]
    states = [engine.decide(packet, now=NOW).state for packet in forged]
    assert states.count("INVALID") == len(forged) - LATE
    assert set(states[:39]) == {"INVALID"}


def test_who_watches_is_told_of_what_is_loaded(tmp_path: Path) -> None:
    """Each connection of a table is new to the one that takes it."""
    original, engine = Engine(), Engine()
    for port in range(1, 6):
        original.decide(p.udp_packet(address("10.0.0.1"), address("10.0.0.2"), port, 53), now=NOW)
    original.save_state(tmp_path / "state")
    engine.watch()
    engine.load_state(tmp_path / "state")
    told, lost = engine.events()
    assert {one.kind for one in told} == {"NEW"}
    assert sorted(one.connection.source_port for one in told) == [1, 2, 3, 4, 5]
    assert lost == 0


def test_a_window_is_learned_late(tmp_path: Path) -> None:
    """Of a segment that shows how far a connection taken over late has come, its window is learned too: what it makes
    room for fits however often it comes, and keeps the connection alive."""
    ends = address("10.0.0.1"), address("10.0.0.2")
    there, back = (*ends, 4000, 80), (*ends[::-1], 80, 4000)
    original = Engine(settings=SETTINGS)
    for packet in (
        p.tcp_packet(*there, p.SYN, 99, 0, window=1000),
        p.tcp_packet(*back, p.SYN | ACK, 499, 100, window=1000),
        p.tcp_packet(*there, ACK, 100, 500, window=1000),
    ):
        original.decide(packet, now=NOW)
    original.save_state(tmp_path / "state")
    engine = Engine(settings=SETTINGS)
    engine.expire(NOW)
    engine.load_state(tmp_path / "state", behind=True)
    late = p.tcp_packet(*there, ACK, 2**20, 2**21, window=5000)
    again = p.tcp_packet(*back, ACK, 2**21 - 4000, 2**20, window=1000, payload=bytes(100))
    assert engine.decide(late, now=NOW).state == "ESTABLISHED"
    assert {engine.decide(again, now=NOW).state for _ in range(LATE + 3)} == {"ESTABLISHED"}
    (lives,) = (one.timeout for one in engine.connections())
    engine.decide(again, now=NOW + 100 * 10**9)
    assert [one.timeout for one in engine.connections()] == [lives]


def test_every_byte_of_a_table_changed(tmp_path: Path) -> None:
    """A file with any one byte changed behind a right checksum is refused whole, or gives a table that packets meet and
    that is saved and loaded again."""
    small = {"nf_conntrack_max": 64}
    engine = Engine(settings=small, helpers=["tftp"])
    four, six = (address("10.0.0.1"), address("10.0.0.2")), (address("2001:db8::1"), address("2001:db8::2"))
    for a, b in (four, six):
        engine.decide(p.udp_packet(a, b, 2000, 69, b"\0\1f\0octet\0"), now=NOW)
        engine.decide(p.tcp_packet(a, b, 1, 2, SYN, 1), now=NOW)
        engine.decide(p.ip(a, b, 132, p.sctp(1, 2, 0, bytes([1, 0, 0, 20]) + bytes([0, 0, 0, 1] * 4))), now=NOW)
        engine.decide(p.echo(a, b, 1, 1), now=NOW)
    path = tmp_path / "state"
    engine.save_state(path)
    data = bytearray(path.read_bytes()[:-4])
    refused = 0
    for at in range(len(data)):
        before = data[at]
        for value in {255, before ^ 1} - {before}:
            data[at] = value
            path.write_bytes(bytes(data) + struct.pack("<I", zlib.crc32(bytes(data))))
            copy = Engine(settings=small, helpers=["tftp"])
            try:
                loaded = copy.load_state(path)
            except StateError:
                refused += 1
                assert copy.conntrack_count == 0
                continue
            assert len(lines(copy)) == loaded.connections
            copy.decide(p.tcp_packet(four[1], four[0], 2, 1, SYN | ACK, 7, 2), now=NOW)
            copy.save_state(path)
            Engine(settings=small, helpers=["tftp"]).load_state(path)
        data[at] = before
    print(f"{refused} of the changes were refused")
    assert refused > len(data) // 4


ASKED = """*raw
-A PREROUTING -p tcp --dport 80 -j CT --timeout short
-A PREROUTING -p udp -j CT --ctevents destroy
COMMIT
"""
POLICY = {"short": TimeoutPolicy("tcp", {"established": 50, "fin_wait": 3})}
ENDS, BACK = (address("10.0.0.1"), address("10.0.0.2"), 4000, 80), (address("10.0.0.2"), address("10.0.0.1"), 80, 4000)


def asked(path: Path) -> Engine:
    """An engine, saved, two of whose connections began by CT rules."""
    engine = Engine(Ruleset.parse(ASKED), timeouts=POLICY)
    for packet in (
        p.tcp_packet(*ENDS, SYN, 1),
        p.tcp_packet(*BACK, SYN | ACK, 7, 2),
        p.tcp_packet(*ENDS, ACK, 2, 8),
        p.udp_packet(*ENDS),
    ):
        engine.decide(packet, now=NOW)
    assert engine.save_state(path) == 2
    return engine


@pytest.mark.parametrize("rules", [None, ASKED])
def test_what_ct_rules_asked_for_holds_on(tmp_path: Path, rules: str | None) -> None:
    """A connection's timeout policy and the events that are told of it outlive the process that its rule was in, also
    where there is no such rule any more; another connection is not concerned."""
    original = asked(tmp_path / "state")
    copy = Engine(Ruleset.parse(rules), timeouts=POLICY) if rules else Engine()
    copy.expire(NOW)
    assert copy.load_state(tmp_path / "state") == Loaded(2, 0, 0)
    coming = [p.tcp_packet(*ENDS, ACK, 2, 8), p.tcp_packet(*ENDS, FIN | ACK, 2, 8), p.udp_packet(*BACK)]
    told = []
    for engine in (original, copy):
        engine.watch()
        listings = []
        for packet in coming:
            engine.decide(packet, now=NOW + 10**9)
            listings.append(lines(engine))
        engine.expire(NOW + 5 * 10**9)
        engine.flush()
        told.append((listings, [(event.kind, event.connection.protocol) for event in engine.events()[0]]))
    assert told[0] == told[1]
    assert "tcp      6 50 ESTABLISHED" in told[1][0][0][0]
    assert "tcp      6 3 FIN_WAIT" in told[1][0][1][0]
    assert told[1][1] == [("UPDATE", 6), ("DESTROY", 6), ("DESTROY", 17)]
    copy.settings["nf_conntrack_udp_timeout_stream"] = 7
    copy.decide(p.udp_packet(*ENDS), now=NOW + 6 * 10**9)


@pytest.mark.parametrize(
    "change",
    [
        lambda more: more.pop("templates"),
        lambda more: more["templates"].pop(),
        lambda more: more["templates"].append([9, [], 1, 1]),
        lambda more: more["templates"][0].append(1),
        lambda more: more["templates"][0].__setitem__(1, [[36, 5]]),
        lambda more: more["templates"][0].__setitem__(1, [[3, -5]]),
        lambda more: more["templates"][0].__setitem__(1, [[3, 2**31]]),
        lambda more: more["templates"][0].__setitem__(2, 65536),
        lambda more: more["templates"][0].__setitem__(2, True),
        lambda more: more.__setitem__("notes", [[1, 1, {}]]),
        lambda more: more.__setitem__("notes", [[1, 0, []]]),
        lambda more: more.__setitem__("notes", 5),
    ],
)
def test_impossible_words_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Templates and notes that no engine would have written refuse the whole file."""
    asked(tmp_path / "state")
    retell(tmp_path / "state", lambda more: None)
    assert Engine().load_state(tmp_path / "state").connections == 2
    retell(tmp_path / "state", change)
    engine = Engine()
    engine.expire(NOW)
    with pytest.raises(StateError):
        engine.load_state(tmp_path / "state")
    assert engine.conntrack_count == 0


FTP, FTP_BACK = (*ENDS[:3], 21), (*BACK[:2], 21, 4000)


def test_a_helper_goes_on_where_it_was(tmp_path: Path) -> None:
    """An announcement that begins where the line before it ended is understood by the engine that takes the table
    over: the notes on where lines begin come along."""
    original = Engine(helpers=["ftp"])
    for packet in (
        p.tcp_packet(*FTP, SYN, 1),
        p.tcp_packet(*FTP_BACK, SYN | ACK, 7, 2),
        p.tcp_packet(*FTP, ACK, 2, 8),
        p.tcp_packet(*FTP_BACK, ACK, 8, 2, payload=b"220 ready\r\n"),
    ):
        original.decide(packet, now=NOW)
    original.save_state(tmp_path / "state")
    copies = [Engine(helpers=helpers) for helpers in (["ftp"], [Announcer(), "ftp"], [])]
    for copy in copies:
        copy.expire(NOW)
        copy.load_state(tmp_path / "state")
    said = p.tcp_packet(*FTP_BACK, ACK, 19, 2, payload=b"227 Entering Passive Mode (10,0,0,2,19,137)\r\n")
    data = p.tcp_packet(*ENDS[:3], 5001, SYN, 1)
    for engine in (original, *copies):
        engine.decide(said, now=NOW)
    assert [engine.decide(data, now=NOW).state for engine in (original, *copies)] == ["RELATED"] * 3 + ["NEW"]


class Noting(Helper):
    """Notes whatever it was made with, and drops once it has it back."""

    name = "noting"
    ports = ((UDP, 7000),)

    def __init__(self, note: object) -> None:
        self.note = note

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if "note" in flow.memory:
            return DROP if flow.memory["note"] == self.note else None
        flow.memory["note"] = self.note
        return None


@pytest.mark.parametrize(
    ("note", "kept"), [({"a": [1, None, "x", 2.5]}, True), (b"bytes", False), ((1, 2), False), ({1: 2}, False)]
)
def test_notes_are_kept_that_come_back_as_they_were(tmp_path: Path, note: object, kept: bool) -> None:
    """Notes that JSON holds are saved; others are not, rather than come back as something else."""
    packet = p.udp_packet(address("10.0.0.1"), address("10.0.0.2"), 5, 7000, b"x")
    original, copy = Engine(helpers=[Noting(note)]), Engine(helpers=[Noting(note)])
    assert [original.decide(packet, now=NOW).verdict for _ in range(2)] == ["ACCEPT", "DROP"]
    original.save_state(tmp_path / "state")
    copy.expire(NOW)
    copy.load_state(tmp_path / "state")
    assert copy.decide(packet, now=NOW).verdict == ("DROP" if kept else "ACCEPT")
