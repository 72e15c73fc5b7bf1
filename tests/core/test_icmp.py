"""ICMP and ICMPv6: requests and replies, and errors about the packets they quote."""

from __future__ import annotations

import pytest
from tests.core.talk import Talk
from tests.traffic import packets as p

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}
ROUTER = {4: p.address("10.9.0.1"), 6: p.address("fd00:9::1")}
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
QUERIES = [(4, 8, 0), (4, 13, 14), (4, 15, 16), (4, 17, 18), (6, 128, 129), (6, 139, 140)]
UNREACHABLE = {4: (3, 3), 6: (1, 4)}


def query(family: int, kind: int, *, back: bool = False, identifier: int = 7, code: int = 0) -> bytes:
    one, two = ENDS[family][::-1] if back else ENDS[family]
    return p.icmp_packet(one, two, kind, code, identifier.to_bytes(2, "big") + b"\0\1", bytes(12))


@pytest.mark.parametrize(("family", "request_type", "reply_type"), QUERIES)
def test_request_and_reply(family: int, request_type: int, reply_type: int) -> None:
    """A request is NEW, its reply ESTABLISHED, and so is the next request; it is never ASSURED and lives 30 s."""
    talk = Talk()
    assert talk.say(query(family, request_type)) == "NEW"
    assert talk.say(query(family, request_type), 5) == "NEW"
    assert talk.say(query(family, reply_type, back=True), 5) == "ESTABLISHED REPLY SEEN_REPLY"
    assert talk.say(query(family, request_type), 25) == "ESTABLISHED SEEN_REPLY"
    (found,) = talk.engine.connections()
    assert (found.timeout, found.assured) == (30, False)


@pytest.mark.parametrize(("family", "request_type", "reply_type"), QUERIES)
def test_reply_to_nothing(family: int, request_type: int, reply_type: int) -> None:
    """A reply without a request, of another identifier, or in the request's own direction is INVALID."""
    talk = Talk()
    assert talk.say(query(family, reply_type, back=True)) == "INVALID (ICMP_NO_REQUEST)"
    talk.say(query(family, request_type))
    assert talk.say(query(family, reply_type, back=True, identifier=8)) == "INVALID (ICMP_NO_REQUEST)"
    assert talk.say(query(family, reply_type)) == "INVALID (ICMP_NO_REQUEST)"
    assert talk.say(query(family, reply_type, back=True, code=1)) == "INVALID (ICMP_NO_REQUEST)"
    assert talk.engine.conntrack_count == 1


def test_types_do_not_answer_each_other() -> None:
    """A timestamp reply does not answer an echo request of the same identifier."""
    talk = Talk()
    talk.say(query(4, 8))
    assert talk.say(query(4, 14, back=True)) == "INVALID (ICMP_NO_REQUEST)"


@FAMILIES
def test_other_types(family: int) -> None:
    """Of ICMPv4 all but eight queries and five errors are INVALID; of ICMPv6 the neighbours' talk is UNTRACKED."""
    queries = {kind for number, *kinds in QUERIES if number == family for kind in kinds}
    errors = {3, 4, 5, 11, 12} if family == 4 else set(range(128))
    untracked = set() if family == 4 else {*range(130, 137), 143, 151, 152}
    for kind in range(256):
        said = Talk().say(query(family, kind)).split()
        if kind in untracked:
            assert said == ["UNTRACKED"]
        elif kind in errors:
            assert said[0] == "INVALID"
            assert said[1].startswith("(ICMP_ERROR")
        elif kind in queries:
            assert said[-1] in ("NEW", "(ICMP_NO_REQUEST)")
        else:
            assert said == ["INVALID", "(ICMP_TYPE)"]


def error(family: int, quoted: bytes, to: bytes | None = None, kind: tuple[int, int] | None = None) -> bytes:
    """A router's error about a packet, to the packet's sender unless `to` another."""
    sender = quoted[12:16] if family == 4 else quoted[8:24]
    return p.icmp_packet(ROUTER[family], to or sender, *(kind or UNREACHABLE[family]), payload=quoted)


@FAMILIES
def test_error_about_a_question(family: int) -> None:
    """An error about a packet of a connection is RELATED, travels against it, and refreshes nothing."""
    one, two = ENDS[family]
    talk = Talk()
    asked = p.udp_packet(one, two, 4000, 53, b"question")
    talk.say(asked)
    assert talk.say(error(family, asked), 10) == "RELATED REPLY"
    (found,) = talk.engine.connections()
    assert (found.timeout, found.seen_reply) == (20, False)


@FAMILIES
def test_error_about_an_answer(family: int) -> None:
    """An error about an answer travels with the connection's first packet, and carries the connection's flags."""
    one, two = ENDS[family]
    talk = Talk()
    answer = p.udp_packet(two, one, 53, 4000, b"answer")
    talk.say(p.udp_packet(one, two, 4000, 53, b"question"))
    talk.say(answer)
    assert talk.say(error(family, answer)) == "RELATED SEEN_REPLY"


@FAMILIES
def test_error_about_nothing(family: int) -> None:
    """An error about a packet of no connection is INVALID, and makes none."""
    talk = Talk()
    assert talk.say(error(family, p.udp_packet(*ENDS[family], 1, 2))) == "INVALID (ICMP_ERROR_UNKNOWN)"
    assert talk.engine.conntrack_count == 0


@FAMILIES
def test_error_to_somebody_else(family: int) -> None:
    """An error must go to whom the quoted packet came from."""
    one, two = ENDS[family]
    talk = Talk()
    asked = p.udp_packet(one, two, 4000, 53, b"question")
    talk.say(asked)
    for to in (two, ROUTER[family]):
        assert talk.say(error(family, asked, to)) == "INVALID (ICMP_ERROR_ADDRESS)"


@FAMILIES
@pytest.mark.parametrize("protocol", ["udp", "tcp", "echo", "other"])
def test_how_much_is_quoted(family: int, protocol: str) -> None:
    """Four bytes of a header with ports, eight of an ICMP header, none of an unknown one name the connection."""
    one, two = ENDS[family]
    packet, needed = {
        "udp": (p.udp_packet(one, two, 4000, 53, bytes(20)), 4),
        "tcp": (p.tcp_packet(one, two, 4000, 80, p.SYN), 4),
        "echo": (p.echo(one, two, 7, 1), 8),
        "other": (p.ip(one, two, 253, bytes(20)), 0),
    }[protocol]
    talk = Talk()
    talk.say(packet)
    head = 20 if family == 4 else 40
    for size in range(len(packet) + 1):
        wanted = "RELATED REPLY" if size >= head + needed else "INVALID (ICMP_ERROR_MALFORMED)"
        cut = packet[:size]
        if size < (16 if family == 4 else 24):
            cut_error = p.icmp_packet(ROUTER[family], one, *UNREACHABLE[family], payload=cut)
        else:
            cut_error = error(family, cut, one)
        assert talk.say(cut_error) == wanted, size


@FAMILIES
def test_error_about_an_error(family: int) -> None:
    """An error about an error is INVALID: errors name no connection of their own."""
    one, two = ENDS[family]
    talk = Talk()
    asked = p.udp_packet(one, two, 4000, 53, b"question")
    talk.say(asked)
    first = p.icmp_packet(two, one, *UNREACHABLE[family], payload=asked)
    assert talk.say(first) == "RELATED REPLY"
    assert talk.say(error(family, first)) == "INVALID (ICMP_ERROR_MALFORMED)"


@FAMILIES
def test_quoted_checksum_does_not_matter(family: int) -> None:
    """The quoted packet may have been changed or cut on its way: its checksum is not looked at."""
    one, two = ENDS[family]
    talk = Talk()
    asked = bytearray(p.udp_packet(one, two, 4000, 53, b"question"))
    talk.say(bytes(asked))
    asked[-1] ^= 0xFF
    assert talk.say(error(family, bytes(asked))) == "RELATED REPLY"


def test_timeouts() -> None:
    """Each family has its own timeout."""
    talk = Talk(nf_conntrack_icmp_timeout=5, nf_conntrack_icmpv6_timeout=9)
    talk.say(query(4, 8))
    talk.say(query(6, 128))
    assert {each.family: each.timeout for each in talk.engine.connections()} == {4: 5, 6: 9}
