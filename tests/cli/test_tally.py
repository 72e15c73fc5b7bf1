"""Tally: classes and conversations add up to the packets, whatever the packets hold."""

import random
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import capfiles as cf
from fastfw.cli.tally import CLASS_FIELDS, DECISION_SIZE, Tally, numbered_lines
from fastfw.engine import DECISION


def arrays(packets: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = np.frombuffer(b"".join(packets) or b"\0", np.uint8)
    length = np.array([len(p) for p in packets], np.uint32)
    offset = np.concatenate([[0], np.cumsum(length[:-1])]).astype(np.uint64) if packets else np.empty(0, np.uint64)
    return data, offset, length


def add(tally: Tally, packets: list[bytes], decisions: np.ndarray | None = None) -> np.ndarray:
    data, offset, length = arrays(packets)
    if decisions is None:
        decisions = np.zeros(len(packets), DECISION)
    zeros = np.zeros(len(packets), np.uint8)
    return tally.add(data, offset, length, length, zeros, None, 0, decisions.view(np.uint8))


def test_layout_is_the_engines() -> None:
    """The tally reads the engine's result records byte for byte."""
    assert DECISION.itemsize == DECISION_SIZE
    decisions = np.zeros(1, DECISION)
    expected = {"verdict": 2, "state": 3, "direction": 1, "assured": 1, "seen_reply": 1, "expected": 1, "rule": -7}
    for name, value in {**expected, "reason": 300, "mark": 0xFFFFFFFF}.items():
        decisions[name] = value
    tally = Tally()
    assert add(tally, [cf.IPV4], decisions).tolist() == [0]
    (row,) = tally.classes_from(0)
    found = dict(zip(CLASS_FIELDS, row, strict=True))
    assert found == {
        **expected,
        "reason": 300,
        "family": 4,
        "protocol": 17,
        "hook": 0,
        "link_reason": 0,
        "packets": 1,
        "bytes": 28,
    }


@given(
    st.lists(
        st.binary(max_size=90)
        | st.binary(max_size=90).map(lambda b: cf.IPV6[:6] + b)
        | st.binary(max_size=90).map(lambda b: cf.IPV4[:9] + b),
        max_size=30,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_bytes(packets: list[bytes]) -> None:
    """Random packets are all counted, in classes and conversations that sum up, and none is read past its end."""
    tally = Tally(bytes(4), bytes(16))
    numbers = add(tally, packets)
    rows = tally.classes_from(0)
    assert sum(row[-2] for row in rows) == len(packets)
    assert Counter(numbers.tolist()) == {i: row[-2] for i, row in enumerate(rows)}
    flows = tally.top_flows(1000)
    assert len(flows) == tally.flow_count
    assert sum(flow[6] for flow in flows) == sum(row[-2] for row in rows if row[8])
    data, offset, length = arrays(packets)
    assert set(tally.hooks(data, offset, length).tolist()) <= {0, 1, 2}


def test_a_record_of_nothing() -> None:
    """A record without a byte, at the data's very end, is counted and nothing of it is read."""
    tally = Tally()
    byte, none = np.zeros(1, np.uint8), np.zeros(1, np.uint32)
    decisions = np.zeros(1, DECISION).view(np.uint8)
    numbers = tally.add(np.empty(0, np.uint8), np.zeros(1, np.uint64), none, none, byte, None, 0, decisions)
    assert numbers.tolist() == [0]
    assert tally.flow_count == 0


def test_many_classes_and_conversations() -> None:
    """Both tables grow and still tell everything apart, over batches."""
    rng = random.Random(7)
    tally = Tally()
    expected: Counter[tuple[int, int]] = Counter()
    talks: Counter[frozenset[tuple[bytes, int]]] = Counter()
    for _ in range(20):
        packets, rules = [], []
        for _ in range(2000):
            rule, reason = rng.randrange(-1, 2000), rng.randrange(3)
            ends = [(rng.randbytes(1).rjust(4, b"\x0a"), rng.randrange(1, 50)) for _ in range(2)]
            packets.append(cf.IPV4[:12] + ends[0][0] + ends[1][0] + struct.pack(">HHHH", ends[0][1], ends[1][1], 8, 0))
            rules.append((rule, reason))
            expected[rule, reason] += 1
            talks[frozenset(ends)] += 1
        decisions = np.zeros(len(packets), DECISION)
        decisions["rule"], decisions["reason"] = zip(*rules, strict=True)
        numbers = add(tally, packets, decisions)
        rows = tally.classes_from(0)
        assert [(rows[n][7], rows[n][6]) for n in numbers] == rules
    assert {(row[7], row[6]): row[-2] for row in tally.classes_from(0)} == expected
    flows = tally.top_flows(1 << 20)
    assert {frozenset([(f[2], f[3]), (f[4], f[5])]): f[6] for f in flows} == talks
    assert tally.flow_count == len(talks)


def test_conversations_are_named_by_their_first_packet() -> None:
    """Both directions are one conversation, told from the side that spoke first; refusals are counted."""
    there = cf.IPV4[:12] + b"\x0a\0\0\x09" + b"\x0a\0\0\x01" + struct.pack(">HHHH", 5000, 53, 8, 0)
    back = cf.IPV4[:12] + b"\x0a\0\0\x01" + b"\x0a\0\0\x09" + struct.pack(">HHHH", 53, 5000, 8, 0)
    decisions = np.zeros(3, DECISION)
    decisions["verdict"] = [1, 2, 3]
    tally = Tally()
    add(tally, [there, back, there], decisions)
    assert tally.top_flows(5) == [(4, 17, b"\x0a\0\0\x09", 5000, b"\x0a\0\0\x01", 53, 3, 84, 2)]


def test_ipv6_behind_extension_headers() -> None:
    """The transport and its ports are found behind hop-by-hop, routing, fragment and destination headers."""
    ports = struct.pack(">HHHH", 1, 2, 8, 0)
    chain = b"\x2b\0" + bytes(6) + b"\x2c\0" + bytes(6) + b"\x3c\0\0\1" + bytes(4) + b"\x11\0" + bytes(6)
    packet = cf.IPV6[:4] + struct.pack(">HBB", len(chain) + 8, 0, 64) + cf.IPV6[8:40] + chain + ports
    tally = Tally()
    add(tally, [packet, packet[:60]])
    assert [row[9] for row in tally.classes_from(0)] == [17, 44]
    assert (tally.top_flows(1)[0][3], tally.top_flows(1)[0][5]) == (1, 2)


def test_arrays_that_do_not_fit_are_refused() -> None:
    """Packets outside the data or arrays of different length raise instead of reading."""
    tally = Tally()
    data, offset, length = arrays([cf.IPV4])
    with pytest.raises(ValueError, match="outside"):
        tally.hooks(data, offset + np.uint64(1), length)
    with pytest.raises(ValueError, match="one item"):
        tally.hooks(data, offset, length[:0])
    with pytest.raises(IndexError):
        numbered_lines(np.array([3], np.uint32), 0, [b"\n"])


@pytest.mark.parametrize("first", [0, 8, 9, 98, 99_999_998, 2**63])
def test_numbers_of_lines(first: int) -> None:
    """Lines are numbered on from any number."""
    lines = bytes(numbered_lines(np.array([0, 1] * 6, np.uint32), first, [b",a\n", b",b\n"]))
    assert lines == b"".join(b"%d,%c\n" % (first + i, b"ab"[i % 2]) for i in range(12))
