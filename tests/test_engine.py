"""The engine as its users meet it: batches, the ceiling, the clock, settings, and input that makes no sense."""

from __future__ import annotations

import os
import struct
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.attacks.crowd import resident
from tests.traffic.generate import generate

import fastfw
from fastfw.core.reasons import reason_name
from fastfw.core.terms import Hook, State, Verdict
from traffic import packets as p

CLIENT, SERVER = p.address("10.1.0.1"), p.address("10.2.0.1")
CLIENT6, SERVER6 = p.address("fd00:1::1"), p.address("fd00:2::1")
SECOND = 1_000_000_000

QUOTED = p.tcp_packet(CLIENT, SERVER, 7, 8, p.ACK, 1, 1)
PACKETS = {
    "UDP": p.udp_packet(CLIENT, SERVER, 7, 8, b"payload"),
    "UDPv6": p.udp_packet(CLIENT6, SERVER6, 7, 8, b"payload"),
    "TCP with options": p.tcp_packet(
        CLIENT, SERVER, 7, 8, p.SYN, options=p.maximum_segment(1460) + p.sack_permitted() + p.window_scale(7)
    ),
    "TCP with SACK": p.tcp_packet(CLIENT6, SERVER6, 7, 8, p.ACK, 5, 9, options=p.selective_acks([(20, 30), (40, 50)])),
    "echo": p.echo(CLIENT, SERVER, 7, 1),
    "echo over IPv6": p.echo(CLIENT6, SERVER6, 7, 1),
    "ICMP error": p.icmp_packet(SERVER, CLIENT, 3, 3, payload=QUOTED),
    "IPv4 options": p.ipv4(CLIENT, SERVER, p.UDP, p.udp(CLIENT, SERVER, 7, 8), options=b"\x94\x04\0\0\x01\x01\x01"),
    "extension headers": p.ipv6(
        CLIENT6,
        SERVER6,
        p.UDP,
        p.udp(CLIENT6, SERVER6, 7, 8),
        extensions=[
            (p.HOP_BY_HOP, p.extension(b"\x05\x02\0\0")),
            (p.ROUTING, p.extension(b"\x04" + bytes(5))),
            (p.AH, p.authentication_header()),
            (p.DESTINATION, p.extension(b"")),
        ],
    ),
    "SCTP": p.ip(CLIENT, SERVER, p.SCTP, p.sctp(7, 8, 0, p.chunk(1, 0, bytes([0, 0, 0, 1]) + bytes(12)))),
    "GRE": p.ip(CLIENT, SERVER, p.GRE, p.gre(7, b"payload", version=1, protocol=0x880B)),
    "ESP": p.ip(CLIENT6, SERVER6, p.ESP, bytes(24)),
}


def pack(packets: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """One buffer, offsets and lengths."""
    length = np.fromiter(map(len, packets), np.uint32, len(packets))
    offset = np.zeros(len(packets), np.uint64)
    np.cumsum(length[:-1], out=offset[1:])
    return np.frombuffer(b"".join(packets) or b"\0", np.uint8), offset, length


def datagrams(numbers: npt.NDArray[np.int64], *, reply: bool = False) -> tuple[npt.NDArray[np.uint8], ...]:
    """UDP datagrams, one of connection `n` for each number below 2^40: address and port are made of it."""
    head = np.zeros((len(numbers), 28), np.uint8)
    head[:] = np.frombuffer(struct.pack(">BBHHHBBHII", 0x45, 0, 28, 0, 0, 64, 17, 0, 0, 0) + bytes(8), np.uint8)
    ends = [10 << 24 | numbers & 0xFFFFFF, np.full(len(numbers), 0xC0A80001)]
    ports = [1024 + (numbers >> 24), np.full(len(numbers), 53)]
    if reply:
        ends.reverse()
        ports.reverse()
    for place, end in zip((12, 16), ends, strict=True):
        head[:, place : place + 4] = end.astype(">u4").view(np.uint8).reshape(-1, 4)
    for place, port in zip((20, 22), ports, strict=True):
        head[:, place : place + 2] = port.astype(">u2").view(np.uint8).reshape(-1, 2)
    head[:, 25] = 8
    total = head[:, :20].astype(np.uint64).reshape(-1, 10, 2)
    total = (total[:, :, 0] * 256 + total[:, :, 1]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    head[:, 10:12] = (0xFFFF - ((total & 0xFFFF) + (total >> 16))).astype(">u2").view(np.uint8).reshape(-1, 2)
    offset = np.arange(len(numbers), dtype=np.uint64) * 28
    return head.reshape(-1), offset, np.full(len(numbers), 28, np.uint32)


def send(
    engine: fastfw.Engine, numbers: npt.ArrayLike, now: int = SECOND, *, reply: bool = False
) -> npt.NDArray[np.void]:
    """Hand the engine a batch of datagrams, all at one time."""
    data, offset, length = datagrams(np.asarray(numbers, np.int64), reply=reply)
    return engine.process(data, offset, length, np.full(len(length), now, np.int64))


class TestUnlimited:
    def test_table_without_limit_grows(self) -> None:
        """With nf_conntrack_max 0 the table takes and keeps every connection, however small it was before."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 100})
        engine.settings["nf_conntrack_max"] = 0
        out = send(engine, np.arange(5000))
        assert (out["verdict"] == 1).all()
        assert (out["state"] == 1).all()
        assert engine.conntrack_count == 5000
        assert engine.counters["insert_failed"] == 0
        assert engine._table_statistics()["capacity"] >= 5000
        assert (send(engine, np.arange(5000), reply=True)["state"] == 2).all()

    @pytest.mark.long
    def test_table_without_limit_grows_past_its_start(self) -> None:
        """An engine made without a limit holds more than the million entries it makes room for at first."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 0})
        count = engine._table_statistics()["capacity"] + 1000
        assert (send(engine, np.arange(count))["verdict"] == 1).all()
        assert engine.conntrack_count == count
        assert (send(engine, np.arange(count), reply=True)["state"] == 2).all()


def seeded(number: int) -> np.random.Generator:
    """Random numbers of a printed seed; FASTFW_SEED moves it."""
    seed = number + int(os.environ.get("FASTFW_SEED", "0"))
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def established(engine: fastfw.Engine, count: int, now: int = SECOND) -> None:
    """Fill the table with ASSURED connections 0 to `count`: UDP streams. It has no limit until they are, so that the
    collector takes none of them."""
    most = engine.settings["nf_conntrack_max"]
    engine.settings["nf_conntrack_max"] = 0
    send(engine, np.arange(count), now)
    send(engine, np.arange(count), now + SECOND, reply=True)
    assert send(engine, np.arange(count), now + 3 * SECOND)["assured"].all()
    engine.settings["nf_conntrack_max"] = most


class TestBatches:
    """However packets are cut into batches, the decisions are the same: a later packet sees what an earlier one did."""

    PACKETS = generate(77, 3000, 0.25)
    TIMES = np.arange(3000, dtype=np.int64) * 40_000_000 + SECOND

    def outcome(self, size: int) -> tuple[npt.NDArray[np.void], list[str]]:
        engine = fastfw.Engine(settings={"nf_conntrack_max": 300})
        data, offset, length = pack(self.PACKETS)
        parts = [
            engine.process(data, offset[at : at + size], length[at : at + size], self.TIMES[at : at + size])
            for at in range(0, len(length), size)
        ]
        return np.concatenate(parts), sorted(map(str, engine.connections()))

    @pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64, 127, 128, 129, 1000])
    def test_size_of_a_batch_does_not_matter(self, size: int) -> None:
        """Calls of any size decide as one call for all packets does, and leave the same table."""
        whole, table = self.outcome(len(self.PACKETS))
        parts, other = self.outcome(size)
        assert np.array_equal(whole, parts)
        assert table == other

    def test_decide_is_a_batch_of_one(self) -> None:
        """decide() says of each packet what process() does."""
        whole, table = self.outcome(len(self.PACKETS))
        engine = fastfw.Engine(settings={"nf_conntrack_max": 300})
        for packet, now, record in zip(self.PACKETS, self.TIMES.tolist(), whole, strict=True):
            d = engine.decide(packet, now=now)
            assert d.verdict == ("-", "ACCEPT", "DROP", "REJECT", "HOLD", "QUEUE")[record["verdict"]]
            assert d.state == ("-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")[record["state"]]
            assert d.direction == ("-" if d.state == "-" else ("ORIGINAL", "REPLY")[record["direction"]])
            facts = (d.assured, d.seen_reply, d.expected, d.mark)
            assert facts == tuple(record[["assured", "seen_reply", "expected", "mark"]].item())
            assert (d.reason or "-") == reason_name(int(record["reason"]))
        assert sorted(map(str, engine.connections())) == table

    def test_a_conversation_in_one_batch(self) -> None:
        """A handshake, data, reset and a new SYN in one call see each other."""
        there, back = (CLIENT, SERVER, 4000, 80), (SERVER, CLIENT, 80, 4000)
        talk = [
            p.tcp_packet(*there, p.SYN, 100),
            p.tcp_packet(*back, p.SYN | p.ACK, 500, 101),
            p.tcp_packet(*there, p.ACK, 101, 501),
            p.tcp_packet(*there, p.RST, 101),
            p.tcp_packet(*there, p.SYN, 900),
            p.tcp_packet(*back, p.RST | p.ACK, 0, 901),
            p.tcp_packet(*there, p.ACK, 901, 1),
        ]
        out = fastfw.Engine().process(*pack(talk), np.full(7, SECOND))
        assert out["state"].tolist() == [1, 2, 2, 2, 1, 2, 1]
        assert out["direction"].tolist() == [0, 1, 0, 0, 0, 1, 0]
        assert out["assured"].tolist() == [0, 0, 1, 1, 0, 0, 0]

    def test_one_connection_many_times(self) -> None:
        """The same new connection a thousand times in one call is one entry."""
        engine = fastfw.Engine()
        assert (send(engine, np.zeros(1000))["state"] == 1).all()
        assert engine.conntrack_count == 1
        assert engine.counters["insert"] == 1

    def test_packets_may_overlap(self) -> None:
        """Records may address the same bytes, in any order."""
        engine = fastfw.Engine()
        data, _, _ = datagrams(np.arange(3))
        out = engine.process(data, [56, 0, 0, 28], [28] * 4, [SECOND] * 4)
        assert out["state"].tolist() == [1, 1, 1, 1]
        assert engine.conntrack_count == 3


class TestCeiling:
    """At nf_conntrack_max: what is ASSURED stays, what is not gives way, and what finds no place is dropped."""

    def test_full_of_assured_drops_the_new(self) -> None:
        """Where every connection is ASSURED, a new one is dropped as table_full and leaves no trace."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 100})
        established(engine, 100)
        out = send(engine, np.arange(100, 150), 5 * SECOND)
        assert (out["verdict"] == 2).all()
        assert (out["state"] == 0).all()
        assert {reason_name(int(each)) for each in out["reason"]} == {"table_full"}
        assert engine.conntrack_count == 100
        assert (engine.counters["drop"], engine.counters["table_full"]) == (50, 50)
        assert engine.counters["early_drop"] == 0

    def test_full_of_assured_keeps_working(self) -> None:
        """The connections in a full table are served while a flood of new ones is dropped, in the same batches."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 100})
        established(engine, 100)
        mixed = np.arange(10_000)
        mixed[::3] = mixed[::3] % 100
        mixed[mixed >= 100] += 1000
        for now in range(5, 60, 5):
            out = send(engine, mixed, now * SECOND)
            known = mixed < 100
            assert (out["verdict"][known] == 1).all()
            assert (out["state"][known] == 2).all()
            assert out["assured"][known].all()
            assert (out["verdict"][~known] == 2).all()
        assert engine.conntrack_count == 100

    def test_unassured_give_way(self) -> None:
        """A flood of new connections evicts its own kind and never an ASSURED one."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 200})
        established(engine, 100)
        out = send(engine, np.arange(1000, 5000), 5 * SECOND)
        assert (out["verdict"] == 1).mean() > 0.9
        assert engine.conntrack_count == 200
        assert engine.counters["early_drop"] == (out["verdict"] == 1).sum() - 100
        assert sum(each.assured for each in engine.connections()) == 100
        assert send(engine, np.arange(100), 6 * SECOND)["assured"].all()

    def test_expired_give_way(self) -> None:
        """At the ceiling an ASSURED connection whose time is up is no hindrance."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 50})
        established(engine, 50)
        assert (send(engine, np.arange(100, 150), 500 * SECOND)["verdict"] == 1).all()
        assert not any(each.assured for each in engine.connections())
        assert len(list(engine.connections())) + engine.counters["early_drop"] == 50

    def test_ceiling_of_one(self) -> None:
        """A table for one connection holds the one that came last."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 1})
        for number in range(10):
            assert send(engine, [number])["verdict"] == 1
            assert engine.conntrack_count == 1

    def test_raising_the_ceiling_helps_at_once(self) -> None:
        """A higher ceiling, or none, admits new connections with the next packet."""
        for most in (101, 0):
            engine = fastfw.Engine(settings={"nf_conntrack_max": 100})
            established(engine, 100)
            assert send(engine, [200], 5 * SECOND)["verdict"] == 2
            engine.settings["nf_conntrack_max"] = most
            assert send(engine, [200], 5 * SECOND)["verdict"] == 1
            assert engine.conntrack_count == 101

    def test_what_is_dropped_leaves_no_entry(self) -> None:
        """A packet that is not forwarded confirms nothing, and the next one is NEW again."""
        engine = fastfw.Engine()
        dying = p.ipv4(CLIENT, SERVER, p.UDP, p.udp(CLIENT, SERVER, 7, 8), ttl=1)
        for _ in range(2):
            d = engine.decide(dying, now=SECOND)
            assert (d.verdict, d.state, d.reason) == ("DROP", "NEW", "ttl_expired")
            assert engine.conntrack_count == 0


class TestNoise:
    """No bytes, lengths or times make the engine fail: whatever comes is decided."""

    def test_random_bytes_of_every_size(self) -> None:
        """Packets of random bytes, 0 to 65535 of them, are each decided with a reason or a state."""
        rng = seeded(1)
        engine = fastfw.Engine(settings={"nf_conntrack_max": 1000})
        sizes = [*range(600), *rng.integers(600, 65_536, 150).tolist(), 65_535]
        for size in sizes:
            packet = bytearray(rng.bytes(size))
            for version in (None, 4, 6):
                if version and packet:
                    packet[0] = version << 4 | packet[0] & 15
                d = engine.decide(packet, now=SECOND)
                assert d.verdict in ("-", "ACCEPT", "DROP", "HOLD")
                assert d.reason or d.state in ("NEW", "ESTABLISHED", "UNTRACKED")

    def test_random_bytes_behind_a_sound_header(self) -> None:
        """Behind an IP header that is right, random bytes of every protocol are decided."""
        rng = seeded(2)
        engine = fastfw.Engine(settings={"nf_conntrack_max": 1000})
        packets = []
        for number in range(256):
            for size in (0, 1, 3, 4, 7, 8, 12, 19, 20, 21, 40, 200):
                payload = rng.bytes(size)
                packets += [p.ipv4(CLIENT, SERVER, number, payload), p.ipv6(CLIENT6, SERVER6, number, payload)]
        out = engine.process(*pack(packets), np.full(len(packets), SECOND))
        assert set(out["verdict"].tolist()) <= {1, 2, 4}

    def test_noise_does_not_grow_memory(self) -> None:
        """Three hundred thousand packets of damaged traffic leave the process as large as it was."""
        rng = seeded(3)
        data, offset, length = pack(generate(5, 30_000, 0.5))
        damaged = data.copy()
        engine = fastfw.Engine(settings={"nf_conntrack_max": 5000})
        sizes = []
        for number in range(10):
            spots = rng.integers(0, len(data), len(data) // 100)
            damaged[:] = data
            damaged[spots] = rng.integers(0, 256, len(spots))
            engine.process(damaged, offset, length, np.full(len(length), (number + 1) * SECOND))
            sizes.append(resident())
        assert engine.conntrack_count <= 5000
        assert sizes[-1] - sizes[2] < 4 << 20

    @pytest.mark.parametrize("name", PACKETS)
    def test_packet_ends_anywhere(self, name: str) -> None:
        """A packet cut after any byte is decided by what is there: what lies behind it in memory changes nothing."""
        packet = PACKETS[name]
        for whole in (False, True):
            outcomes = []
            for filler in (0x00, 0xFF):
                engine = fastfw.Engine(settings={"nf_conntrack_max": 1000})
                data = np.frombuffer((packet + bytes([filler]) * 64) * (len(packet) + 1), np.uint8)
                offset = np.arange(len(packet) + 1, dtype=np.uint64) * (len(packet) + 64)
                length = np.arange(len(packet) + 1, dtype=np.uint32)
                for at, size in enumerate(length.tolist()):
                    start = int(offset[at]) + size
                    data = data.copy() if at == 0 else data
                    data[start : start + len(packet) - size] = filler
                said = np.full(len(length), len(packet), np.uint32) if whole else None
                outcomes.append(engine.process(data, offset, length, np.full(len(length), SECOND), wire_length=said))
            assert np.array_equal(*outcomes)
            if not whole:
                assert outcomes[0]["verdict"][-1] != 2
                assert set(outcomes[0]["verdict"][:-1].tolist()) <= {0, 2}

    def test_cut_capture_is_judged_by_the_headers_it_has(self) -> None:
        """A packet of which a capture kept the headers is tracked like the whole one; with less it is INVALID."""
        packet = p.tcp_packet(CLIENT, SERVER, 7, 8, p.SYN, payload=bytes(100))
        for have, state, reason in ((40, "NEW", None), (39, "INVALID", "capture_cut"), (23, "INVALID", "capture_cut")):
            engine = fastfw.Engine()
            out = engine.process(packet[:have], [0], [have], [SECOND], wire_length=[len(packet)])
            assert out["state"] == State[f"STATE_{state}"]
            assert reason_name(int(out["reason"][0])) == (reason or "-")

    def test_wire_length_below_length_is_ignored(self) -> None:
        """A record cannot be shorter on the wire than in the capture."""
        packet = p.udp_packet(CLIENT, SERVER, 7, 8, bytes(50))
        out = fastfw.Engine().process(packet, [0], [len(packet)], [SECOND], wire_length=[10])
        assert out["state"] == 1


class TestArguments:
    """What process() and decide() take, and what they refuse before any packet is judged."""

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 29), (28, 1), (29, 0), (1 << 63, 1), ((1 << 64) - 1, 1), ((1 << 64) - 1, 2), (1, 28), (0, (1 << 32) - 1)],
    )
    def test_packet_outside_the_data(self, offset: int, length: int) -> None:
        """A record that lies outside the data is an error that names it, and none of the batch is judged."""
        engine = fastfw.Engine()
        data, _, _ = datagrams(np.arange(1))
        with pytest.raises(ValueError, match="packet 1 lies outside the data"):
            engine.process(data, np.array([0, offset], np.uint64), np.array([28, length], np.uint32), [SECOND] * 2)
        assert engine.conntrack_count == 0

    def test_empty_packet_at_the_end(self) -> None:
        """A record of no bytes at the data's end is inside, and holds no IP packet."""
        out = fastfw.Engine().process(bytes(28), [28], [0], [SECOND])
        assert (out["verdict"][0], out["state"][0], reason_name(int(out["reason"][0]))) == (0, 0, "not_ip")

    @pytest.mark.parametrize("argument", ["length", "time_ns", "wire_length", "hook"])
    @pytest.mark.parametrize("count", [1, 3])
    def test_one_item_a_packet(self, argument: str, count: int) -> None:
        """Arrays of different lengths are refused."""
        data, offset, length = datagrams(np.arange(2))
        arguments = {"length": length, "time_ns": np.full(2, SECOND), "wire_length": length, "hook": np.zeros(2, "u1")}
        arguments[argument] = np.resize(arguments[argument], count)
        with pytest.raises(ValueError, match="one item a packet"):
            fastfw.Engine().process(data, offset, **arguments)

    def test_no_packets(self) -> None:
        """A batch of nothing gives an array of nothing, with the same fields."""
        for data in (b"", b"abc", np.empty(0, np.uint8)):
            out = fastfw.Engine().process(data, [], [], [])
            assert len(out) == 0
            names = ("verdict", "state", "direction", "assured", "seen_reply", "expected", "rule", "reason", "mark")
            assert out.dtype.names == names

    def test_kinds_of_data(self) -> None:
        """Data may be bytes, bytearray, memoryview or an array, read-only or not."""
        data, offset, length = datagrams(np.arange(2))
        frozen = data.copy()
        frozen.setflags(write=False)
        for each in (data, frozen, data.tobytes(), bytearray(data), memoryview(data.tobytes())):
            assert (fastfw.Engine().process(each, offset, length, [SECOND] * 2)["state"] == 1).all()

    def test_scattered_arrays(self) -> None:
        """Offsets, lengths and times may be strided views, lists or other integer types."""
        data, offset, length = datagrams(np.arange(8))
        out = fastfw.Engine().process(
            data, offset[::2], length[::2].astype(np.int64), np.full((8, 2), SECOND)[::2, 0], wire_length=[28] * 4
        )
        assert (out["state"] == 1).all()
        assert len(out) == 4

    @pytest.mark.parametrize(
        ("argument", "value", "error"),
        [
            ("offset", 0.5, TypeError),
            ("offset", -1, ValueError),
            ("length", 28.0, TypeError),
            ("length", (1 << 32) + 28, ValueError),
            ("length", -1, ValueError),
            ("time_ns", 1.7e9, TypeError),
            ("time_ns", (1 << 63) + SECOND, ValueError),
            ("time_ns", "now", TypeError),
            ("time_ns", np.datetime64("2026-01-01", "s"), TypeError),
            ("time_ns", None, TypeError),
            ("wire_length", (1 << 32) + 28, ValueError),
            ("wire_length", True, TypeError),
            ("hook", 256, ValueError),
            ("hook", -1, ValueError),
            ("hook", 1.0, TypeError),
        ],
    )
    def test_no_number_is_rounded_or_wrapped(self, argument: str, value: Any, error: type[Exception]) -> None:
        """What is no whole number, or does not fit, is refused by the argument's name."""
        data, offset, length = datagrams(np.arange(1))
        arguments: dict[str, Any] = {"offset": offset, "length": length, "time_ns": [SECOND], "wire_length": length}
        with pytest.raises(error, match=f"^{argument}: "):
            fastfw.Engine().process(data, **arguments | {argument: np.array([value])})
        with pytest.raises(ValueError, match=f"^{argument}: one row"):
            fastfw.Engine().process(data, **arguments | {argument: np.zeros((1, 1), np.uint8)})

    def test_scattered_data_is_refused(self) -> None:
        """The data itself must be one contiguous run of bytes."""
        data, offset, length = datagrams(np.arange(8))
        for each in (np.repeat(data, 2)[::2], data.astype(np.uint16), data.reshape(8, 28)):
            with pytest.raises((ValueError, TypeError)):
                fastfw.Engine().process(each, offset, length, [SECOND] * 8)

    def test_hooks(self) -> None:
        """A hook may differ from packet to packet: only what is forwarded needs hops left."""
        packet = p.ipv4(CLIENT, SERVER, p.UDP, p.udp(CLIENT, SERVER, 7, 8), ttl=1)
        hooks = np.array([Hook.HOOK_FORWARD, Hook.HOOK_INPUT, Hook.HOOK_OUTPUT], np.uint8)
        out = fastfw.Engine().process(packet * 3, [0, 28, 56], [28] * 3, [SECOND] * 3, hook=hooks)
        assert out["verdict"].tolist() == [2, 1, 1]
        for name, verdict in (("FORWARD", "DROP"), ("INPUT", "ACCEPT"), ("OUTPUT", "ACCEPT")):
            assert fastfw.Engine().decide(packet, hook=name, now=SECOND).verdict == verdict
            assert (
                fastfw.Engine().process(packet, [0], [28], [SECOND], hook=name)["verdict"]
                == Verdict[f"VERDICT_{verdict}"]
            )

    def test_checksums_of_own_packets_are_not_looked_at(self) -> None:
        """What leaves the host itself may have its checksums filled in later: OUTPUT does not look at them."""
        packet = p.ipv4(CLIENT, SERVER, p.UDP, p.udp(CLIENT, SERVER, 7, 8, datagram_checksum=1))
        assert fastfw.Engine().decide(packet, hook="INPUT", now=SECOND).reason == "udp_checksum"
        assert fastfw.Engine().decide(packet, hook="OUTPUT", now=SECOND).state == "NEW"

    def test_unknown_hooks(self) -> None:
        """A hook that does not exist is refused, by name or by code."""
        data, offset, length = datagrams(np.arange(1))
        with pytest.raises(ValueError, match="FORWARD, INPUT, OUTPUT"):
            fastfw.Engine().process(data, offset, length, [SECOND], hook="PREROUTING")
        with pytest.raises(ValueError, match="FORWARD, INPUT, OUTPUT"):
            fastfw.Engine().decide(data, hook="forward")
        with pytest.raises(ValueError, match="codes from 0 to 2"):
            fastfw.Engine().process(data, offset, length, [SECOND], hook=np.array([3], np.uint8))

    @pytest.mark.parametrize("argument", ["iif", "oif"])
    def test_an_interface_has_a_name(self, argument: str) -> None:
        """An interface is named by a str, "" for none; None is refused, and no ruleset put in force later stumbles."""
        data, offset, length = datagrams(np.arange(1))
        engine = fastfw.Engine()
        for name in (None, b"eth0", 1):
            given: dict[str, Any] = {argument: name}
            with pytest.raises(TypeError, match=argument):
                engine.decide(data, **given)
            with pytest.raises(TypeError, match=argument):
                engine.process(data, offset, length, [SECOND], **given)
        engine.replace(rules4=fastfw.Ruleset.parse("*filter\n-A FORWARD -i eth+ -o lo -j DROP\nCOMMIT\n"))
        assert engine.decide(data, now=SECOND).verdict == "ACCEPT"

    def test_decide_takes_bytes(self) -> None:
        """decide() takes any bytes-like object, and nothing else."""
        data, _, _ = datagrams(np.arange(1))
        for each in (data, data.tobytes(), bytearray(data), memoryview(data)):
            assert fastfw.Engine().decide(each, now=SECOND).state == "NEW"
        for each in ("text", None, 5, [1, 2]):
            with pytest.raises(TypeError):
                fastfw.Engine().decide(each, now=SECOND)  # type: ignore[arg-type]


class TestClock:
    """Time is an argument, and never goes back."""

    def test_time_that_runs_backwards_stands_still(self) -> None:
        """A packet from before the last one is judged at the last one's time."""
        engine = fastfw.Engine()
        send(engine, [1], 100 * SECOND)
        send(engine, [2], 50 * SECOND)
        assert engine.now == 100 * SECOND
        assert {each.timeout for each in engine.connections()} == {30}
        send(engine, [3], 129 * SECOND)
        assert engine.conntrack_count == 3

    def test_time_stands_still_within_a_batch(self) -> None:
        """Within one batch too: a late packet is not in the past of the one before it."""
        engine = fastfw.Engine()
        data, offset, length = datagrams(np.array([1, 2, 1]))
        engine.process(data, offset, length, [100 * SECOND, 5 * SECOND, 0])
        assert {each.timeout for each in engine.connections()} == {30}

    @pytest.mark.parametrize("now", [-(2**63), -1, 0, 1, 2**62, 2**63 - 1])
    def test_any_time_is_a_time(self, now: int) -> None:
        """The extremes of the clock are decided like any other time."""
        engine = fastfw.Engine()
        assert send(engine, [1], now)["state"] == 1
        assert send(engine, [1], now, reply=True)["verdict"] == 1

    def test_connections_live_at_the_end_of_time(self) -> None:
        """However late a packet claims to be, its connection has its time before it: no deadline wraps round."""
        engine = fastfw.Engine(settings={"nf_conntrack_udp_timeout": 2**31 - 1})
        send(engine, [1], 2**63 - 1)
        assert [each.timeout for each in engine.connections()] == [2**31 - 1]
        engine.expire(2**63 - 1)
        assert send(engine, [1], 2**63 - 1, reply=True)["state"] == 2

    def test_seconds_are_no_time(self) -> None:
        """A clock is whole nanoseconds: a float, as time.time() gives, is refused instead of cut."""
        packet = p.udp_packet(CLIENT, SERVER, 7, 8)
        for now in (1.7e9, "1700000000"):
            with pytest.raises(TypeError):
                fastfw.Engine().decide(packet, now=now)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                fastfw.Engine().expire(now)  # type: ignore[arg-type]
        engine = fastfw.Engine()
        engine.decide(packet, now=np.int64(SECOND))  # type: ignore[arg-type]
        assert engine.now == SECOND

    def test_no_time_is_now(self) -> None:
        """decide() without a time asks the clock."""
        engine = fastfw.Engine()
        before = time.time_ns()
        engine.decide(p.udp_packet(CLIENT, SERVER, 7, 8))
        assert before <= engine.now <= time.time_ns()

    def test_expire_moves_the_clock(self) -> None:
        """expire() lets time pass without a packet, and never lets it go back."""
        engine = fastfw.Engine()
        send(engine, [1])
        engine.expire(31 * SECOND)
        assert (engine.conntrack_count, engine.now) == (0, 31 * SECOND)
        engine.expire(5 * SECOND)
        assert engine.now == 31 * SECOND
        engine.expire()
        assert engine.now > 31 * SECOND


class TestCounters:
    """What is counted, by name."""

    def test_what_is_counted(self) -> None:
        """Each event moves its own counter, and each reason is counted under its name."""
        engine = fastfw.Engine()
        send(engine, [1, 2, 1])
        send(engine, [1], reply=True)
        engine.decide(p.tcp_packet(CLIENT, SERVER, 7, 8, p.FIN), now=SECOND)
        engine.decide(p.icmp_packet(SERVER6, CLIENT6, 135, 0, payload=CLIENT6), now=SECOND)
        engine.decide(p.icmp_packet(SERVER, CLIENT, 3, 3, payload=p.udp_packet(CLIENT, SERVER, 1, 2)), now=SECOND)
        engine.expire(100 * SECOND)
        counted = {name: value for name, value in engine.counters.items() if value}
        assert counted == {
            "found": 4, "insert": 2, "invalid": 2, "untracked": 1, "icmp_error": 1, "expired": 2, "delete": 2,
            "tcp_flags": 1, "icmp_error_unknown": 1,
        }  # fmt: skip


class TestSetUp:
    """An engine is set up once, and not used before."""

    def test_not_set_up(self) -> None:
        """An engine whose __init__ never ran says so instead of judging."""

        class Forgetful(fastfw.Engine):
            def __init__(self) -> None:
                pass

        engine = Forgetful()
        with pytest.raises(RuntimeError, match="not set up"):
            engine.decide(b"\x45")
        with pytest.raises(RuntimeError, match="not set up"):
            engine.process(b"", [], [], [])

    def test_set_up_twice(self) -> None:
        """A second __init__ is refused and loses nothing."""
        engine = fastfw.Engine(settings={"nf_conntrack_max": 10})
        engine.decide(p.udp_packet(b"\1\1\1\1", b"\2\2\2\2", 1, 2), now=SECOND)
        with pytest.raises(RuntimeError, match="once"):
            engine.__init__()  # type: ignore[misc]
        assert engine.conntrack_count == 1

    def test_a_word_is_no_list(self) -> None:
        """One name in a list's place is refused, not read letter by letter; so is what is no helper."""
        with pytest.raises(TypeError, match="helpers: a list of them expected, not 'ftp'"):
            fastfw.Engine(helpers="ftp")
        with pytest.raises(TypeError, match=r"local: a list of them expected, not '192\.0\.2\.1'"):
            fastfw.Engine(local="192.0.2.1")
        with pytest.raises(TypeError, match="a helper's name, a Helper or a Spec expected, not b'ftp'"):
            fastfw.Engine(helpers=[b"ftp"])  # type: ignore[list-item]


def test_decisions_are_written_into_the_array_that_is_given() -> None:
    """`out` is filled and returned, and the decisions are those of an engine that made the array itself."""
    data, offset, length = pack([PACKETS["UDP"], PACKETS["echo"], b"\0"])
    out = np.zeros(3, fastfw.core.engine.DECISION)
    given = fastfw.Engine().process(data, offset, length, np.zeros(3, np.int64), out=out)
    made = fastfw.Engine().process(data, offset, length, np.zeros(3, np.int64))
    assert given is out
    assert (given == made).all()
    assert given["verdict"].tolist() == [1, 1, 2]


def unwritable() -> npt.NDArray[np.void]:
    """Three records that nobody may write."""
    array = np.zeros(3, fastfw.core.engine.DECISION)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.zeros(2, fastfw.core.engine.DECISION),
        np.zeros((3, 1), fastfw.core.engine.DECISION),
        np.zeros(6, fastfw.core.engine.DECISION)[::2],
        np.zeros(3 * 16 + 1, np.uint8)[1:].view(fastfw.core.engine.DECISION),
        np.zeros(3, "V16"),
        np.zeros(48, np.uint8),
        unwritable(),
        bytearray(48),
    ],
    ids=["too few", "two dimensions", "every second", "not aligned", "opaque", "bytes", "read only", "no array"],
)
def test_an_array_that_decisions_do_not_fit_is_refused(out: object) -> None:
    """`out` of another size, form or type is a ValueError that says what is expected, and nothing is judged."""
    data, offset, length = pack([PACKETS["UDP"], PACKETS["echo"], b"\0"])
    engine = fastfw.Engine()
    with pytest.raises(ValueError, match="writable array of 3 records"):
        engine.process(data, offset, length, np.zeros(3, np.int64), out=out)  # type: ignore[arg-type]
    assert engine.conntrack_count == 0
