"""Connections changed and expectations forgotten by hand, and packets told apart by the connection they name."""

from __future__ import annotations

import numpy as np
import pytest
from tests.kernel.oracle import pack
from tests.traffic import packets as p

import fastfw
from fastfw.core.engine import LINK
from fastfw.core.explain import keys, watched
from fastfw.core.snapshot import change, entries, forget_expectations

SECOND = 1_000_000_000
A, B = p.address("10.1.0.1"), p.address("10.2.0.1")


def engine(**settings: int) -> fastfw.Engine:
    """Two connections of UDP."""
    fw = fastfw.Engine(settings=settings, helpers=["tftp"])
    for port in (1, 2):
        fw.decide(p.udp_packet(A, B, port, 53), now=SECOND)
    return fw


@pytest.mark.parametrize("counting", [0, 1])
def test_change(counting: int) -> None:
    """Mark under a mask, time left and status of connections are changed, who listens is told of each, and one that is
    no longer where it was, or was never there, is left alone."""
    fw = engine(nf_conntrack_acct=counting)
    fw.watch(10)
    table, indices, _ = entries(fw)
    assert change(fw, table, indices, mark=0xABCD, mark_mask=0xFF00, timeout=1000, status=0) == 2
    assert [(each.mark, each.timeout) for each in fw.connections()] == [(0xAB00, 1000)] * 2
    assert [event.kind for event in fw.events()[0]] == ["UPDATE"] * 2
    # change nothing but the mark: the time stays
    assert change(fw, table[:1], indices[:1], mark=1, mark_mask=0xFFFFFFFF) == 1
    assert sorted(each.mark for each in fw.connections()) == [1, 0xAB00]
    assert change(fw, table, indices[::-1].copy(), mark=7, mark_mask=0xFF) == 0
    assert change(fw, table, np.array([0, 10**6], np.uint32), mark=7, mark_mask=0xFF) == 0
    assert change(fw, table[:0], indices[:0]) == 0
    fw.flush()
    assert change(fw, table, indices, mark=7, mark_mask=0xFF) == 0


def test_forget_expectations() -> None:
    """What helpers announced is waited for no longer; the connections stay."""
    fw = engine()
    fw.decide(p.udp_packet(A, B, 2000, 69, b"\0\1f\0octet\0"), now=SECOND)
    assert len(list(fw.expectations())) == 1
    forget_expectations(fw)
    assert list(fw.expectations()) == []
    assert fw.conntrack_count == 3
    assert fw.decide(p.udp_packet(B, A, 3000, 2000, b"\0\3\0\1x"), now=SECOND).state == "NEW"


def test_keys() -> None:
    """Packets of one connection have one key, whatever their direction; what names none has zeros, also where there is
    nothing of it."""
    packets = [p.udp_packet(A, B, 1, 2), p.udp_packet(B, A, 2, 1), p.udp_packet(A, B, 1, 3), b"", b"\x45" + bytes(30)]
    data, offset, length = pack(packets)
    found = keys(data, offset, length, length)
    assert found[0] == found[1] != found[2]
    assert not any(found[3].tobytes() + found[4].tobytes())
    with pytest.raises(ValueError, match="one item a packet"):
        keys(data, offset, length[:1], length)
    with pytest.raises(ValueError, match="packet 1 lies outside"):
        keys(data, np.array([0, len(data)], np.uint64), np.array([1, 1], np.uint32), np.array([1, 1], np.uint32))


def test_packets_of_4_gib() -> None:
    """A packet has less than 4 GiB: more is refused before it is looked at. (The memory is never touched.)"""
    huge = np.zeros(1 << 32, np.uint8)
    with pytest.raises(ValueError, match="shorter than 4 GiB"):
        fastfw.Engine().decide(huge, now=1)
    with pytest.raises(ValueError, match="shorter than 4 GiB"):
        watched(fastfw.Engine(), huge, 0, 1, "", "", 1)


def test_frame_of_a_watched_packet() -> None:
    """What a frame said of a packet is one record."""
    with pytest.raises(ValueError, match="one record of LINK"):
        watched(fastfw.Engine(), p.udp_packet(A, B, 1, 2), 0, 1, "", "", 1, np.zeros(LINK.itemsize + 1, np.uint8))
