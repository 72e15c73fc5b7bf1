"""What the FTP helper expects, and what it drops, line by line."""

from __future__ import annotations

import pytest
from tests.traffic import packets as p

from fastfw.helpers import find
from fastfw.helpers.ftp import FtpHelper

from .kernel import Ends, FakeFlow, Heard, Say, ask_helper

FOUR = Ends(p.address("172.16.6.62"), p.address("172.16.6.61"), 40000, 21)
SIX = Ends(p.address("2001:db8::62"), p.address("2001:db8::61"), 40000, 21)
GREETING = [Say(1, b"220 ready\r\n"), Say(0, b"USER anonymous\r\n")]


def hear(who: Ends, *talk: Say) -> Heard:
    return ask_helper(FtpHelper(), who, [*GREETING, *talk])


def ports(heard: Heard) -> list[int]:
    return [one.port for one in heard.expected]


@pytest.mark.parametrize(
    ("direction", "line", "port"),
    [
        (0, b"PORT 172,16,6,62,4,5\r\n", 1029),
        (0, b"port 172,16,6,62,4,5\r\n", 1029),
        (0, b"PORTS AND WORDS 1", None),
        (0, b"PORTx 172,16,6,62,4,5\r\n", 1029),
        (0, b"PORT 172,16,6,62,0,20\r\n", 20),
        (0, b"PORT 172,16,6,62,0,0\r\n", 0),
        (0, b"PORT 172,16,6,62,0,300\r\n", 300),
        (0, b"PORT 172,16,6,62,,\r\n", 0),
        (0, b"PORT 172,16,6,62,4,5\n", None),
        (0, b"PORT 172,16,6,62,4,5,\r\n", None),
        (0, b"PORT 172.16.6.62,4,5\r\n", None),
        (0, b"EPRT |1|172.16.6.62|1029|\r\n", 1029),
        (0, b"EPRT !1!172.16.6.62!1029!\r\n", 1029),
        (0, b"EPRT |1|172.16.6.62|0|\r\n", None),
        (0, b"EPRT |2|2001:db8::62|1029|\r\n", None),
        (0, b"EPRT 11117216662110291\r\n", None),
        (1, b"227 Entering Passive Mode (172,16,6,61,4,5).\r\n", 1029),
        (1, b"227 =172,16,6,61,4,5\r\n", 1029),
        (1, b"227 no number here\r\n", None),
        (1, b"229 Entering Extended Passive Mode (|||1029|)\r\n", 1029),
        (1, b"229 Entering Extended Passive Mode (|||0|)\r\n", None),
        (1, b"229 Entering Extended Passive Mode (||1029|)\r\n", None),
        (1, b"229 Entering Extended Passive Mode\r\n", None),
    ],
)
def test_a_line_is_expected_from_or_dropped(direction: int, line: bytes, port: int | None) -> None:
    """A line that begins as an announcement either announces its port, or its packet is dropped."""
    heard = hear(FOUR, Say(direction, line))
    assert heard.passed[-1] == (port is not None)
    assert ports(heard) == ([] if port is None else [port])


def test_what_is_expected_exactly() -> None:
    """One TCP connection for 300 s, from the other side's address and any port to the speaker's address and port."""
    (one,) = hear(FOUR, Say(0, b"PORT 172,16,6,62,4,5\r\n")).expected
    assert one[:8] == (p.TCP, FOUR.server, None, FOUR.client, 1029, False, 0, 300)
    (one,) = hear(FOUR, Say(1, b"227 ok (172,16,6,61,4,5)\r\n")).expected
    assert one[:8] == (p.TCP, FOUR.client, None, FOUR.server, 1029, False, 0, 300)


def test_ipv6() -> None:
    """EPRT with a 2 and an IPv6 address, however it is written; 229 as over IPv4."""
    for text in (b"2001:db8::62", b"2001:0DB8:0:0:0:0:0:62", b"2001:db8::0.0.0.98"):
        (one,) = hear(SIX, Say(0, b"EPRT |2|" + text + b"|1029|\r\n")).expected
        assert (one.destination, one.port, one.source) == (SIX.client, 1029, SIX.server)
    assert ports(hear(SIX, Say(1, b"229 ok (|||1029|)\r\n"))) == [1029]
    assert not hear(SIX, Say(0, b"EPRT |1|172.16.6.62|1029|\r\n")).passed[-1]


def test_an_address_other_than_the_speakers_is_ignored() -> None:
    """The bounce attack opens nothing, and the line passes."""
    for who, line in (
        (FOUR, b"PORT 172,16,6,11,4,5\r\n"),
        (FOUR, b"EPRT |1|172.16.6.61|1029|\r\n"),
        (SIX, b"EPRT |2|2001:db8::61|1029|\r\n"),
    ):
        assert hear(who, Say(0, line)) == ((True,) * 3, ())


def test_who_may_say_what() -> None:
    """A client's reply codes and a server's commands are words like any other."""
    assert hear(FOUR, Say(1, b"PORT 172,16,6,61,4,5\r\n")) == ((True,) * 3, ())
    assert hear(FOUR, Say(0, b"227 (172,16,6,62,4,5)\r\n")) == ((True,) * 3, ())


@pytest.mark.parametrize(
    ("direction", "line", "last"),
    [
        (0, b"PORT 172,16,6,62,4,5\r\n", b"\r"),
        (0, b"EPRT |1|172.16.6.62|1029|\r\n", b"|"),
        (1, b"227 Entering Passive Mode (172,16,6,61,4,5)\r\n", b")"),
        (1, b"229 Entering Extended Passive Mode (|||1029|)\r\n", b"|"),
    ],
)
def test_a_line_cut_at_every_byte_is_dropped_until_it_says_enough(direction: int, line: bytes, last: bytes) -> None:
    """A packet that ends within the announcement is dropped; from the byte that completes it on, it counts."""
    enough = line.rindex(last) + 1
    for cut in range(1, len(line)):
        heard = hear(FOUR, Say(direction, line[:cut]))
        assert heard.passed[-1] == (cut >= enough), line[:cut]
        assert ports(heard) == ([1029] if cut >= enough else []), line[:cut]


def test_only_a_packet_right_after_a_line_is_looked_at() -> None:
    """The first packet, one after an unfinished line, and one out of place say nothing."""
    line = b"PORT 172,16,6,62,4,5\r\n"
    assert ask_helper(FtpHelper(), FOUR, [Say(0, line)]) == ((True,), ())
    assert ask_helper(FtpHelper(), FOUR, [Say(0, b"NOOP"), Say(0, line)]) == ((True, True), ())
    assert ask_helper(FtpHelper(), FOUR, [Say(0, b"NOOP\r\n"), Say(0, line, 7)]) == ((True, True), ())
    assert ports(ask_helper(FtpHelper(), FOUR, [Say(0, b"NOOP\r\n"), Say(0, line)])) == [1029]
    assert hear(FOUR, Say(0, b"NOOP\r\n" + line)) == ((True,) * 3, ())


def test_two_ends_of_line_are_remembered_per_direction() -> None:
    """A line said again right after one of the two newest counts again; one older than those does not."""
    line = b"PORT 172,16,6,62,4,5\r\n"
    noop = b"NOOP\r\n"
    talk = [Say(0, noop, 0), Say(0, noop, 6), Say(0, noop, 12)]
    assert ports(ask_helper(FtpHelper(), FOUR, [*talk, Say(0, line, 18)])) == [1029]
    assert ports(ask_helper(FtpHelper(), FOUR, [*talk, Say(0, line, 12)])) == [1029]
    assert ports(ask_helper(FtpHelper(), FOUR, [*talk, Say(0, line, 6)])) == []
    assert ports(ask_helper(FtpHelper(), FOUR, [*talk, Say(1, noop, 0), Say(0, line, 12)])) == [1029]


def test_sequence_numbers_wrap() -> None:
    """An end of line just past 2**32 is newer than one just before."""
    who = Ends(FOUR.client, FOUR.server, 40000, 21, first=(2**32 - 9, 5000))
    talk = [Say(0, b"NOOP\r\n")] * 3 + [Say(0, b"PORT 172,16,6,62,4,5\r\n")]
    assert ports(ask_helper(FtpHelper(), who, talk)) == [1029]


def test_one_at_a_time() -> None:
    """A further announcement takes the place of the one before; the same again begins its time anew."""
    first, second = b"PORT 172,16,6,62,4,5\r\n", b"PORT 172,16,6,62,4,6\r\n"
    assert ports(hear(FOUR, Say(0, first), Say(0, second))) == [1030]
    assert ports(hear(FOUR, Say(0, first), Say(0, first))) == [1029]


def test_what_cannot_be_expected_is_dropped() -> None:
    """Where the engine refuses the expectation, the announcement must not get through either."""

    class Refusing(FakeFlow):
        def expect(self, **what: object) -> bool:
            return False

    helper = FtpHelper()
    flow = Refusing(helper, FOUR)
    assert helper.on_payload(memoryview(b"NOOP\r\n"), flow) is None
    flow.sequence = 6
    assert helper.on_payload(memoryview(b"PORT 172,16,6,62,4,5\r\n"), flow) == 0


def test_a_connection_not_established_is_not_looked_at() -> None:
    """Without an answer nothing is believed, nor is an end of line remembered."""
    helper = FtpHelper()
    flow = FakeFlow(helper, FOUR, established=False)
    assert helper.on_payload(memoryview(b"NOOP\r\n"), flow) is None
    flow.established, flow.sequence = True, 6
    assert helper.on_payload(memoryview(b"PORT 172,16,6,62,4,5\r\n"), flow) is None
    assert flow.waiting == []


def test_hostile_lines_take_bounded_time() -> None:
    """Tens of kilobytes of digits, commas or colons are read in one pass."""
    long = [b"9" * 60000, b"," * 60000, b"1," * 30000, b"0" * 50000 + b"1,2,3,4,5,6", b"1,2,3,4,5," + b"9" * 50000]
    long += [
        b"|2|" + b":" * 60000,
        b"|1|" + b"1." * 30000,
        b"|2|::" + b"0" * 50000 + b"1.2.3.4|5|",
        b"|2|" + b"0" * 50000,
    ]
    long += [b"|1|" + b"9" * 20000 + b".2.3.4|5|", b"|1|1.2.3.4|" + b"9" * 50000 + b"|", b"|||" + b"9" * 50000 + b"|"]
    for body in long:
        for verb in (b"PORT ", b"EPRT "):
            hear(SIX, Say(0, verb + body + b"\r\n"))
        for code in (b"227 ", b"229 ("):
            hear(SIX, Say(1, code + body + b"\r\n"))


def test_it_is_what_its_name_finds() -> None:
    """`ftp` serves TCP port 21, one expectation at a time, 300 s."""
    helper = find("ftp")
    assert isinstance(helper, FtpHelper)
    assert (helper.ports, helper.policy(0)) == (((6, 21),), (1, 300))
