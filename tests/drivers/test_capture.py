"""Capture: every flavour of pcap and pcapng, every link type, and what is odd about real files."""

import gzip
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from drivers import capfiles as cf
from fastfw.drivers.capture import LINK_REASONS, Capture, CaptureError
from fastfw.drivers.pcapwrite import write_pcap

T = 1_700_000_000_123_456_000


def packets(cap: Capture) -> list[bytes]:
    return [cap.data[int(o) : int(o) + int(n)].tobytes() for o, n in zip(cap.offset, cap.length, strict=True)]


def reasons(cap: Capture) -> list[str]:
    return [LINK_REASONS[i] for i in cap.link_reason]


SAMPLE = [cf.record(cf.IPV4, T), cf.record(cf.IPV6, T + 1_000_000), cf.record(cf.IPV4[:24], T + 2_000_000, wire=28)]

FLAVOURS = {
    f"pcap{order}{nano}{modified}": cf.pcap(SAMPLE, order=order, nano=nano, modified=modified)
    for order in "<>"
    for nano, modified in ((False, False), (True, False), (False, True))
} | {f"pcapng{order}": cf.pcapng(SAMPLE, order=order) for order in "<>"}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_gives_the_same_records(flavour: str) -> None:
    """Byte order, resolution and container must not change what is read."""
    cap = Capture.from_bytes(FLAVOURS[flavour])
    assert packets(cap) == [cf.IPV4, cf.IPV6, cf.IPV4[:24]]
    assert cap.time_ns.tolist() == [T, T + 1_000_000, T + 2_000_000]
    assert cap.wire_length.tolist() == [28, 48, 28]
    assert cap.interface.tolist() == [0, 0, 0]
    assert cap.warnings == ["1 of 3 records were cut by the snap length"]


def test_array_types_and_read_only_data(tmp_path: Path) -> None:
    """The arrays have the types the engine takes, the file cannot be written through `data`, and `data` is the file."""
    path = tmp_path / "a.pcap"
    path.write_bytes(FLAVOURS["pcapng<"])
    with Capture(path) as cap:
        assert [cap.data.dtype, cap.offset.dtype, cap.length.dtype] == [np.uint8, np.uint64, np.uint32]
        assert [cap.wire_length.dtype, cap.time_ns.dtype] == [np.uint32, np.int64]
        assert cap.data.flags.c_contiguous
        assert not cap.data.flags.writeable
        assert cap.data.tobytes() == path.read_bytes()
        assert cap.source == str(path)
        assert len(cap) == 3
        kept = cap.data
    cap.close()
    assert kept.tobytes() == path.read_bytes()
    with pytest.raises(AttributeError):
        _ = cap.data
    assert "closed" in repr(cap)


def test_data_of_a_writable_buffer_is_read_only() -> None:
    """from_bytes must not hand out a way to write into the caller's buffer."""
    assert not Capture.from_bytes(bytearray(FLAVOURS["pcap<FalseFalse"])).data.flags.writeable


FRAMES = {
    "ethernet": (1, cf.ethernet),
    "vlan": (1, lambda p: cf.ethernet(p, tags=(0x8100,))),
    "qinq": (1, lambda p: cf.ethernet(p, tags=(0x88A8, 0x8100))),
    "9100": (1, lambda p: cf.ethernet(p, tags=(0x9100, 0x9100, 0x8100))),
    "eight tags": (1, lambda p: cf.ethernet(p, tags=(0x8100,) * 8)),
    "snap": (1, cf.snap),
    "pppoe": (1, cf.pppoe),
    "raw 101": (101, bytes),
    "raw 12": (12, bytes),
    "raw 14": (14, bytes),
    "cooked": (113, cf.cooked),
    "cooked2": (276, cf.cooked2),
    "null le": (0, lambda p: struct.pack("<I", 30 if p[0] >> 4 == 6 else 2) + p),
    "null be": (0, lambda p: struct.pack(">I", 24 if p[0] >> 4 == 6 else 2) + p),
    "null 28": (0, lambda p: struct.pack("<I", 28 if p[0] >> 4 == 6 else 2) + p),
    "loop": (108, lambda p: struct.pack(">I", 10 if p[0] >> 4 == 6 else 2) + p),
    "fcs bits": (0x54000001, cf.ethernet),
}


@pytest.mark.parametrize("ip", [cf.IPV4, cf.IPV6], ids=["v4", "v6"])
@pytest.mark.parametrize("name", FRAMES)
def test_link_types(name: str, ip: bytes) -> None:
    """Behind each kind of link header the packet is found, and cut anywhere in the header it is called truncated."""
    linktype, frame = FRAMES[name]
    whole = frame(ip)
    header = len(whole) - len(ip)
    cap = Capture.from_bytes(
        cf.pcap(
            [cf.record(whole, wire=len(whole) + 100), *(cf.record(whole[:n]) for n in range(header + 1))],
            linktype=linktype,
        )
    )
    assert packets(cap)[0] == ip
    assert cap.wire_length[0] == len(ip) + 100
    assert reasons(cap) == [""] + ["link_truncated"] * (header + 1)
    assert not cap.length[1:].any()


@pytest.mark.parametrize(("linktype", "packet", "other"), [(228, cf.IPV4, cf.IPV6), (229, cf.IPV6, cf.IPV4)])
def test_link_types_of_one_ip_version(linktype: int, packet: bytes, other: bytes) -> None:
    """A link that carries one version only refuses the other."""
    cap = Capture.from_bytes(cf.pcap([cf.record(packet), cf.record(other)], linktype=linktype))
    assert reasons(cap) == ["", "ip_version_mismatch"]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (cf.ethernet(bytes(28), 0x0806), "arp"),
        (cf.ethernet(bytes(28), 0x0806, tags=(0x8100,)), "arp"),
        (cf.ethernet(bytes(46), 0x88CC), "not_ip"),
        (cf.MACS + b"\0\x26\x42\x42\x03" + bytes(35), "not_ip"),
        (cf.MACS + b"\0\x26\xaa\xaa\x03\0\0\x0c\x20\0" + bytes(35), "not_ip"),
        (cf.MACS + b"\x06\x00" + cf.IPV4, "not_ip"),
        (cf.ethernet(cf.IPV4, tags=(0x8100,) * 9), "too_many_vlan_tags"),
        (cf.ethernet(cf.IPV6, 0x0800), "ip_version_mismatch"),
        (cf.ethernet(cf.IPV4, 0x86DD), "ip_version_mismatch"),
        (cf.ethernet(bytes.fromhex("110900000000"), 0x8864), "not_ip"),
        (cf.ethernet(bytes.fromhex("1100000000 06 c021".replace(" ", "")), 0x8864), "not_ip"),
    ],
)
def test_frames_without_ip(frame: bytes, reason: str) -> None:
    """A record that is no IP packet keeps its number, has length 0 and says why."""
    cap = Capture.from_bytes(cf.pcap([cf.record(frame), cf.record(cf.ethernet(cf.IPV4))], linktype=1))
    assert reasons(cap) == [reason, ""]
    assert cap.length.tolist() == [0, 28]
    assert cap.wire_length.tolist() == [0, 28]
    assert cap.warnings == []


def test_ip_by_its_802_2_service_access_point() -> None:
    """IEEE 802.2 with DSAP and SSAP 6 carries IPv4 without SNAP."""
    cap = Capture.from_bytes(cf.pcap([cf.record(cf.MACS + b"\0\x1f\6\6\3" + cf.IPV4)], linktype=1))
    assert packets(cap) == [cf.IPV4]


def test_bad_ip_version_is_left_to_the_engine() -> None:
    """A version that is neither 4 nor 6 is a bad packet, not a bad link header."""
    cap = Capture.from_bytes(cf.pcap([cf.record(cf.ethernet(b"\x50" + bytes(40), 0x0800))], linktype=1))
    assert cap.length.tolist() == [41]


def test_ethernet_padding_stays_in_length() -> None:
    """`length` is what the record holds; the IP total length tells padding apart."""
    cap = Capture.from_bytes(cf.pcap([cf.record(cf.ethernet(cf.IPV4 + bytes(18)))], linktype=1))
    assert cap.length.tolist() == [46]


def test_loopback_of_unknown_family() -> None:
    """A BSD loopback record of another address family is no IP packet."""
    data = cf.pcap([cf.record(b"\7\0\0\0" + cf.IPV4), cf.record(b"\2\0\0\1" + cf.IPV4)], linktype=0)
    assert reasons(Capture.from_bytes(data)) == ["not_ip", "not_ip"]


def test_old_pcap_with_lengths_in_the_other_order() -> None:
    """Before version 2.3 the length on the wire stood first; 2.3 itself was written both ways."""
    cut = [cf.record(cf.IPV4[:24], wire=28)]
    for version in ((2, 2), (2, 3)):
        cap = Capture.from_bytes(cf.pcap(cut, version=version))
        assert (cap.length.tolist(), cap.wire_length.tolist()) == ([24], [28])


# --- pcapng


def test_pcapng_with_every_kind_of_block() -> None:
    """All packet blocks are read, all other blocks stepped over, and records keep the file's order."""
    data = b"".join(
        [
            cf.section(options=cf.option(4, b"writer")),
            cf.block(4, bytes(16)),
            cf.interface(1, name="eth0", tsresol=6, snaplen=65535),
            cf.interface(101, name="tun0", tsresol=9),
            cf.block(10, b"secrets!"),
            cf.enhanced(cf.ethernet(cf.IPV4), T // 1000, options=cf.option(1, b"comment") + cf.option(0, b"")),
            cf.block(0xBAD, b"\0\0\x7e\xd9custom"),
            cf.enhanced(cf.IPV6, T + 5, port=1),
            cf.simple(cf.ethernet(cf.IPV6)),
            cf.obsolete(cf.ethernet(cf.IPV4), T // 1000 + 7),
            cf.block(5, bytes(12)),
            cf.block(0x40000BAD, bytes(4)),
            cf.block(0xDEADBEEF, b""),
        ]
    )
    cap = Capture.from_bytes(data)
    assert packets(cap) == [cf.IPV4, cf.IPV6, cf.IPV6, cf.IPV4]
    assert cap.time_ns.tolist() == [T, T + 5, 0, T + 7000]
    assert cap.interface.tolist() == [0, 1, 0, 0]
    assert [tuple(i) for i in cap.interfaces] == [("eth0", 1, 6, 65535), ("tun0", 101, 9, 0)]
    assert cap.warnings == []


def test_pcapng_sections_of_different_byte_order() -> None:
    """A new section has its own byte order and numbers its interfaces anew; `interface` counts through."""
    data = cf.pcapng([cf.record(cf.IPV4, T)], order="<")
    data += cf.pcapng([cf.record(cf.ethernet(cf.IPV6), T + 1)], order=">", linktype=1)
    data += cf.pcapng([cf.record(cf.IPV4, T + 2)], order="<")
    cap = Capture.from_bytes(data)
    assert packets(cap) == [cf.IPV4, cf.IPV6, cf.IPV4]
    assert cap.time_ns.tolist() == [T, T + 1, T + 2]
    assert cap.interface.tolist() == [0, 1, 2]
    assert [i.link_type for i in cap.interfaces] == [101, 1, 101]


@pytest.mark.parametrize(
    ("tsresol", "ticks", "expected"),
    [
        (0, 17, 17 * 10**9),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (6, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (9, T, T),
        (12, 5_000_001_999, 5_000_001),
        (28, 10**19, 1),
        (127, 2**64 - 1, 0),
        (128 + 0, 3, 3 * 10**9),
        (128 + 10, 1025, 1_000_976_562),
        (128 + 32, (1700 << 32) | 1 << 31, 1700 * 10**9 + 500_000_000),
        (128 + 63, 2**63 + 2**62, 1_500_000_000),
        (128 + 127, 2**64 - 1, 0),
        (0, 2**64 - 1, 2**63 - 1),
        (9, 2**64 - 1, 2**63 - 1),
        (128 + 1, 2**64 - 1, 2**63 - 1),
    ],
)
def test_pcapng_clock_resolutions(tsresol: int, ticks: int, expected: int) -> None:
    """if_tsresol counts in powers of ten or of two; times that do not fit saturate instead of wrapping."""
    cap = Capture.from_bytes(cf.section() + cf.interface(tsresol=tsresol) + cf.enhanced(cf.IPV4, ticks))
    assert cap.time_ns.tolist() == [expected]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(1_700_000_000, 1_700_000_001 * 10**9), (-1, 0), (2**62, 2**63 - 1), (-(2**62), -(2**63) + 1 + 10**9)],
)
def test_pcapng_clock_offset(offset: int, expected: int) -> None:
    """if_tsoffset adds seconds, of either sign, without wrapping."""
    cap = Capture.from_bytes(cf.section() + cf.interface(tsresol=0, tsoffset=offset) + cf.enhanced(cf.IPV4, 1))
    assert cap.time_ns.tolist() == [expected]


def test_simple_packets_are_cut_by_the_snap_length() -> None:
    """A Simple Packet Block has no captured length: the interface's snap length tells where its padding begins."""
    cap = Capture.from_bytes(cf.section() + cf.interface(snaplen=25) + cf.simple(cf.IPV4[:25], wire=28))
    assert (cap.length.tolist(), cap.wire_length.tolist()) == ([25], [28])


def test_interface_of_unsupported_link_type() -> None:
    """In pcapng only the records of that interface are left out, with one warning that names the number."""
    data = cf.section() + cf.interface(105) + cf.interface(101)
    data += cf.enhanced(bytes(50), 1) + cf.enhanced(cf.IPV4, 2, port=1) + cf.enhanced(bytes(50), 3)
    cap = Capture.from_bytes(data)
    assert reasons(cap) == ["link_type_unsupported", "", "link_type_unsupported"]
    (warning,) = cap.warnings
    assert "105 (IEEE 802.11)" in warning
    assert "1 Ethernet" in warning


def test_records_of_unknown_interfaces_and_lying_blocks() -> None:
    """A record that contradicts its block is counted and named, and those behind it are still read."""
    lying = bytearray(cf.enhanced(cf.IPV4, 1))
    struct.pack_into("<I", lying, 20, 4000)
    data = cf.section() + cf.simple(cf.IPV4) + cf.interface() + cf.enhanced(cf.IPV4, 1, port=7) + bytes(lying)
    data += cf.block(6, bytes(8)) + cf.block(3, b"") + cf.block(2, bytes(16)) + cf.enhanced(cf.IPV4, 9)
    cap = Capture.from_bytes(data)
    assert reasons(cap) == ["interface_unknown"] * 2 + ["record_damaged"] * 4 + [""]
    assert len(cap.warnings) == 2


def test_broken_interface_options_do_not_stop_reading() -> None:
    """Options that run past their block are ignored."""
    options = b"\x02\0\xff\xff" + b"abcd"
    data = cf.section() + cf.block(1, struct.pack("<HHI", 101, 0, 0) + options) + cf.enhanced(cf.IPV4, 1)
    assert packets(Capture.from_bytes(data)) == [cf.IPV4]


# --- unusable and half-usable files


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"\xd4", "neither pcap nor pcapng"),
        (b"hello, world, this is no capture", "neither pcap nor pcapng"),
        (gzip.compress(b"x", mtime=0), "compressed capture (gzip): decompress it first"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed capture (zstd): decompress it first"),
        (b"\xfd7zXZ\0" + bytes(20), "compressed capture (xz)"),
        (cf.pcap([])[:23], "ends inside its header"),
        (
            cf.pcap([], linktype=105),
            "unsupported link type 105 (IEEE 802.11); supported are 0 BSD loopback, 1 Ethernet",
        ),
        (cf.pcap([], linktype=9999), "unsupported link type 9999"),
        (cf.pcap([], version=(1, 0)), "pcap version 1.0"),
        (cf.section()[:11], "section header"),
        (cf.section()[:20], "section header"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "byte-order magic"),
        (cf.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)), "pcapng version 2.0"),
        (struct.pack("<IIIHHq", 0x0A0D0D0A, 8, 0x1A2B3C4D, 1, 0, -1) + bytes(40), "impossible length of 8"),
    ],
)
def test_unusable_files(data: bytes, words: str) -> None:
    """What cannot be used is a CaptureError of one line that says what is wrong."""
    with pytest.raises(CaptureError) as caught:
        Capture.from_bytes(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing files and directories stay OSErrors; devices are refused instead of read for ever."""
    with pytest.raises(FileNotFoundError):
        Capture(tmp_path / "missing.pcap")
    with pytest.raises(IsADirectoryError):
        Capture(tmp_path)
    with pytest.raises(CaptureError, match="neither a regular file nor a pipe"):
        Capture("/dev/zero")
    (tmp_path / "empty.pcap").touch()
    with pytest.raises(CaptureError, match="empty file"):
        Capture(tmp_path / "empty.pcap")


def test_pipe() -> None:
    """A pipe is read to its end, as for `fastfw replay <(zcat ...)`."""
    read, write = os.pipe()
    os.write(write, FLAVOURS["pcap<FalseFalse"])
    os.close(write)
    try:
        assert len(Capture(f"/dev/fd/{read}")) == 3
    finally:
        os.close(read)


def test_trailing_zeros() -> None:
    """Zeros behind the last record, as a crash leaves them, are one warning and no records."""
    for flavour, data in FLAVOURS.items():
        cap = Capture.from_bytes(data + bytes(4096))
        assert len(cap) == 3, flavour
        assert any("trailing garbage: 4096 zero bytes" in w for w in cap.warnings)


def test_empty_records_between_others_are_kept() -> None:
    """Records without bytes and without time count as records while something follows."""
    cap = Capture.from_bytes(cf.pcap([cf.record(b"", 0)] * 5 + [cf.record(cf.IPV4)]))
    assert reasons(cap) == ["link_truncated"] * 5 + [""]


def test_impossible_length_stops_reading() -> None:
    """A record longer than any program writes is damage: reading stops with one warning, what was before is kept."""
    data = FLAVOURS["pcap<FalseFalse"] + struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30) + bytes(100)
    cap = Capture.from_bytes(data)
    assert len(cap) == 3
    assert any("impossible" in w for w in cap.warnings)
    for size in (0, 4, 8, 13):
        cap = Capture.from_bytes(FLAVOURS["pcapng<"] + struct.pack("<III", 6, size, size) + b"\1" * 100)
        assert len(cap) == 3
        assert any("impossible" in w for w in cap.warnings)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_truncation_at_every_byte(flavour: str) -> None:
    """Cut anywhere, a file gives its whole records and one warning, or one clear error; never part of a record."""
    whole = FLAVOURS[flavour]
    full = packets(Capture.from_bytes(whole))
    counts = []
    for size in range(len(whole)):
        try:
            cap = Capture.from_bytes(whole[:size])
        except CaptureError:
            counts.append(0)
            continue
        assert packets(cap) == full[: len(cap)]
        assert sum("still being written" in w or "ends inside" in w or "zero bytes" in w for w in cap.warnings) <= 1
        counts.append(len(cap))
    assert counts == sorted(counts)
    assert counts[-1] == 2


def test_growing_file_keeps_its_size(tmp_path: Path) -> None:
    """What is appended after opening is not seen, and a half-written last record is one warning."""
    path = tmp_path / "grows.pcap"
    whole = FLAVOURS["pcap<FalseFalse"]
    path.write_bytes(whole[:-5])
    cap = Capture(path)
    with path.open("ab") as file:
        file.write(whole[-5:])
    assert len(cap) == 2
    assert len(cap.data) == len(whole) - 5
    assert any("still being written" in w for w in cap.warnings)
    assert len(Capture(path)) == 3


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("handler", ["", "import faulthandler; faulthandler.enable()"])
def test_file_cut_while_mapped_reads_as_zeros(tmp_path: Path, handler: str) -> None:
    """Touching what a truncation took away gives zeros and sets `lost`; the process lives."""
    path = tmp_path / "shrinks.pcap"
    path.write_bytes(cf.pcap([cf.record(bytes([69] * 1000))] * 1000))
    done = run(f"""
        {handler}
        import os
        from fastfw.drivers.capture import Capture
        cap = Capture({str(path)!r})
        other = Capture({str(path)!r})
        assert not cap.lost
        os.truncate({str(path)!r}, 8192)
        assert cap.data[-1000:].sum() == 0 and cap.data[100] == 69
        assert cap.lost and not other.lost and len(cap) == 1000
        cap.close(); other.close()
        again = Capture({str(path)!r})
        assert len(again) == 8 and not again.lost
        print("alive")
    """)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.parametrize("handler", ["", "import faulthandler; faulthandler.enable()"])
def test_other_bus_errors_still_end_the_process(tmp_path: Path, handler: str) -> None:
    """A SIGBUS that is none of ours ends the process by SIGBUS as before, whether faulted or sent."""
    path = tmp_path / "a.pcap"
    path.write_bytes(FLAVOURS["pcap<FalseFalse"])
    for deed in ("os.truncate(other.name, 0); bytes(foreign)", "os.kill(os.getpid(), signal.SIGBUS)"):
        done = run(f"""
            {handler}
            import mmap, os, signal, tempfile
            from fastfw.drivers.capture import Capture
            cap = Capture({str(path)!r})
            other = tempfile.NamedTemporaryFile()
            other.write(bytes(8192)); other.flush()
            foreign = memoryview(mmap.mmap(other.fileno(), 8192, access=mmap.ACCESS_READ))
            {deed}
        """)
        assert done.returncode == -7, done


def test_progress_is_told_to_the_end() -> None:
    """`progress` hears bytes done and in all, ending with the whole file; its exceptions come through."""
    calls: list[tuple[int, int]] = []
    data = cf.pcap([cf.record(cf.IPV4)]) + (struct.pack("<IIII", 5, 0, 0, 0)) * (1 << 20)
    cap = Capture.from_bytes(data, progress=lambda done, total: calls.append((done, total)))
    assert len(cap) == (1 << 20) + 1
    assert len(calls) == 2
    assert calls[-1] == (len(data), len(data))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Capture.from_bytes(data, progress=stop)


def test_write_pcap_is_read_back(tmp_path: Path) -> None:
    """What write_pcap writes, Capture reads: bytes, nanoseconds, link type and wire length."""
    path = tmp_path / "w.pcap"
    assert write_pcap(path, [cf.IPV4, cf.IPV6], [T + 1, T + 2], wire_length=[28, 99]) == 2
    cap = Capture(path)
    assert packets(cap) == [cf.IPV4, cf.IPV6]
    assert cap.time_ns.tolist() == [T + 1, T + 2]
    assert cap.wire_length.tolist() == [28, 99]
    assert write_pcap(path, [cf.ethernet(cf.IPV4)], [0], linktype=1) == 1
    assert packets(Capture(path)) == [cf.IPV4]
    with pytest.raises(ValueError, match="time_ns"):
        write_pcap(path, [cf.IPV4], [-1])
    with pytest.raises(ValueError, match="zip"):
        write_pcap(path, [cf.IPV4], [])
