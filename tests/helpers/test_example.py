"""The shipped example: a capture that fits its ruleset, and a ruleset the real iptables loads."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GATEWAY = bytes((172, 16, 6, 61))


def records() -> Iterator[bytes]:
    data = (EXAMPLES / "gateway.pcap").read_bytes()
    magic, _, _, _, _, _, linktype = struct.unpack_from("<IHHiIII", data)
    assert (magic, linktype) == (0xA1B2C3D4, 1), "a little-endian pcap of Ethernet frames"
    at = 24
    while at < len(data):
        _, _, captured, wire = struct.unpack_from("<IIII", data, at)
        assert captured == wire, "no record is cut"
        yield data[at + 16 : at + 16 + captured]
        at += 16 + captured


def ones_complement_sum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_capture_is_small_and_its_checksums_are_right_but_for_the_spoilt_one() -> None:
    """A capture taken with checksum offload would be INVALID nearly everywhere; only the one forged packet is wrong."""
    wrong, protocols, addresses, count = [], set(), set(), 0
    for frame in records():
        count += 1
        if frame[12:14] != b"\x08\x00":
            assert frame[12:14] == b"\x08\x06", "only IPv4 and ARP"
            continue
        length = struct.unpack_from("!H", frame, 16)[0]
        packet = frame[14 : 14 + length]
        assert ones_complement_sum(packet[:20]) == 0xFFFF
        protocols.add(packet[9])
        addresses.update({packet[12:16], packet[16:20]})
        pseudo = packet[12:20] + struct.pack("!BBH", 0, packet[9], length - 20) if packet[9] != 1 else b""
        if ones_complement_sum(pseudo + packet[20:]) != 0xFFFF:
            wrong.append(packet)
    assert 300 < count < 5000
    assert protocols == {1, 6, 17}
    assert addresses == {GATEWAY, bytes((172, 16, 6, 62)), bytes((172, 16, 6, 11))}
    assert len(wrong) == 1


def test_capture_holds_what_the_example_is_about() -> None:
    """SSH, web, both passive forms of FTP, pings, a scan of a hundred ports and the strays are all in it."""
    text = (EXAMPLES / "gateway.pcap").read_bytes()
    for word in (
        b"SSH-2.0-",
        b"GET / HTTP/1.",
        b"227 Entering Passive Mode (172,16,6,61,",
        b"229 Entering Extended",
        b"STOR ",
    ):
        assert word in text
    flags_to_gateway = []
    scanned = set()
    for frame in records():
        if frame[12:14] == b"\x08\x00" and frame[23] == 6 and frame[30:34] == GATEWAY:
            flags_to_gateway.append(frame[47] & 0x3F)
            if flags_to_gateway[-1] == 2:
                scanned.add(struct.unpack_from("!H", frame, 36)[0])
    assert set(range(1, 101)) <= scanned
    assert {0x16, 0x11, 0x03, 0x00, 0x29} <= set(flags_to_gateway)


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("iptables-legacy-restore"), reason="needs root and iptables")
def test_iptables_loads_the_ruleset_and_prints_it_alike() -> None:
    """What iptables-save prints after loading the example is the example, comments aside."""
    command = "iptables-legacy-restore && iptables-legacy-save -t filter"
    text = (EXAMPLES / "gateway.rules").read_text()
    saved = subprocess.run(
        ["unshare", "--net", "sh", "-c", command], input=text, capture_output=True, text=True, check=True
    )

    def rules(lines: str) -> list[str]:
        return [line for line in lines.splitlines() if not line.startswith("#")]

    assert rules(saved.stdout) == rules(text)


def test_counters_belong_to_the_ruleset() -> None:
    """The counters kept beside the capture are those of the shipped rules, in order, and count its IPv4 packets."""
    rules = [line for line in (EXAMPLES / "gateway.rules").read_text().splitlines() if line.startswith("-A")]
    counted = [line.split(" ", 1) for line in (EXAMPLES / "gateway.counters").read_text().splitlines() if "-A" in line]
    assert [rule for _, rule in counted] == rules
    decided = sum(int(count[1:].split(":")[0]) for count, rule in counted if "-j LOG" not in rule)
    policies = [line.split() for line in (EXAMPLES / "gateway.counters").read_text().splitlines() if line[0] == ":"]
    decided += sum(int(line[2][1:].split(":")[0]) for line in policies)
    assert decided == sum(frame[12:14] == b"\x08\x00" for frame in records())


def test_a_replay_counts_what_the_kernel_counted(tmp_path: Path) -> None:
    """Every rule and policy has the packets and bytes the kernel gave it while the capture was recorded."""
    counters = tmp_path / "counters"
    command = [sys.executable, "-m", "fastfw", "replay", str(EXAMPLES / "gateway.pcap"), "--helper", "ftp"]
    command += ["--rules", str(EXAMPLES / "gateway.rules"), "--local", "172.16.6.61", "--counters", str(counters)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in counters.read_text().splitlines() if not line.startswith("#")]
    assert lines == (EXAMPLES / "gateway.counters").read_text().splitlines()
