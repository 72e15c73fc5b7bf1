"""RTSP: SETUP and its reply announce the media ports of either side, and nothing else does."""

from __future__ import annotations

import time

import pytest
from tests.traffic import packets as p

from fastfw.helpers import find

from .kernel import Ends, Heard, Say, ask_helper

CLIENT, SERVER = p.address("172.16.6.62"), p.address("172.16.6.61")


def hear(*talk: Say) -> Heard:
    return ask_helper(find("rtsp"), Ends(CLIENT, SERVER, 40000, 554), talk)


def setup(transport: bytes, name: bytes = b"Transport") -> Say:
    return Say(0, b"SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 2\r\n" + name + b": " + transport + b"\r\n\r\n")


def reply(transport: bytes, status: bytes = b"200 OK") -> Say:
    return Say(1, b"RTSP/1.0 " + status + b"\r\nCSeq: 2\r\nTransport: " + transport + b"\r\n\r\n")


def test_a_setup_opens_the_clients_ports_to_the_server() -> None:
    """RTP and RTCP over UDP, from the server's address and any port, for 300 s."""
    heard = hear(setup(b"RTP/AVP;unicast;client_port=5000-5001"))
    assert [one[:8] for one in heard.expected] == [
        (p.UDP, SERVER, None, CLIENT, port, False, 0, 300) for port in (5000, 5001)
    ]
    assert [one.port for one in hear(setup(b"RTP/AVP;client_port=5000", b"transport")).expected] == [5000]


def test_the_reply_opens_the_servers_ports_to_the_client() -> None:
    """Only a good one; what it repeats of the client's ports is not its own."""
    transport = b"RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001"
    assert [(one.source, one.destination, one.port) for one in hear(reply(transport)).expected] == [
        (CLIENT, SERVER, 6000),
        (CLIENT, SERVER, 6001),
    ]
    assert hear(reply(transport, b"461 Unsupported transport")).expected == ()


def test_two_setups_in_one_packet() -> None:
    """Each counts; at most eight ports wait, the newest."""
    one, two = setup(b"RTP/AVP;client_port=5000-5001"), setup(b"RTP/AVP;client_port=5002-5003")
    assert [x.port for x in hear(Say(0, one.payload + two.payload)).expected] == [5000, 5001, 5002, 5003]
    many = hear(*[setup(b"RTP/AVP;client_port=%d-%d" % (port, port + 1)) for port in range(5000, 5020, 2)])
    assert sorted(x.port for x in many.expected) == list(range(5012, 5020))


@pytest.mark.parametrize(
    "transport",
    [
        b"RTP/AVP/TCP;interleaved=0-1",
        b"RTP/AVP;client_port=80-81",
        b"RTP/AVP;client_port=5000-6000",
        b"RTP/AVP;client_port=5001-5000",
        b"RTP/AVP;client_port=65535-65536",
        b"RTP/AVP;client_port=500000",
        b"RTP/AVP;server_port=5000-5001",
        b"RTP/AVP;client_port=",
    ],
)
def test_ports_that_are_not_opened(transport: bytes) -> None:
    """Interleaved media need none; privileged ports, wide ranges and other nonsense get none."""
    assert hear(setup(transport)) == ((True,), ())


def test_other_messages_open_nothing() -> None:
    """Another method, a message that is cut, a server's SETUP, a client's reply."""
    good = setup(b"RTP/AVP;client_port=5000-5001").payload
    assert hear(Say(0, good.replace(b"SETUP", b"DESCRIBE"))).expected == ()
    assert hear(Say(0, good[:-2])).expected == ()
    assert hear(Say(1, good)).expected == ()
    assert hear(Say(0, reply(b"RTP/AVP;server_port=6000").payload)).expected == ()


def test_hostile_messages_take_bounded_time(patience: int) -> None:
    """64 kB of ports, headers or blanks are read in well under a second of this process's time, and expect at most
    eight."""
    for filling in (b";client_port=5000", b"Transport:\r\n", b"; ", b"\r\n\r\nSETUP ", b"client_port="):
        begun = time.process_time()
        heard = hear(Say(0, b"SETUP a\r\nTransport: " + filling * (60000 // len(filling)) + b"\r\n\r\n"))
        assert len(heard.expected) <= 8
        assert time.process_time() - begun < patience
