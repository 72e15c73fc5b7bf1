"""Questions about entries: when they are made, which way a packet goes, and how the table prints them."""

from __future__ import annotations

import time

from tests.kernel.facts.asking import CLIENT4, ENDS, SA, SERVER4, A, Asker, Connection, R, S, Table, short
from tests.kernel.oracle import Oracle
from tests.traffic import packets as p


def confirmation() -> Table:
    rows = []
    with Asker() as kernel:
        for family in (4, 6):
            client, server, _ = ENDS[family]
            udp = p.udp(client, server, 1000, 53)
            if family == 4:
                dying, healthy = p.ipv4(client, server, p.UDP, udp, ttl=1), p.ipv4(client, server, p.UDP, udp)
            else:
                dying, healthy = p.ipv6(client, server, p.UDP, udp, hop_limit=1), p.ipv6(client, server, p.UDP, udp)
            for name, packets in (
                ("hop limit 1", [dying]),
                ("hop limit 1, then the same packet with 64", [dying, healthy]),
                ("64, then hop limit 1", [healthy, dying]),
            ):
                kernel.flush()
                fates = [kernel.fate(packet) for packet in packets]
                lines = kernel.table()
                rows.append([f"IPv{family}", name, "; ".join(fates), short(lines[0]) if lines else "none"])
        kernel.flush()
        connection = Connection(kernel, 1000)
        connection.follow([(0, S), (1, SA), (0, A)])
        reset = bytearray(connection.packet(0, R))
        reset[8] = 1
        fate = kernel.fate(p.repair(reset, 20, p.TCP))
        rows.append(["IPv4", "RST with TTL 1 on ESTABLISHED", fate, connection.entry()])
    about = "What a packet leaves behind that conntrack sees but forwarding drops."
    return Table("Entries: confirmed by what comes through", about, ["", "packets", "fate", "entry"], rows)


def itself() -> Table:
    rows = []
    with Asker() as kernel:
        for family in (4, 6):
            client, _, _ = ENDS[family]
            udp = p.udp_packet(client, client, 7, 7)
            request, reply = p.echo(client, client, 7, 1), p.echo(client, client, 7, 1, reply=True)
            syn = p.tcp_packet(client, client, 7, 7, S, 100)
            accept, ack = (
                p.tcp_packet(client, client, 7, 7, SA, 100, 101),
                p.tcp_packet(client, client, 7, 7, A, 101, 101),
            )
            other = p.ip(client, client, 253, bytes(8))
            for name, packets in (
                ("UDP, same port", [udp, udp, udp]),
                ("UDP, two ports", [p.udp_packet(client, client, 7, 8), p.udp_packet(client, client, 8, 7)]),
                ("TCP, same port: SYN, SYN-ACK, ACK", [syn, accept, ack]),
                ("TCP, same port: SYN, SYN", [syn, syn]),
                ("TCP, same port: ACK, ACK", [ack, ack]),
                ("echo: request, reply, request", [request, reply, request]),
                ("echo: request, request", [request, request]),
                ("protocol 253", [other, other]),
            ):
                kernel.flush()
                answers = [kernel.say(packet) for packet in packets]
                lines = kernel.table()
                rows.append([f"IPv{family}", name, "; ".join(answers), short(lines[0]) if lines else "none"])
    about = "Packets a host sends to itself through the gateway: both directions are one tuple."
    return Table("Entries: self-addressed packets", about, ["", "packets", "answers", "entry"], rows)


def udp_assured() -> Table:
    client, server, _ = ENDS[4]
    there, back = p.udp_packet(client, server, 1000, 53), p.udp_packet(server, client, 53, 1000)
    rows = []
    with Asker() as kernel:
        for name, steps in (
            ("question and answer at once, again at once", [(0.0, there), (0.0, back), (0.0, there)]),
            ("a second question 2.2 s after the first, unanswered", [(0.0, there), (2.2, there)]),
            ("an answer after 2.2 s", [(0.0, there), (2.2, back)]),
            ("an answer after 2.2 s, then a question", [(0.0, there), (2.2, back), (0.0, there)]),
            ("an answer after 2.2 s, then another answer", [(0.0, there), (2.2, back), (0.0, back)]),
            ("answered at once, then a question after 1.9 s", [(0.0, there), (0.0, back), (1.9, there)]),
            ("answered at once, then a question after 2.1 s", [(0.0, there), (0.0, back), (2.1, there)]),
            ("answered at once, then an answer after 2.1 s", [(0.0, there), (0.0, back), (2.1, back)]),
            (
                "answered at once, after 2.1 s a question and one more",
                [(0.0, there), (0.0, back), (2.1, there), (0.0, there)],
            ),
        ):
            kernel.flush()
            answers, lines = [], []
            for pause, packet in steps:
                time.sleep(pause)
                answers.append(kernel.say(packet))
                line = kernel.table()[0]
                lines.append(line.split()[4] + (" ASSURED" if "ASSURED" in line else ""))
            rows.append([name, "; ".join(answers), "; ".join(lines)])
    return Table("UDP: streams", "Answers, and time left after each packet.", ["packets", "answers", "entry"], rows)


def lines() -> Table:
    rows = []
    with Asker() as kernel:
        for family in (4, 6):
            client, server, _ = ENDS[family]
            tag = p.sctp(7, 8, 0, p.chunk(1, 0, b"\0\0\0\1" + bytes(8) + b"\0\0\0\1"))
            for packet in (
                p.udp_packet(client, server, 7, 8),
                p.tcp_packet(client, server, 7, 8, S),
                p.echo(client, server, 7, 1),
                p.ip(client, server, p.SCTP, tag),
                p.ip(client, server, p.GRE, p.gre()),
                p.ip(client, server, p.GRE, p.gre(0x12345678)),
                p.ip(client, server, p.GRE, p.gre(0x1234, version=1, protocol=0x880B)),
                p.ip(client, server, 136, p.udp(client, server, 7, 8)),
                p.ip(client, server, 33, bytes(16)),
                p.ip(client, server, 253, bytes(16)),
                p.ip(client, server, p.ESP, bytes(16)),
            ):
                kernel.flush()
                answer = kernel.say(packet)
                found = kernel.table()
                number = str(packet[9] if family == 4 else packet[6])
                rows.append([f"IPv{family}", number, answer, f"`{found[0]}`" if found else "none"])
    return Table("Entries: as they are printed", "One packet each.", ["", "protocol", "answer", "line"], rows)


def accounting() -> Table:
    client, server, _ = ENDS[4]
    rows = []
    with Asker(nf_conntrack_acct=1, nf_conntrack_timestamp=1) as kernel:
        kernel.say(p.udp_packet(client, server, 7, 8, b"four"))
        rows.append(["acct 1, timestamp 1, one packet of 32 bytes", kernel.table()[0]])
        kernel.say(p.udp_packet(server, client, 8, 7, b"four"))
        kernel.say(p.udp_packet(server, client, 8, 7, b"four") + b"trailing bytes")
        rows.append(["answered twice, trailing bytes behind the second", kernel.table()[0]])
        kernel.flush()
        for piece in p.fragments(p.udp_packet(client, server, 7, 8, bytes(2000)), 1000):
            kernel.say(piece)
        rows.append(["a datagram of 2008 bytes in three fragments", kernel.table()[0]])
    rows = [[name, f"`{line}`"] for name, line in rows]
    return Table("Entries: accounting", "Lengths are those of the IP packet.", ["setting and packets", "line"], rows)


def expectations() -> Table:
    rows = []
    with Oracle(helpers=[("ftp", "tcp", 21), ("tftp", "udp", 69)]) as kernel:
        ends = (CLIENT4, SERVER4, 1000, 21)
        back = (SERVER4, CLIENT4, 21, 1000)
        kernel.ask(
            [
                p.tcp_packet(*ends, S, 99),
                p.tcp_packet(*back, SA, 199, 100),
                p.tcp_packet(*ends, A, 100, 200),
                p.tcp_packet(*ends, A, 100, 200, payload=b"USER x\r\n"),
                p.tcp_packet(*ends, A, 108, 200, payload=b"PORT 10,1,0,1,200,10\r\n"),
            ]
        )
        rows.append(["ftp PORT", "\n".join(kernel.expectations())])
        rows.append(["its master", "\n".join(kernel.table())])
        data = p.tcp_packet(SERVER4, CLIENT4, 20, 51210, S, 1)
        rows.append(["the data connection's SYN", kernel.say(data)])
        rows.append(["expectations left", str(len(kernel.expectations()))])
        rows.append(["master and child", "` `".join(sorted(kernel.table()))])
        rows.append(["the SYN-ACK", kernel.say(p.tcp_packet(CLIENT4, SERVER4, 51210, 20, SA, 1, 2))])
        kernel.flush()
        kernel.say(p.udp_packet(CLIENT4, SERVER4, 1000, 69, b"\0\1file\0octet\0"))
        rows.append(["tftp read request", "\n".join(kernel.expectations())])
    rows = [[name, f"`{line}`"] for name, line in rows]
    return Table("Expectations: as they are printed", "Helpers by `-j CT --helper`.", ["", "line"], rows)


ALL = (confirmation, itself, udp_assured, lines, accounting, expectations)
