"""Ways in which traffic goes wrong: each takes a packet that was sent and returns one or more that should not be.

The first packet returned is sent at once, the others soon after. Packets an IP stack refuses are among them, before or
after connection tracking has seen them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from . import packets as p
from .conversations import PAYLOAD, WORLDS

SHIFTS = (1, 2, 10, 100, 1460, 5000, 32768, 65535, 66000, 66001, 70000, 1 << 20, 1 << 30, (1 << 31) - 1, 1 << 31)
V4_ERRORS = (
    *((3, code) for code in range(17)),
    *((kind, code) for kind, codes in ((4, 1), (5, 2), (11, 2), (12, 3)) for code in range(codes)),
)
V6_ERRORS = (
    *((1, code) for code in range(9)),
    *((kind, code) for kind, codes in ((2, 1), (3, 2), (4, 3), (100, 1), (127, 1)) for code in range(codes)),
)


ODD_ADDRESSES = {
    4: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "240.0.0.1"],
    6: ["::", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fec0::1", "100::1"],
}
ODD_SOURCES = {4: ["255.255.255.255", "224.0.0.9", "239.1.1.1"], 6: ["ff01::1", "ff05::5", "ff0e::5"]}


class Context:
    """What an anomaly may draw on: the random source and the packets sent before."""

    __slots__ = ("memory", "random")

    def __init__(self, random: Random, memory: Sequence[bytes]) -> None:
        self.random, self.memory = random, memory

    def shift(self) -> int:
        """A distance in sequence space, from next to nothing to half of it, either way."""
        random = self.random
        distance = random.choice(SHIFTS) if random.random() < 0.8 else random.getrandbits(random.randrange(1, 33))
        return distance if random.getrandbits(1) else -distance


Anomaly = Callable[[Context, bytes], list[bytes]]


def addresses(packet: bytes) -> tuple[bytes, bytes]:
    """Source and destination of a packet, in network order."""
    return (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])


def moved(packet: bytearray, place: int, distance: int) -> None:
    """Add to the 32-bit number at ``place``, modulo 2**32."""
    value = int.from_bytes(packet[place : place + 4], "big") + distance
    packet[place : place + 4] = (value & 0xFFFFFFFF).to_bytes(4, "big")


def again(_: Context, packet: bytes) -> list[bytes]:
    """The packet once more."""
    return [packet]


def backwards(_: Context, packet: bytes) -> list[bytes]:
    """The packet with its ends exchanged and all else as it was."""
    offset, protocol = p.transport(packet)
    edited = bytearray(packet)
    size = 4 if packet[0] >> 4 == 4 else 16
    start = 12 if size == 4 else 8
    edited[start : start + 2 * size] = packet[start + size : start + 2 * size] + packet[start : start + size]
    if protocol in (p.TCP, p.UDP, p.SCTP):
        edited[offset : offset + 4] = packet[offset + 2 : offset + 4] + packet[offset : offset + 2]
    return [p.repair(edited, offset, protocol)]


def cut(context: Context, packet: bytes) -> list[bytes]:
    """The transport header or payload ends early; the lengths say so."""
    offset, protocol = p.transport(packet)
    size = context.random.randrange(0, min(len(packet) - offset, 44) + 1)
    return [p.repair(bytearray(packet[: offset + size]), offset, protocol)]


def wrong_checksum(context: Context, packet: bytes) -> list[bytes]:
    """The transport checksum does not fit."""
    offset, protocol = p.transport(packet)
    place = p.CHECKSUM_OFFSET.get(protocol)
    if place is None or offset + place + 2 > len(packet):
        return [packet]
    edited = bytearray(packet)
    value = int.from_bytes(edited[offset + place : offset + place + 2], "big")
    value = context.random.choice((value ^ 0x0100, 0, 0xFFFF, value + 1 & 0xFFFF))
    edited[offset + place : offset + place + 2] = value.to_bytes(2, "big")
    return [bytes(edited)]


def refused(context: Context, packet: bytes) -> list[bytes]:
    """A packet no stack accepts: wrong version, header length, total length or header checksum; or just cut off."""
    random = context.random
    edited = bytearray(packet)
    kind = random.randrange(5)
    if kind == 0:
        return [bytes(edited[: random.randrange(1, len(edited))])]
    if kind == 1:
        edited[0] = random.choice((edited[0] ^ 0x10, edited[0] & 0xF0 | 4, edited[0] & 0x0F, edited[0] ^ 0x20))
    elif kind == 2:
        length = random.choice((0, 19, 20, len(edited) + 1, 65535))
        place = 2 if packet[0] >> 4 == 4 else 4
        edited[place : place + 2] = length.to_bytes(2, "big")
    elif kind == 3 and packet[0] >> 4 == 4:
        edited[10] ^= 0x40
    else:
        edited += PAYLOAD[: random.randrange(1, 9)]  # trailing bytes, which every stack cuts off
    return [bytes(edited)]


def with_ip_options(context: Context, packet: bytes) -> list[bytes]:
    """The packet behind IPv4 options or IPv6 extension headers."""
    random = context.random
    source, destination = addresses(packet)
    offset, protocol = p.transport(packet)
    body = packet[offset:]
    if packet[0] >> 4 == 4:
        options = random.choice(
            (b"\x01\x01\x01\x01", b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0", b"\x01" * 40, b"\0\0\0\0")
        )
        return [p.ipv4(source, destination, protocol, body, options=options)]
    pad = p.extension(b"")
    longer = p.extension(b"\x01\x0c" + bytes(12))
    chains: tuple[list[tuple[int, bytes]], ...] = (
        [(p.HOP_BY_HOP, pad)],
        [(p.DESTINATION, pad)],
        [(p.DESTINATION, longer), (p.DESTINATION, pad)],
        [(p.HOP_BY_HOP, longer), (p.DESTINATION, pad)],
        [(p.ROUTING, p.extension(b"\x04\0" + bytes(4)))],
        [(p.AH, p.authentication_header())],
    )
    return [p.ipv6(source, destination, protocol, body, extensions=random.choice(chains))]


def error_about(context: Context, packet: bytes) -> list[bytes]:
    """An ICMP error that quotes the packet: whole or cut, from the right or a wrong address, of any kind."""
    random = context.random
    quoted = packet
    if random.random() < 0.1:
        quoted = with_ip_options(context, packet)[0]
    elif random.random() < 0.1:
        quoted = error_about(context, packet)[0]
    elif random.random() < 0.1:
        quoted = backwards(context, packet)[0]
    source, destination = addresses(quoted)
    four = quoted[0] >> 4 == 4
    kind, code = random.choice(V4_ERRORS if four else V6_ERRORS)
    world = WORLDS[4 if four else 6]
    sender = random.choice((destination, destination, *world.routers))
    receiver = source if random.random() < 0.85 else random.choice(world.clients + world.servers + world.routers)
    least = p.transport(quoted)[0]
    length = random.choice(
        (least + 8, least + 8, least + 28, len(quoted), len(quoted), random.randrange(len(quoted) + 1))
    )
    rest = random.choice((bytes(4), bytes(4), b"\0\0\x05\0", b"\x14\0\0\0"))
    return [p.icmp_packet(sender, receiver, kind, code, rest, quoted[: min(length, 1200)])]


def to_itself(context: Context, packet: bytes) -> list[bytes]:
    """The packet addressed to its own sender: both directions of its connection are the same tuple."""
    edited = bytearray(packet)
    offset, protocol = p.transport(packet)
    if packet[0] >> 4 == 4:
        edited[16:20] = packet[12:16]
    else:
        edited[24:40] = packet[8:24]
    if protocol in (p.TCP, p.UDP, p.SCTP) and context.random.random() < 0.7:
        edited[offset + 2 : offset + 4] = packet[offset : offset + 2]
    return [p.repair(edited, offset, protocol)]


def used_up(context: Context, packet: bytes) -> list[bytes]:
    """The packet with a hop limit at its end: tracked, but not forwarded."""
    edited = bytearray(packet)
    edited[8 if packet[0] >> 4 == 4 else 7] = context.random.choice((0, 1, 1, 2))
    return [p.repair(edited, *p.transport(packet))]


def odd_address(context: Context, packet: bytes) -> list[bytes]:
    """The packet from or to an address that hosts do not have; groups and broadcasts, which a router may
    route or take itself, as sources only."""
    random = context.random
    version = 4 if packet[0] >> 4 == 4 else 6
    size, start = (4, 12) if version == 4 else (16, 8)
    to_destination = random.getrandbits(1)
    choice = random.choice(ODD_ADDRESSES[version] + ([] if to_destination else ODD_SOURCES[version]))
    edited = bytearray(packet)
    place = start + size * to_destination
    edited[place : place + size] = p.address(choice)
    return [p.repair(edited, *p.transport(packet))]


def mutated(context: Context, packet: bytes) -> list[bytes]:
    """One to three bytes of the headers, addresses aside, changed at random; the checksums put right or left wrong."""
    random = context.random
    edited = bytearray(packet)
    offset, protocol = p.transport(packet)
    fixed = 12 if packet[0] >> 4 == 4 else 8
    beyond = min(len(edited), offset + 48)
    for _ in range(random.randrange(1, 4)):
        place = (
            random.randrange(fixed) if offset >= beyond or random.random() < 0.15 else random.randrange(offset, beyond)
        )
        edited[place] = random.choice((edited[place] ^ 1 << random.randrange(8), random.getrandbits(8)))
    return [bytes(edited) if random.random() < 0.1 else p.repair(edited, offset, protocol)]


def odd_udp_length(context: Context, packet: bytes) -> list[bytes]:
    """A UDP length that is too short, too long or shorter than what follows."""
    offset, _ = p.transport(packet)
    size = len(packet) - offset
    edited = bytearray(packet)
    length = context.random.choice((0, 7, 8, size - 1, size + 1, 65535)) & 0xFFFF
    edited[offset + 4 : offset + 6] = length.to_bytes(2, "big")
    return [p.repair(edited, offset, p.UDP)]


def edited_icmp(context: Context, packet: bytes) -> list[bytes]:
    """Another type, code or identifier."""
    random = context.random
    offset, protocol = p.transport(packet)
    edited = bytearray(packet)
    if len(edited) < offset + 2:
        return [packet]
    if random.getrandbits(1):
        edited[offset] = random.getrandbits(8)
    if random.getrandbits(1):
        edited[offset + 1] = random.choice((0, 1, 2, 255))
    if random.getrandbits(1) and len(edited) >= offset + 6:
        edited[offset + 4 : offset + 6] = random.getrandbits(2).to_bytes(2, "big")
    return [p.repair(edited, offset, protocol)]


def of_protocol(protocol: int, anomaly: Anomaly) -> Anomaly:
    """The anomaly for packets of one protocol; any other picks the most recent packet that is, or repeats itself."""

    def applied(context: Context, packet: bytes) -> list[bytes]:
        for candidate in (packet, *(context.random.choice(context.memory) for _ in range(6))):
            if p.transport(candidate)[1] == protocol:
                return anomaly(context, candidate)
        return [packet]

    return applied
