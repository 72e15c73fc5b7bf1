"""The least of packets: IPv4 between 10.0.0.N addresses, right header checksums, none in the transport header."""

from __future__ import annotations

import struct


def ip(protocol: int, source: int, destination: int, payload: bytes) -> bytes:
    """IPv4 (RFC 791) without options around a payload."""
    head = struct.pack(
        ">BBHHHBBH4B4B", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, 10, 0, 0, source, 10, 0, 0, destination
    )
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + payload


def udp(source: int, destination: int, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """A UDP datagram (RFC 768)."""
    return ip(17, source, destination, struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload)


def tcp(
    source: int, destination: int, sport: int, dport: int, flags: int, seq: int, ack: int, payload: bytes = b""
) -> bytes:
    """A TCP segment (RFC 9293) without options and a window of 65 535."""
    head = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0)
    return ip(6, source, destination, head + payload)


def echo(source: int, destination: int, number: int, reply: bool = False) -> bytes:
    """An ICMP echo request or reply (RFC 792)."""
    return ip(1, source, destination, struct.pack(">BBHHH", 0 if reply else 8, 0, 0, number, 1))
