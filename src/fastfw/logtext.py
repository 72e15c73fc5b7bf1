"""A packet's headers as the kernel's LOG target writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from ipaddress import IPv6Address, ip_address

TCP_FLAGS = (
    (0x80, "CWR"),
    (0x40, "ECE"),
    (0x20, "URG"),
    (0x10, "ACK"),
    (0x08, "PSH"),
    (0x04, "RST"),
    (0x02, "SYN"),
    (1, "FIN"),
)
ICMP_ECHOES = {0, 8}
ICMP_ERRORS = {3, 4, 11}
ICMP6_ECHOES = {128, 129}
ICMP6_ERRORS = {1, 2, 3, 4}
REDIRECT = 5
PARAMETER_PROBLEM = 12
EXTENSIONS = {0: "HOPOPTS", 43: "RT", 60: "DSTOPTS"}
FRAGMENT = 44


def packet_text(packet: bytes, length: int, options: Collection[str] = ()) -> str:
    """The fields of a packet of `length` bytes, of which `packet` are the first, each with a blank behind it.

    `options` are names of LOG's options, `tcp-sequence`, `tcp-options` and `ip-options` among them. What the bytes at
    hand do not have is told as INCOMPLETE.
    """
    words = _ip4(packet, length, options) if packet[0] >> 4 == 4 else _ip6(packet, length, options)
    return "".join(f"{word} " for word in words)


def _ip4(packet: bytes, length: int, options: Collection[str], quoted: bool = False) -> Iterator[str]:
    if len(packet) < 20:
        yield "TRUNCATED"
        return
    head, tos, size, ident, offset, ttl, protocol, _sum, source, target = struct.unpack_from(">BBHHHBBH4s4s", packet)
    yield f"SRC={ip_address(source)} DST={ip_address(target)}"
    yield f"LEN={size} TOS=0x{tos & 0x1E:02X} PREC=0x{tos & 0xE0:02X} TTL={ttl} ID={ident}"
    yield from (name for bit, name in ((0x8000, "CE"), (0x4000, "DF"), (0x2000, "MF")) if offset & bit)
    if offset & 0x1FFF:
        yield f"FRAG:{offset & 0x1FFF}"
    end = (head & 15) * 4
    if "ip-options" in options and 20 < end <= len(packet):
        yield f"OPT ({packet[20:end].hex().upper()})"
    yield from _transport(packet[end:], protocol, length - end, bool(offset & 0x1FFF), options, 4, quoted)


def _ip6(packet: bytes, length: int, options: Collection[str], quoted: bool = False) -> Iterator[str]:
    if len(packet) < 40:
        yield "TRUNCATED"
        return
    first, size, protocol, hops = struct.unpack_from(">IHBB", packet)
    yield f"SRC={IPv6Address(packet[8:24]).exploded} DST={IPv6Address(packet[24:40]).exploded}"
    yield f"LEN={size + 40} TC={first >> 20 & 0xFF} HOPLIMIT={hops} FLOWLBL={first & 0xFFFFF}"
    at, fragment = 40, False
    while protocol in EXTENSIONS or protocol == FRAGMENT:
        if at + 8 > len(packet):
            yield f"OPT ( TRUNCATED ) {'' if length > at else 'INCOMPLETE'}".strip()
            return
        following, words = packet[at], packet[at + 1]
        if protocol == FRAGMENT:
            offset, ident = struct.unpack_from(">HI", packet, at + 2)
            more = "INCOMPLETE " if offset & 1 else ""
            yield f"FRAG:{offset & 0xFFF8} {more}ID:{ident:08x}"
            fragment = bool(offset & 0xFFF8)
            at += 8
        else:
            if "ip-options" in options:
                yield f"OPT ( {EXTENSIONS[protocol]} )"
            at += 8 + words * 8
        protocol = following
    yield from _transport(packet[at:], protocol, length - at, fragment, options, 6, quoted)


def _transport(
    data: bytes, protocol: int, size: int, fragment: bool, options: Collection[str], family: int, quoted: bool
) -> Iterator[str]:
    known = _TRANSPORTS.get(protocol)
    if known is None or (protocol in (1, 58) and (protocol == 1) != (family == 4)):
        yield f"PROTO={protocol}"
        return
    name, least, write = known
    yield f"PROTO={name}"
    if fragment:
        return
    if len(data) < least:
        yield f"INCOMPLETE [{max(size, 0)} bytes]"
        return
    yield from write(data, size, options, quoted)


def _tcp(data: bytes, size: int, options: Collection[str], quoted: bool) -> Iterator[str]:
    source, target, sequence, acked, head, flags, window, _sum, urgent = struct.unpack_from(">HHIIBBHHH", data)
    yield f"SPT={source} DPT={target}"
    if "tcp-sequence" in options:
        yield f"SEQ={sequence} ACK={acked}"
    yield f"WINDOW={window} RES=0x{(head & 15) << 2:02x}"
    yield from (name for bit, name in TCP_FLAGS if flags & bit)
    yield f"URGP={urgent}"
    end = (head >> 4) * 4
    if "tcp-options" in options and 20 < end <= len(data):
        yield f"OPT ({data[20:end].hex().upper()})"


def _udp(data: bytes, size: int, options: Collection[str], quoted: bool) -> Iterator[str]:
    source, target, length = struct.unpack_from(">HHH", data)
    yield f"SPT={source} DPT={target} LEN={length}"


def _spi(at: int) -> Callable[[bytes, int, Collection[str], bool], Iterator[str]]:
    def write(data: bytes, size: int, options: Collection[str], quoted: bool) -> Iterator[str]:
        yield f"SPI=0x{struct.unpack_from('>I', data, at)[0]:x}"

    return write


def _icmp(data: bytes, size: int, options: Collection[str], quoted: bool) -> Iterator[str]:
    kind, code = data[0], data[1]
    yield f"TYPE={kind} CODE={code}"
    if len(data) < 8:
        yield f"INCOMPLETE [{size} bytes]"
        return
    if kind in ICMP_ECHOES:
        yield "ID={} SEQ={}".format(*struct.unpack_from(">HH", data, 4))
    if kind == PARAMETER_PROBLEM:
        yield f"PARAMETER={data[4]}"
    if kind == REDIRECT:
        yield f"GATEWAY={ip_address(data[4:8])}"
    if kind in ICMP_ERRORS | {REDIRECT, PARAMETER_PROBLEM} and not quoted:
        yield f"[{''.join(f'{word} ' for word in _ip4(data[8:], size - 8, options, quoted=True))}]"
        if kind == 3 and code == 4:
            yield f"MTU={struct.unpack_from('>H', data, 6)[0]}"


def _icmp6(data: bytes, size: int, options: Collection[str], quoted: bool) -> Iterator[str]:
    kind, code = data[0], data[1]
    yield f"TYPE={kind} CODE={code}"
    if len(data) < 8:
        yield f"INCOMPLETE [{size} bytes]"
        return
    word = struct.unpack_from(">I", data, 4)[0]
    if kind in ICMP6_ECHOES:
        yield "ID={} SEQ={}".format(*struct.unpack_from(">HH", data, 4))
    if kind == 4:
        yield f"POINTER={word:08x}"
    if kind in ICMP6_ERRORS and not quoted:
        yield f"[{''.join(f'{text} ' for text in _ip6(data[8:], size - 8, options, quoted=True))}]"
        if kind == 2:
            yield f"MTU={word}"


_TRANSPORTS: dict[int, tuple[str, int, Callable[[bytes, int, Collection[str], bool], Iterator[str]]]] = {
    1: ("ICMP", 2, _icmp),
    6: ("TCP", 20, _tcp),
    17: ("UDP", 8, _udp),
    50: ("ESP", 8, _spi(0)),
    51: ("AH", 12, _spi(4)),
    58: ("ICMPv6", 2, _icmp6),
    136: ("UDPLITE", 8, _udp),
}
"""Protocol: its name, the bytes of its header, what is written of it."""
