"""Protocols without a tracker of their own: an address pair, and one timeout."""

from __future__ import annotations

import pytest
from tests.core.talk import Talk
from tests.traffic import packets as p

ENDS = {4: (p.address("10.1.0.1"), p.address("10.2.0.1")), 6: (p.address("fd00:1::1"), p.address("fd00:2::1"))}


@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("number", [2, 33, 50, 88, 89, 103, 112, 253, 255])
def test_by_address_pair(number: int, family: int) -> None:
    """Any bytes between two addresses are one connection, answered by any bytes back, never ASSURED."""
    one, two = ENDS[family]
    talk = Talk()
    assert talk.say(p.ip(one, two, number, b"")) == "NEW"
    assert talk.say(p.ip(one, two, number, bytes(100)), 300) == "NEW"
    assert talk.say(p.ip(two, one, number, b"x"), 300) == "ESTABLISHED REPLY SEEN_REPLY"
    assert talk.say(p.ip(one, two, number, b"y"), 300) == "ESTABLISHED SEEN_REPLY"
    (found,) = talk.engine.connections()
    assert (found.protocol, found.timeout, found.assured) == (number, 600, False)


def test_timeout() -> None:
    """The timeout is nf_conntrack_generic_timeout."""
    one, two = ENDS[4]
    talk = Talk(nf_conntrack_generic_timeout=5)
    assert talk.say(p.ip(one, two, 50, bytes(8))) == "NEW"
    assert talk.say(p.ip(two, one, 50, bytes(8)), 4.9) == "ESTABLISHED REPLY SEEN_REPLY"
    assert talk.say(p.ip(two, one, 50, bytes(8)), 5) == "NEW"


def test_protocols_are_apart() -> None:
    """The same two addresses have one connection for each protocol number."""
    one, two = ENDS[4]
    talk = Talk()
    for number in (50, 51, 253):
        assert talk.say(p.ip(one, two, number, bytes(8))) == "NEW"
    assert talk.engine.conntrack_count == 3
