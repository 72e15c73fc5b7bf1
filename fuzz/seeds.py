"""Seed corpora, made from what the fuzzers' formats are and from the shipped example."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from fuzz.packets import echo, ip, tcp, udp
from fuzz.rules import FOLDER
from tests.drivers import capfiles

import fastfw
from fastfw.core.snapshot import entries
from fastfw.gateway.protocol import Request, encode
from fastfw.helpers import known

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


QUEUE_PACKET = 0x300
MESSAGE_ERROR = 2


def record(packet: bytes, how: int = 0x50) -> bytes:
    """One record of a `sequence` input."""
    padded = packet + bytes(-len(packet) % 4)
    return bytes([how, len(padded) // 4]) + padded


def fragment(datagram: int, offset: int, payload: bytes, *, more: bool, six: bool = False, proto: int = 17) -> bytes:
    """One record of a `fragments` input: `offset` and the payload's length in eights."""
    how = six | more << 1 | datagram << 3
    return struct.pack(">BHBBBB", how, offset, len(payload) // 8, len(payload) % 8, proto, len(payload)) + payload


def datagrams() -> list[bytes]:
    """Whole, out of order, twice, overlapping, with a hole, and of both families."""
    head = struct.pack(">HHHH", 4000, 53, 40, 0)
    inputs = []
    for six in (False, True):
        first = fragment(1, 0, head + bytes(16), more=True, six=six)
        second = fragment(1, 3, b"x" * 8, more=True, six=six)
        third = fragment(1, 4, b"y" * 8, more=False, six=six)
        over = fragment(1, 2, b"z" * 16, more=True, six=six)
        inputs += [
            first + second + third,
            third + second + first,
            first + first + second + second + third,
            first + over + third,
            first + third,
            first
            + fragment(2, 0, head, more=True, six=six)
            + second
            + third
            + fragment(2, 1, b"", more=False, six=six),
            fragment(1, 0, struct.pack(">HHIIBBHHH", 4000, 80, 1, 0, 0x50, 2, 9, 0, 0), more=False, six=six, proto=6),
        ]
    return inputs


def attribute(kind: int, data: bytes) -> bytes:
    """A netlink attribute, padded."""
    return struct.pack("<HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def message(number: int, packet: bytes, *more: bytes) -> bytes:
    """One record of a `netlink` input: a queued packet."""
    head = attribute(1, struct.pack(">IHB", number, 0x0800, 2))
    body = struct.pack(">BBH", 2, 0, 0) + head + b"".join(more) + attribute(10, packet)
    whole = struct.pack("<IHHII", 16 + len(body), QUEUE_PACKET, 0, 0, 0) + body
    return struct.pack("<H", len(whole) | 0x8000) + whole


def messages() -> list[bytes]:
    """Queued packets with every attribute that is read, and an error."""
    marks = [attribute(3, b"\0\0\0\7"), attribute(5, b"\0\0\0\1"), attribute(6, b"\0\0\0\2")]
    marks += [attribute(13, b"\0\0\5\xdc"), attribute(14, b"\0\0\0\4")]
    pieces = [ip(17, 1, 2, struct.pack(">HHHH", 7, 8, 24, 0) + bytes(8)), ip(17, 1, 2, bytes(8))]
    pieces = [piece[:6] + place + piece[8:] for piece, place in zip(pieces, (b"\x20\0", b"\0\2"), strict=True)]
    error = struct.pack("<IHHIIi", 20, MESSAGE_ERROR, 0, 0, 0, -2)
    return [
        b"".join(message(number, packet) for number, packet in enumerate(TALK)),
        b"".join(message(number, packet, *marks) for number, packet in enumerate(OTHERS)),
        b"".join(message(number, piece) for number, piece in enumerate(pieces)),
        struct.pack("<H", len(error)) + error + message(1, TALK[0]),
    ]


def captures() -> list[bytes]:
    """The shipped one's beginning, and a file of every form and link."""
    records = [capfiles.record(capfiles.IPV4), capfiles.record(capfiles.IPV6)]
    framed = [
        (1, [capfiles.ethernet(capfiles.IPV4), capfiles.ethernet(capfiles.IPV6, tags=(0x8100, 0x88A8))]),
        (1, [capfiles.pppoe(capfiles.IPV4)]),
        (113, [capfiles.cooked(capfiles.IPV4)]),
        (276, [capfiles.cooked2(capfiles.IPV6)]),
    ]
    return [
        (EXAMPLES / "gateway.pcap").read_bytes()[:4000],
        capfiles.pcap(records, order=">", nano=True),
        capfiles.pcap(records, modified=True),
        capfiles.pcapng(records),
        capfiles.pcapng(records, order=">"),
        capfiles.section()
        + capfiles.interface(tsresol=9, tsoffset=5, name="eth0")
        + capfiles.simple(capfiles.IPV4)
        + capfiles.obsolete(capfiles.IPV6, 7),
        *(capfiles.pcap([capfiles.record(frame) for frame in frames], linktype=link) for link, frames in framed),
    ]


def saved_tables() -> list[bytes]:
    """Tables as they are saved, without their checksum: empty, of some connections, with what they announced."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        inputs = []
        for packets in ([], OTHERS, TALK[:4], TALK + OTHERS):
            engine = fastfw.Engine(
                settings={"nf_conntrack_checksum": 0, "nf_conntrack_acct": len(inputs) % 2}, helpers=["ftp"]
            )
            for packet in packets:
                engine.decide(packet, now=1)
            engine.save_state(path)
            inputs.append(path.read_bytes()[:-4])
    return inputs


PAYLOADS = [
    (1, b"227 ok (10,0,0,2,4,1)\r\n"),
    (1, b"229 ok (|||1025|)\r\n"),
    (0, b"PORT 10,0,0,1,4,1\r\n"),
    (0, b"EPRT |1|10.0.0.1|1025|\r\n"),
    (0, b"\0\1file\0octet\0"),
    (0, b":a PRIVMSG b :\x01DCC SEND f 167772161 1025 9\x01\r\n"),
    (1, b"CONNECT DATA 1025 MESG 1026 INDEX 1027\n"),
    (0, b"SETUP rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=1024-1025\r\n\r\n"),
    (1, bytes.fromhex("009c00011a2b3c4d0008000000070001") + bytes(140)),
    (
        0,
        b"INVITE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:4000\r\nCSeq: 1 INVITE\r\nCall-ID: 1\r\n"
        b"Contact: <sip:a@10.0.0.1:4000>\r\nContent-Length: 46\r\n\r\n"
        b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4004 RTP/AVP 0\r\n",
    ),
]
COMMANDS = [
    "-A INPUT -s 10.0.0.0/8 -j ACCEPT",
    "-I web 1 -p tcp --dport 443 -j ACCEPT",
    "-D INPUT 1",
    "-R web 1 -m state --state NEW -j DROP",
    "-N a",
    "-X web",
    "-E web site",
    "-P INPUT ACCEPT",
    "-F",
    "-Z INPUT",
    "-L -v -n --line-numbers",
    "-S web",
    "-t mangle -A FORWARD -j MARK --set-mark 1",
    "-C INPUT -j ACCEPT",
]


def requests() -> list[bytes]:
    """What clients of the control socket ask of a table of one connection."""
    engine = fastfw.Engine()
    engine.decide(OTHERS[0], now=1)
    table, indices, _ = entries(engine)
    rows, numbers = table.tobytes(), indices.tobytes()
    asked = [Request(1, verb) for verb in ("hello", "settings", "table", "expectations", "flush", "flush-expectations")]
    asked += [Request(1, verb, rows=rows, numbers=numbers) for verb in ("insert", "delete")]
    asked += [
        Request(1, "settings", args=["net.netfilter.nf_conntrack_max=9"]),
        Request(
            1, "change", options={"mark": 1, "mark_mask": 3, "timeout": 60, "status": 4}, rows=rows, numbers=numbers
        ),
    ]
    return [encode(one) for one in asked]


def write(into: Path) -> None:
    """One directory a target below `into`."""
    rules = (EXAMPLES / "gateway.rules").read_bytes()
    lines = [line for path in sorted(FOLDER.glob("v4-*.txt")) for line in path.read_bytes().splitlines()]
    seeds = {
        "packet": TALK + OTHERS,
        "sequence": [b"".join(map(record, TALK)), b"".join(map(record, OTHERS)), b"".join(map(record, TALK + OTHERS))],
        "fragments": datagrams(),
        "netlink": messages(),
        "capture": captures(),
        "state": saved_tables(),
        "ruleset": [rules, *(b"*filter\n-A INPUT " + line + b"\nCOMMIT\n" for line in lines if line[:1] == b"-")],
        "command": [*map(str.encode, COMMANDS), *(b"-A INPUT " + line for line in lines if line[:1] == b"-")],
        "helper": [bytes([number, side]) + text for number in range(len(known())) for side, text in PAYLOADS],
        "request": requests(),
        "config": [(EXAMPLES / "fastfw.toml").read_bytes(), b"[rules]\n", b'[queue]\nnumber = "0:3"\n'],
    }
    for target, inputs in seeds.items():
        folder = into / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (folder / f"seed-{number}").write_bytes(data)
