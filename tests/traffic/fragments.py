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
    if pieces and random.random() < 0.3:
        index = random.randrange(len(pieces))
        pieces[index : index + 1] = odd_piece(random, pieces[index])
    return pieces


def odd_piece(random: Random, piece: bytes) -> list[bytes]:
    """A fragment no sender sends so, or rarely: another ECN field, IP options, an odd length, none at all, a place far
    away, an atomic one, the don't-fragment flag, another protocol."""
    kind = random.randrange(9)
    four = piece[0] >> 4 == 4
    header = 20 if four else 48
    source, destination = addresses(piece)
    body = piece[header:]
    number = int.from_bytes(piece[4:6] if four else piece[44:48], "big")
    field = int.from_bytes(piece[6:8] if four else piece[42:44], "big")
    protocol = piece[9] if four else piece[40]
    tos, more = 0, 0x2000 if four else 1
    options: bytes = b""
    before: list[tuple[int, bytes]] = []
    if kind == 0:
        tos = random.randrange(4)
    elif kind == 1:
        options, before = (
            b"\x01" * 4,
            [random.choice(((p.DESTINATION, p.extension(b"")), (p.HOP_BY_HOP, p.extension(b""))))],
        )
    elif kind == 2:
        body = body[: random.randrange(len(body) + 1)]
    elif kind == 3:
        body = b""
    elif kind == 4:
        field = random.choice((0x1FFF, 0x1FFE, 0x2000, 0x3FFF)) if four else random.choice((0xFFF8, 0xFFF9, 0xFFF1, 1))
    elif kind == 5:
        field &= ~more & (0x2000 if four else 7)
    elif kind == 6 and four:
        field |= random.choice((0x4000, 0x8000))
    elif kind == 7:
        protocol = random.choice((p.TCP, p.UDP, p.ESP, p.NO_NEXT, p.FRAGMENT, p.DESTINATION))
    else:
        return [piece, piece]
    if four:
        packet = p.ipv4(
            source, destination, protocol, body, identification=number, fragment=field, tos=tos, options=options
        )
    else:
        extension = (p.FRAGMENT, bytes([0]) + field.to_bytes(2, "big") + number.to_bytes(4, "big"))
        packet = p.ipv6(source, destination, protocol, body, traffic_class=tos, extensions=[*before, extension])
    return [packet]


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
