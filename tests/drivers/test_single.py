"""One packet at a time: which datagram a fragment is told to be of."""

from __future__ import annotations

import numpy as np
from tests.traffic import packets as p

import fastfw
from fastfw.drivers.single import judge

A, B = p.address("10.1.0.1"), p.address("10.2.0.1")
A6, B6 = p.address("fd00:1::1"), p.address("fd00:2::1")
WORD = 1 << 64


def datagram(engine: fastfw.Engine, fragment: bytes, hook: str = "FORWARD") -> int:
    """The number of the datagram that a fragment is held for."""
    number = {"FORWARD": 0, "INPUT": 1, "OUTPUT": 2}[hook]
    return judge(engine, fragment, len(fragment), number, "", "", 0, 1, b"")[2]


def pieces(source: bytes, target: bytes, number: int) -> list[bytes]:
    """A datagram in three fragments."""
    return p.fragments(p.udp_packet(source, target, 7, 8, bytes(3000)), 1200, number)


def test_the_pieces_of_a_datagram_have_one_number() -> None:
    """All of them, the last included; a packet that is no fragment has none."""
    engine = fastfw.Engine()
    for source, target in ((A, B), (A6, B6)):
        numbers = {datagram(engine, piece) for piece in pieces(source, target, 9)}
        assert len(numbers) == 1
        assert 0 not in numbers
    assert datagram(engine, p.udp_packet(A, B, 7, 8)) == 0


def test_other_datagrams_have_other_numbers(seed: int) -> None:
    """By address, identification, protocol and the side they come from; and another engine has other numbers."""
    engine = fastfw.Engine()
    rng = np.random.default_rng(seed)
    seen = set()
    for number in range(1000):
        source, target = rng.bytes(4), B
        seen.add(datagram(engine, pieces(b"\x0b" + source[1:], target, number)[0]))
    assert len(seen) == 1000
    one = pieces(A6, B6, 9)[0]
    assert datagram(engine, one) != datagram(engine, one, "OUTPUT")
    assert datagram(engine, one) != datagram(fastfw.Engine(), one)


def test_nobody_outside_can_choose_two_of_one_number() -> None:
    """A hash without a secret lets a sender solve for a second source and identification with the number of a first:
    what is dropped would then go on with what passes. For these two a multiplicative one says the same."""

    def unkeyed(source: bytes, number: int) -> int:
        words = [int.from_bytes(part, "little") for part in (source[:8], source[8:], B6[:8], B6[8:])]
        mixed = words[0] ^ words[1] * 3 % WORD ^ words[2] * 5 % WORD ^ words[3] * 7 % WORD
        tail = int.from_bytes(number.to_bytes(4, "big"), "little")
        return (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15 % WORD ^ tail * 0xBF58476D1CE4E5B9 % WORD ^ 1

    def solved(number: int) -> bytes:
        """The source of the same network that makes `number` say what A6 and 9 say."""
        tail = int.from_bytes(number.to_bytes(4, "big"), "little") * 0xBF58476D1CE4E5B9 % WORD
        shifted = (unkeyed(A6, 9) ^ 1 ^ tail) * pow(0x9E3779B97F4A7C15, -1, WORD) % WORD
        mixed = shifted ^ shifted >> 29 ^ shifted >> 58
        target = [int.from_bytes(part, "little") for part in (B6[:8], B6[8:])]
        rest = mixed ^ int.from_bytes(A6[:8], "little") ^ target[0] * 5 % WORD ^ target[1] * 7 % WORD
        return A6[:8] + (rest * pow(3, -1, WORD) % WORD).to_bytes(8, "little")

    other = solved(10)
    assert other != A6
    assert unkeyed(other, 10) == unkeyed(A6, 9)
    engine = fastfw.Engine()
    assert datagram(engine, pieces(A6, B6, 9)[0]) != datagram(engine, pieces(other, B6, 10)[0])
