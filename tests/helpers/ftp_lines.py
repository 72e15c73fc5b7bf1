"""FTP control lines: valid ones, odd ones, mutated ones and cut ones."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.traffic import packets as p

from .kernel import Ends, Say


def comma(address: bytes) -> bytes:
    return b",".join(b"%d" % octet for octet in address[:4])


def text(address: bytes, chance: random.Random) -> bytes:
    """An address as text; an IPv6 address in one of the many ways to write it."""
    import ipaddress

    if len(address) == 4:
        return str(ipaddress.IPv4Address(address)).encode()
    six = ipaddress.IPv6Address(address)
    ways = [six.compressed, six.exploded, six.compressed.upper(), six.compressed.replace("::", ":0:0:0:0:0:0:")]
    ways += [six.compressed + "::", ":" + six.compressed, six.compressed.replace("::", ":::"), six.exploded + ":0"]
    ways += [
        "::",
        "::1",
        six.compressed.replace("::", "::0:"),
        "fd00:1::10.1.2.3",
        "::ffff:10.1.2.3",
        "fd00:1:2",
        "1::2::3",
    ]
    ways += [
        six.compressed + "%eth0",
        " " + six.compressed,
        six.compressed + " ",
        "[" + six.compressed + "]",
        "",
        "g::",
    ]
    ways += ["12345::", "::12345", "fd00:1:0:0:0:0:0.0.0.1", "0:0:0:0:0:0:0:0:0", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8"]
    ways += ["1:2:3:4:5:6:7:8::", "::1.2.3", "::1.2.3.4.5", "::256.1.1.1", "::1.2.3.4:5", "1.2.3.4", "::01.2.3.4"]
    return chance.choices(ways, [40, 20, 20, 20] + [1] * (len(ways) - 4))[0].encode()


def number(chance: random.Random, usual: int) -> bytes:
    odd = [
        0,
        1,
        255,
        256,
        257,
        300,
        511,
        512,
        1023,
        1024,
        32768,
        65535,
        65536,
        65537,
        99999,
        2**32 - 1,
        2**32,
        2**32 + 5,
        10**30,
    ]
    value = usual if chance.random() < 0.7 else chance.choice(odd)
    forms = [b"%d", b"%03d", b"%010d", b" %d", b"-%d", b"+%d", b"0x%x", b"%d "]
    return chance.choices(forms, [60, 4, 2, 1, 1, 1, 1, 1])[0] % value


def six(chance: random.Random, who: Ends, direction: int) -> bytes:
    address = chance.choices(
        [who.server if direction else who.client, who.client if direction else who.server, b"\1\2\3\4"], [8, 1, 1]
    )[0]
    parts = (
        [b"%d" % octet for octet in address[:4]] if chance.random() < 0.8 else [number(chance, o) for o in address[:4]]
    )
    parts += [number(chance, chance.randrange(256)), number(chance, chance.randrange(256))]
    if chance.random() < 0.05:
        parts.pop(chance.randrange(len(parts)))
    if chance.random() < 0.05:
        parts.insert(chance.randrange(len(parts)), chance.choice([b"", b"1"]))
    return chance.choices([b",", b".", b", "], [20, 1, 1])[0].join(parts)


def extended(chance: random.Random, who: Ends, direction: int, with_address: bool) -> bytes:
    delimiter = chance.choices(
        [b"|", b"!", b"~", b",", b".", b":", b"1", b" ", b"\x7f", b"\x80", b"\0", b"a"], [20, *[1] * 11]
    )[0]
    own = who.server if direction else who.client
    if with_address:
        kind = b"1" if len(own) == 4 else b"2"
        kind = chance.choices([kind, b"1", b"2", b"3", b"", b"01"], [20, 1, 1, 1, 1, 1])[0]
        other = who.client if direction else who.server
        address = text(chance.choices([own, other, b"\1\2\3\4", p.address("2001:db8::1")], [12, 1, 1, 1])[0], chance)
        if len(own) == 4 and chance.random() < 0.1:
            address = b".".join(number(chance, octet) for octet in own)
        parts = [b"", kind, address, number(chance, chance.randrange(65536)), b""]
    else:
        parts = [b"", b"", b"", number(chance, chance.randrange(65536)), b""]
        if chance.random() < 0.1:
            parts[chance.randrange(1, 3)] = text(own, chance)
    if chance.random() < 0.06:
        parts.pop(chance.randrange(len(parts)))
    return delimiter.join(parts)


Line = Callable[[random.Random, Ends, int], bytes]


def port(chance: random.Random, who: Ends, direction: int) -> bytes:
    gap = chance.choices([b" ", b"  ", b"", b"\t", b"x ", b"xyz "], [20, 2, 1, 1, 1, 1])[0]
    return b"PORT" + gap + six(chance, who, direction)


def eprt(chance: random.Random, who: Ends, direction: int) -> bytes:
    gap = chance.choices([b" ", b"  ", b"", b"\t", b"x "], [20, 2, 1, 1, 1])[0]
    return b"EPRT" + gap + extended(chance, who, direction, True)


def pasv(chance: random.Random, who: Ends, direction: int) -> bytes:
    words = [b"227 Entering Passive Mode (", b"227 =", b"227 ", b"227-", b"227", b"227 Mode 2 ", b"227  (", b"227 a(b("]
    return (
        chance.choices(words, [10, 2, 4, 1, 1, 1, 1, 1])[0]
        + six(chance, who, direction)
        + chance.choice([b")", b").", b"", b" "])
    )


def epsv(chance: random.Random, who: Ends, direction: int) -> bytes:
    words = [b"229 Entering Extended Passive Mode (", b"229 (", b"229 ", b"229(", b"229 ((", b"229-("]
    return (
        chance.choices(words, [10, 4, 1, 1, 1, 1])[0]
        + extended(chance, who, direction, False)
        + chance.choice([b")", b"", b").", b" )"])
    )


def other(chance: random.Random, who: Ends, direction: int) -> bytes:
    return chance.choice(
        [
            b"USER anonymous",
            b"PASV",
            b"EPSV",
            b"EPSV ALL",
            b"LIST",
            b"",
            b"P",
            b"PO",
            b"E",
            b"2",
            b"22",
            b"226 done",
            b"230-",
            b"PORTUGAL",
            b"EPRTX",
        ]
    )


LINES: tuple[Line, ...] = (port, eprt, pasv, epsv, other)


def line(chance: random.Random, who: Ends, direction: int) -> bytes:
    """One line, mostly of the kind that direction says, mostly ended as lines are."""
    weights = (2, 8, 8, 8, 2) if chance.random() < 0.1 else ((1, 1, 10, 10, 2) if direction else (10, 10, 1, 1, 2))
    made = chance.choices(LINES, weights)[0](chance, who, direction)
    made += chance.choices(
        [b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n", b"\r\nNOOP\r\n", b" \r\n"], [20, 2, 1, 1, 1, 1, 1]
    )[0]
    if chance.random() < 0.1:
        made = made.swapcase()
    if chance.random() < 0.15:
        made = made[: chance.randrange(len(made) + 1)]
    if chance.random() < 0.15 and made:
        mutable = bytearray(made)
        for _ in range(chance.randrange(1, 3)):
            mutable[chance.randrange(len(mutable))] = chance.choice([*b"0123456789,|.:() \r\n", chance.randrange(256)])
        made = bytes(mutable)
    return made


def conversation(chance: random.Random, who: Ends) -> list[Say]:
    """A few lines in each direction; the first ones end in a newline, so that what follows is looked at."""
    talk = [Say(1, b"220 ready\r\n"), Say(0, b"USER anonymous\r\n")]
    for _ in range(chance.randrange(1, 4)):
        direction = chance.randrange(2)
        said = line(chance, who, direction)
        if said:
            talk.append(Say(direction, said))
    return talk


def scattered(chance: random.Random, who: Ends) -> list[Say]:
    """Lines said again, late, early and cut in two, so that it shows which ends of line are remembered."""
    talk: list[Say] = []
    ahead, spots = [0, 0], [[0], [0]]  # the newest position of each direction, and positions where something began
    for _ in range(chance.randrange(3, 9)):
        direction = int(chance.random() < 0.3)
        if chance.random() < 0.4:
            said = chance.choice([b"NOOP\r\n", b"200 Yes\r\n", b"X" * chance.randrange(1, 40) + b"\n", b"no end"])
        else:
            said = (port, pasv)[direction](chance, who, direction) + chance.choice([b"\r\n", b"\r\n", b"\r"])
        at = ahead[direction]
        if chance.random() < 0.4:
            at = chance.choice(spots[direction]) + chance.choice([0, 0, 0, -1, 1])
        cut = chance.randrange(1, len(said)) if chance.random() < 0.2 else len(said)
        for start, part in ((at, said[:cut]), (at + cut, said[cut:])):
            if part:
                talk.append(Say(direction, part, start))
                spots[direction] += [start, start + len(part)]
                ahead[direction] = max(ahead[direction], start + len(part))
    return talk
