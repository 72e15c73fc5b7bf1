"""What an attacker says to a helper: other addresses, privileged ports, cut commands, wrong lengths, broken ASN.1."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random

from tests.traffic import packets as p

from . import h323_talk, pptp_talk
from .kernel import Ends, Say

PORTS = (0, 1, 20, 21, 22, 23, 25, 53, 80, 443, 1023, 1024, 5060, 65535, 65536, 65558, 2**32 + 22)
"""None, privileged ones, the first that is not, the last, and such as wrap to privileged ones at 16 or 32 bits."""

Talk = list[Say]


def addresses(who: Ends) -> list[bytes]:
    """The speaker's own, the other end's (a bounce), a third party's, and such as belong to nobody or everybody."""
    if len(who.client) == 4:
        others = ("1.2.3.4", "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1")
    else:
        others = ("2001:db8::1", "::", "ff02::1", "::1", "::ffff:10.1.0.1")
    return [who.client, who.server, *map(p.address, others)]


def text(address: bytes) -> bytes:
    """An address as it is written."""
    if len(address) == 4:
        return b"%d.%d.%d.%d" % tuple(address)
    return b":".join(b"%x" % (address[at] << 8 | address[at + 1]) for at in range(0, 16, 2))


def six(address: bytes, port: int) -> bytes:
    return b",".join(b"%d" % number for number in (*address[:4], port >> 8, port & 255))


# --- how each helper's protocol announces an address and a port ------------------------------------------------------

GREETING = [Say(1, b"220 ready\r\n"), Say(0, b"USER a\r\n")]


def ftp(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    kind = 1 if len(address) == 4 else 2
    yield [*GREETING, Say(0, b"PORT " + six(address, port) + b"\r\n")]
    yield [*GREETING, Say(0, b"EPRT |%d|%b|%d|\r\n" % (kind, text(address), port))]
    yield [*GREETING, Say(1, b"227 Entering Passive Mode (" + six(address, port) + b").\r\n")]
    yield [*GREETING, Say(1, b"229 Entering Extended Passive Mode (|||%d|)\r\n" % port)]


def irc(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    for command in (b"SEND file", b"CHAT chat"):
        offer = b"PRIVMSG bob :\1DCC %b %d %d 1000\1\r\n" % (command, int.from_bytes(address, "big"), port)
        yield [Say(0, offer)]
        yield [Say(1, offer)]


def amanda(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    reply = b"Amanda 2.5 REP HANDLE 0-0 SEQ 1\nCONNECT DATA %d MESG %d INDEX %d\n" % (port, port + 1, port + 2)
    for direction in (0, 1):
        yield [Say(0, b"Amanda 2.5 REQ HANDLE 0-0 SEQ 1\n"), Say(direction, reply)]


def sane(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    asked = Say(0, struct.pack(">II", 7, 1))
    yield [asked, Say(1, struct.pack(">III", 0, port & 0xFFFF_FFFF, 0x1234))]
    yield [asked, Say(1, struct.pack(">II", 0, port & 0xFFFF_FFFF))]


def tftp(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    """What it announces is the speaker's own port."""
    who.client_port = port & 0xFFFF or 1
    for code in (b"\0\1", b"\0\2"):
        yield [Say(0, code + b"file\0octet\0")]


def sip_message(first: bytes, method: bytes, more: bytes, body: bytes, length: bytes | None = None) -> bytes:
    head = first + b"\r\nVia: SIP/2.0/UDP 10.0.0.1\r\nFrom: <sip:a@b.example>\r\nCSeq: 7 " + method + b"\r\n" + more
    return head + b"Content-Length: " + (b"%d" % len(body) if length is None else length) + b"\r\n\r\n" + body


OPTIONS = Say(0, sip_message(b"OPTIONS sip:b@b.example SIP/2.0", b"OPTIONS", b"", b""))
INVITE = b"INVITE sip:b@b.example SIP/2.0"


def sdp(address: bytes, port: int, lines: int = 1) -> bytes:
    network = b"IN IP4 " if len(address) == 4 else b"IN IP6 "
    media = b"".join(b"m=audio %d RTP/AVP 0\r\n" % (port + 2 * line) for line in range(lines))
    return (
        b"v=0\r\no=- 1 1 %b%b\r\ns=-\r\nc=%b%b\r\nt=0 0\r\n" % (network, text(address), network, text(address)) + media
    )


def sip(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    yield [OPTIONS, Say(0, sip_message(INVITE, b"INVITE", b"", sdp(address, port)))]
    yield [OPTIONS, Say(1, sip_message(b"SIP/2.0 200 OK", b"INVITE", b"", sdp(address, port)))]
    host = text(address) if len(address) == 4 else b"[" + text(address) + b"]"
    contact = b"Contact: <sip:a@%b:%d>;expires=60\r\n" % (host, port)
    yield [
        OPTIONS,
        Say(0, sip_message(b"REGISTER sip:b.example SIP/2.0", b"REGISTER", contact, b"")),
        Say(1, sip_message(b"SIP/2.0 200 OK", b"REGISTER", contact, b"")),
    ]


def pptp(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    """What it announces are call numbers."""
    call, peer = port & 0xFFFF, (port + 1) & 0xFFFF
    started = [pptp_talk.start_request(), pptp_talk.start_reply()]
    yield [*started, pptp_talk.out_request(call), pptp_talk.out_reply(peer, call)]
    yield [*started, pptp_talk.in_request(peer), pptp_talk.in_reply(call, peer), pptp_talk.in_connected(call)]
    yield [*started, pptp_talk.out_reply(peer, call)]


def h225(address: bytes, port: int) -> tuple[str, dict[str, object]]:
    return ("ipAddress" if len(address) == 4 else "ip6Address", {"ip": address, "port": port & 0xFFFF})


def ras_messages(address: bytes, port: int) -> Iterator[tuple[int, tuple[str, dict[str, object]]]]:
    at, identifier = h225(address, port), h323_talk.OID
    vendor = {"vendor": {"country": 9, "extension": 0, "maker": 18}}
    yield 1, ("gatekeeperConfirm", {"requestSeqNum": 1, "protocolIdentifier": identifier, "rasAddress": at})
    registering = {
        "requestSeqNum": 2, "protocolIdentifier": identifier, "discoveryComplete": True, "skip6": True,
        "callSignalAddress": [at], "rasAddress": [at], "terminalType": {"mc": False, "undefinedNode": False},
        "endpointVendor": vendor,
    }  # fmt: skip
    yield 0, ("registrationRequest", registering)
    admitted = {"requestSeqNum": 3, "bandWidth": 100, "callModel": ("direct", None), "destCallSignalAddress": at}
    yield 1, ("admissionConfirm", admitted)
    yield 1, ("locationConfirm", {"requestSeqNum": 4, "callSignalAddress": at, "rasAddress": at})


def ras(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    for direction, message in ras_messages(address, port):
        said = Say(direction, bytes(h323_talk.schemas()[0].encode("RasMessage", message)))
        yield [said] if direction == 0 else [Say(0, b"\x0e"), said]


def call(address: bytes, port: int) -> Iterator[bytes]:
    """Q.931 messages with an H.245 address, with fast start, and with a call forwarded."""
    h225_schema, h245_schema = h323_talk.schemas()
    kind = "iPAddress" if len(address) == 4 else "iP6Address"
    unicast = ("unicastAddress", (kind, {"network": address, "tsapIdentifier": port & 0xFFFF}))
    channel = {
        "forwardLogicalChannelNumber": 1,
        "forward": {
            "dataType": ("nullData", None),
            "multiplex": ("h2250", {"sessionID": 1, "mediaChannel": unicast, "mediaControlChannel": unicast}),
        },
    }
    start = bytes(h245_schema.encode("Open", channel))
    common = {"protocolIdentifier": h323_talk.OID}
    destination = {"destinationInfo": {"mc": False, "undefinedNode": False}}
    for body in (
        ("alerting", common | destination | {"h245Address": h225(address, port)}),
        ("alerting", common | destination | {"fastStart": [start] * 3}),
        ("facility", common | {"reason": ("callForwarded", None), "alternativeAddress": h225(address, port)}),
    ):
        tunnelled = [bytes(h245_schema.encode("ControlMessage", ("request", ("openLogicalChannel", channel))))]
        inside = h225_schema.encode("UserInformation", {"pdu": {"body": body, "skip2": True, "h245Control": tunnelled}})
        yield q931(b"\5" + bytes(inside))


def q931(user_user: bytes) -> bytes:
    return b"\x08\x02\x12\x34\x01\x7e" + len(user_user).to_bytes(2, "big") + user_user


def calls(who: Ends, address: bytes, port: int) -> Iterator[Talk]:
    for message in call(address, port):
        yield [Say(0, h323_talk.tpkt(message))]


Announce = Callable[[Ends, bytes, int], Iterator[Talk]]
ANNOUNCING: dict[str, Announce] = {
    "ftp": ftp,
    "tftp": tftp,
    "irc": irc,
    "amanda": amanda,
    "sane": sane,
    "sip": sip,
    "pptp": pptp,
    "RAS": ras,
    "Q.931": calls,
}


# --- what is said ----------------------------------------------------------------------------------------------------

Fresh = Callable[[], Ends]
"""Ends that no other conversation has."""

Said = Iterator[tuple[Ends, Talk]]


def forms(name: str, who: Ends) -> int:
    return sum(1 for _ in ANNOUNCING[name](who, who.client, 5004))


def form(name: str, who: Ends, number: int, address: bytes, port: int) -> Talk:
    return list(ANNOUNCING[name](who, address, port))[number]


REPEATED = {("sip", 2)}
"""Forms in which the server repeats at last what the client announced."""


def right(name: str, who: Ends, number: int, port: int = 5004) -> Talk:
    """What announces the speaker's own address."""
    talk = form(name, who, number, who.client, port)
    theirs = talk[-1].direction == 1 and (name, number) not in REPEATED
    return form(name, who, number, who.server, port) if theirs else talk


def strangers(name: str, fresh: Fresh) -> Said:
    """Every address with every port."""
    for which in range(len(addresses(fresh()))):
        for port in PORTS:
            for number in range(forms(name, fresh())):
                who = fresh()
                yield who, form(name, who, number, addresses(who)[which], port)


def cut(name: str, fresh: Fresh, step: int = 1) -> Said:
    """What announces something right, cut at every byte: the rest is never said, or in the next packet."""
    for number in range(forms(name, fresh())):
        for at in range(1, len(right(name, fresh(), number)[-1].payload), step):
            for rest in (False, True):
                who = fresh()
                *before, last = right(name, who, number)
                parts = [last.payload[:at], last.payload[at:] if rest else b""]
                yield who, [*before, *(Say(last.direction, part) for part in parts if part)]


def crowded(name: str, fresh: Fresh) -> Said:
    """One connection that announces forty times, each time another port."""
    for number in range(forms(name, fresh())):
        who = fresh()
        yield who, [say for turn in range(40) for say in right(name, who, number, 5004 + 4 * turn)]


def sip_lengths(name: str, fresh: Fresh) -> Said:
    """Content-Length that says less or more than there is, nothing, or what is no number; several messages at once."""
    for length in (
        *("0", "-1", "+1", "", "x", "0x10", "1", "100", "1000", "65535", "2147483647", "2147483648", "4294967295"),
        *("4294967296", "99999999999", "100000000000", "9" * 60, " 7", "\r\n 7", "7 7", "7;7"),
        *(-1, 1, 2, 2**32),
    ):
        for order in range(4):
            who = fresh()
            body = sdp(who.client, 5004)
            said = (length if isinstance(length, str) else str(len(body) + length)).encode()
            odd, whole = (sip_message(INVITE, b"INVITE", b"", body, each) for each in (said, None))
            messages = (odd, odd + whole, whole + odd, odd.replace(b"Content-Length", b"l"))
            yield who, [OPTIONS, Say(0, messages[order])]
    for order in range(4):
        who = fresh()
        body = sdp(who.client, 5004)
        whole = sip_message(INVITE, b"INVITE", b"", body)
        without = whole.replace(b"Content-Length", b"X")
        twice = sip_message(INVITE, b"INVITE", b"Content-Length: 0\r\n", body)
        yield who, [OPTIONS, Say(0, (without, whole + without, whole * 3, twice)[order])]


FILLS = (b"\x00", b"\xff", b"\x80", b"\x7f", b"\x55", b"\xc0", b"\x40", b"\x01")


def bombs(name: str, fresh: Fresh) -> Said:
    """ASN.1: any first octet, then lengths, counts and choices as large, as small and as nested as octets can say."""
    for size in (1, 7, 40, 400, 1200):
        for first in range(0, 256, 3):
            yield fresh(), bomb(name, bytes([first]) + FILLS[(first + size) % len(FILLS)] * size)
    for chance in map(Random, range(300)):
        some = (0, 1, 0x7F, 0x80, 0xBF, 0xC0, 0xC4, 0xFF, *chance.randbytes(4))
        yield fresh(), bomb(name, bytes(chance.choice(some) for _ in range(chance.randrange(2, 300))))


def bomb(name: str, octets: bytes) -> Talk:
    return [Say(0, octets if name == "RAS" else h323_talk.tpkt(q931(b"\5" + octets)))]
