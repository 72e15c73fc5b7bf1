"""Seed corpora, made from what the fuzzers' formats are and from the shipped example."""

from __future__ import annotations

from pathlib import Path

from fuzz.packets import echo, ip, tcp, udp

EXAMPLES = Path(__file__).parents[1] / "examples"

TALK = [
    tcp(1, 2, 4000, 21, 0x02, 99, 0),
    tcp(2, 1, 21, 4000, 0x12, 499, 100),
    tcp(1, 2, 4000, 21, 0x10, 100, 500),
    tcp(2, 1, 21, 4000, 0x18, 500, 100, b"227 Entering Passive Mode (10,0,0,2,4,1)\r\n"),
    tcp(1, 2, 4001, 1025, 0x02, 7, 0),
    tcp(1, 2, 4000, 21, 0x11, 100, 540),
    tcp(2, 1, 21, 4000, 0x04, 540, 0),
]
OTHERS = [
    udp(1, 2, 4000, 53, b"?"),
    udp(2, 1, 53, 4000, b"!"),
    echo(1, 2, 7),
    echo(2, 1, 7, reply=True),
    ip(1, 2, 1, b"\x03\x03\0\0\0\0\0\0" + udp(1, 2, 4000, 53)),
    ip(47, 1, 2, b"\x30\x81\x88\x0b\0\0\0\x05\0\0\0\0"),
    ip(132, 1, 2, b"\x10\0\x20\0\0\0\0\0\0\0\0\0\x01\0\0\x14" + bytes(16)),
    b"\x60\0\0\0\0\x08\x11\x40" + b"\xfd" + bytes(14) + b"\x01\xfd" + bytes(14) + b"\x02\x10\0\x20\0\0\x08\0\0",
]


def record(packet: bytes, how: int = 0x50) -> bytes:
    """One record of a `sequence` input."""
    padded = packet + bytes(-len(packet) % 4)
    return bytes([how, len(padded) // 4]) + padded


def write(into: Path) -> None:
    """One directory a target below `into`."""
    rules = (EXAMPLES / "gateway.rules").read_bytes()
    seeds = {
        "packet": TALK + OTHERS,
        "sequence": [b"".join(map(record, TALK)), b"".join(map(record, OTHERS)), b"".join(map(record, TALK + OTHERS))],
        "ruleset": [rules, *(b"*filter\n" + line + b"\nCOMMIT\n" for line in rules.splitlines() if line[:1] == b"-")],
        "capture": [(EXAMPLES / "gateway.pcap").read_bytes()[:4000]],
        "helper": [
            bytes([number, side]) + text
            for number in range(12)
            for side, text in (
                (1, b"227 ok (10,0,0,2,4,1)\r\n"),
                (0, b"PORT 10,0,0,1,4,1\r\n"),
                (0, b"\0\1file\0octet\0"),
            )
        ],
    }
    for target, inputs in seeds.items():
        folder = into / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number}").write_bytes(data)
