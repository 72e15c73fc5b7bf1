"""GRE, UDP-Lite and the protocols known by number alone are tracked as the kernel tracks them."""

from __future__ import annotations

from random import Random
from time import process_time

import numpy as np
import pytest
from tests.core.talk import Talk
from tests.helpers.kernel import Ends, packets
from tests.helpers.pptp_talk import out_reply, out_request, start_reply, start_request
from tests.kernel.oracle import pack
from tests.traffic import packets as p
from tests.traffic.gre import PPP, UDPLITE, udplite

from fastfw.core import snapshot

ONE, TWO = p.address("10.1.0.1"), p.address("10.2.0.1")
SIX, SEVEN = p.address("fd00:1::1"), p.address("fd00:2::1")
BACK, FORTH = "ESTABLISHED REPLY SEEN_REPLY", "ESTABLISHED SEEN_REPLY"


def pptp(source: bytes, destination: bytes, call: int) -> bytes:
    return p.ip(source, destination, p.GRE, p.gre(call, b"ppp", version=1, protocol=PPP))


def test_a_tunnel_is_a_pair_of_addresses() -> None:
    """Version 0 ignores its key; the packet after the answer makes the tunnel ASSURED and gives it the longer time."""
    talk = Talk()
    assert talk.say(p.ip(ONE, TWO, p.GRE, p.gre(1))) == "NEW"
    assert talk.table()[0] == (
        "ipv4     2 gre      47 30 timeout=30, stream_timeout=180 src=10.1.0.1 dst=10.2.0.1 srckey=0x0 dstkey=0x0 "
        "[UNREPLIED] src=10.2.0.1 dst=10.1.0.1 srckey=0x0 dstkey=0x0 mark=0 zone=0 use=2"
    )
    assert talk.say(p.ip(TWO, ONE, p.GRE, p.gre(2))) == BACK
    assert " 47 30 " in talk.table()[0]
    assert talk.say(p.ip(ONE, TWO, p.GRE, p.gre())) == f"{FORTH} ASSURED"
    assert " 47 180 " in talk.table()[0]


def test_a_call_has_a_connection_of_its_own_each_way() -> None:
    """Without a helper nobody knows which call answers which."""
    talk = Talk()
    assert [talk.say(packet) for packet in (pptp(ONE, TWO, 77), pptp(TWO, ONE, 78), pptp(ONE, TWO, 77))] == ["NEW"] * 3
    assert "srckey=0x0 dstkey=0x4d" in talk.table()[0]
    assert len(talk.table()) == 2


def test_version_1_must_carry_ppp() -> None:
    """A version 1 header of another protocol is INVALID; too short a one counts as version 0."""
    packet = p.gre(77, version=1, protocol=0x0800)
    talk = Talk()
    assert talk.say(p.ip(ONE, TWO, p.GRE, packet)) == "INVALID (GRE_HEADER)"
    assert talk.table() == []
    assert talk.say(p.ip(ONE, TWO, p.GRE, packet[:7])) == "NEW"
    assert "srckey=0x0 dstkey=0x0" in talk.table()[0]


def test_a_tunnel_keeps_the_timeouts_it_began_with() -> None:
    """Settings changed later are those of later tunnels."""
    talk = Talk()
    talk.say(p.ip(ONE, TWO, p.GRE, p.gre()))
    talk.engine.settings["nf_conntrack_gre_timeout"] = 7
    talk.engine.settings["nf_conntrack_gre_timeout_stream"] = 99
    talk.say(p.ip(TWO, ONE, p.GRE, p.gre()))
    talk.say(p.ip(TWO, ONE, p.GRE, p.gre()))
    assert " 47 180 timeout=30, stream_timeout=180 " in talk.table()[0]


def test_an_error_about_a_call_is_related() -> None:
    """The call id in a quoted header names the connection."""
    talk = Talk()
    talk.say(pptp(ONE, TWO, 77))
    assert talk.say(p.icmp_packet(TWO, ONE, 3, 2, payload=pptp(ONE, TWO, 77))).startswith("RELATED")
    assert talk.say(p.icmp_packet(TWO, ONE, 3, 2, payload=pptp(ONE, TWO, 76))) == "INVALID (ICMP_ERROR_UNKNOWN)"
    other = p.ip(ONE, TWO, p.GRE, p.gre(77, b"ppp", version=1, protocol=0x0800))
    assert talk.say(p.icmp_packet(TWO, ONE, 3, 2, payload=other)).startswith("INVALID (ICMP_ERROR")


@pytest.mark.parametrize(("one", "two"), [(ONE, TWO), (SIX, SEVEN)])
def test_udp_lite_has_linuxs_pseudo_header(one: bytes, two: bytes) -> None:
    """The checksum counts with UDP's number, as Linux has it, and the answer assures at once."""
    talk = Talk()
    there = udplite((one, two), (5, 6), b"payload" * 50, 20, p.UDP)
    assert talk.say(there) == "NEW"
    assert talk.say(udplite((two, one), (6, 5), b"", 0, p.UDP)) == BACK
    assert talk.say(there) == f"{FORTH} ASSURED"
    assert talk.table()[0].split()[2:5] == ["udplite", "136", "120"]
    assert talk.say(udplite((one, two), (5, 6), b"payload", 0, UDPLITE)) == "INVALID (UDP_CHECKSUM)"
    assert talk.say(udplite((one, two), (5, 6), b"payload", 7, p.UDP)) == "INVALID (UDP_LENGTH)"
    assert talk.say(udplite((one, two), (5, 6), b"payload", 16, p.UDP)) == "INVALID (UDP_LENGTH)"


@pytest.mark.parametrize("number", [2, 4, 33, 41, 50, 89, 135, 253, 255])
def test_every_other_protocol_is_a_pair_of_addresses(number: int) -> None:
    """A number without a tracker is followed by its addresses, whatever it carries, DCCP among them."""
    for one, two in ((ONE, TWO), (SIX, SEVEN)):
        talk = Talk()
        assert talk.say(p.ip(one, two, number, b"")) == "NEW"
        assert talk.say(p.ip(two, one, number, b"12345678")) == BACK
        assert talk.say(p.ip(one, two, number, b"1")) == FORTH
        assert talk.table()[0].split()[2:5] == ["unknown", str(number), "600"]


def test_icmp_belongs_to_its_own_family() -> None:
    """ICMP in IPv6 and ICMPv6 in IPv4 are INVALID."""
    message = p.icmp(ONE, TWO, 8, 0)
    assert Talk().say(p.ip(SIX, SEVEN, p.ICMP, message)) == "INVALID (PROTOCOL_FAMILY)"
    assert Talk().say(p.ip(ONE, TWO, p.ICMPV6, message)) == "INVALID (PROTOCOL_FAMILY)"


@pytest.mark.parametrize(
    ("proto", "kind", "size", "room"),
    [
        (p.ICMPV6, 128, 8, True),
        (p.ICMPV6, 140, 8, True),
        (p.ICMPV6, 8, 8, False),
        (p.ICMPV6, 135, 8, False),
        (p.ICMP, 8, 8, True),
        (p.ICMP, 14, 8, True),
        (p.ICMP, 8, 7, False),
        (p.ICMP, 3, 8, False),
    ],
)
def test_icmp_of_the_other_family_is_dropped_where_its_connection_finds_no_room(
    proto: int, kind: int, size: int, room: bool
) -> None:
    """A full table drops a query of the other family's protocol, as the kernel does, which makes room for its
    connection before it sees that there is none; what is no whole query needs none and is INVALID."""
    talk = Talk(nf_conntrack_max=1)
    ends = (ONE, TWO, 1, 2), (TWO, ONE, 2, 1)
    talk.all([p.tcp_packet(*ends[0], 2, 1), p.tcp_packet(*ends[1], 18, 1, 2), p.tcp_packet(*ends[0], 16, 2, 2)])
    message = p.icmp(ONE, TWO, kind, 0)[:size]
    packet = p.ip(SIX, SEVEN, proto, message) if proto == p.ICMP else p.ip(ONE, TWO, proto, message)
    assert talk.say(packet) == ("DROP - (TABLE_FULL)" if room else "INVALID (PROTOCOL_FAMILY)")


def test_an_extension_header_may_run_past_the_end() -> None:
    """A destination header that claims more than there is leaves a connection without transport header."""
    packet = p.ipv6(SIX, SEVEN, p.DESTINATION, b"\x61\x62\x63")
    talk = Talk()
    assert talk.say(packet) == "NEW"
    assert " unknown  97 600 " in talk.table()[0]


def test_a_helper_tells_the_ends_of_a_call() -> None:
    """With the PPTP helper both ways of a call are one connection, RELATED to the control connection."""
    talk = Talk(helpers=["pptp"])
    call = [start_request(), start_reply(), out_request(5), out_reply(7, 5)]
    talk.all(packets(call, Ends(ONE, TWO, 40000, 1723)))
    assert talk.say(pptp(ONE, TWO, 7)) == "RELATED EXPECTED"
    assert talk.say(pptp(TWO, ONE, 5)) == f"{BACK} EXPECTED"
    assert "srckey=0x5 dstkey=0x7" in talk.table()[-1] + talk.table()[0]
    talk.engine.flush()
    assert [talk.say(pptp(ONE, TWO, 7)), talk.say(pptp(TWO, ONE, 5))] == ["NEW", "NEW"]


def client_of(number: int) -> bytes:
    return ONE[:2] + (256 + number).to_bytes(2, "big")


def calls(count: int) -> tuple[Talk, list[bytes]]:
    """A gateway with so many calls, each of a control connection of its own, and a packet of each call's tunnel."""
    talk = Talk(helpers=["pptp"], nf_conntrack_expect_max=100_000)
    tunnels = []
    for number in range(count):
        client = client_of(number)
        said = [start_request(), start_reply(), out_request(5), out_reply(7, 5)]
        talk.all(packets(said, Ends(client, TWO, 40000, 1723)))
        tunnels.append(pptp(client, TWO, 7))
    return talk, tunnels


def test_a_call_costs_no_more_among_many() -> None:
    """Finding a call's key among two thousand takes a packet about as long as among twenty."""
    spent = {}
    for count in (20, 2_000):
        talk, tunnels = calls(count)
        assert set(talk.all(tunnels)) == {"RELATED EXPECTED"}
        assert len(talk.table()) == 2 * count
        batch = pack(tunnels * (20_000 // count))
        times = np.full(len(batch[1]), talk.now)
        rounds = []
        for _ in range(5):
            began = process_time()
            talk.engine.process(*batch, times)
            rounds.append(process_time() - began)
        spent[count] = min(rounds)
    print(f"20 000 packets: {spent}")
    assert spent[2_000] < 3 * spent[20]


def test_calls_end_with_their_own_control_connection() -> None:
    """Of many calls those whose control connection is deleted are forgotten, and no others, in any order."""
    talk, tunnels = calls(40)
    gone: set[bytes] = set()
    for number in Random(40).sample(range(40), 20):
        client = client_of(number)
        assert len(talk.engine.delete(lambda one, client=client: one.source == client)) == 1
        gone.add(client)
        told = snapshot.calls(talk.engine)
        known = [one["source"].tobytes()[:4] for one in told if one["destination"].tobytes()[:4] == TWO]
        assert sorted(known) == sorted(client_of(number) for number in range(40) if client_of(number) not in gone)
    said = talk.all(tunnels)
    assert said == ["NEW" if client_of(number) in gone else "RELATED EXPECTED" for number in range(40)]
