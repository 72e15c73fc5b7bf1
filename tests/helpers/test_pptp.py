"""PPTP: calls in either direction announce both ways of their tunnel, and nothing else does."""

from __future__ import annotations

from tests.traffic import packets as p

from fastfw.helpers import find

from .kernel import Ends, Expectation, Say, ask_helper
from .pptp_talk import (
    clear,
    disconnected,
    in_connected,
    in_reply,
    in_request,
    message,
    out_reply,
    out_request,
    start_reply,
    start_request,
    stop,
)

CLIENT, SERVER = p.address("172.16.6.62"), p.address("172.16.6.61")
SESSION = (start_request(), start_reply())


def expected(*talk: Say) -> set[tuple[bytes, int | None, int]]:
    """(source, source key, destination key) of what a conversation leaves expected."""
    heard = ask_helper(find("pptp"), Ends(CLIENT, SERVER, 40000, 1723), talk)
    assert all(heard.passed)
    for one in heard.expected:
        assert isinstance(one, Expectation)
        assert (one.protocol, one.timeout) == (p.GRE, 300)
    return {(one.source or b"", one.source_port, one.port) for one in heard.expected}


def test_outgoing_call() -> None:
    """Request and agreeing reply: the server's call number is the key towards it, the client's the key back."""
    assert expected(*SESSION, out_request(5), out_reply(7, 5)) == {(CLIENT, 5, 7), (SERVER, 7, 5)}


def test_incoming_call() -> None:
    """Request, reply and connected, begun by the server, announce the same pair."""
    assert expected(*SESSION, in_request(7), in_reply(5, 7)) == set()
    assert expected(*SESSION, in_request(7), in_reply(5, 7), in_connected(5)) == {(CLIENT, 5, 7), (SERVER, 7, 5)}


def test_what_does_not_agree_announces_nothing() -> None:
    """Without a session, with a refusal, or with numbers that do not match there is no call."""
    call = (out_request(5), out_reply(7, 5))
    assert expected(*call) == set()
    assert expected(start_request(), *call) == set()
    assert expected(start_request(), start_reply(2), *call) == set()
    assert expected(*SESSION, out_request(5), out_reply(7, 6)) == set()
    assert expected(*SESSION, out_request(5), out_reply(7, 5, 2)) == set()
    assert expected(*SESSION, in_request(7), in_reply(5, 8), in_connected(5)) == set()
    assert expected(*SESSION, in_request(7), in_reply(5, 7), in_connected(6)) == set()
    assert expected(*SESSION, stop(0), *call) == set()


def test_disconnecting_takes_it_back() -> None:
    """After the disconnect nothing is expected, and the next call has its own keys."""
    call = (out_request(5), out_reply(7, 5))
    assert expected(*SESSION, *call, disconnected(7)) == set()
    assert expected(*SESSION, *call, disconnected(7), out_request(6), out_reply(8, 6)) == {
        (CLIENT, 6, 8),
        (SERVER, 8, 6),
    }
    assert expected(*SESSION, *call, clear(5)) == {(CLIENT, 5, 7), (SERVER, 7, 5)}


def test_one_tunnel_a_control_connection() -> None:
    """A second call while the first has the keys is not announced, and takes the first's place in the waiting."""
    call = (out_request(5), out_reply(7, 5))
    assert expected(*SESSION, *call, *call) == {(CLIENT, 5, 7), (SERVER, 7, 5)}
    assert expected(*SESSION, *call, out_request(6), out_reply(8, 6)) == set()


def test_cut_and_foreign_messages_are_passed_over() -> None:
    """A message that is cut, has another cookie or is no control message is as if it had not been said."""
    reply = out_reply(7, 5).payload
    for cut in range(1, len(reply)):
        assert expected(*SESSION, out_request(5), Say(1, reply[:cut])) == set()
    for at in (3, 4, 7):
        spoilt = bytearray(reply)
        spoilt[at] ^= 0x55
        assert expected(*SESSION, out_request(5), Say(1, bytes(spoilt))) == set()
    assert expected(*SESSION, Say(0, message(5, b"")), out_request(5), out_reply(7, 5)) != set()
