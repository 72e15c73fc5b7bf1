"""What is said over TFTP, IRC, Amanda and SANE: right, odd, mutated and cut."""

from __future__ import annotations

import random

from .kernel import Ends, Say


def mangle(chance: random.Random, said: bytes, alphabet: bytes = b"0123456789 \r\n\0:") -> bytes:
    """Mostly as it is; sometimes cut, sometimes with a byte or two changed, put in or taken out."""
    if chance.random() < 0.15:
        said = said[: chance.randrange(len(said) + 1)]
    if chance.random() < 0.25 and said:
        mutable = bytearray(said)
        for _ in range(chance.randrange(1, 4)):
            at, byte = chance.randrange(len(mutable)), chance.choice([*alphabet, chance.randrange(256)])
            change = chance.randrange(3)
            if change == 0:
                mutable[at] = byte
            elif change == 1:
                mutable.insert(at, byte)
            elif len(mutable) > 1:
                del mutable[at]
        said = bytes(mutable)
    return said


def number(chance: random.Random, usual: int) -> bytes:
    odd = [0, 1, 80, 65535, 65536, 65537, 99999, 100000, 2**32 - 1, 2**32, 2**32 + 7, 2**64 - 1, 2**64, 10**25]
    value = usual if chance.random() < 0.8 else chance.choice(odd)
    return (
        chance.choices([b"%d", b"%05d", b"%010d", b" %d", b"-%d", b"+%d", b"0x%x"], [30, 2, 2, 1, 1, 1, 1])[0] % value
    )


def tftp(chance: random.Random, who: Ends) -> list[Say]:
    """Requests and other datagrams in either direction."""
    said = []
    for _ in range(chance.randrange(1, 4)):
        kind = chance.choice([1, 1, 1, 2, 2, 3, 4, 5, 6, 0, 256, 257, 512])
        body = kind.to_bytes(2, "big") + chance.choice([b"file\0octet\0", b"", b"\0\1" + bytes(12)])
        said.append(Say(int(bool(said) and chance.random() < 0.3), mangle(chance, body)))
    return said


def irc(chance: random.Random, who: Ends) -> list[Say]:
    """Offers and chatter, from the client and from the server."""
    talk = []
    for _ in range(chance.randrange(1, 5)):
        direction = int(chance.random() < 0.15)
        own = int.from_bytes(who.client, "big")
        address = number(chance, chance.choices([own, int.from_bytes(who.server, "big"), own + 2**32], [10, 1, 1])[0])
        word = chance.choices(
            [b"SEND", b"CHAT", b"MOVE", b"TSEND", b"SCHAT", b"send", b"RESUME", b"SENT"], [8, 3, 2, 2, 2, 1, 1, 1]
        )[0]
        name = chance.choice([b"chat", b"a", b"", b"a_long_name.tar.gz", b'"two words"'])
        gap = chance.choices([b" ", b"  ", b"", b"\t"], [20, 2, 1, 1])[0]
        offer = b"\1DCC " + word + b" " + name + b" " + address + gap + number(chance, chance.randrange(1, 65536))
        offer += chance.choice([b" 1234", b"", b" 1"]) + chance.choice([b"\1", b""])
        before = chance.choices(
            [
                b"PRIVMSG bob :",
                b"privmsg #room :",
                b"NOTICE bob :",
                b":me!u@h PRIVMSG bob :",
                b"PRIVMSG bob :hello ",
                b"",
                b"PRIVMSG  :",
                b"PRIVMSG a :hi\r\nPRIVMSG b :",
            ],
            [16, 2, 1, 1, 1, 1, 1, 1],
        )[0]
        line = (
            chance.choices([b"", b" ", b"\r\n", b"  \r\n "], [16, 1, 1, 1])[0]
            + before
            + offer
            + chance.choice([b"\r\n", b"\n", b""])
        )
        if chance.random() < 0.1:
            line = chance.choice([b"PING :x\r\n", b"PRIVMSG bob :hello\r\n", b"NICK alice\r\n"])
        if chance.random() < 0.02:
            line = b"PRIVMSG " + b"x" * chance.randrange(3980, 4120) + line[7:]
        if chance.random() < 0.1:
            line = (
                b"PRIVMSG b :\1DCC SEND " + name[:1] + b" %d " % own + str(10 ** chance.randrange(5)).encode() + b"\n"
            )
        if chance.random() < 0.15:
            other = b" %s 1.2 %d %d" % (chance.choice([b"", b"x"]), own, chance.randrange(1, 65536))
            words = [b" :\1DCC RESUME", b" :\1DCC SEND", b" :\1DCC SEND SEND", b" :\1DCC SEND CHAT", b"x :\1DCC CHAT x"]
            again = b"".join(chance.choice(words) + chance.choice([other, b"", b" x 1 1"]) for _ in range(3))
            line = b"PRIVMSG bob" + again + chance.choice([b"", line[11:]]) + b"\r\n" + chance.choice([b"", b" " * 20])
        line = mangle(chance, line, b" :\1\r\n0123456789")
        if line:
            talk.append(Say(direction, line))
    return talk


def amanda(chance: random.Random, who: Ends) -> list[Say]:
    """A request, then replies with CONNECT lines."""
    talk = [Say(0, b"Amanda 2.5 REQ HANDLE 000-0 SEQ 1\nSERVICE sendbackup\n")]
    for _ in range(chance.randrange(1, 3)):
        ports = [number(chance, chance.randrange(1, 65536)) for _ in range(5)]
        names = [b"DATA", b"MESG", b"INDEX", b"STATE"]
        if chance.random() < 0.3:
            chance.shuffle(names)
            names = names[: chance.randrange(5)] + chance.choice([[], [b"DATA"], [b"OTHER"]])
        gap = chance.choices([b" ", b"  ", b""], [20, 1, 1])[0]
        line = b"CONNECT " + b" ".join(name + gap + port for name, port in zip(names, ports, strict=False))
        text = (
            b"Amanda 2.5 REP HANDLE 000-0 SEQ 1\n"
            + line
            + chance.choice([b"\n", b"\nOPTIONS features=1;\n", b"", b" \n"])
        )
        if chance.random() < 0.1:
            text = text.replace(b"CONNECT", chance.choice([b"connect", b"CONNECT\nCONNECT", b"DATA 5 CONNECT"]))
        talk.append(Say(int(chance.random() < 0.85), mangle(chance, text, b"0123456789 \nDATAMESGINDEX")))
    return talk


def sane(chance: random.Random, who: Ends) -> list[Say]:
    """Requests of several kinds and replies, some cut, some doubled."""
    talk = []
    for _ in range(chance.randrange(2, 7)):
        if chance.random() < 0.5:
            code = chance.choices([7, 0, 1, 6, 8, 0x07000000], [12, 1, 1, 1, 1, 1])[0]
            talk.append(Say(0, mangle(chance, code.to_bytes(4, "big") + chance.randbytes(4), b"\0\1\7")))
        else:
            status = chance.choices([0, 1, 7], [10, 1, 1])[0].to_bytes(4, "big")
            port = chance.choices([chance.randrange(65536), chance.randrange(2**32), 0], [10, 1, 1])[0].to_bytes(
                4, "big"
            )
            talk.append(Say(1, mangle(chance, status + port + b"\0\0\x12\x34\0\0\0\0", b"\0\1\7")))
    return [say for say in talk if say.payload]
