"""TFTP, IRC, Amanda and SANE: what is expected of right messages, and of wrong ones."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.traffic import packets as p

from fastfw.helpers import DROP, Helper, find, known

from . import ftp_lines, pptp_talk, small_talk
from .kernel import Ends, FakeFlow, Heard, Say, ask_helper, ends, segments

CLIENT, SERVER = p.address("172.16.6.62"), p.address("172.16.6.61")


def hear(name: str, *talk: Say) -> Heard:
    helper = find(name)
    protocol, port = helper.ports[0]
    return ask_helper(helper, Ends(CLIENT, SERVER, 40000, port, protocol), talk)


@pytest.mark.parametrize("kind", [b"\0\1", b"\0\2"])
def test_tftp_request(kind: bytes) -> None:
    """A read or write request: the server may answer from any port to the port the request came from."""
    (one,) = hear("tftp", Say(0, kind + b"file\0octet\0")).expected
    assert one[:8] == (p.UDP, SERVER, None, CLIENT, 40000, False, 0, 300)
    assert hear("tftp", Say(0, kind + b"file\0octet\0"), Say(1, kind)).expected == (one,)


def test_tftp_other_messages() -> None:
    """Data, acknowledgements, errors and a cut request announce nothing."""
    for message in (b"\0\3\0\1data", b"\0\4\0\1", b"\0\5\0\1no\0", b"\0\6", b"\0", b"\1\0file\0"):
        assert hear("tftp", Say(0, message)) == ((True,), ())


@pytest.mark.parametrize("command", [b"SEND", b"CHAT", b"MOVE", b"TSEND", b"SCHAT"])
def test_irc_offer(command: bytes) -> None:
    """A DCC offer at the client's own address: anyone may connect to it."""
    number = int.from_bytes(CLIENT, "big")
    (one,) = hear("irc", Say(0, b"PRIVMSG bob :\1DCC %s a.txt %d 5000 12\1\r\n" % (command, number))).expected
    assert one[:8] == (p.TCP, None, None, CLIENT, 5000, False, 0, 300)


def test_irc_what_is_no_offer() -> None:
    """Another's address, port 0, the server's words, another command, no newline: nothing is announced."""
    own, other = int.from_bytes(CLIENT, "big"), int.from_bytes(SERVER, "big")
    for direction, line in (
        (0, b"PRIVMSG bob :\1DCC SEND a.txt %d 5000 12\1\r\n" % other),
        (0, b"PRIVMSG bob :\1DCC SEND a.txt %d 0 12\1\r\n" % own),
        (0, b"PRIVMSG bob :\1DCC SEND a.txt %d 5000 12\1" % own),
        (0, b"PRIVMSG bob :\1DCC RESUME a.txt %d 5000 12\1\r\n" % own),
        (0, b"PRIVMSG bob :look: \1DCC SEND a.txt %d 5000 12\1\r\n" % own),
        (0, b"NOTICE bob :\1DCC SEND a.txt %d 5000 12\1\r\n" % own),
        (1, b"PRIVMSG bob :\1DCC SEND a.txt %d 5000 12\1\r\n" % other),
    ):
        assert hear("irc", Say(direction, line)) == ((True,), ())


def test_irc_nine_offers_leave_the_newest_eight() -> None:
    """Eight offers wait at once; one more makes the oldest give way."""
    number = int.from_bytes(CLIENT, "big")
    offers = [Say(0, b"PRIVMSG bob :\1DCC SEND a %d %d 12\1\r\n" % (number, port)) for port in range(5000, 5009)]
    assert [one.port for one in hear("irc", *offers).expected] == list(range(5001, 5009))


def test_amanda_reply() -> None:
    """The server may connect to each port the client's reply names; the connection itself is kept for 300 s."""
    helper = find("amanda")
    flow = FakeFlow(helper, Ends(SERVER, CLIENT, 700, 10080, p.UDP), direction=1)
    text = b"Amanda 2.5 REP HANDLE 0 SEQ 1\nCONNECT DATA 1024 MESG 1025 INDEX 1026\nOPTIONS ;\n"
    assert helper.on_payload(memoryview(text), flow) is None
    assert [(one.source, one.destination, one.port) for one in flow.waiting] == [
        (SERVER, CLIENT, port) for port in (1024, 1025, 1026)
    ]
    assert flow.lives == 300
    assert {one.timeout for one in flow.waiting} == {180}


def test_amanda_request_announces_nothing() -> None:
    """Only replies count, and only a whole line."""
    assert hear("amanda", Say(0, b"CONNECT DATA 1024\n")).expected == ()
    assert hear("amanda", Say(0, b"x"), Say(1, b"CONNECT DATA 1024")).expected == ()
    assert hear("amanda", Say(0, b"x"), Say(1, b"CONNECT DATA 0 MESG 7\n")).expected == ()


def test_sane_start() -> None:
    """The reply right after a start request carries the data port; any other reply does not."""
    start, close = b"\0\0\0\7\0\0\0\0", b"\0\0\0\3\0\0\0\0"
    reply = b"\0\0\0\0\0\0\x13\x88\0\0\x12\x34"
    (one,) = hear("sane", Say(0, start), Say(1, reply)).expected
    assert one[:8] == (p.TCP, CLIENT, None, SERVER, 5000, False, 0, 300)
    assert hear("sane", Say(0, close), Say(1, reply)).expected == ()
    assert hear("sane", Say(0, start), Say(1, b"\0\0\0\7" + reply[4:]), Say(1, reply)).expected == ()
    assert hear("sane", Say(0, start), Say(0, close), Say(1, reply)).expected == ()


def wanted(helper: Helper, direction: int, payload: bytes) -> bool:
    """Whether the engine hands such a payload to the helper (docs/helpers.md)."""
    contents = (helper.contains,) if isinstance(helper.contains, bytes) else helper.contains
    head = payload.upper()
    return (
        direction in helper.directions
        and (not any(contents) or any(content in payload for content in contents))
        and (
            not helper.prefixes
            or head.startswith(tuple(prefix.upper() for prefix in helper.prefixes))
            or payload.endswith(helper.suffixes)
        )
    )


def rtsp(chance: random.Random, who: Ends) -> list[Say]:
    """Requests, replies and media between them on one connection."""
    said = (
        b"SETUP rtsp://a/b RTSP/1.0\r\nTransport: RTP/AVP;client_port=5000-5001\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;client_port=5000-5001;server_port=6000-6001\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n\r\n",
        b"RTSP/1.0 404 Not Found\r\n\r\n",
        b"$\0\0\x10" + chance.randbytes(16),
    )
    return [Say(chance.randrange(2), small_talk.mangle(chance, chance.choice(said))) for _ in range(8)]


def ftp(chance: random.Random, who: Ends) -> list[Say]:
    return chance.choice([ftp_lines.conversation, ftp_lines.scattered])(chance, who)


CHEAP: dict[str, Callable[[random.Random, Ends], list[Say]]] = {
    "amanda": small_talk.amanda,
    "ftp": ftp,
    "irc": small_talk.irc,
    "pptp": pptp_talk.pptp,
    "rtsp": rtsp,
    "tftp": small_talk.tftp,
}
"""Helpers that do not look at every payload."""


def test_all_that_pass_something_over_are_here() -> None:
    """Every helper with a first glance is held to what follows; those of broadcasts read one direction of any."""
    glances = {name for name in known() if not all(wanted(find(name), direction, b"?") for direction in (0, 1))}
    assert glances == {*CHEAP, "netbios-ns", "snmp"}


@pytest.mark.parametrize("name", CHEAP)
def test_what_the_cheap_test_passes_over_says_nothing(name: str, seed: int) -> None:
    """A conversation leaves and drops the same whether or not the helper is shown what its first glance passes over."""
    helper = find(name)
    chance = random.Random(seed)
    passed_over = expecting = 0
    for number in range(1, 2001):
        who = ends(number, 4, helper.ports[0][1], helper.ports[0][0])
        flows = FakeFlow(helper, who), FakeFlow(helper, who)
        talk = [say for say in CHEAP[name](chance, who) if say.payload]
        places = [at for _, at, _ in segments(talk, who)] if helper.ports[0][0] == p.TCP else [0] * len(talk)
        for say, at in zip(talk, places, strict=True):
            shown = wanted(helper, say.direction, say.payload)
            passed_over += not shown
            for flow in flows if shown else flows[:1]:
                flow.direction, flow.sequence = say.direction, at
                verdict = helper.on_payload(memoryview(say.payload), flow)  # type: ignore[arg-type]
                assert shown or verdict is not DROP
        assert flows[0].waiting == flows[1].waiting
        assert flows[0].lives == flows[1].lives
        expecting += bool(flows[1].waiting)
    assert passed_over > 50
    assert expecting > 100
