"""UDP: unanswered, answered, and a stream once it lasts."""

from __future__ import annotations

import pytest
from tests.core.talk import Talk
from tests.traffic import packets as p

THERE = p.udp_packet(p.address("10.1.0.1"), p.address("10.2.0.1"), 4000, 53, b"?")
BACK = p.udp_packet(p.address("10.2.0.1"), p.address("10.1.0.1"), 53, 4000, b"!")
NEW, ANSWER, GOES_ON = "NEW", "ESTABLISHED REPLY SEEN_REPLY", "ESTABLISHED SEEN_REPLY"


def left(talk: Talk) -> int:
    (found,) = talk.engine.connections()
    return found.timeout


def test_unanswered() -> None:
    """A datagram nobody answers stays NEW, and each one lets it live 30 s more; an hour makes it no stream."""
    talk = Talk()
    for _ in range(4):
        assert talk.say(THERE, 10) == NEW
        assert left(talk) == 30


def test_answered_at_once() -> None:
    """Within two seconds of the first datagram an answered exchange is not a stream, and not ASSURED."""
    talk = Talk()
    assert talk.say(THERE) == NEW
    assert talk.say(BACK, 1) == ANSWER
    assert talk.say(THERE, 1) == GOES_ON
    assert left(talk) == 30


@pytest.mark.parametrize(("packet", "said"), [(THERE, GOES_ON), (BACK, ANSWER)], ids=["question", "answer"])
def test_stream(packet: bytes, said: str) -> None:
    """Still active after two seconds and answered before, it is a stream: ASSURED, for 120 s."""
    talk = Talk()
    talk.say(THERE)
    talk.say(BACK, 1)
    assert talk.say(packet, 1.000000001) == f"{said} ASSURED"
    assert left(talk) == 120


def test_late_answer_is_not_yet_a_stream() -> None:
    """The first answer makes no stream however late it comes; the datagram behind it does."""
    talk = Talk()
    talk.say(THERE)
    assert talk.say(BACK, 5) == ANSWER
    assert left(talk) == 30
    assert talk.say(THERE) == f"{GOES_ON} ASSURED"
    assert left(talk) == 120


def test_time_is_up() -> None:
    """The connection ends exactly when its time is up, and the next datagram begins another."""
    talk = Talk()
    talk.say(THERE)
    talk.say(BACK, 29.999999999)
    assert talk.say(BACK, 30) == NEW


def test_timeouts_are_settings() -> None:
    """Both timeouts are taken from the settings when a datagram passes."""
    talk = Talk(nf_conntrack_udp_timeout=5, nf_conntrack_udp_timeout_stream=50)
    talk.say(THERE)
    assert left(talk) == 5
    talk.engine.settings["nf_conntrack_udp_timeout"] = 7
    talk.say(BACK, 3)
    assert left(talk) == 7
    talk.say(THERE)
    assert left(talk) == 50


def test_timeout_of_zero() -> None:
    """With a timeout of zero every datagram is NEW, and none stays."""
    talk = Talk(nf_conntrack_udp_timeout=0)
    for _ in range(3):
        assert talk.say(THERE) == NEW
    assert list(talk.engine.connections()) == []
