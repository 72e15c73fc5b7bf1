"""The packet builders and the generator make what they promise, judged by plain arithmetic of their own."""

from __future__ import annotations

import pytest
from tests.traffic import packets as p
from tests.traffic.generate import generate


def ones_complement(data: bytes) -> int:
    """The 16-bit sum of RFC 1071, carried digit by digit."""
    data += bytes(len(data) % 2)
    total = 0
    for start in range(0, len(data), 2):
        total += data[start] << 8 | data[start + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def covered(packet: bytes) -> bytes:
    """What a packet's transport checksum is summed over."""
    offset, protocol = p.transport(packet)
    four = packet[0] >> 4 == 4
    body = packet[offset:]
    if protocol == p.ICMP:
        return body
    return (packet[12:20] if four else packet[8:40]) + protocol.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def test_generated_conversations_are_sound() -> None:
    """Without anomalies every length and every checksum is right."""
    for packet in generate(7, 3000, anomalies=0):
        offset, protocol = p.transport(packet)
        if packet[0] >> 4 == 4:
            assert ones_complement(packet[:offset]) == 0xFFFF
            assert int.from_bytes(packet[2:4], "big") == len(packet)
        else:
            assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
        if protocol == p.UDP and packet[offset + 6 : offset + 8] == b"\0\0":
            continue
        assert ones_complement(covered(packet)) == 0xFFFF


def test_a_seed_fixes_the_traffic() -> None:
    """The same seed gives the same packets, another seed gives others, and a longer run begins as a shorter one."""
    assert generate(3, 500) == generate(3, 500)
    assert generate(3, 500) != generate(4, 500)
    assert generate(3, 800)[:500] == generate(3, 500)


@pytest.mark.parametrize("protocol", [("tcp", {p.TCP}), ("udp", {p.UDP}), ("icmp", {p.ICMP, p.ICMPV6})])
def test_only_the_protocols_asked_for(protocol: tuple[str, set[int]]) -> None:
    """Conversations are of the protocols and families asked for and of no other."""
    name, numbers = protocol
    packets = generate(1, 1000, anomalies=0, protocols=[name], families=[6])
    assert {packet[0] >> 4 for packet in packets} == {6}
    assert {p.transport(packet)[1] for packet in packets} <= numbers


def test_an_unknown_protocol_is_an_error() -> None:
    """A protocol there are no conversations of is named in the error."""
    with pytest.raises(ValueError, match="'ipx'"):
        generate(1, 10, protocols=["ipx"])


@pytest.mark.parametrize(("length", "value"), [(0, 0xFFFF), (1, 0x00FF), (3, 0xFFFF), (4, 0x1234)])
def test_checksum_is_the_sum_of_its_words(length: int, value: int) -> None:
    """The quick checksum equals the digit by digit one, at the edges of its arithmetic too."""
    data = (value.to_bytes(2, "big") * 3)[:length]
    assert p.checksum(data) == 0xFFFF - ones_complement(data)


def test_fragments_join_to_the_whole() -> None:
    """The pieces of a packet carry its payload in order, the last of them without the more flag."""
    one, two = p.address("10.0.0.1"), p.address("10.0.0.2")
    whole = p.udp_packet(one, two, 1, 2, bytes(range(256)) * 4)
    pieces = p.fragments(whole, 400)
    assert b"".join(piece[20:] for piece in pieces) == whole[20:]
    assert [piece[6] >> 5 for piece in pieces] == [1, 1, 0]


def test_crc32c_matches_its_published_vector() -> None:
    """RFC 3720 B.4: 32 bytes of zeros give 8a9136aa."""
    assert p.crc32c(bytes(32)) == 0x8A9136AA
