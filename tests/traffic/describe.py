"""A packet in one line, and the connection it speaks of. Packets of any shape are described as far as they go."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

from . import packets as p

FLAG_LETTERS = "FSRPAUEC"
PROTOCOLS = {p.TCP: "tcp", p.UDP: "udp", p.ICMP: "icmp", p.ICMPV6: "icmp6", p.SCTP: "sctp", p.GRE: "gre"}
SCTP_CHUNKS = dict(
    enumerate(
        [
            "DATA",
            "INIT",
            "INIT-ACK",
            "SACK",
            "HEARTBEAT",
            "HEARTBEAT-ACK",
            "ABORT",
            "SHUTDOWN",
            "SHUTDOWN-ACK",
            "ERROR",
            "COOKIE-ECHO",
            "COOKIE-ACK",
            "ECNE",
            "CWR",
            "SHUTDOWN-COMPLETE",
            "AUTH",
        ]
    )
)
OPTIONS = {2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "ts"}
V4_ERRORS, V6_ERRORS = (3, 4, 5, 11, 12), tuple(range(128))

Key = tuple[object, ...]


def ends(packet: bytes) -> tuple[str, str, int, bytes]:
    """Source, destination, protocol and transport header of a packet; what is missing is empty."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        source, destination = packet[12:16], packet[16:20]
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        source, destination = packet[8:24], packet[24:40]
    else:
        return "", "", -1, b""
    offset, protocol = p.transport(packet)
    return str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), protocol, packet[offset:]


def is_error(protocol: int, body: bytes) -> bool:
    """Whether an ICMP message quotes a packet."""
    return len(body) > 8 and body[0] in (V4_ERRORS if protocol == p.ICMP else V6_ERRORS if protocol == p.ICMPV6 else ())


def is_fragment(packet: bytes) -> bool:
    """Whether a packet is a piece of a larger one."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return bool(packet[6] & 0x3F or packet[7])
    offset, number = 40, packet[6] if len(packet) >= 40 and packet[0] >> 4 == 6 else p.NO_NEXT
    while number in (p.HOP_BY_HOP, p.DESTINATION, p.ROUTING, p.AH) and offset + 2 <= len(packet):
        step = (packet[offset + 1] + 2) * 4 if number == p.AH else (packet[offset + 1] + 1) * 8
        number, offset = packet[offset], offset + step
    return number == p.FRAGMENT


def can_be_sent_on(fragments: Sequence[bytes]) -> bool:
    """Whether a router can take an IPv6 datagram apart again that it joined of these fragments (RFC 8200 section 4.5).

    It must find where the extension headers before the fragment header end: a chain of them that runs past the joined
    datagram's end tells it nothing, and the datagram is lost behind netfilter. What is no fragment can be sent on.
    """
    pieces: dict[int, bytes] = {}
    kind = p.NO_NEXT
    for fragment in fragments:
        if len(fragment) < 48 or fragment[0] >> 4 != 6 or fragment[6] != p.FRAGMENT:
            return True
        offset = int.from_bytes(fragment[42:44], "big") & 0xFFF8
        pieces[offset] = fragment[48:]
        kind = kind if offset else fragment[40]
    size = max(offset + len(piece) for offset, piece in pieces.items())
    datagram = bytearray(size)
    for offset, piece in pieces.items():
        datagram[offset : offset + len(piece)] = piece
    at = 0
    while kind in (p.HOP_BY_HOP, p.DESTINATION, p.ROUTING):
        if at + 2 > size:
            return False
        kind, at = datagram[at], at + (datagram[at + 1] + 1) * 8
    return at <= size


def pair_key(packet: bytes) -> Key:
    """The two addresses of a packet, or of the one an ICMP error quotes."""
    source, destination, protocol, body = ends(packet)
    return pair_key(body[8:]) if is_error(protocol, body) else (frozenset((source, destination)),)


def flow_key(packet: bytes) -> Key:
    """What all packets of a connection share, whichever way they go; an error has the key of the packet it quotes."""
    source, destination, protocol, body = ends(packet)
    if is_error(protocol, body):
        return flow_key(body[8:])
    if protocol in (p.TCP, p.UDP, p.SCTP) and len(body) >= 4:
        sport, dport = struct.unpack_from(">HH", body)
        return protocol, frozenset(((source, sport), (destination, dport)))
    if protocol in (p.ICMP, p.ICMPV6) and len(body) >= 8:
        return protocol, frozenset((source, destination)), body[4:6]
    return protocol, frozenset((source, destination))


def tcp_options(raw: bytes) -> str:
    """TCP options in words, up to the first that is malformed."""
    found, place = [], 0
    while place < len(raw) and raw[place] != 0:
        if raw[place] == 1:
            place += 1
            continue
        size = raw[place + 1] if place + 1 < len(raw) else 0
        if size < 2 or place + size > len(raw):
            found.append(f"bad:{raw[place:].hex()}")
            break
        body = raw[place + 2 : place + size]
        name = OPTIONS.get(raw[place], str(raw[place]))
        if raw[place] == 5 and len(body) % 8 == 0:
            edges = struct.unpack(f">{len(body) // 4}I", body)
            name += " " + " ".join(f"{left}:{right}" for left, right in zip(edges[::2], edges[1::2], strict=True))
        elif body and raw[place] != 8:
            name += f" {int.from_bytes(body, 'big')}"
        found.append(name)
        place += size
    return f" <{', '.join(found)}>" if found else ""


def sctp_chunks(raw: bytes) -> str:
    """SCTP chunks by number, with flags, initiate tag and odd lengths, up to where they break off."""
    found, place = [], 0
    while place + 4 <= len(raw):
        kind, flags, size = struct.unpack_from(">BBH", raw, place)
        text = f"{SCTP_CHUNKS.get(kind, kind)}"
        text += f" flags {flags:#x}" * (flags != 0)
        if kind in (1, 2) and place + 8 <= len(raw):
            text += f" tag {int.from_bytes(raw[place + 4 : place + 8], 'big'):#x}"
        text += f" length {size}" * (size < 4 or place + size > len(raw))
        found.append(text)
        if size == 0:
            break
        place += size + 3 & ~3
    left = len(raw) - place
    return f" [{', '.join(found)}]" + f" and {left} bytes" * (0 < left < 4)


def describe(packet: bytes) -> str:
    """The packet in one line, in the manner of tcpdump, with absolute numbers."""
    source, destination, protocol, body = ends(packet)
    if protocol < 0:
        return f"no IP packet, {len(packet)} bytes: {packet[:24].hex()}"
    if packet[0] >> 4 == 4:
        extra = " options" * ((packet[0] & 15) > 5)
        field = int.from_bytes(packet[6:8], "big")
        extra += f" fragment {(field & 0x1FFF) * 8}{'+' * (field >> 13 & 1)}" * bool(field & 0x3FFF)
        extra += " total length wrong" * (int.from_bytes(packet[2:4], "big") != len(packet))
    else:
        extra = f" next header {packet[6]}" * (packet[6] != protocol)
        extra += " payload length wrong" * (int.from_bytes(packet[4:6], "big") != len(packet) - 40)
    name = PROTOCOLS.get(protocol, f"protocol {protocol}")
    if p.CHECKSUM_OFFSET.get(protocol, 99) + 2 <= len(body) and not extra:
        good = p.repair(bytearray(packet), len(packet) - len(body), protocol)
        extra += " bad checksum" * (good != packet)
    if protocol == p.TCP and len(body) >= 20:
        sport, dport, seq, ack, words, flags, window = struct.unpack_from(">HHIIBBH", body)
        size = (words >> 4) * 4
        letters = "".join(letter for bit, letter in enumerate(FLAG_LETTERS) if flags >> bit & 1) or "none"
        length = len(body) - size
        odd = f" data offset {words >> 4}" * (size < 20 or length < 0)
        options = tcp_options(body[20:size]) if size >= 20 else ""
        return (
            f"{name} {source}.{sport} > {destination}.{dport} [{letters}] seq {seq} ack {ack} win {window}"
            f" len {length}{options}{odd}{extra}"
        )
    if protocol == p.SCTP and len(body) >= 12:
        sport, dport, tag = struct.unpack_from(">HHI", body)
        return f"{name} {source}.{sport} > {destination}.{dport} tag {tag:#x}{sctp_chunks(body[12:])}{extra}"
    if protocol in (p.UDP, p.SCTP, p.TCP) and len(body) >= 4:
        sport, dport = struct.unpack_from(">HH", body)
        odd = f" udp length {int.from_bytes(body[4:6], 'big')}" if protocol == p.UDP and len(body) >= 6 else ""
        return f"{name} {source}.{sport} > {destination}.{dport} {len(body)} bytes{odd}{extra}"
    if protocol in (p.ICMP, p.ICMPV6) and len(body) >= 8:
        text = f"{name} {source} > {destination} type {body[0]} code {body[1]}"
        if is_error(protocol, body):
            return f"{text}{extra} quoting {len(body) - 8} bytes ({describe(body[8:])})"
        return f"{text} id {int.from_bytes(body[4:6], 'big')} {len(body)} bytes{extra}"
    return f"{name} {source} > {destination} {len(body)} bytes{extra}"
