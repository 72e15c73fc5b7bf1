"""H.323: what is read of RAS, Q.931 and H.245, and that no bytes cost more than their own length."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from tests.traffic import packets as p

from fastfw.helpers import find
from fastfw.helpers.h323 import schemas, tpkts, user_user
from fastfw.helpers.h323_schema import H245
from fastfw.helpers.per import Schema, Unreadable

from .kernel import Ends, Say, ask_helper, ends

# A registration request, written out (H.225.0 7.9): sequence number 7, signalling and RAS addresses 10.1.0.1, ports
# 1720 and 1720, a terminal called alice, vendor 9/0/18, for a minute.
REGISTER = bytes.fromhex(
    "0e800006060008914a00048001000a01000106b801000a01000106b802000140040061006c00690063006560090000120078003102800200"
    "3b0180"
)


def who(port: int, protocol: int) -> Ends:
    return ends(1, 4, port, protocol)


def test_a_registration_lets_calls_in() -> None:
    """Calls are expected from the gatekeeper to the phone's signalling port, as often as they come."""
    heard = ask_helper(find("RAS"), who(1719, p.UDP), [Say(0, REGISTER)])
    assert [(one.protocol, one.destination, one.port, one.permanent, one.timeout) for one in heard.expected] == [
        (p.TCP, p.address("10.1.0.1"), 1720, True, 240)
    ]


def test_a_stranger_is_not_registered() -> None:
    """A registration of an address that is not the speaker's opens nothing."""
    heard = ask_helper(find("RAS"), ends(2, 4, 1719, p.UDP), [Say(0, REGISTER)])
    assert heard.expected == ()


def test_cut_anywhere_it_announces_nothing() -> None:
    """A message that ends before its last wanted field is no message."""
    for size in range(len(REGISTER) - 2):
        assert ask_helper(find("RAS"), who(1719, p.UDP), [Say(0, REGISTER[:size])]).expected == ()


def test_packets_in_a_stream() -> None:
    """Whole TPKTs are given out, a header may come alone, and what is cut is left."""
    one, two = b"\3\0\0\7abc", b"\3\0\0\6de"
    memory: dict[int, int] = {}
    assert list(tpkts(one + two, memory, 0)) == [b"abc", b"de"]
    assert list(tpkts(one + two[:5], memory, 0)) == [b"abc"]
    assert list(tpkts(one[:4], memory, 0)) == []
    assert list(tpkts(b"abc" + two, memory, 0)) == [b"abc", b"de"]
    assert list(tpkts(b"abc", memory, 0)) == []


def test_the_user_user_element() -> None:
    """H.225.0 is found behind any other element, and only if all lengths fit."""
    assert user_user(b"\x08\x02ab\x05\x28\x01x\x7e\x00\x03\x05hi") == b"hi"
    assert user_user(b"\x08\x02ab\x05\x7e\x00\x04\x05hi") is None
    assert user_user(b"\x08\xffab") is None
    assert user_user(b"\x09\x02ab\x05\x7e\x00\x03\x05hi") is None


@pytest.mark.parametrize("name", ["UserInformation", "RasMessage"])
def test_bombs_cost_no_more_than_their_length(name: str, seed: int) -> None:
    """64 kB of any bytes, of large counts and of every bit set are given up or read within a second each."""
    schema, chance = schemas()[0], random.Random(f"{seed} {name}")
    worst = 0.0
    for fill in (b"\0", b"\xff", b"\x80", b"\xbf\xff", b"\x0e\x00\x00\x01\x01\x00\x80\xbf\xff", None):
        for _ in range(4):
            head = chance.randbytes(chance.randrange(12))
            text = head + (chance.randbytes(65000) if fill is None else fill * (65000 // len(fill)))
            began = time.thread_time()
            with suppress(Unreadable):
                schema.read(name, text)
            worst = max(worst, time.thread_time() - began)
    assert worst < 1


def test_random_bytes_are_unreadable_or_a_value(seed: int) -> None:
    """Nothing but Unreadable is ever raised."""
    chance, schema = random.Random(seed), Schema(H245)
    for _ in range(5000):
        with suppress(Unreadable):
            schema.read("ControlMessage", chance.randbytes(chance.randrange(60)))


def test_notation_that_is_not_known() -> None:
    """A schema with anything else in it is refused."""
    with pytest.raises(ValueError, match="schema"):
        Schema("X DEFINITIONS ::= BEGIN A ::= SEQUENCE SET OF NULL END")
