"""H.323: what is read of RAS, Q.931 and H.245, and that no bytes cost more than their own length."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from tests.traffic import packets as p

import fastfw
from fastfw.helpers import find
from fastfw.helpers.h323 import schemas, tpkts, user_user
from fastfw.helpers.h323_schema import H245
from fastfw.helpers.per import Schema, Unreadable

from . import h323_talk, hostile
from .h323_talk import confirmation
from .kernel import Ends, FakeFlow, Say, ask_helper, ends, packets

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


@pytest.mark.parametrize(
    ("seconds", "lives"),
    [
        (65_536, 65_536),
        (8_589_934, 8_589_934),
        (8_589_935, 0),
        (17_179_870, 1),
        (2**31, 0),
        (2**31 + 300, 300),
        (2**32 - 1, 0),
        (2**32, None),
    ],
)
def test_a_registration_lasts_as_long_as_ticks_count(seconds: int, lives: int | None) -> None:
    """So many seconds as 32 bits of the kernel's ticks hold, none where their upper half would be reached; 32 bits
    of zeros are no time."""
    flow = FakeFlow(find("RAS"), who(1719, p.UDP), direction=1)
    find("RAS").on_payload(memoryview(confirmation(flow.who, seconds)), flow)
    assert flow.lives == lives
    engine = fastfw.Engine(helpers=["RAS"])
    for packet in packets([Say(0, b"\x0e"), Say(1, confirmation(flow.who, seconds))], flow.who):
        engine.decide(packet, now=10**18)
    assert [one.timeout for one in engine.connections()] == [30 if lives is None else lives] * (lives != 0)


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
    memory: dict[str, int] = {}
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


def media_at(port: int) -> tuple[str, dict[str, object]]:
    address = ("unicastAddress", ("iPAddress", {"network": p.address("10.1.0.1"), "tsapIdentifier": port}))
    return ("h2250", {"mediaChannel": address})


def test_a_control_message_too_many_must_be_readable() -> None:
    """Of the H.245 messages in a call's the first four are followed; a fifth that cannot be read spoils all."""
    pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    encoders = h323_talk.schemas()
    kind, fields = media_at(5004)
    forward = {"dataType": ("nullData", None), "multiplex": (kind, {"sessionID": 1, **fields})}
    request = ("openLogicalChannel", {"forwardLogicalChannelNumber": 1, "forward": forward})
    first, other = (
        bytes(encoders[1].encode("ControlMessage", one)) for one in (("request", request), ("response", ("p3", None)))
    )
    for last, expected in ((other, 2), (b"\x0f", 0)):
        pdu = {"body": ("empty", None), "skip2": True, "h245Control": [first, other, other, other, last]}
        said = hostile.q931(b"\5" + bytes(encoders[0].encode("UserInformation", {"pdu": pdu})))
        heard = ask_helper(find("Q.931"), who(1720, p.TCP), [Say(0, h323_talk.tpkt(said))])
        assert len(heard.expected) == expected


def test_what_an_acknowledgement_announces_comes_in_this_order() -> None:
    """Media before data, so that where the limit is reached the media give way first."""
    pytest.importorskip("asn1tools", reason="H.323 is encoded by asn1tools, not installed")
    address = media_at(3000)[1]["mediaChannel"]
    stack = {"networkAddress": ("localAreaAddress", address), "associateConference": False}
    fields = {"forwardLogicalChannelNumber": 1, "separateStack": stack, "forwardMultiplexAck": media_at(5004)}
    said = h323_talk.schemas()[1].encode("ControlMessage", ("response", ("openLogicalChannelAck", fields)))
    helper = find("H.245")
    flow = FakeFlow(helper, who(1720, p.TCP))
    helper.on_payload(memoryview(h323_talk.tpkt(bytes(said))), flow)  # type: ignore[arg-type]
    assert [one.port for one in flow.waiting] == [5004, 5005, 3000]
