"""u32 and BPF, operation by operation, on one packet whose bytes are known."""

from __future__ import annotations

import numpy as np
import pytest
from tests.traffic import packets as p

import fastfw

PACKET = p.udp_packet(p.address("10.1.0.1"), p.address("10.2.0.1"), 0x1234, 80, b"abcd")
"""Its source is 0x0a010001 at 12, its ports 0x12340050 at 20, its length 32."""
NEVER = 0xFFFF_FFFF


def accepts(match: str, packet: bytes = PACKET) -> bool:
    """Whether a rule with this match meets the packet."""
    text = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD {match} -j ACCEPT\nCOMMIT\n"
    return fastfw.Engine(fastfw.Ruleset.parse(text)).decide(packet, now=10**9).verdict == "ACCEPT"


@pytest.mark.parametrize(
    ("test", "meets"),
    [
        ("12=0x0a010001", True),
        ("12&0xffff=1", True),
        ("12<<8=0x01000100", True),
        ("12>>24=10", True),
        ("12>>24=11:255,9:10", True),
        ("0>>22&0x3c@0>>16=0x1234", True),
        ("0>>22&0x3c@0>>16=0x1235", False),
        ("12=0x0a010001&&16=0x0a020001", True),
        ("12=0x0a010001&&16=0x0a020002", False),
        # beyond the packet: at once, behind what was read, and where the sum of places does not fit
        ("30=0:0xffffffff", False),
        ("12@0=0:0xffffffff", False),
        ("0>>22&0x3c@12=0:0xffffffff", False),
        ("0>>22&0x3c@0@0=0:0xffffffff", False),
        ("0>>26@4@0=0:0xffffffff", False),
    ],
)
def test_u32(test: str, meets: bool) -> None:
    """A word at a place, masked, moved and followed by others, lies within ranges; what lies beyond the packet is not
    met."""
    assert accepts(f'-m u32 --u32 "{test}"') is meets


def test_u32_places_do_not_come_round() -> None:
    """A place that is reached from what was read, and does not fit 32 bits, is beyond the packet."""
    packet = p.udp_packet(p.address("10.1.0.1"), p.address("10.2.0.1"), 0x1234, 80, b"\xff\xff\xff\xff")
    assert accepts('-m u32 --u32 "0>>22&0x3c@8=0xffffffff"', packet)
    assert not accepts('-m u32 --u32 "0>>22&0x3c@8@0=0:0xffffffff"', packet)


def test_u32_of_a_capture_that_was_cut() -> None:
    """What the packet had and its capture has not is not met, at once and behind what was read."""
    text = '*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m u32 --u32 "%s" -j ACCEPT\nCOMMIT\n'
    for test in ("28=0:0xffffffff", "0>>22&0x3c@8=0:0xffffffff"):
        for have, verdict in ((32, 1), (31, 2)):
            engine = fastfw.Engine(fastfw.Ruleset.parse(text % test), settings={"nf_conntrack_checksum": 0})
            out = engine.process(PACKET[:have], [0], [have], [1], wire_length=np.array([32], np.uint32))
            assert out["verdict"].tolist() == [verdict]


def bpf(*steps: tuple[int, int, int, int]) -> str:
    return f'-m bpf --bytecode "{len(steps)},{",".join(" ".join(map(str, step)) for step in steps)}"'


YES, NO = (0x06, 0, 0, 1), (0x06, 0, 0, 0)
LOAD, LOAD_X, EQUAL = 0x00, 0x01, 0x15

ARITHMETIC = {
    "add": (0x04, NEVER, 3, 2),
    "sub": (0x14, 1, 3, NEVER - 1),
    "mul": (0x24, 0x10001, 0x10001, 0x20001),
    "div": (0x34, 17, 5, 3),
    "or": (0x44, 0xF0, 0x0C, 0xFC),
    "and": (0x54, 0xFC, 0x3F, 0x3C),
    "left": (0x64, 3, 4, 48),
    "right": (0x74, NEVER, 28, 15),
    "mod": (0x94, 17, 5, 2),
    "xor": (0xA4, 0xFF, 0x0F, 0xF0),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str) -> None:
    """Each operation of 32 bits, with a number and with X, has its result and no other."""
    code, a, b, want = ARITHMETIC[name]
    for steps in (((code, 0, 0, b),), ((LOAD_X, 0, 0, b), (code | 8, 0, 0, 0))):
        for value, met in ((want, True), (want ^ 1, False)):
            assert accepts(bpf((LOAD, 0, 0, a), *steps, (EQUAL, 0, 1, value), YES, NO)) is met


def test_negation() -> None:
    """A number becomes what makes it 0 together with it."""
    assert accepts(bpf((LOAD, 0, 0, 5), (0x84, 0, 0, 0), (EQUAL, 0, 1, NEVER - 4), YES, NO))


def test_division_by_x_that_is_0() -> None:
    """A program that divides by an X of 0 ends there, and the packet is not met."""
    for code in (0x3C, 0x9C):
        assert not accepts(bpf((LOAD, 0, 0, 5), (LOAD_X, 0, 0, 0), (code, 0, 0, 0), YES))


@pytest.mark.parametrize(
    ("code", "a", "b", "jumps"),
    [
        (0x15, 5, 5, True), (0x15, 5, 6, False), (0x25, 6, 5, True), (0x25, 5, 5, False),
        (0x35, 5, 5, True), (0x35, 4, 5, False), (0x45, 6, 2, True), (0x45, 6, 9, False),
    ],
)  # fmt: skip
def test_jumps(code: int, a: int, b: int, jumps: bool) -> None:
    """Equal, greater, greater or equal, and a bit in common, of a number and of X."""
    assert accepts(bpf((LOAD, 0, 0, a), (code, 0, 1, b), YES, NO)) is jumps
    assert accepts(bpf((LOAD, 0, 0, a), (LOAD_X, 0, 0, b), (code | 8, 0, 1, 0), YES, NO)) is jumps


def test_jump_always() -> None:
    """A jump without a condition passes over so many steps."""
    assert accepts(bpf((0x05, 0, 0, 1), NO, YES))


def test_cells() -> None:
    """What is put into a cell from A or X is got back into either; A and X change places."""
    assert accepts(bpf((LOAD, 0, 0, 7), (0x02, 0, 0, 3), (LOAD, 0, 0, 0), (0x60, 0, 0, 3), (EQUAL, 0, 1, 7), YES, NO))
    assert accepts(bpf((LOAD_X, 0, 0, 9), (0x03, 0, 0, 15), (0x60, 0, 0, 15), (EQUAL, 0, 1, 9), YES, NO))
    assert accepts(bpf((LOAD, 0, 0, 8), (0x02, 0, 0, 0), (0x61, 0, 0, 0), (0x87, 0, 0, 0), (EQUAL, 0, 1, 8), YES, NO))
    assert accepts(bpf((LOAD, 0, 0, 8), (0x07, 0, 0, 0), (LOAD, 0, 0, 0), (0x87, 0, 0, 0), (EQUAL, 0, 1, 8), YES, NO))


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (((0x20, 0, 0, 12),), 0x0A010001),
        (((0x28, 0, 0, 20),), 0x1234),
        (((0x30, 0, 0, 9),), 17),
        (((0x80, 0, 0, 0),), 32),
        (((0x81, 0, 0, 0), (0x87, 0, 0, 0)), 32),
        (((0xB1, 0, 0, 0), (0x48, 0, 0, 2)), 80),
        (((0x20, 0, 0, 0xFFF0000C),), 0x0A010001),
        # the kernel's own words: its protocol, the packet's type and mark
        (((0x28, 0, 0, 0xFFFFF000),), 0x0800),
        (((0x28, 0, 0, 0xFFFFF004),), 0),
        (((0x20, 0, 0, 0xFFFFF014),), 0),
    ],
)
def test_loads(steps: tuple[tuple[int, int, int, int], ...], value: int) -> None:
    """Words, halves and bytes of the packet, its length, what its header leads to, and what the kernel adds."""
    assert accepts(bpf(*steps, (EQUAL, 0, 1, value), YES, NO))


@pytest.mark.parametrize("step", [(0x20, 0, 0, 29), (0x28, 0, 0, 31), (0x30, 0, 0, 32), (0xB1, 0, 0, 32)])
def test_loads_beyond_the_packet(step: tuple[int, int, int, int]) -> None:
    """A program that reads beyond the packet ends there, and the packet is not met."""
    assert not accepts(bpf(step, YES))


def test_answer_in_a() -> None:
    """A program may say with A whether the packet is met."""
    assert accepts(bpf((LOAD, 0, 0, 2), (0x16, 0, 0, 0)))
    assert not accepts(bpf((LOAD, 0, 0, 0), (0x16, 0, 0, 0)))
