"""Questions about IP: what the stack refuses before connection tracking sees it, and what headers hide a protocol."""

from __future__ import annotations

import struct

from tests.kernel.facts.asking import CLIENT4, CLIENT6, SERVER4, SERVER6, Asker, Table, short
from tests.traffic import packets as p

UDP4 = p.udp(CLIENT4, SERVER4, 1000, 53, b"fastfw")
UDP6 = p.udp(CLIENT6, SERVER6, 1000, 53, b"fastfw")


def four(**fields: object) -> bytes:
    return p.ipv4(CLIENT4, SERVER4, p.UDP, UDP4, **fields)  # type: ignore[arg-type]


def six(**fields: object) -> bytes:
    return p.ipv6(CLIENT6, SERVER6, p.UDP, UDP6, **fields)  # type: ignore[arg-type]


def between4(source: str, destination: str) -> bytes:
    one, two = p.address(source), p.address(destination)
    return p.ipv4(one, two, p.UDP, p.udp(one, two, 1000, 53, b"fastfw"))


def between6(source: str, destination: str) -> bytes:
    one, two = p.address(source), p.address(destination)
    return p.ipv6(one, two, p.UDP, p.udp(one, two, 1000, 53, b"fastfw"))


def chain(*extensions: tuple[int, bytes], last: int = p.UDP, payload: bytes = UDP6) -> bytes:
    return p.ipv6(CLIENT6, SERVER6, last, payload, extensions=extensions)


PAD = p.extension(b"")
V4 = {
    "plain": four(),
    "version 5": four(version=5),
    "header of 4 words": four(header_words=4),
    "header of 6 words, no options": four(header_words=6, header_checksum=0),
    "header longer than the packet": p.ipv4(CLIENT4, SERVER4, p.UDP, b"", header_words=15),
    "total length 19": four(total_length=19),
    "total length is the header's": four(total_length=20),
    "total length past the end": four(total_length=100),
    "trailing bytes": four() + b"trailer",
    "header checksum wrong": four(header_checksum=1),
    "no payload at all": p.ipv4(CLIENT4, SERVER4, p.UDP, b""),
    "TTL 0": four(ttl=0),
    "TTL 1": four(ttl=1),
    "reserved flag": four(fragment=0x8000),
    "don't fragment": four(fragment=0x4000),
    "option no-operation": four(options=b"\x01" * 4),
    "option router alert": four(options=b"\x94\x04\0\0"),
    "option record route": four(options=b"\x07\x07\x04\0\0\0\0\0"),
    "option record route, pointer 3": four(options=b"\x07\x07\x03\0\0\0\0\0"),
    "option record route, full": four(options=b"\x07\x07\x08\0\0\0\0\0"),
    "option timestamp": four(options=b"\x44\x08\x05\0" + bytes(4)),
    "option loose source route": four(options=b"\x83\x07\x04" + SERVER4 + b"\0"),
    "option strict source route": four(options=b"\x89\x07\x04" + SERVER4 + b"\0"),
    "option length 0": four(options=b"\x07\x00\0\0"),
    "option length 1": four(options=b"\x07\x01\0\0"),
    "option past the header": four(options=b"\x07\x0b\x04\0"),
    "option unknown": four(options=b"\x5e\x04\0\0"),
    "option security": four(options=b"\x82\x0b" + bytes(10)),
    "protocol 0": p.ipv4(CLIENT4, SERVER4, 0, UDP4),
    "protocol 255": p.ipv4(CLIENT4, SERVER4, 255, UDP4),
    "from 0.0.0.0": between4("0.0.0.0", "10.2.0.1"),
    "from 0.1.2.3": between4("0.1.2.3", "10.2.0.1"),
    "from 127.0.0.1": between4("127.0.0.1", "10.2.0.1"),
    "from 224.0.0.1": between4("224.0.0.1", "10.2.0.1"),
    "from 240.0.0.1": between4("240.0.0.1", "10.2.0.1"),
    "from 255.255.255.255": between4("255.255.255.255", "10.2.0.1"),
    "from 169.254.1.1": between4("169.254.1.1", "10.2.0.1"),
    "to 0.0.0.0": between4("10.1.0.1", "0.0.0.0"),
    "to 0.1.2.3": between4("10.1.0.1", "0.1.2.3"),
    "to 127.0.0.1": between4("10.1.0.1", "127.0.0.1"),
    "to 224.0.0.1": between4("10.1.0.1", "224.0.0.1"),
    "to 240.0.0.1": between4("10.1.0.1", "240.0.0.1"),
    "to 255.255.255.255": between4("10.1.0.1", "255.255.255.255"),
    "to 169.254.1.1": between4("10.1.0.1", "169.254.1.1"),
    "to its own source": between4("10.1.0.1", "10.1.0.1"),
}
V6 = {
    "plain": six(),
    "version 5": six(version=5),
    "payload length 0": six(payload_length=0),
    "payload length 8": six(payload_length=8),
    "payload length past the end": six(payload_length=100),
    "trailing bytes": six() + b"trailer",
    "cut in the fixed header": six()[:39],
    "no payload at all": p.ipv6(CLIENT6, SERVER6, p.UDP, b""),
    "hop limit 0": six(hop_limit=0),
    "hop limit 1": six(hop_limit=1),
    "hop-by-hop, padding": chain((p.HOP_BY_HOP, PAD)),
    "hop-by-hop, router alert": chain((p.HOP_BY_HOP, p.extension(b"\x05\x02\0\0"))),
    "hop-by-hop, unknown option to skip": chain((p.HOP_BY_HOP, p.extension(b"\x1e\x02\0\0"))),
    "hop-by-hop, unknown option to discard": chain((p.HOP_BY_HOP, p.extension(b"\x5e\x02\0\0"))),
    "hop-by-hop, unknown option to report": chain((p.HOP_BY_HOP, p.extension(b"\x9e\x02\0\0"))),
    "hop-by-hop, option past the header": chain((p.HOP_BY_HOP, p.extension(b"\x1e\x40\0\0"))),
    "hop-by-hop, longer than the packet": chain((p.HOP_BY_HOP, p.extension(b"", length=20))),
    "hop-by-hop, jumbo payload": chain((p.HOP_BY_HOP, p.extension(b"\xc2\x04" + struct.pack(">I", 40)))),
    "hop-by-hop, payload length 0": p.ipv6(
        CLIENT6, SERVER6, p.UDP, UDP6, extensions=((p.HOP_BY_HOP, PAD),), payload_length=0
    ),
    "hop-by-hop, payload length 0, trailing bytes": p.ipv6(
        CLIENT6, SERVER6, p.UDP, UDP6 + b"trailer", extensions=((p.HOP_BY_HOP, PAD),), payload_length=0
    ),
    "hop-by-hop, payload length 0, a fragment header": p.ipv6(
        CLIENT6,
        SERVER6,
        p.UDP,
        UDP6,
        extensions=((p.HOP_BY_HOP, PAD), (p.FRAGMENT, p.fragment_header(0, False, 7))),
        payload_length=0,
    ),
    "hop-by-hop twice": chain((p.HOP_BY_HOP, PAD), (p.HOP_BY_HOP, PAD)),
    "hop-by-hop after destination options": chain((p.DESTINATION, PAD), (p.HOP_BY_HOP, PAD)),
    "from ::": between6("::", "fd00:2::1"),
    "from ::1": between6("::1", "fd00:2::1"),
    "from ff02::1": between6("ff02::1", "fd00:2::1"),
    "from fe80::1": between6("fe80::1", "fd00:2::1"),
    "from ::ffff:10.1.0.1": between6("::ffff:10.1.0.1", "fd00:2::1"),
    "to ::": between6("fd00:1::1", "::"),
    "to ::1": between6("fd00:1::1", "::1"),
    "to ff02::1": between6("fd00:1::1", "ff02::1"),
    "to ff01::1": between6("fd00:1::1", "ff01::1"),
    "to ff0e::1": between6("fd00:1::1", "ff0e::1"),
    "to fe80::1": between6("fd00:1::1", "fe80::1"),
    "to ::ffff:10.2.0.1": between6("fd00:1::1", "::ffff:10.2.0.1"),
    "to its own source": between6("fd00:1::1", "fd00:1::1"),
}


def refusals() -> Table:
    groups: dict[tuple[str, str, str], list[str]] = {}
    with Asker() as kernel:
        for family, packets in (("IPv4", V4), ("IPv6", V6)):
            for name, packet in packets.items():
                kernel.flush()
                fate = kernel.fate(packet)
                lines = kernel.table()
                made = " ".join(lines[0].split()[2:4]) if lines else "none"
                groups.setdefault((family, fate, made), []).append(name)
    rows = [[family, fate, made, "; ".join(names)] for (family, fate, made), names in groups.items()]
    about = (
        "One UDP packet through the gateway. `refused`: the IP stack drops it before the first netfilter hook. "
        "`dropped after PREROUTING`: connection tracking has seen it, then routing or forwarding drops it."
    )
    return Table("IP: what reaches connection tracking", about, ["", "fate", "entry", "packets"], rows)


AH = p.authentication_header()
CHAINS = {
    "UDP behind nothing": chain(),
    "hop-by-hop": chain((p.HOP_BY_HOP, PAD)),
    "destination options": chain((p.DESTINATION, PAD)),
    "routing, type 0, no segments left": chain((p.ROUTING, p.extension(b"\0\0" + bytes(4)))),
    "routing, type 0, one segment left": chain((p.ROUTING, p.extension(b"\0\1" + bytes(20)))),
    "routing, type 4": chain((p.ROUTING, p.extension(b"\4\0" + bytes(4)))),
    "AH": chain((p.AH, AH)),
    "AH, shortest": chain((p.AH, p.authentication_header(3))),
    "AH, then destination options": chain((p.AH, AH), (p.DESTINATION, PAD)),
    "hop-by-hop, destination, routing, destination": chain(
        (p.HOP_BY_HOP, PAD), (p.DESTINATION, PAD), (p.ROUTING, p.extension(b"\4\0" + bytes(4))), (p.DESTINATION, PAD)
    ),
    "eight destination options": chain(*[(p.DESTINATION, PAD)] * 8),
    "destination options past the end": chain((p.DESTINATION, p.extension(b"", length=30))),
    "destination options cut after 4 bytes": p.ipv6(CLIENT6, SERVER6, p.DESTINATION, bytes([p.UDP, 0, 1, 4])),
    "fragment header, the only fragment": chain((p.FRAGMENT, p.fragment_header(0, False, 7))),
    "fragment header behind destination options": chain(
        (p.DESTINATION, PAD), (p.FRAGMENT, p.fragment_header(0, False, 8))
    ),
    "ESP": chain(last=p.ESP, payload=bytes(32)),
    "no next header, nothing after": chain(last=p.NO_NEXT, payload=b""),
    "no next header, bytes after": chain(last=p.NO_NEXT, payload=UDP6),
    "destination options, then no next header": chain((p.DESTINATION, PAD), last=p.NO_NEXT, payload=b""),
    "mobility (135)": chain(last=135, payload=bytes([59, 0]) + bytes(6)),
    "HIP (139)": chain(last=139, payload=bytes([59, 0]) + bytes(6)),
    "shim6 (140)": chain(last=140, payload=bytes([59, 0]) + bytes(6)),
    "experiment (253)": chain(last=253, payload=bytes(16)),
    "IPv4 (4)": chain(last=4, payload=four()),
    "IPv6 (41)": chain(last=41, payload=six()),
    "ICMPv4 (1)": chain(last=p.ICMP, payload=p.icmp(CLIENT4, SERVER4, 8, 0)),
}


def headers() -> Table:
    rows = []
    with Asker() as kernel:
        for name, packet in CHAINS.items():
            kernel.flush()
            fate = kernel.fate(packet)
            lines = kernel.table()
            rows.append([name, fate, short(lines[0]) if lines else "none"])
        packet = p.ipv4(CLIENT4, SERVER4, p.ICMPV6, p.icmp(CLIENT6, SERVER6, 128, 0))
        kernel.flush()
        fate = kernel.fate(packet)
        rows.append(["ICMPv6 (58) over IPv4", fate, short(kernel.table()[0]) if kernel.table() else "none"])
    return Table("IPv6: extension headers", "What is tracked behind each chain.", ["headers", "fate", "entry"], rows)


ALL = (refusals, headers)
