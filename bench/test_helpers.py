"""What a helper's port costs: packets a second with payload that its helper passes over, and with payload it reads.

Packets of one established connection, without rules. CPU time of one thread, medians; beside them the same packets
where no helper is attached. SIP has no first glance: any payload keeps its connection alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from bulk import ACK, SYN, Batch, Rows, tcp, udp
from report import Measure, Reporter

from fastfw import Engine

PACKETS = 12_800


class Port(NamedTuple):
    """A helper, its port, payload that is of no interest to it and payload that announces."""

    helper: str
    udp: bool
    port: int
    passed_over: bytes
    read: bytes


SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n"
INVITE = b"INVITE sip:b@b.example SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Length: %d\r\n\r\n%b" % (len(SDP), SDP)
OPTIONS = b"OPTIONS sip:b@b.example SIP/2.0\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
PORTS = [
    Port("ftp", False, 21, b"a line that has no end yet" * 4, b"PORT 10,0,0,1,4,5\r\n"),
    Port("tftp", True, 69, b"\0\4\0\1", b"\0\1file\0octet\0"),
    Port("irc", False, 6667, b"PRIVMSG #all :good morning\r\n" * 4, b"PRIVMSG b :\1DCC SEND f 167772161 5000 9\1\r\n"),
    Port(
        "rtsp",
        False,
        554,
        b"$\0\0\x80" + bytes(128),
        b"SETUP a RTSP/1.0\r\nTransport: RTP;client_port=5004-5005\r\n\r\n",
    ),
    Port("sip", True, 5060, OPTIONS, INVITE),
]


CLIENT, SERVER, CLIENT_PORT = 0x0A000001, 0xC0A80001, 40000


def rows(port: Port, payload: bytes, flags: int, seq: int, ack: int, reply: bool = False, count: int = 1) -> Rows:
    """Equal packets of the connection."""
    numbers = [CLIENT, SERVER, CLIENT_PORT, port.port]
    if reply:
        numbers = [SERVER, CLIENT, port.port, CLIENT_PORT]
    ends = [np.full(count, number, np.uint32) for number in (*numbers, seq, ack)]
    made = udp(*ends[:4], len(payload), 4) if port.udp else tcp(*ends, flags, len(payload), 4)
    made[:, made.shape[1] - len(payload) :] = np.frombuffer(payload, np.uint8)
    return made


def judged(port: Port, payload: bytes, helpers: list[str]) -> tuple[Engine, Batch]:
    """An engine with a connection to the port on which a line was said, and packets that say the payload behind it."""
    engine = Engine(helpers=helpers, settings={"nf_conntrack_checksum": 0})
    opening = [
        rows(port, b"", SYN, 998, 0),
        rows(port, b"", SYN | ACK, 5000, 999, reply=True),
        rows(port, b"x\n", ACK, 999, 5001),
    ]
    for packet in opening:
        assert Batch(packet).judge(engine)["verdict"] == 1
    return engine, Batch(rows(port, payload, ACK, 1001, 5001, count=PACKETS))


KINDS = ["no helper", "passed over", "read"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("port", PORTS, ids=[port.helper for port in PORTS])
def test_helper_port(
    port: Port, kind: str, cpu_time: Measure, benchmark: Any, reporter: Reporter, read_lines: Callable[[], float]
) -> None:
    """Established packets to a helper's port: without the helper, with payload of no interest, with an announcement."""
    payload = port.read if kind == "read" else port.passed_over
    engine, batch = judged(port, payload, [] if kind == "no helper" else [port.helper])
    yardstick = read_lines()
    seconds = cpu_time(lambda: batch.judge(engine))
    assert bool((batch.out["verdict"] == 1).all())
    assert bool(list(engine.expectations())) == (kind == "read")
    words = {"no helper": "without its helper", "passed over": "nothing of interest", "read": "announcing"}[kind]
    reporter.rate(benchmark, f"port of {port.helper}, {words}", PACKETS / seconds, yardstick)
