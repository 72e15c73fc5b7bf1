"""IP packets built field by field, right by default and wrong on request.

Every builder takes addresses as 4 or 16 bytes in network order and fills in lengths and checksums; each of those can
be given instead, to make a packet that lies. Sources: RFC 791, 8200, 9293, 768, 792, 4443, 9260, 2784.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from functools import cache

ICMP, TCP, UDP, GRE, ICMPV6, SCTP = 1, 6, 17, 47, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AH, NO_NEXT, DESTINATION = 0, 43, 44, 50, 51, 59, 60
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

CHECKSUM_OFFSET = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
"""Where each protocol keeps its checksum, in bytes from the start of its header."""


@cache
def address(text: str) -> bytes:
    """An address in network order from its text."""
    return ipaddress.ip_address(text).packed


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of ``data`` on top of the plain sum ``start``.

    65536 is 1 modulo 65535, so a number modulo 65535 is the one's complement sum of its 16-bit digits.
    """
    if len(data) & 1:
        data = data + b"\0"
    total = int.from_bytes(data, "big") + start
    remainder = total % 0xFFFF
    # A sum that is a multiple of 65535 but not zero is all ones, whose complement is zero.
    return 0xFFFF - (remainder or (0xFFFF if total else 0))


def pseudo_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums cover."""
    return int.from_bytes(source + destination, "big") + protocol + length


def ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = 0,
    options: bytes = b"",
    header_checksum: int | None = None,
    total_length: int | None = None,
    header_words: int | None = None,
    version: int = 4,
) -> bytes:
    """An IPv4 packet. ``fragment`` is the whole 16-bit field of flags and offset; options are padded to 4 bytes."""
    options += bytes(-len(options) % 4)
    size = 20 + len(options)
    first = version << 4 | (size >> 2 if header_words is None else header_words)
    total = size + len(payload) if total_length is None else total_length
    head = struct.pack(">BBHHHBBH", first, tos, total, identification, fragment, ttl, protocol, 0)
    if header_checksum is None:
        header_checksum = checksum(head + source + destination + options)
    return head[:10] + header_checksum.to_bytes(2, "big") + source + destination + options + payload


def ipv6(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow: int = 0,
    extensions: Sequence[tuple[int, bytes]] = (),
    payload_length: int | None = None,
    version: int = 6,
) -> bytes:
    """An IPv6 packet. ``extensions`` are (number, body) in order; a body lacks its first byte, the next header."""
    following = [*(number for number, _ in extensions[1:]), protocol]
    chain = b"".join(bytes([after]) + body for after, (_, body) in zip(following, extensions, strict=False))
    first = extensions[0][0] if extensions else protocol
    length = len(chain) + len(payload) if payload_length is None else payload_length
    word = version << 28 | traffic_class << 20 | flow
    return struct.pack(">IHBB", word, length, first, hop_limit) + source + destination + chain + payload


def ip(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """A plain packet of the family the addresses belong to."""
    build = ipv4 if len(source) == 4 else ipv6
    return build(source, destination, protocol, payload)


def extension(body: bytes, length: int | None = None) -> bytes:
    """The body of a hop-by-hop, destination or routing header: its length byte, ``body``, padding to 8 bytes."""
    pad = -(len(body) + 2) % 8
    padding = b"" if pad == 0 else b"\0" if pad == 1 else bytes([1, pad - 2]) + bytes(pad - 2)
    units = (len(body) + 2 + pad) // 8 - 1 if length is None else length
    return bytes([units]) + body + padding


def fragment_header(offset: int, more: bool, identification: int) -> bytes:
    """The body of an IPv6 fragment header; ``offset`` in bytes, a multiple of 8."""
    return struct.pack(">BHI", 0, offset | more, identification)


def authentication_header(words: int = 6) -> bytes:
    """The body of an AH header (RFC 4302) of ``words`` 32-bit words; its length field counts two less."""
    return bytes([words - 2]) + bytes(4 * words - 2)


def tcp(
    source: bytes,
    destination: bytes,
    sport: int,
    dport: int,
    flags: int,
    seq: int = 0,
    ack: int = 0,
    *,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
    urgent: int = 0,
    data_offset: int | None = None,
    reserved: int = 0,
    segment_checksum: int | None = None,
) -> bytes:
    """A TCP segment (without the IP header, whose addresses its checksum covers). Options are padded to 4 bytes."""
    options += bytes(-len(options) % 4)
    words = 5 + (len(options) >> 2) if data_offset is None else data_offset
    seq, ack = seq & 0xFFFFFFFF, ack & 0xFFFFFFFF
    head = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, words << 4 & 0xF0 | reserved, flags, window, 0, urgent)
    segment = head + options + payload
    if segment_checksum is None:
        segment_checksum = checksum(segment, pseudo_sum(source, destination, TCP, len(segment)))
    return segment[:16] + segment_checksum.to_bytes(2, "big") + segment[18:]


def tcp_packet(
    source: bytes,
    destination: bytes,
    sport: int,
    dport: int,
    flags: int,
    seq: int = 0,
    ack: int = 0,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
) -> bytes:
    """A whole TCP packet of either family."""
    segment = tcp(source, destination, sport, dport, flags, seq, ack, window=window, options=options, payload=payload)
    return ip(source, destination, TCP, segment)


def window_scale(shift: int) -> bytes:
    return bytes([3, 3, shift])


def sack_permitted() -> bytes:
    return b"\x04\x02"


def maximum_segment(size: int) -> bytes:
    return struct.pack(">BBH", 2, 4, size)


def timestamps(value: int, echo: int) -> bytes:
    return struct.pack(">BBBBII", 1, 1, 8, 10, value & 0xFFFFFFFF, echo & 0xFFFFFFFF)


def selective_acks(blocks: Sequence[tuple[int, int]]) -> bytes:
    """The SACK option (RFC 2018): (left, right) sequence numbers of what arrived beyond a gap."""
    edges = b"".join(struct.pack(">II", left & 0xFFFFFFFF, right & 0xFFFFFFFF) for left, right in blocks)
    return bytes([1, 1, 5, 2 + len(edges)]) + edges


def udp(
    source: bytes,
    destination: bytes,
    sport: int,
    dport: int,
    payload: bytes = b"",
    *,
    length: int | None = None,
    datagram_checksum: int | None = None,
) -> bytes:
    """A UDP datagram (without the IP header)."""
    size = 8 + len(payload)
    head = struct.pack(">HHH", sport, dport, size if length is None else length)
    if datagram_checksum is None:
        covered = head + b"\0\0" + payload
        datagram_checksum = checksum(covered, pseudo_sum(source, destination, UDP, size)) or 0xFFFF
    return head + datagram_checksum.to_bytes(2, "big") + payload


def udp_packet(source: bytes, destination: bytes, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """A whole UDP packet of either family."""
    return ip(source, destination, UDP, udp(source, destination, sport, dport, payload))


def icmp(
    source: bytes,
    destination: bytes,
    kind: int,
    code: int,
    rest: bytes = bytes(4),
    payload: bytes = b"",
    *,
    message_checksum: int | None = None,
) -> bytes:
    """An ICMP message, or an ICMPv6 one if the addresses are; ``rest`` is the second half of its 8-byte header."""
    message = bytes([kind, code, 0, 0]) + rest + payload
    if message_checksum is None:
        start = 0 if len(source) == 4 else pseudo_sum(source, destination, ICMPV6, len(message))
        message_checksum = checksum(message, start)
    return message[:2] + message_checksum.to_bytes(2, "big") + message[4:]


def icmp_packet(
    source: bytes, destination: bytes, kind: int, code: int, rest: bytes = bytes(4), payload: bytes = b""
) -> bytes:
    """A whole ICMP or ICMPv6 packet."""
    protocol = ICMP if len(source) == 4 else ICMPV6
    return ip(source, destination, protocol, icmp(source, destination, kind, code, rest, payload))


def echo(source: bytes, destination: bytes, identifier: int, sequence: int, *, reply: bool = False) -> bytes:
    """An echo request or reply of either family."""
    kind = (0 if reply else 8) if len(source) == 4 else (129 if reply else 128)
    return icmp_packet(source, destination, kind, 0, struct.pack(">HH", identifier, sequence), b"fastfw echo data")


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


CRC32C = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC that SCTP uses (RFC 9260 appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC32C[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def chunk(kind: int, flags: int = 0, body: bytes = b"", length: int | None = None) -> bytes:
    """One SCTP chunk, padded to 4 bytes."""
    size = 4 + len(body) if length is None else length
    return struct.pack(">BBH", kind, flags, size) + body + bytes(-len(body) % 4)


def sctp(sport: int, dport: int, tag: int, chunks: bytes, *, packet_checksum: int | None = None) -> bytes:
    """An SCTP packet (without the IP header); ``tag`` is the verification tag."""
    head = struct.pack(">HHI", sport, dport, tag)
    if packet_checksum is None:
        packet_checksum = crc32c(head + bytes(4) + chunks)
    return head + packet_checksum.to_bytes(4, "little") + chunks


def gre(key: int | None = None, payload: bytes = b"", *, version: int = 0, protocol: int = 0x0800) -> bytes:
    """A GRE packet (RFC 2784, 2890); version 1 is PPTP's (RFC 2637), whose key is payload length and call number."""
    flags = 0x2000 if key is not None else 0
    head = struct.pack(">HH", flags | version, protocol)
    if version == 1:
        return head + struct.pack(">HH", len(payload), key or 0) + payload
    return head + (b"" if key is None else key.to_bytes(4, "big")) + payload


def transport(packet: bytes | bytearray) -> tuple[int, int]:
    """Where the transport header of a well-formed packet begins, and its protocol."""
    if packet[0] >> 4 == 4:
        return (packet[0] & 15) * 4, packet[9]
    offset, protocol = 40, packet[6]
    while protocol in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, AH) and offset + 8 <= len(packet):
        units = packet[offset + 1]
        size = 8 if protocol == FRAGMENT else (units + 2) * 4 if protocol == AH else (units + 1) * 8
        protocol, offset = packet[offset], offset + size
    return offset, protocol


def repair(packet: bytearray, offset: int, protocol: int) -> bytes:
    """Put right the lengths and checksums of a packet that was edited; its transport header begins at ``offset``.

    A packet too short for its IP header is left as it is.
    """
    size = len(packet) - offset
    if len(packet) < (20 if packet[0] >> 4 == 4 else 40):
        return bytes(packet)
    if packet[0] >> 4 == 4:
        packet[2:4] = len(packet).to_bytes(2, "big")
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[: (packet[0] & 15) * 4])).to_bytes(2, "big")
        source, destination = bytes(packet[12:16]), bytes(packet[16:20])
    else:
        packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
        source, destination = bytes(packet[8:24]), bytes(packet[24:40])
    if protocol == SCTP and size >= 12:
        packet[offset + 8 : offset + 12] = bytes(4)
        packet[offset + 8 : offset + 12] = crc32c(bytes(packet[offset:])).to_bytes(4, "little")
    place = CHECKSUM_OFFSET.get(protocol)
    if place is not None and size >= place + 2:
        place += offset
        packet[place : place + 2] = b"\0\0"
        start = 0 if protocol == ICMP else pseudo_sum(source, destination, protocol, size)
        value = checksum(bytes(packet[offset:]), start)
        if protocol == UDP:
            value = value or 0xFFFF
        packet[place : place + 2] = value.to_bytes(2, "big")
    return bytes(packet)


def fragments(packet: bytes, size: int, identification: int = 1) -> list[bytes]:
    """The pieces of a packet, each carrying up to ``size`` bytes (a multiple of 8) of its payload."""
    pieces = []
    if packet[0] >> 4 == 4:
        head = (packet[0] & 15) * 4
        for start in range(0, len(packet) - head, size):
            part = packet[head + start : head + start + size]
            more = head + start + size < len(packet)
            pieces.append(
                ipv4(
                    packet[12:16],
                    packet[16:20],
                    packet[9],
                    part,
                    identification=identification,
                    fragment=start // 8 | more << 13,
                )
            )
        return pieces
    for start in range(0, len(packet) - 40, size):
        body = fragment_header(start, 40 + start + size < len(packet), identification)
        part = packet[40 + start : 40 + start + size]
        pieces.append(ipv6(packet[8:24], packet[24:40], packet[6], part, extensions=[(FRAGMENT, body)]))
    return pieces
