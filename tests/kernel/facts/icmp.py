"""Questions about ICMP and ICMPv6: which types make connections, and what becomes of errors."""

from __future__ import annotations

import struct

from tests.kernel.facts.asking import ENDS, Asker, Table, short
from tests.traffic import packets as p

REST = struct.pack(">HH", 7, 1)


def types() -> Table:
    rows = []
    with Asker() as kernel:
        for family in (4, 6):
            client, server, _ = ENDS[family]
            groups: dict[tuple[str, str], list[int]] = {}
            for kind in range(256):
                kernel.flush()
                answer = kernel.fate(p.icmp_packet(client, server, kind, 0, REST, bytes(56)))
                lines = kernel.table()
                groups.setdefault(
                    (answer, short(lines[0]).replace(f"type={kind} ", "type=T ") if lines else "none"), []
                ).append(kind)
            for (answer, line), kinds in groups.items():
                rows.append([f"ICMPv{family}", ranges(kinds), answer, line])
        for family in (4, 6):
            client, server, _ = ENDS[family]
            ask, reply = (8, 0) if family == 4 else (128, 129)
            for code in (1, 255):
                kernel.flush()
                first = kernel.fate(p.icmp_packet(client, server, ask, code, REST))
                rows.append([f"ICMPv{family}", f"request with code {code}", first, short(kernel.table()[0])])
                back = kernel.fate(p.icmp_packet(server, client, reply, code, REST))
                rows.append([f"ICMPv{family}", f"its reply with code {code}", back, short(kernel.table()[0])])
                back = kernel.fate(p.icmp_packet(server, client, reply, 0, REST))
                rows.append([f"ICMPv{family}", "its reply with code 0", back, short(kernel.table()[0])])
    return Table("ICMP: types and codes", "A lone message of each type.", ["", "type", "answer", "entry"], rows)


def ranges(numbers: list[int]) -> str:
    """Sorted numbers in words: ``0-7, 9``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def errors() -> Table:
    rows = []
    with Asker() as kernel:
        for family in (4, 6):
            client, server, router = ENDS[family]
            udp = p.udp_packet(client, server, 1000, 53, b"question")
            back = p.udp_packet(server, client, 53, 1000, b"answered")
            head = len(udp) - 16
            unreachable = (3, 3) if family == 4 else (1, 4)

            def error(
                quoted: bytes,
                kind: tuple[int, int] = unreachable,
                source: bytes = router,
                to: bytes = client,
                rest: bytes = bytes(4),
            ) -> bytes:
                return p.icmp_packet(source, to, *kind, rest, quoted)

            def ask(name: str, packet: bytes, before: tuple[bytes, ...], family: int = family) -> None:
                kernel.flush()
                kernel.ask(list(before))
                rows.append([f"ICMPv{family}", name, kernel.fate(packet)])

            ask("about a packet just sent", error(udp), (udp,))
            ask("about a packet sent, connection answered", error(udp), (udp, back))
            ask("about a reply, to its sender", error(back, to=server), (udp, back))
            ask("about a packet sent, but to its receiver", error(udp, to=server), (udp, back))
            ask("about a packet sent, to a stranger", error(udp, to=router, source=server), (udp, back))
            ask("about a packet never sent, its reverse was", error(back, to=server), (udp,))
            ask("from the packet's receiver", error(udp, source=server), (udp,))
            ask("about no connection", error(udp), ())
            kinds = (
                [
                    (3, 0),
                    (3, 4),
                    (3, 15),
                    (3, 16),
                    (3, 255),
                    (4, 0),
                    (4, 1),
                    (5, 0),
                    (5, 1),
                    (5, 9),
                    (11, 0),
                    (11, 2),
                    (12, 0),
                    (12, 9),
                ]
                if family == 4
                else [
                    (1, 0),
                    (1, 8),
                    (1, 255),
                    (2, 0),
                    (2, 1),
                    (3, 0),
                    (3, 2),
                    (4, 0),
                    (4, 9),
                    (5, 0),
                    (99, 0),
                    (127, 0),
                    (137, 0),
                ]
            )
            for kind in kinds:
                ask(f"type {kind[0]} code {kind[1]}", error(udp, kind), (udp,))
            for length in (0, head - 1, head, head + 1, head + 3, head + 4, head + 7, head + 8, len(udp)):
                ask(f"quoting {length - head:+d} bytes of the transport header", error(udp[:length]), (udp,))
            packet = p.tcp_packet(client, server, 1000, 80, p.SYN, 1)
            for extra in (3, 4, 7, 8, 13, 19, 20):
                ask(f"quoting {extra} bytes of a TCP header", error(packet[: head + extra]), (packet,))
            request, reply = p.echo(client, server, 7, 1), p.echo(server, client, 7, 1, reply=True)
            ask("about an echo request", error(request), (request,))
            ask("about an echo request, cut to 8 bytes", error(request[: head + 8]), (request,))
            ask("about an echo request, cut to 4 bytes", error(request[: head + 4]), (request,))
            ask("about an echo reply", error(reply, to=server), (request, reply))
            ask("about an error", error(error(udp), to=router), (udp,))
            broken = bytearray(udp)
            broken[-9] ^= 1
            ask("quoted checksum wrong", error(bytes(broken)), (udp,))
            mangled = bytearray(error(udp))
            mangled[p.transport(mangled)[0] + 2] ^= 1
            ask("its own checksum wrong", bytes(mangled), (udp,))
            if family == 4:
                optional = p.ipv4(client, server, p.UDP, udp[20:], options=b"\x94\x04\0\0")
                ask("quoting IP options", error(optional), (udp,))
                ask("quoting IP options cut off", error(optional[:22]), (udp,))
                first = p.ipv4(client, server, p.UDP, udp[20:], fragment=0x2000)
                later = p.ipv4(client, server, p.UDP, udp[20:], fragment=0x0004)
                for name, header in (("version 6", 0x65), ("a header of 4 words", 0x44), ("version 5", 0x55)):
                    odd = bytes([header]) + udp[1:]
                    ask(f"quoting {name}", error(odd), (udp,))
                odd = udp[:2] + b"\0\x10" + udp[4:]
                ask("quoting a total length of 16", error(odd), (udp,))
            else:
                optional = p.ipv6(client, server, p.UDP, udp[40:], extensions=[(p.DESTINATION, p.extension(b""))])
                ask("quoting destination options", error(optional), (udp,))
                ask("quoting destination options cut off", error(optional[:44]), (udp,))
                body = p.fragment_header(0, True, 9)
                first = p.ipv6(client, server, p.UDP, udp[40:], extensions=[(p.FRAGMENT, body)])
                body = p.fragment_header(32, False, 9)
                later = p.ipv6(client, server, p.UDP, udp[40:], extensions=[(p.FRAGMENT, body)])
            ask("quoting a first fragment", error(first), (udp,))
            ask("quoting a later fragment", error(later), (udp,))
            unknown = p.ip(client, server, 253, bytes(16))
            ask("about a packet of protocol 253", error(unknown), (unknown,))
            ask("about a packet of protocol 253, cut to the IP header", error(unknown[:-16]), (unknown,))
            closed = [
                p.tcp_packet(client, server, 1000, 80, p.SYN, 1),
                p.tcp_packet(server, client, 80, 1000, p.SYN | p.ACK, 1, 2),
                p.tcp_packet(client, server, 1000, 80, p.ACK, 2, 2),
            ]
            ask("about an assured connection's packet", error(closed[2]), tuple(closed))
            ask("about an assured connection's reply", error(closed[1], to=server), tuple(closed))
    about = (
        "An error quoting a UDP packet of a tracked connection, from a router to whoever sent that packet, unless the "
        "row says otherwise."
    )
    return Table("ICMP: errors", about, ["", "error", "answer"], rows)


ALL = (types, errors)
