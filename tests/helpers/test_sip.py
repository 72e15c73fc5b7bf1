"""SIP: calls announce their media, registrations the calls to come."""

from __future__ import annotations

import time

import pytest
from tests.traffic import packets as p

from fastfw.helpers import find

from .kernel import Ends, Expectation, Heard, Say, ask_helper

PHONE, PROXY = p.address("172.16.6.62"), p.address("172.16.6.61")
PHONE6, PROXY6 = p.address("2001:db8::62"), p.address("2001:db8::61")
UDP, TCP = p.UDP, p.TCP
AUDIO, VIDEO, IMAGE = 1, 2, 3


def hear(*talk: Say, protocol: int = UDP, six: bool = False) -> Heard:
    who = Ends(PHONE6 if six else PHONE, PROXY6 if six else PROXY, 5060, 5060, protocol)
    return ask_helper(find("sip"), who, talk)


def sdp(*lines: bytes) -> bytes:
    return b"\r\n".join([b"v=0", b"s=-", *lines, b""])


def said(first: bytes, method: bytes, *headers: bytes, sequence: int = 1, body: bytes = b"") -> bytes:
    size = b"Content-Length: %d" % len(body)
    return b"\r\n".join([first, b"CSeq: %d %s" % (sequence, method), *headers, size, b"", body])


def request(method: bytes, *headers: bytes, sequence: int = 1, body: bytes = b"") -> Say:
    return Say(0, said(method + b" sip:bob@example.com SIP/2.0", method, *headers, sequence=sequence, body=body))


def response(code: int, method: bytes, *headers: bytes, sequence: int = 1, body: bytes = b"") -> Say:
    return Say(1, said(b"SIP/2.0 %d Words" % code, method, *headers, sequence=sequence, body=body))


OWN, PROXYS = b"c=IN IP4 172.16.6.62", b"c=IN IP4 172.16.6.61"
CALL = request(b"INVITE", body=sdp(OWN, b"m=audio 5004 RTP/AVP 0"))
REGISTER = request(b"REGISTER", b"Contact: <sip:alice@172.16.6.62:5070>", b"Expires: 60")


def media(heard: Heard) -> list[tuple[int, int]]:
    return sorted((one.class_, one.port) for one in heard.expected)


def test_a_call_announces_its_media() -> None:
    """Each media line: RTP at the even port, RTCP above it, from the other end, to the speaker's own address."""
    heard = hear(
        request(b"INVITE", body=sdp(OWN, b"m=audio 5004 RTP/AVP 0", b"m=video 5007 RTP/AVP 31", b"m=image 0 t"))
    )
    assert heard.passed == (True,)
    assert media(heard) == [(AUDIO, 5004), (AUDIO, 5005), (VIDEO, 5006), (VIDEO, 5007)]
    for one in heard.expected:
        assert one[:4] == (UDP, PROXY, None, PHONE)
        assert (one.permanent, one.timeout, one.inactive) == (False, 180, False)


def test_the_answer_announces_its_own() -> None:
    """A provisional or good answer to INVITE, UPDATE or PRACK: what the proxy's side listens at."""
    body = sdp(PROXYS, b"m=audio 6000 RTP/AVP 0")
    for code in (183, 200):
        for method in (b"INVITE", b"UPDATE", b"PRACK"):
            assert media(hear(CALL, response(code, method, body=body))) == [
                (AUDIO, port) for port in (5004, 5005, 6000, 6001)
            ]
    assert media(hear(CALL, response(200, b"OPTIONS", body=body))) == [(AUDIO, 5004), (AUDIO, 5005)]


def test_an_address_per_media_line_overrides() -> None:
    """Media at another address than the speaker's are not expected; a line's own address comes before the session's."""
    lines = (b"m=audio 5004 RTP/AVP 0", b"c=IN IP4 198.51.100.7", b"m=video 5006 RTP/AVP 0", b"c=IN IP4 172.16.6.62")
    assert media(hear(request(b"INVITE", body=sdp(b"c=IN IP4 203.0.113.9", *lines)))) == [(VIDEO, 5006), (VIDEO, 5007)]


def test_ends_of_a_call() -> None:
    """BYE, a refusal of this very INVITE, and a further INVITE take back what media were announced."""
    assert media(hear(CALL, request(b"BYE", sequence=2))) == []
    assert media(hear(CALL, response(486, b"INVITE"))) == []
    assert media(hear(CALL, response(486, b"INVITE", sequence=7))) == [(AUDIO, 5004), (AUDIO, 5005)]
    again = request(b"INVITE", sequence=2, body=sdp(OWN, b"m=audio 7000 RTP/AVP 0"))
    assert media(hear(CALL, again)) == [(AUDIO, 7000), (AUDIO, 7001)]


def test_ipv6() -> None:
    """The same over IPv6, whose addresses stand in brackets in URIs and without in descriptions."""
    heard = hear(request(b"INVITE", body=sdp(b"c=IN IP6 2001:db8::62", b"m=audio 5004 RTP/AVP 0")), six=True)
    assert media(heard) == [(AUDIO, 5004), (AUDIO, 5005)]
    (one,) = hear(request(b"REGISTER", b"m: <sip:[2001:db8::62]>;expires=9"), six=True).expected
    assert (one.destination, one.port) == (PHONE6, 5060)


def test_a_registration_awaits_calls_once_agreed() -> None:
    """Inactive until the registrar agrees, then active for as long as it says; gone when refused or not listed."""
    waiting = Expectation(UDP, PROXY, None, PHONE, 5070, True, 0, 180, None, True)
    assert hear(REGISTER).expected == (waiting,)
    own = b"Contact: <sip:alice@172.16.6.62:5070>"
    agreed = (waiting._replace(timeout=90, inactive=False),)
    assert hear(REGISTER, response(200, b"REGISTER", own + b";expires=90")).expected == agreed
    assert hear(REGISTER, response(200, b"REGISTER", own, b"Expires: 90")).expected == agreed
    both = b"Contact: <sip:x@198.51.100.7>;expires=5, <sip:alice@172.16.6.62:5070>;expires=90"
    assert hear(REGISTER, response(200, b"REGISTER", both)).expected == agreed
    assert hear(REGISTER, response(100, b"REGISTER")).expected == (waiting,)
    assert hear(REGISTER, response(200, b"REGISTER", own + b";expires=90", sequence=2)).expected == (waiting,)
    for refusal in (
        response(403, b"REGISTER"),
        response(200, b"REGISTER"),
        response(200, b"REGISTER", own + b";expires=0"),
    ):
        assert hear(REGISTER, refusal).expected == ()


@pytest.mark.parametrize(
    "contact",
    [
        b"Contact: <sip:alice@198.51.100.7>",
        b"Contact: <sip:alice@172.16.6.62;transport=tcp>",
        b"Contact: <sip:alice@172.16.6.62:80>",
        b"Contact: <sip:alice@example.com>",
        b"Contact: <sip:alice@172.16.6.62>;expires=0",
        b"X-Contact: <sip:alice@172.16.6.62>",
    ],
)
def test_registrations_that_announce_nothing(contact: bytes) -> None:
    """Another's address, another transport, a privileged port, a name, no lifetime."""
    assert hear(request(b"REGISTER", contact, b"Expires: 60")) == ((True,), ())


@pytest.mark.parametrize(
    "message",
    [
        Say(0, b"INVITE sip:a SIP/2.0\r\nTo: b\r\n\r\n"),
        Say(0, b"INVITE sip:a SIP/2.0\r\nCSeq: x INVITE\r\n\r\n"),
        Say(0, b"INVITE sip:a SIP/2.0\r\nCSeq: 4294967296 INVITE\r\n\r\n"),
        Say(0, b"SIP/2.0 abc Words\r\nCSeq: 1 INVITE\r\n\r\n"),
        request(b"INVITE", body=sdp(OWN, b"m=audio 1023 RTP/AVP 0")),
        request(b"INVITE", body=sdp(OWN, b"m=audio 65536 RTP/AVP 0")),
        request(b"INVITE", body=sdp(b"m=audio 5004 RTP/AVP 0")),
        request(b"REGISTER", b"Contact: <sip:a@172.16.6.62>;expires=x"),
    ],
)
def test_what_cannot_be_read_is_dropped(message: Say) -> None:
    """No sequence number, no code, a privileged port, media without an address, a lifetime that is no number."""
    assert hear(message) == ((False,), ())


def test_several_messages_in_one_segment() -> None:
    """Over TCP, Content-Length divides the segment; a message that is cut ends it."""
    two = CALL.payload + request(b"UPDATE", body=sdp(OWN, b"m=video 6000 RTP/AVP 0")).payload
    whole = [(AUDIO, 5004), (AUDIO, 5005), (VIDEO, 6000), (VIDEO, 6001)]
    assert media(hear(Say(0, two), protocol=TCP)) == whole
    assert media(hear(Say(0, two[:-1]), protocol=TCP)) == whole[:2]


def test_hostile_messages_take_bounded_time(patience: int) -> None:
    """64 kB of continuations, contacts, colons, digits or media lines are read in well under a second of this process's
    time."""
    size = 60_000
    start = b"REGISTER sip:a SIP/2.0\r\nCSeq: 1 REGISTER\r\n"
    bodies = [
        start + b"Contact: " + filling * (size // len(filling))
        for filling in (b"\r\n ", b"sip:x,", b"sip:1.1.1.1,", b"@", b":")
    ]
    bodies += [start + (b"Contact: x\r\n") * (size // 12), start + b"m: sip:[" + b"0:" * (size // 2)]
    bodies += [start + b"Contact: sip:" + b"0" * size, b"INVITE a SIP/2.0\r\nCSeq: " + b"1" * size]
    bodies += [b"INVITE a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n" + b"m=audio 0\r\n" * (size // 11)]
    bodies += [b"INVITE a SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\n" + b"m=x 5\r\n" * (size // 7)]
    for body in bodies:
        for protocol in (UDP, TCP):
            begun = time.process_time()
            hear(Say(0, body), Say(1, body), protocol=protocol)
            assert time.process_time() - begun < patience, body[:80]
