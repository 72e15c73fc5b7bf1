"""What a capture's frames say: addresses and packet types, for rules that ask for them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from drivers import capfiles as cf
from fastfw import Capture
from fastfw.core.declared import LinkBit, LinkType
from fastfw.core.engine import LINK

TARGET, SOURCE = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
BOTH = int(LinkBit.LINK_SOURCE) | int(LinkBit.LINK_TARGET)


def links(linktype: int, *records: bytes) -> list[tuple[bytes, bytes, int, int]]:
    capture = Capture.from_bytes(cf.pcap([cf.record(one) for one in records], linktype=linktype))
    found = capture.links()
    assert found.dtype == LINK
    return [(one["target"].tobytes(), one["source"].tobytes(), int(one["type"]), int(one["known"])) for one in found]


def cooked(kind: int, hardware: int, size: int, second: bool) -> tuple[int, bytes]:
    """A Linux cooked record and its link type."""
    address = SOURCE + bytes(2)
    if second:
        return 276, struct.pack(">HHIHBB8s", 0x0800, 0, 2, hardware, kind, size, address) + cf.IPV4
    return 113, struct.pack(">HHH8sH", kind, hardware, size, address, 0x0800) + cf.IPV4


@pytest.mark.parametrize(
    "frame",
    [cf.ethernet, cf.snap, cf.pppoe, lambda p: cf.ethernet(p, tags=(0x88A8, 0x8100))],
    ids=["plain", "snap", "pppoe", "tags"],
)
def test_ethernet_has_both_addresses(frame: object) -> None:
    """Whatever lies between the addresses and the packet, both are found."""
    record = frame(cf.IPV4)  # type: ignore[operator]
    assert links(1, record) == [(TARGET, SOURCE, LinkType.LINK_HOST, BOTH)]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("ffffffffffff", LinkType.LINK_BROADCAST),
        ("01005e000001", LinkType.LINK_MULTICAST),
        ("ffffffffff00", LinkType.LINK_MULTICAST),
        ("fffffffffffe", LinkType.LINK_HOST),
    ],
)
def test_ethernet_destination_is_the_packet_type(target: str, kind: int) -> None:
    """All ones are for everybody, a set lowest bit of the first byte is a group's, all else is the host's."""
    if target == "fffffffffffe":
        target = "fe" + target[2:]
    frame = bytes.fromhex(target) + cf.ethernet(cf.IPV4)[6:]
    assert links(1, frame)[0][2] == kind


@pytest.mark.parametrize("second", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("kind", range(6))
def test_cooked_has_the_packet_type_and_the_source(second: bool, kind: int) -> None:
    """Packet types are the kernel's own; what the host sent itself (4 and above) came in no frame."""
    linktype, record = cooked(kind, 1, 6, second)
    sent = kind > LinkType.LINK_OTHERHOST
    want = (bytes(6), bytes(6), 0, 0) if sent else (bytes(6), SOURCE, kind, int(LinkBit.LINK_SOURCE))
    assert links(linktype, record) == [want]


@pytest.mark.parametrize("second", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize(("hardware", "size"), [(772, 6), (1, 4), (1, 0), (512, 0)])
def test_cooked_source_is_known_of_ethernet_alone(second: bool, hardware: int, size: int) -> None:
    """Other hardware's addresses, the loopback device's among them, are none that a rule can ask for."""
    linktype, record = cooked(1, hardware, size, second)
    assert links(linktype, record) == [(bytes(6), bytes(6), LinkType.LINK_BROADCAST, 0)]


@pytest.mark.parametrize(("linktype", "record"), [(101, cf.IPV4), (228, cf.IPV4), (0, b"\2\0\0\0" + cf.IPV4)])
def test_without_frames_nothing_is_said(linktype: int, record: bytes) -> None:
    """Raw and loopback captures hold no frames, and say so."""
    assert links(linktype, record) == [(bytes(6), bytes(6), 0, 0)]
    assert not Capture.from_bytes(cf.pcap([cf.record(record)], linktype=linktype)).framed


def test_each_record_by_its_own_interface() -> None:
    """One pcapng file may hold several framings; records without a packet say nothing, and a part is a part."""
    arp = cf.ethernet(cf.IPV4, ethertype=0x0806)
    file = [cf.section(), cf.interface(101), cf.interface(1), cf.interface(113), cf.enhanced(cf.IPV4, 1, port=0),
            cf.enhanced(cf.ethernet(cf.IPV6), 2, port=1), cf.enhanced(arp, 3, port=1),
            cf.enhanced(cf.cooked(cf.IPV4), 4, port=2)]  # fmt: skip
    capture = Capture.from_bytes(b"".join(file))
    assert capture.links()["known"].tolist() == [0, BOTH, 0, int(LinkBit.LINK_SOURCE)]
    assert capture.links(slice(1, 3))["known"].tolist() == [BOTH, 0]
    assert capture.link_size.tolist() == [0, 14, 0, 16]
    assert not capture.framed
    assert len(capture.links(slice(0, 0))) == 0
    assert np.array_equal(capture.links(slice(0, None, 2)), capture.links()[::2])
