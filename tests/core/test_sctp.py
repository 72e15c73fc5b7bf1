"""SCTP associations are followed as the kernel follows them. Each test but the checksum's began as a difference."""

from __future__ import annotations

import struct

import pytest
from tests.core.talk import Talk
from tests.traffic import packets as p
from tests.traffic.sctp import (
    ABORT,
    COOKIE_ACK,
    COOKIE_ECHO,
    DATA,
    HEARTBEAT,
    HEARTBEAT_ACK,
    INIT,
    INIT_ACK,
    SACK,
    SHUTDOWN,
    SHUTDOWN_ACK,
    SHUTDOWN_COMPLETE,
    TAG_REFLECTED,
    body_of,
)

ONE, TWO = p.address("10.1.0.1"), p.address("10.2.0.1")
ENDS = ((ONE, TWO, 40000, 2905), (TWO, ONE, 2905, 40000))
MINE, THINE = 0x11111111, 0x22222222

NEW = "NEW"
BACK, FORTH = "ESTABLISHED REPLY SEEN_REPLY", "ESTABLISHED SEEN_REPLY"


def chunks(*kinds: int, flags: int = 0, chosen: int = MINE) -> bytes:
    return b"".join(p.chunk(kind, flags, body_of(kind, chosen)) for kind in kinds)


def sctp(end: int, tag: int, *kinds: int, flags: int = 0, chosen: int = MINE) -> bytes:
    """A packet from ``end`` with verification tag ``tag``; an INIT or INIT ACK in it chooses ``chosen``."""
    source, destination, sport, dport = ENDS[end]
    return p.ip(source, destination, p.SCTP, p.sctp(sport, dport, tag, chunks(*kinds, flags=flags, chosen=chosen)))


def established(talk: Talk) -> None:
    """The four packets that open an association."""
    assert talk.say(sctp(0, 0, INIT, chosen=MINE)) == NEW
    assert talk.say(sctp(1, MINE, INIT_ACK, chosen=THINE)) == BACK
    assert talk.say(sctp(0, THINE, COOKIE_ECHO)) == FORTH
    assert talk.say(sctp(1, MINE, COOKIE_ACK)) == f"{BACK} ASSURED"


def test_an_association_opens_and_closes() -> None:
    """Every state from the first INIT to the SHUTDOWN COMPLETE, with its timeout."""
    talk = Talk()
    seen = []
    for packet in (
        sctp(0, 0, INIT, chosen=MINE),
        sctp(1, MINE, INIT_ACK, chosen=THINE),
        sctp(0, THINE, COOKIE_ECHO, DATA),
        sctp(1, MINE, COOKIE_ACK, SACK),
        sctp(0, THINE, SHUTDOWN),
        sctp(1, MINE, SHUTDOWN_ACK),
        sctp(0, THINE, SHUTDOWN_COMPLETE),
    ):
        assert "INVALID" not in talk.say(packet)
        seen.append(" ".join(talk.table()[0].split()[4:6]))
    assert seen == [
        "10 CLOSED",
        "3 COOKIE_WAIT",
        "3 COOKIE_ECHOED",
        "210 ESTABLISHED",
        "3 SHUTDOWN_SENT",
        "3 SHUTDOWN_ACK_SENT",
        "10 CLOSED",
    ]
    assert talk.table()[0].endswith("[ASSURED] mark=0 zone=0 use=2")


def test_a_cookie_acknowledged_together_with_data_assures() -> None:
    """It is the chunk that moves the state that counts, not the packet's last one."""
    talk = Talk()
    talk.say(sctp(0, 0, INIT, chosen=MINE))
    talk.say(sctp(1, MINE, INIT_ACK, chosen=THINE))
    talk.say(sctp(0, THINE, COOKIE_ECHO))
    assert talk.say(sctp(1, MINE, COOKIE_ACK, DATA)) == f"{BACK} ASSURED"


def test_heartbeats_open_a_second_path() -> None:
    """Of a path that begins with a HEARTBEAT the tags are learned from it and its acknowledgement."""
    talk = Talk()
    assert talk.say(sctp(0, THINE, HEARTBEAT)) == NEW
    assert "HEARTBEAT_SENT" in talk.table()[0]
    assert talk.say(sctp(1, MINE, HEARTBEAT_ACK)) == f"{BACK} ASSURED"
    assert talk.say(sctp(0, THINE, DATA)) == f"{FORTH} ASSURED"
    assert talk.say(sctp(0, MINE, DATA)) == "INVALID (SCTP_TAG)"


def test_an_acknowledged_heartbeat_changes_the_tag() -> None:
    """A HEARTBEAT with another tag passes unjudged and refreshes nothing; acknowledged with another, it is believed."""
    talk = Talk()
    established(talk)
    assert talk.say(sctp(0, 5, HEARTBEAT), wait=10) == f"{FORTH} ASSURED"
    assert " 200 ESTABLISHED" in talk.table()[0]
    assert talk.say(sctp(1, 6, HEARTBEAT_ACK)) == f"{BACK} ASSURED"
    assert talk.say(sctp(1, 6, DATA)) == f"{BACK} ASSURED"
    assert talk.say(sctp(1, MINE, DATA)) == "INVALID (SCTP_TAG)"


def test_a_heartbeat_with_another_tag_carries_no_data() -> None:
    """The leniency towards HEARTBEATs ends where DATA rides along."""
    talk = Talk()
    established(talk)
    assert talk.say(sctp(0, 5, HEARTBEAT, DATA)) == "INVALID (SCTP_TAG)"


@pytest.mark.parametrize("kind", [ABORT, SHUTDOWN_COMPLETE])
def test_a_reflected_tag_is_the_senders_own(kind: int) -> None:
    """With the T bit an ABORT or SHUTDOWN COMPLETE carries the tag it was sent, without it the receiver's."""
    for tag, flags, answer in (
        (MINE, 0, "INVALID (SCTP_TAG)"),
        (THINE, TAG_REFLECTED, "INVALID (SCTP_TAG)"),
        (MINE, TAG_REFLECTED, f"{FORTH} ASSURED"),
        (THINE, 0, f"{FORTH} ASSURED"),
    ):
        talk = Talk()
        established(talk)
        assert talk.say(sctp(0, tag, kind, flags=flags)) == answer


def test_the_first_packet_out_of_the_blue() -> None:
    """A SHUTDOWN ACK or HEARTBEAT begins an entry, DATA or a COOKIE ACK that comes first is INVALID."""
    assert Talk().say(sctp(0, 7, SHUTDOWN_ACK)) == NEW
    assert Talk().say(sctp(0, 7, HEARTBEAT)) == NEW
    assert Talk().say(sctp(0, 7, DATA)) == "INVALID (SCTP_STATE)"
    assert Talk().say(sctp(0, 7, COOKIE_ACK)) == "INVALID (SCTP_STATE)"
    assert Talk().say(sctp(0, 0, ABORT)) == "INVALID (SCTP_STATE)"


def test_an_init_with_a_tag_is_invalid() -> None:
    """An INIT carries verification tag 0 (RFC 9260 section 8.5.1)."""
    assert Talk().say(sctp(0, 7, INIT)) == "INVALID (SCTP_TAG)"


def test_an_init_sent_again_keeps_no_port_alive() -> None:
    """A retransmitted INIT does not refresh the entry."""
    talk = Talk()
    talk.say(sctp(0, 0, INIT))
    talk.say(sctp(0, 0, INIT), wait=6)
    assert " 4 CLOSED" in talk.table()[0]


def test_colliding_calls_must_agree_with_themselves() -> None:
    """Where both ends called, an INIT ACK that chooses another tag than its own end's INIT is INVALID."""
    talk = Talk()
    talk.say(sctp(0, 0, INIT, chosen=1))
    assert talk.say(sctp(1, 0, INIT, chosen=2)) == BACK
    assert talk.say(sctp(0, 2, INIT_ACK, chosen=3)) == "INVALID (SCTP_TAG)"
    assert talk.say(sctp(0, 2, INIT_ACK, chosen=1)) == FORTH


def test_a_call_sent_again_leaves_a_collision_as_it_was() -> None:
    """The other end's INIT, retransmitted, does not make a stale INIT ACK acceptable; one with a new tag does."""
    for second, answer in ((2, "INVALID (SCTP_TAG)"), (9, FORTH)):
        talk = Talk()
        talk.say(sctp(0, 0, INIT, chosen=1))
        talk.say(sctp(1, 0, INIT, chosen=2))
        talk.say(sctp(1, 0, INIT, chosen=second))
        assert talk.say(sctp(0, second, INIT_ACK, chosen=5)) == answer


def test_an_acknowledged_cookie_ends_the_call() -> None:
    """After a COOKIE ACK no INIT is outstanding: a second INIT ACK with another tag is INVALID."""
    talk = Talk()
    talk.say(sctp(0, 0, INIT, chosen=1))
    talk.say(sctp(1, 1, COOKIE_ACK))
    assert talk.say(sctp(1, 1, INIT_ACK, chosen=2)) == BACK
    assert talk.say(sctp(1, 1, INIT_ACK, chosen=3)) == "INVALID (SCTP_TAG)"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="no chunk"),
        pytest.param(b"\0\3\0", id="no whole chunk header"),
        pytest.param(p.chunk(DATA, length=0), id="a chunk of no length"),
        pytest.param(chunks(INIT, DATA), id="INIT not alone"),
        pytest.param(chunks(HEARTBEAT, COOKIE_ECHO), id="COOKIE ECHO not first"),
        pytest.param(chunks(INIT)[:16], id="INIT cut short"),
    ],
)
def test_chunks_that_may_not_stand_so_are_invalid(body: bytes) -> None:
    """Bundles RFC 9260 forbids and chunks without end make no entry."""
    talk = Talk()
    packet = p.ip(ONE, TWO, p.SCTP, p.sctp(40000, 2905, 0, body))
    assert talk.say(packet) == "INVALID (SCTP_CHUNK)"
    assert talk.table() == []


@pytest.mark.parametrize("length", [*range(12, 64), 1000, 1499])
def test_the_checksum_is_castagnolis(length: int) -> None:
    """A packet of any length passes with the checksum an independent implementation computes, and fails with any bit
    of it wrong, unless nobody is to look."""
    body = p.chunk(HEARTBEAT, 0, bytes(range(1, 251)) * 6)[: length - 12]
    body = body[:2] + struct.pack(">H", 4) + body[4:] if len(body) >= 4 else body
    good = p.sctp(40000, 2905, 5, body)
    bad = bytearray(good)
    bad[8 + length % 4] ^= 1 << length % 8
    assert "SCTP_CHECKSUM" not in Talk().say(p.ip(ONE, TWO, p.SCTP, good))
    packet = p.ip(ONE, TWO, p.SCTP, bytes(bad))
    assert Talk().say(packet) == "INVALID (SCTP_CHECKSUM)"
    assert "SCTP_CHECKSUM" not in Talk(nf_conntrack_checksum=0).say(packet)
    assert "SCTP_CHECKSUM" not in Talk().say(packet, hook="OUTPUT")


def test_an_error_about_an_association_is_related() -> None:
    """An ICMP error that quotes a packet's first eight bytes belongs to its association."""
    talk = Talk()
    packet = sctp(0, 0, INIT)
    talk.say(packet)
    assert talk.say(p.icmp_packet(TWO, ONE, 3, 2, payload=packet[:28])) == "RELATED REPLY"


def test_a_capture_cut_short_is_said_to_be() -> None:
    """Where the capture ends before the chunks do, it is not the sender who is blamed."""
    assert Talk().say(sctp(0, 0, INIT), have=32) == "INVALID (CAPTURE_CUT)"


@pytest.mark.parametrize("first", [(HEARTBEAT, SHUTDOWN), (SHUTDOWN, HEARTBEAT)], ids=["before", "behind"])
def test_a_heartbeat_beside_a_shutdown_lets_the_answer_choose_its_tag(first: tuple[int, ...]) -> None:
    """Out of the blue, a SHUTDOWN's tag must come back reflected; with a HEARTBEAT beside it, it must not."""
    talk = Talk()
    assert talk.say(sctp(0, MINE, *first)) == NEW
    assert talk.say(sctp(1, THINE, HEARTBEAT_ACK)) == BACK
    talk = Talk()
    assert talk.say(sctp(0, MINE, *first)) == NEW
    assert talk.say(sctp(1, MINE, DATA)).startswith("INVALID (SCTP_TAG)")


def test_a_heartbeat_beside_a_shutdown_ack_does_not() -> None:
    """A SHUTDOWN ACK is always answered with its own tag."""
    talk = Talk()
    assert talk.say(sctp(0, MINE, HEARTBEAT, SHUTDOWN_ACK)) == NEW
    assert talk.say(sctp(1, THINE, HEARTBEAT_ACK)).startswith("INVALID (SCTP_TAG)")
    assert talk.say(sctp(1, MINE, DATA)) == BACK


def test_an_acknowledgement_behind_a_cookie_brings_no_tag() -> None:
    """A cookie out of the blue is INVALID, also where a HEARTBEAT ACK, which alone begins a path, stands behind it."""
    assert Talk().say(sctp(0, MINE, HEARTBEAT_ACK)) == NEW
    assert Talk().say(sctp(0, MINE, COOKIE_ECHO)).startswith("INVALID (SCTP_TAG)")
    assert Talk().say(sctp(0, MINE, COOKIE_ECHO, HEARTBEAT_ACK)).startswith("INVALID (SCTP_TAG)")
