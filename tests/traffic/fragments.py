"""Packets in pieces, as senders cut them and as attackers do (RFC 791 section 3.2, RFC 8200 section 4.5)."""

from __future__ import annotations

from random import Random

from . import packets as p
from .anomalies import addresses
from .conversations import PAYLOAD


def in_pieces(random: Random, packet: bytes, identification: int) -> list[bytes]:
    """The packet in fragments: in order, shuffled, doubled, with one missing, overlapping, or cut oddly."""
    offset, _ = p.transport(packet)
    if offset != (20 if packet[0] >> 4 == 4 else 40) or len(packet) == offset:
        return [packet]
    size = random.choice((8, 16, 24, 64, 512))
    if len(packet) - offset > 32 * size:
        size = (len(packet) - offset) // 4 & ~7
    pieces = p.fragments(packet, max(8, size), identification)
    kind = random.random()
    if kind < 0.5:
        return pieces
    if kind < 0.7:
        random.shuffle(pieces)
    elif kind < 0.8:
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(pieces))
    elif kind < 0.88:
        del pieces[random.randrange(len(pieces))]
    elif kind < 0.96:
        other = p.fragments(packet, random.choice((8, 16, 32)), identification)
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(other))
    else:
        pieces.append(last_of_other_length(random, packet, identification))
    return pieces


def last_of_other_length(random: Random, packet: bytes, identification: int) -> bytes:
    """A last fragment that says the datagram ends elsewhere."""
    source, destination = addresses(packet)
    _, protocol = p.transport(packet)
    place = random.randrange(0, 400) & ~7
    body = PAYLOAD[: random.randrange(1, 30)]
    if packet[0] >> 4 == 4:
        return p.ipv4(source, destination, protocol, body, identification=identification, fragment=place // 8)
    header = p.fragment_header(place, False, identification)
    return p.ipv6(source, destination, protocol, body, extensions=[(p.FRAGMENT, header)])
