"""Whatever is said to a helper takes bounded time and memory, and has bounded effect.

A share of it is said in every run; FASTFW_HOSTILE=whole says all: a million announcements, a gigabyte without an end.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from tests.attacks import crowd
from tests.kernel.oracle import pack
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import Flow, Helper, find, known

from . import hostile
from .kernel import Ends, FakeFlow, Say, ends, handshake, packets, segments

WHOLE = os.environ.get("FASTFW_HOSTILE") == "whole"
ANNOUNCEMENTS = 1_000_000 if WHOLE else 10_000
LINE = (1 << 30) if WHOLE else (16 << 20)
NOW = 1_700_000_000 * 10**9

# --- time ------------------------------------------------------------------------------------------------------------

OK = b"SIP/2.0 200 OK\r\nCSeq: 0 REGISTER\r\n"
SETUP, END = b"SETUP a\r\n", b"\r\n\r\n"
DEAREST: dict[str, list[tuple[bytes, bytes]]] = {
    "ftp": [(b"PORT ", b"0"), (b"EPRT |2|", b"1:"), (b"227 ", b"9"), (b"227 ", b"1,"), (b"229 (", b"(")],
    "irc": [(b"", b" "), (b"PRIVMSG a :", b"\1DCC  :")],
    "amanda": [(b"CONNECT ", b"DATA "), (b"", b"CONNECT ")],
    "rtsp": [
        (SETUP + b"\r\ntransport:" * 600 + END, b"x"),
        (SETUP + b"transport:" + b";client_port=2000-2001" * 350 + END, b"x"),
        (SETUP + b"transport:" + b"; " * 4000 + END, b"x"),
        (b"", b"SETUP " + END),
    ],
    "sip": [
        (OK + b"Contact: <sip:10.9.9.9>", b",sip:"),
        (OK + b"Contact: <sip:10.9.9.9>", b",sip:10.1.0.1"),
        (OK, b"\nm:sip:"),
        (OK + b"Contact: ", b"\n "),
        (b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n", b"\nm=x 5 "),
        (b"INVITE sip:a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n", b"\nm=audio 0 "),
        (b"", b"\nl:0\r\n\r\n"),
        (b"", b"\r"),
    ],
    "RAS": [(b"", fill) for fill in hostile.FILLS],
    "Q.931": [(b"", b"\0\xff"), (b"", b"\0\xbf"), (b"", b"@U"), (b"", b"\x80U"), (b"", b"\0")],
    "H.245": [(b"", b"\xbf\x80"), (b"", b"\0")],
    "pptp": [(b"", b"\0")],
    "sane": [(b"", b"\0")],
    "tftp": [(b"", b"\0\1")],
    "netbios-ns": [(b"", b"\0")],
    "snmp": [(b"", b"\0")],
}
"""What proved dearest to read, by helper: a beginning, and what follows again and again."""


def seconds(name: str, text: bytes) -> float:
    """The least processor time that a packet takes, in either direction."""
    helper = find(name)
    protocol, port = (helper.ports or ((p.TCP, 1720),))[0]
    worst = 0.0
    for direction in (0, 1):
        taken = []
        for _ in range(3):
            flow = FakeFlow(helper, ends(1, 4, port, protocol), direction, broadcast_mask=b"\xff\xff\xff\0")
            if name == "ftp":
                helper.on_payload(memoryview(b"x\n"), flow)  # type: ignore[arg-type]
                flow.sequence = 2
            before = time.process_time()
            helper.on_payload(memoryview(text), flow)  # type: ignore[arg-type]
            taken.append(time.process_time() - before)
        worst = max(worst, min(taken))
    return worst


@pytest.mark.parametrize("name", known())
def test_time_grows_with_length_alone(name: str) -> None:
    """The dearest payload of 60 kB costs no more than in proportion to one of 6 kB: nothing in it is read again and
    again."""

    def said(start: bytes, unit: bytes, size: int) -> bytes:
        made = (start + unit * (size // len(unit)))[:size]
        if name == "Q.931":
            made = hostile.q931(b"\5" + made)
        return hostile.h323_talk.tpkt(made) if name in ("Q.931", "H.245") else made

    dearest = 0.0
    for start, unit in DEAREST[name]:
        # what a beginning costs by itself is no part of it
        short, long = (seconds(name, said(start, unit, len(start) + size)) for size in (6_000, 60_000))
        dearest = max(dearest, long)
        assert long < 30 * max(short, 0.0005), (start, unit)
    print(f"{name}: 60 kB take {dearest * 1e3:.2f} ms at most")


def test_time_grows_with_lists_alone() -> None:
    """A registration of thousands of addresses costs no more than in proportion to one of hundreds."""
    pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    who = ends(1, 4, 1719, p.UDP)
    message = dict(hostile.ras_messages(who.server, 5004))[0]
    taken = []
    for count in (800, 8_000):
        made = (message[0], message[1] | {"callSignalAddress": [hostile.h225(who.server, 5004)] * count})
        taken.append(seconds("RAS", bytes(hostile.h323_talk.schemas()[0].encode("RasMessage", made))))
    assert taken[1] < 30 * max(taken[0], 0.0005)
    print(f"RAS: 8 000 addresses take {taken[1] * 1e3:.1f} ms")


# --- announcements without end ---------------------------------------------------------------------------------------


def rtsp(who: Ends, address: bytes, port: int) -> list[Say]:
    request = b"SETUP rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=%d-%d\r\n\r\n"
    return [Say(0, request % (port, port + 1))]


def announcing(name: str, who: Ends, form: int, port: int) -> list[Say]:
    return rtsp(who, who.client, port) if name == "rtsp" else hostile.right(name, who, form, port)


def one_after_another(name: str, protocol: int, port: int, form: int, count: int) -> tuple[list[bytes], list[bytes]]:
    """What opens a connection, and packets that each announce another port on it."""
    who = ends(1, 4, port, protocol)
    talk = [say for turn in range(count) for say in announcing(name, who, form, 5004 + 4 * turn)]
    if protocol == p.UDP:
        return [], packets(talk, who)
    return handshake(who), [packet for _, _, packet in segments(talk, who)]


@pytest.mark.parametrize("name", [*hostile.ANNOUNCING, "rtsp"])
def test_a_connection_that_never_stops_announcing(name: str) -> None:
    """A million announcements leave as many expected as the helper's limit allows, take no more memory, and the last
    cost no more than the first."""
    if name in ("RAS", "Q.931"):
        pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    helper = find(name)
    protocol, port = helper.ports[0]
    most = sum(helper.policy(class_)[0] for class_ in range(max(1, len(helper.class_names))))
    count = 1 if name == "rtsp" else hostile.forms(name, ends(1, 4, port, protocol))
    for form in range(count):
        engine = fastfw.Engine(settings={"nf_conntrack_tcp_be_liberal": 1, "nf_conntrack_checksum": 0}, helpers=[name])
        opening, said = one_after_another(name, protocol, port, form, 100)
        for packet in opening:
            engine.decide(packet, now=NOW)
        where = pack(said)
        rounds = max(10, ANNOUNCEMENTS // count // len(said))

        def run(engine: fastfw.Engine = engine, where: tuple[bytes, np.ndarray, np.ndarray] = where) -> None:
            engine.process(*where, np.full(len(where[1]), NOW), iif="eth0", oif="eth1")

        first = crowd.cost(run)
        memory = crowd.resident()
        ever = 0
        for _ in range(rounds):
            run()
            ever = max(ever, len(list(engine.expectations())))
        grown = crowd.resident() - memory
        assert ever <= most
        assert grown < 4 << 20
        assert crowd.cost(run) < 4 * first + 0.001
        print(f"{name}, {rounds * len(said)} packets: {ever} expected at most, {first / len(said) * 1e6:.1f} us each,"
              f" {grown >> 10} kB")  # fmt: skip


# --- a line without an end -------------------------------------------------------------------------------------------


class Lines(Helper):
    """Reads lines of a stream."""

    name = "lines"
    ports = ((p.TCP, 7000),)
    stream = True
    record_end = b"\n"

    def on_payload(self, payload: memoryview, flow: Flow) -> None:
        raise AssertionError("no line has an end")


BEGINS = {
    "ftp": b"PORT ",
    "irc": b"PRIVMSG a :\1DCC SEND a ",
    "sip": b"REGISTER sip:a SIP/2.0\r\nContact: ",
    "rtsp": SETUP,
}
SIZE = 64_000
"""Bytes a segment."""


@pytest.mark.parametrize(
    "name", [*(name for name in known() if (find(name).ports or ((0, 0),))[-1][0] == p.TCP), "lines"]
)
def test_a_line_without_an_end(name: str) -> None:
    """A gigabyte in which no line, message or record ends leaves nothing expected, takes no memory, and its end is no
    dearer than its beginning; a stream that is kept up to a bound is then read no longer."""
    helper: Helper = Lines() if name == "lines" else find(name)
    port = helper.ports[-1][1]
    engine = fastfw.Engine(
        settings={"nf_conntrack_tcp_be_liberal": 1, "nf_conntrack_checksum": 0},
        helpers=[helper if name == "lines" else f"{name}:tcp:{port}"],
    )
    who = ends(1, 4, port)
    for packet in handshake(who):
        engine.decide(packet, now=NOW)
    hello = segments([Say(0, b"x\n")], who)[0][2]
    if name != "lines":
        engine.decide(hello, now=NOW)
    start = who.first[0] + 2 * (name != "lines")
    first = BEGINS.get(name, b"1,")
    body = (first + b"1," * SIZE)[:SIZE]
    form = segments([Say(0, body)], who)[0][2]
    rows = crowd.Crowd(form, 64)
    taken, memory = [], crowd.resident()
    for batch in range(LINE // SIZE // 64):
        rows.put(24, 4, (start + SIZE * (64 * batch + np.arange(64))) & 0xFFFFFFFF)
        before = time.process_time()
        rows.into(engine, NOW)
        taken.append(time.process_time() - before)
    grown = crowd.resident() - memory
    assert list(engine.expectations()) == []
    assert grown < 4 << 20
    assert np.median(taken[len(taken) // 2 :]) < 4 * np.median(taken[: len(taken) // 2]) + 0.002
    if name == "lines":
        assert engine._stream_statistics()[1:] == (0, 1)
    print(f"{name}: {sum(map(float, taken)) / (len(taken) * 64 * SIZE) * 1e9:.2f} ns a byte, {grown >> 10} kB")
