"""PPTP control messages (RFC 2637): calls set up, mistaken, repeated and torn down."""

from __future__ import annotations

import random
import struct

from .kernel import Ends, Say
from .small_talk import mangle

LENGTHS = (0, 156, 156, 16, 16, 16, 20, 168, 32, 220, 24, 28, 16, 148, 40, 24)


def message(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A control message of type `kind`, its body filled up with zeros."""
    size = LENGTHS[kind] if length is None else length
    return (struct.pack(">HHIHH", size, 1, 0x1A2B3C4D, kind, 0) + body).ljust(size, b"\0")[:size]


def start_request() -> Say:
    return Say(0, message(1, struct.pack(">HHII", 0x100, 0, 3, 3)))


def start_reply(result: int = 1) -> Say:
    return Say(1, message(2, struct.pack(">HBBII", 0x100, result, 0, 3, 3)))


def out_request(call: int) -> Say:
    return Say(0, message(7, struct.pack(">HH", call, 1)))


def out_reply(call: int, peer: int, result: int = 1) -> Say:
    return Say(1, message(8, struct.pack(">HHBBH", call, peer, result, 0, 0)))


def in_request(call: int) -> Say:
    return Say(1, message(9, struct.pack(">HH", call, 1)))


def in_reply(call: int, peer: int, result: int = 1) -> Say:
    return Say(0, message(10, struct.pack(">HHBB", call, peer, result, 0)))


def in_connected(peer: int) -> Say:
    return Say(1, message(11, struct.pack(">HH", peer, 0)))


def disconnected(call: int) -> Say:
    return Say(1, message(13, struct.pack(">HBB", call, 1, 0)))


def stop(direction: int, code: int = 1) -> Say:
    return Say(direction, message(4 if direction else 3, bytes([code])))


def clear(call: int) -> Say:
    return Say(0, message(12, struct.pack(">H", call)))


def pptp(chance: random.Random, who: Ends) -> list[Say]:
    """A session with calls whose numbers mostly agree and whose messages mostly come in order."""
    calls = [chance.randrange(65536) for _ in range(2)]

    def pick(usual: int) -> int:
        return usual if chance.random() < 0.93 else chance.choice([*calls, 0, chance.randrange(65536)])

    talk = [start_request(), start_reply(1 if chance.random() < 0.9 else chance.randrange(4))]
    for _ in range(chance.randrange(1, 4)):
        pns, pac = pick(calls[0]), pick(calls[1])
        good = 1 if chance.random() < 0.9 else chance.randrange(4)
        if chance.random() < 0.5:
            talk += [out_request(pns), out_reply(pac, pick(pns), good)]
        else:
            talk += [in_request(pac), in_reply(pns, pick(pac), good), in_connected(pick(pns))]
        if chance.random() < 0.3:
            talk.append(
                chance.choice(
                    [
                        disconnected(pac),
                        disconnected(0),
                        stop(0),
                        stop(1),
                        clear(pns),
                        Say(0, message(5, b"")),
                        Say(1, message(15, b"")),
                    ]
                )
            )
        if chance.random() < 0.3:
            calls = [chance.randrange(65536) for _ in range(2)]
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        at = chance.randrange(len(talk))
        change = chance.randrange(4)
        if change == 0:
            del talk[at]
        elif change == 1:
            talk.insert(at, talk[chance.randrange(len(talk))])
        elif change == 2:
            talk.insert(at, talk.pop(chance.randrange(len(talk))))
        else:
            talk[at] = Say(1 - talk[at].direction, talk[at].payload)
        if not talk:
            talk.append(start_request())
    return [
        say
        for say in (Say(s.direction, mangle(chance, s.payload)) if chance.random() < 0.08 else s for s in talk)
        if say.payload
    ]
