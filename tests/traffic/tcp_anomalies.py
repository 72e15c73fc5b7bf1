"""Segments a TCP stack would not send, made of segments it did send."""

from __future__ import annotations

from . import packets as p
from .anomalies import Anomaly, Context, addresses, moved
from .conversations import PAYLOAD

ODD_OPTIONS = (
    b"\x03\x02\x07\x00",  # a scale option too short
    b"\x03\x03\x0e\x00\x03\x03\x02\x00",  # two scales
    b"\x05\x03\x00\x00",
    b"\x05\x0a" + bytes(8),
    b"\x02\x00\x05\xb4",  # length 0
    b"\x02\x01\x05\xb4",  # length 1
    b"\x08\xff\x00\x00",  # runs past the header
    b"\x03\x03",  # runs past the header by its last byte
    b"\x01\x01\x08\x0a\x00\x00",
    b"\x00\x03\x03\x07",  # behind the end of the list
    b"\xfd\x04\x12\x34",  # experimental
    b"\x1e\x08" + bytes(6),
    b"\x01" * 40,
    b"\x01\x01\x05\x0a\xff\xff\xff\xff\x00\x00\x00\x00\x01\x01\x05\x12" + bytes(16),
    b"\x05\x22" + bytes(32),
)


def reply_ends(packet: bytes) -> tuple[bytes, bytes, int, int, int, int]:
    """What a segment back has to carry: addresses, ports, its sequence number and its acknowledgement."""
    offset, _ = p.transport(packet)
    source, destination = addresses(packet)
    sport, dport = (
        int.from_bytes(packet[offset : offset + 2], "big"),
        int.from_bytes(packet[offset + 2 : offset + 4], "big"),
    )
    seq = int.from_bytes(packet[offset + 4 : offset + 8], "big")
    ack = int.from_bytes(packet[offset + 8 : offset + 12], "big")
    length = len(packet) - offset - (packet[offset + 12] >> 4) * 4
    flags = packet[offset + 13]
    return destination, source, dport, sport, ack, seq + length + (1 if flags & (p.SYN | p.FIN) else 0)


def edit(packet: bytes) -> tuple[bytearray, int]:
    return bytearray(packet), p.transport(packet)[0]


def other_sequence(context: Context, packet: bytes) -> list[bytes]:
    """The sequence number lies elsewhere."""
    edited, offset = edit(packet)
    moved(edited, offset + 4, context.shift())
    return [p.repair(edited, offset, p.TCP)]


def other_acknowledgement(context: Context, packet: bytes) -> list[bytes]:
    """The acknowledgement lies elsewhere; sometimes the sequence number too."""
    edited, offset = edit(packet)
    moved(edited, offset + 8, context.shift())
    if context.random.random() < 0.3:
        moved(edited, offset + 4, context.shift())
    return [p.repair(edited, offset, p.TCP)]


def other_flags(context: Context, packet: bytes) -> list[bytes]:
    """Any of the 64 combinations, ECE and CWR thrown in now and then."""
    random = context.random
    edited, offset = edit(packet)
    edited[offset + 13] = random.getrandbits(6) if random.random() < 0.8 else random.getrandbits(8)
    return [p.repair(edited, offset, p.TCP)]


def other_window(context: Context, packet: bytes) -> list[bytes]:
    """Another window, zero or full."""
    edited, offset = edit(packet)
    edited[offset + 14 : offset + 16] = context.random.choice((b"\0\0", b"\xff\xff", b"\0\1", b"\x20\0"))
    return [p.repair(edited, offset, p.TCP)]


def reset(context: Context, packet: bytes) -> list[bytes]:
    """A reset from either end at some distance from where it would count."""
    random = context.random
    source, destination, sport, dport, seq, ack = reply_ends(packet)
    if random.getrandbits(1):
        source, destination, sport, dport, seq, ack = destination, source, dport, sport, ack, seq
    distance = 0 if random.random() < 0.4 else context.shift()
    flags = p.RST | (p.ACK if random.getrandbits(1) else 0)
    window = random.choice((0, 65535))
    return [p.tcp_packet(source, destination, sport, dport, flags, seq + distance, ack, window)]


def new_call(context: Context, packet: bytes) -> list[bytes]:
    """A SYN on a connection that may be alive, and what stacks answer: a challenge ACK then RST, a SYN-ACK, a RST."""
    random = context.random
    source, destination, sport, dport, seq, ack = reply_ends(packet)
    if random.getrandbits(1):
        source, destination, sport, dport, seq, ack = destination, source, dport, sport, ack, seq
    start = random.choice((seq, seq - 1, seq + 1, seq + 100_000, random.getrandbits(32))) & 0xFFFFFFFF
    options = random.choice((b"", p.maximum_segment(1460) + b"\x01" + p.window_scale(random.randrange(16))))
    call = p.tcp_packet(source, destination, sport, dport, p.SYN, start, 0, 64240, options)
    back = destination, source, dport, sport
    challenge = p.tcp_packet(*back, p.ACK, ack, random.choice((seq, start, start + 1)), 1000)
    kind = random.randrange(6)
    if kind == 0:
        return [call]
    if kind == 1:
        end = p.tcp_packet(source, destination, sport, dport, p.RST, random.choice((seq, start + 1, ack)))
        return [call, challenge, end, call]
    if kind == 2:
        other = random.choice((ack, ack - 1, random.getrandbits(32)))
        accept = p.tcp_packet(*back, p.SYN | p.ACK, other, start + 1, 65535, options)
        return [call, accept, p.tcp_packet(source, destination, sport, dport, p.ACK, start + 1, other + 1)]
    if kind == 3:
        return [call, p.tcp_packet(*back, p.RST | p.ACK, 0, start + 1)]
    if kind == 4:
        return [call, p.tcp_packet(*back, p.RST, ack), call]
    return [call, challenge, p.tcp_packet(*back, p.SYN | p.ACK, random.getrandbits(32), start + 1)]


def stale_answer(context: Context, packet: bytes) -> list[bytes]:
    """A SYN-ACK nobody asked for, from either end."""
    random = context.random
    source, destination, sport, dport, seq, ack = reply_ends(packet)
    if random.getrandbits(1):
        source, destination, sport, dport, seq, ack = destination, source, dport, sport, ack, seq
    number = random.choice((seq, seq - 1, random.getrandbits(32)))
    options = random.choice((b"", p.window_scale(5), p.sack_permitted()))
    accept = p.tcp_packet(source, destination, sport, dport, p.SYN | p.ACK, number, ack + context.shift(), 500, options)
    return [accept] * random.choice((1, 1, 2))


def beyond_window(context: Context, packet: bytes) -> list[bytes]:
    """Data that begins within or beyond the window the other end offers and runs past it."""
    random = context.random
    edited, offset = edit(packet)
    moved(edited, offset + 4, random.choice((0, 500, 65000, 1 << 17, 1 << 20, 1 << 23)) + random.randrange(-1500, 1500))
    return [p.repair(edited + PAYLOAD[: random.randrange(1, 1400)], offset, p.TCP)]


def odd_data_offset(context: Context, packet: bytes) -> list[bytes]:
    """A header length that is too short, longer than the segment, or swallows data."""
    edited, offset = edit(packet)
    edited[offset + 12] = context.random.randrange(16) << 4 | context.random.choice((0, 0, 1, 15))
    return [p.repair(edited, offset, p.TCP)]


def odd_options(context: Context, packet: bytes) -> list[bytes]:
    """Options that are malformed, repeated or merely unusual."""
    random = context.random
    _, offset = edit(packet)
    options = random.choice(ODD_OPTIONS) if random.random() < 0.7 else random.randbytes(4 * random.randrange(1, 11))
    options += bytes(-len(options) % 4)
    payload = packet[offset + (packet[offset + 12] >> 4) * 4 :]
    edited = bytearray(packet[: offset + 20]) + options + payload
    edited[offset + 12] = (5 + len(options) // 4) << 4
    return [p.repair(edited, offset, p.TCP)]


def odd_sack(context: Context, packet: bytes) -> list[bytes]:
    """An acknowledgement whose SACK blocks lie anywhere."""
    random = context.random
    source, destination, sport, dport, seq, ack = reply_ends(packet)
    blocks = [(ack + context.shift(), ack + context.shift()) for _ in range(random.randrange(1, 5))]
    options = p.selective_acks(blocks)
    return [
        p.tcp_packet(source, destination, sport, dport, p.ACK, seq, ack + random.choice((0, -1, 1)), 65535, options)
    ]


ALL: tuple[Anomaly, ...] = (
    other_sequence,
    other_sequence,
    other_acknowledgement,
    other_flags,
    other_flags,
    other_window,
    reset,
    reset,
    new_call,
    new_call,
    stale_answer,
    beyond_window,
    odd_data_offset,
    odd_options,
    odd_sack,
)
