"""Conversations that announce others: FTP's control connections and TFTP's requests, and what they announce."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from . import packets as p
from .conversations import CLIENT_PORTS, PAYLOAD, World

FTP, FTP_DATA, TFTP = 21, 20, 69
DATA_PORTS = tuple(range(50000, 50005))
RULES = f"""*raw
-A PREROUTING -p tcp --dport {FTP} -j CT --helper ftp
-A PREROUTING -p udp --dport {TFTP} -j CT --helper tftp
COMMIT
"""
"""The rules that let helpers read these, of either family."""

ACTIVE = {4: b"PORT %s,%d,%d\r\n", 6: b"EPRT |2|%s|%d|\r\n"}
PASSIVE = {4: b"227 Entering Passive Mode (%s,%d,%d)\r\n", 6: b"229 Entering Extended Passive Mode (|||%d|)\r\n"}


def dotted(address: bytes) -> bytes:
    return b",".join(b"%d" % byte for byte in address)


def coloned(address: bytes) -> bytes:
    return b":".join(b"%x" % int.from_bytes(address[at : at + 2], "big") for at in range(0, 16, 2))


def announcement(passive: bool, speaker: bytes, port: int) -> bytes:
    """What tells the other end to connect to `port` of the speaker."""
    if len(speaker) == 4:
        return (PASSIVE if passive else ACTIVE)[4] % (dotted(speaker), port >> 8, port & 0xFF)
    return PASSIVE[6] % port if passive else ACTIVE[6] % (coloned(speaker), port)


def data_connection(random: Random, there: tuple[bytes, bytes, int, int]) -> Iterator[bytes]:
    """A connection that opens and is closed, by its first packets only now and then."""
    source, destination, sport, dport = there
    back = (destination, source, dport, sport)
    one, two = random.getrandbits(32), random.getrandbits(32)
    after, beyond = (one + 1) & 0xFFFFFFFF, (two + 1) & 0xFFFFFFFF
    script = (
        p.tcp_packet(*there, p.SYN, one),
        p.tcp_packet(*back, p.SYN | p.ACK, two, after),
        p.tcp_packet(*there, p.ACK, after, beyond),
        p.tcp_packet(*back, p.ACK | p.PSH, beyond, after, payload=PAYLOAD[:40]),
        p.tcp_packet(*there, p.RST | p.ACK, after, (beyond + 40) & 0xFFFFFFFF),
    )
    yield from script[: random.choice((1, 2, 5, 5))]


def ftp_conversation(random: Random, world: World) -> Iterator[bytes]:
    """A control connection with announcements of either kind; about half of them are followed by the connection."""
    client, server = world.pair(random)
    there = (client, server, random.choice(CLIENT_PORTS), FTP)
    back = (server, client, FTP, there[2])
    ahead = [random.getrandbits(32), random.getrandbits(32)]

    def said(end: int, flags: int, text: bytes = b"") -> bytes:
        packet = p.tcp_packet(*(back if end else there), flags, ahead[end], ahead[1 - end], payload=text)
        ahead[end] = (ahead[end] + len(text) + (flags & (p.SYN | p.FIN) != 0)) & 0xFFFFFFFF
        return packet

    yield p.tcp_packet(*there, p.SYN, ahead[0])
    ahead[0] = (ahead[0] + 1) & 0xFFFFFFFF
    yield said(1, p.SYN | p.ACK)
    yield said(0, p.ACK)
    yield said(1, p.ACK | p.PSH, b"220 ready\r\n")
    for _ in range(random.randrange(1, 7)):
        passive, port = random.random() < 0.5, random.choice(DATA_PORTS)
        speaker = server if passive else client
        yield said(int(passive), p.ACK | p.PSH, announcement(passive, speaker, port))
        yield said(int(not passive), p.ACK)
        if random.random() < 0.5:
            ends = (client, server, random.choice(CLIENT_PORTS)) if passive else (server, client, FTP_DATA)
            yield from data_connection(random, (*ends, port))
    ending = random.random()
    if ending < 0.4:
        yield said(0, p.FIN | p.ACK)
        yield said(1, p.FIN | p.ACK)
        yield said(0, p.ACK)
    elif ending < 0.8:
        yield said(random.getrandbits(1), p.RST | p.ACK)


def tftp_conversation(random: Random, world: World) -> Iterator[bytes]:
    """Requests, about half of which are answered, from a port of the server's choice."""
    client, server = world.pair(random)
    port = random.choice(CLIENT_PORTS)
    for _ in range(random.randrange(1, 4)):
        kind = random.choice((b"\0\1", b"\0\2"))
        yield p.udp_packet(client, server, port, TFTP, kind + b"page.html\0octet\0")
        if random.random() < 0.5:
            chosen = random.choice(DATA_PORTS)
            yield p.udp_packet(server, client, chosen, port, b"\0\3\0\1" + PAYLOAD[:60])
            yield p.udp_packet(client, server, port, chosen, b"\0\4\0\1")


def conversation(random: Random, world: World) -> Iterator[bytes]:
    return (ftp_conversation if random.random() < 0.6 else tftp_conversation)(random, world)


def filling(count: int) -> list[bytes]:
    """Packets that leave `count` established connections, between addresses of which no conversation is."""
    made = []
    for number in range(count):
        there = (p.address("10.250.0.1"), p.address("10.251.0.1"), 1024 + number, 80)
        back = (there[1], there[0], there[3], there[2])
        made += [
            p.tcp_packet(*there, p.SYN, 1),
            p.tcp_packet(*back, p.SYN | p.ACK, 1, 2),
            p.tcp_packet(*there, p.ACK, 2, 2),
        ]
    return made
