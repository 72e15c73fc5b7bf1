"""SIP messages: calls, re-invitations and registrations, right, odd, mutated and cut."""

from __future__ import annotations

import random

from tests.traffic import packets as p

from .ftp_lines import text as address_text
from .kernel import Ends, Say
from .small_talk import mangle, number


def host(chance: random.Random, who: Ends, direction: int) -> bytes:
    own, other = (who.server, who.client) if direction else (who.client, who.server)
    third = b"\1\2\3\4" if len(own) == 4 else p.address("2001:db8::1")
    chosen = chance.choices([own, other, third], [20, 1, 1])[0]
    if chance.random() < 0.95:
        chance = random.Random(7)  # the plain way to write it
    return address_text(chosen, chance)


def uri(chance: random.Random, who: Ends, direction: int) -> bytes:
    where = host(chance, who, direction)
    if len(who.client) == 16 and chance.random() < 0.95:
        where = b"[" + where + b"]"
    elif chance.random() < 0.03:
        where = chance.choice([b"example.com", b"[1.2.3.4]", b"", b"1.2.3.4a"])
    user = chance.choices([b"alice@", b"", b"a@b@", b"alice;x=y@"], [10, 3, 1, 1])[0]
    port = chance.choices(
        [b":%d" % chance.choice([5060, 5061, 40000]), b"", b":" + number(chance, 1023), b":"], [10, 6, 1, 1]
    )[0]
    return chance.choices([b"sip:", b"SIP:", b"sips:", b"tel:"], [30, 1, 1, 1])[0] + user + where + port


def contact(chance: random.Random, who: Ends, direction: int) -> bytes:
    out = chance.choices([b"<%s>", b"%s", b'"Alice, A." <%s>'], [10, 4, 1])[0] % uri(chance, who, direction)
    if chance.random() < 0.3:
        out = out.removesuffix(b">") + b";transport=" + chance.choice([b"udp", b"UDP", b"tcp", b"tls"]) + b">"
    if chance.random() < 0.5:
        seconds = chance.choices(
            [b"3600", b"60", b"0", b"0x3c", b"010", b"", b"x", number(chance, 7)], [8, 4, 2, 1, 1, 1, 1, 1]
        )[0]
        out += chance.choice([b";expires=", b";EXPIRES=", b"; expires=", b";q=1;expires="]) + seconds
    return out


def header(chance: random.Random, name: bytes, value: bytes) -> bytes:
    short = {b"Contact": b"m", b"Content-Length": b"l", b"Via": b"v"}.get(name, name)
    name = chance.choices([name, name.lower(), short, name + b" ", name + b"\t"], [20, 1, 2, 1, 1])[0]
    gap = chance.choices([b": ", b":", b":  ", b":\t", b":\r\n ", b" ", b":\r\n\t "], [30, 2, 1, 1, 1, 1, 1])[0]
    return name + gap + value


def description(chance: random.Random, who: Ends, direction: int) -> bytes:
    network = b"IN IP4 " if len(who.client) == 4 else b"IN IP6 "
    if chance.random() < 0.04:
        network = chance.choice([b"IN IP4 ", b"IN IP6 ", b"in ip4 ", b"IN  IP4 "])

    def c() -> bytes:
        return b"c=" + network + host(chance, who, direction) + chance.choices([b"", b"/127", b" "], [20, 1, 1])[0]

    lines = [b"v=0", b"o=- 1 1 " + network + host(chance, who, direction), b"s=-"]
    if chance.random() < 0.85:
        lines.append(c())
    lines.append(b"t=0 0")
    for _ in range(chance.choices([0, 1, 2, 3, 4], [1, 10, 6, 2, 1])[0]):
        kind = chance.choices([b"audio", b"video", b"image", b"application", b"AUDIO", b"text"], [10, 5, 3, 1, 1, 1])[0]
        port = chance.choices(
            [b"%d" % chance.randrange(1024, 65536), b"0", b"1023", number(chance, 5004)], [20, 2, 1, 1]
        )[0]
        lines.append(b"m=" + kind + chance.choices([b" ", b"  ", b""], [40, 1, 1])[0] + port + b" RTP/AVP 0")
        if chance.random() < 0.2:
            lines.append(c())
        lines.append(b"a=sendrecv")
    end = chance.choices([b"\r\n", b"\n", b"\r", b"\r\n\r\n"], [20, 1, 1, 1])[0]
    return end.join(lines) + end


def message(
    chance: random.Random,
    who: Ends,
    direction: int,
    first: bytes,
    method: bytes,
    sequence: int,
    body: bytes,
    contacts: list[bytes],
    expires: int | None,
) -> bytes:
    lines = [first, header(chance, b"Via", b"SIP/2.0/UDP " + host(chance, who, direction) + b":5060;branch=z9hG4bK1")]
    lines += [b"From: <sip:alice@example.com>;tag=1", b"To: <sip:bob@example.com>"]
    digits = chance.choices([b"%d" % sequence, number(chance, sequence), b"", b"x"], [40, 2, 1, 1])[0]
    lines.append(header(chance, b"CSeq", digits + b" " + method))
    if contacts:
        if len(contacts) > 1 and chance.random() < 0.5:
            contacts = [chance.choice([b", ", b",", b",\r\n "]).join(contacts)]
        lines += [header(chance, b"Contact", one) for one in contacts]
    if expires is not None:
        lines.append(header(chance, b"Expires", b"%d" % expires))
    length = len(body) if chance.random() < 0.95 else chance.randrange(3000)
    if chance.random() < 0.95:
        lines.append(header(chance, b"Content-Length", b"%d" % length))
    if chance.random() < 0.1:
        rest = lines[1:]
        chance.shuffle(rest)
        lines[1:] = rest
    end = chance.choices([b"\r\n", b"\n"], [30, 1])[0]
    return end.join(lines) + end + end + body


def sip(chance: random.Random, who: Ends) -> list[Say]:
    """A few messages of one dialogue; the client speaks first."""
    # One that nothing comes of: were the first packet dropped there would be no connection to follow.
    talk = [Say(0, b"OPTIONS sip:bob@example.com SIP/2.0\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")]
    sequence = chance.randrange(1, 100)
    registering = chance.random() < 0.4
    for _ in range(chance.randrange(1, 5)):
        direction = int(chance.random() < 0.5)
        if chance.random() < 0.2:
            sequence += 1
        method = chance.choices(
            [b"INVITE", b"ACK", b"BYE", b"UPDATE", b"PRACK", b"REGISTER", b"OPTIONS"], [8, 2, 1, 2, 1, 2, 1]
        )[0]
        if registering:
            method = b"REGISTER"
            direction = 1 if len(talk) > 1 and talk[-1].direction == 0 and chance.random() < 0.8 else 0
        body = b"" if registering or chance.random() < 0.15 else description(chance, who, direction)
        contacts: list[bytes] = []
        if registering or chance.random() < 0.5:
            # The registrar repeats the phone's own contacts.
            contacts = [
                contact(chance, who, 0 if registering else direction)
                for _ in range(chance.choices([0, 1, 2, 3], [1, 10, 3, 1])[0])
            ]
        code = chance.choices(
            [b"200", b"100", b"180", b"183", b"404", b"486", b"0", b"x", b"2000"], [12, 1, 2, 3, 2, 2, 1, 1, 1]
        )[0]
        if direction and (registering or chance.random() < 0.8):
            first = b"SIP/2.0 " + code + b" OK"
        else:
            first = method + b" sip:bob@example.com SIP/2.0"
        expires = chance.choices([None, 3600, 0, 60], [5, 5, 1, 1])[0] if registering else None
        said = message(chance, who, direction, first, method, sequence, body, contacts, expires)
        if chance.random() < 0.1:
            said += message(chance, who, direction, first, method, sequence, body, contacts, expires)
        if chance.random() < 0.15:
            said = mangle(chance, said, b"\r\n \t:,;<>@sip0123456789mvcl=")
        if said:
            talk.append(Say(direction, said))
    return talk
