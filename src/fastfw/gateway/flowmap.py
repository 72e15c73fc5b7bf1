"""BPF maps of the connections whose packets need not be queued, and the programs that ask them: made and loaded by
bpf(2), without a compiler and without a library. The kernel's rules run a program by its name on a BPF file system
(`-m bpf --object-pinned`); drivers/bypass.pyx writes the maps.

A program lets a packet pass that is a whole TCP or UDP one, without IP options or extension headers, whose addresses
and ports the map has with the generation that is in force, the program's own way, and a time that is not up; it notes
that the packet came. A TCP segment with FIN, SYN or RST takes both directions out of the map instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from pathlib import Path

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
"""Of the system call, by machine."""

MAP_CREATE, MAP_UPDATE, MAP_DELETE, MAP_NEXT, PROG_LOAD, PIN = 0, 2, 3, 4, 5, 6
ARRAY, LRU_HASH = 2, 9
SOCKET_FILTER = 1
LOOKUP_ELEM, DELETE_ELEM, LOAD_BYTES, COARSE_CLOCK = 1, 3, 26, 160
"""Helpers: a map's element, the same taken out, a packet's bytes, ns of CLOCK_MONOTONIC_COARSE."""

FLOW_SIZE = 24
"""drivers/bypass.pxd's Flow: a grant, 4 bytes unused; when a packet passed last, and after how long none does."""

ROOM = 1 << 17
"""Directions that a map has room for; where there are more, those that were used least lately are judged again."""

Name = tuple[int, int, int]
"""How long a map's key is in bytes, what lies before the addresses in an IP header, and that header's length."""

FAMILIES: dict[int, Name] = {4: (16, 12, 20), 6: (40, 8, 40)}


def call(command: int, attributes: bytes) -> int:
    """bpf(2). OSError."""
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(38, os.strerror(38))
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    done: int = libc.syscall(number, command, buffer, len(attributes))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


class Assembler:
    """A program's instructions, with names for places to jump to."""

    def __init__(self) -> None:
        self._words: list[tuple[int, int, int, int | str, int]] = []
        self._places: dict[str, int] = {}

    def __call__(self, code: int, into: int = 0, of: int = 0, at: int | str = 0, value: int = 0) -> None:
        """One instruction: code, destination and source register, offset or place, constant."""
        self._words.append((code, into, of, at, value))

    def place(self, name: str) -> None:
        """What follows is jumped to by this name."""
        self._places[name] = len(self._words)

    def map(self, into: int, descriptor: int, value: bool = False) -> None:
        """A map, or its first value's address, into a register."""
        self(0x18, into, 2 if value else 1, 0, descriptor)
        self(0)

    def helper(self, number: int) -> None:
        """Call a helper: r1 to r5 in, r0 out."""
        self(0x85, 0, 0, 0, number)

    def copied(self, start: int, size: int, place: int) -> None:
        """Bytes of the packet from `start` onto the stack at `place`; to "no" where it is shorter. The packet is r6."""
        self(0xBF, 1, 6)
        self(0xB7, 2, 0, 0, start)
        self(0xBF, 3, 10)
        self(0x07, 3, 0, 0, place)
        self(0xB7, 4, 0, 0, size)
        self.helper(LOAD_BYTES)
        self(0x55, 0, 0, "no")

    def code(self) -> bytes:
        """The program."""
        words = []
        for number, (code, into, of, at, value) in enumerate(self._words):
            offset = self._places[at] - number - 1 if isinstance(at, str) else at
            words.append(struct.pack("=BBhi", code, into | of << 4, offset, value))
        return b"".join(words)


HEADER = -64
"""Where on the stack a packet's IP header and ports are; the map's key is a part of it."""

OTHER = -112
"""Where the other direction's key is made up."""


def asked(program: Assembler, family: int, descriptor: int, config: int, way: int) -> None:
    """Instructions for packets of one family; r6 is the packet. Ends in "no", "yes" or behind it."""
    size, before, header = FAMILIES[family]
    key, half = HEADER + before, (size - 8) // 2
    known = f"known{family}"
    program.copied(0, header + 8, HEADER)
    if family == 4:
        program(0x71, 1, 10, HEADER)
        program(0x55, 1, 0, "no", 0x45)
        program(0x69, 1, 10, HEADER + 6)  # a fragment
        program(0x57, 1, 0, 0, int.from_bytes(struct.pack(">H", 0x3FFF), "little"))
        program(0x55, 1, 0, "no", 0)
    program(0x71, 7, 10, HEADER + (9 if family == 4 else 6))  # r7 = protocol
    program(0x63, 10, 7, key + size - 4)  # over what follows the ports
    program(0x15, 7, 0, known, 17)
    program(0x55, 7, 0, "no", 6)
    program.copied(header + 13, 1, -8)
    program(0x71, 1, 10, -8)
    program(0x57, 1, 0, 0, 0x07)
    program(0x15, 1, 0, known, 0)
    for place in (key, OTHER):
        if place == OTHER:
            for at in range(0, half, 4):
                for here, there in ((key + at, OTHER + half + at), (key + half + at, OTHER + at)):
                    program(0x61, 1, 10, here)
                    program(0x63, 10, 1, there)
            for here, there in ((2 * half, 2 * half + 2), (2 * half + 2, 2 * half)):
                program(0x69, 1, 10, key + here)
                program(0x6B, 10, 1, OTHER + there)
            program(0x63, 10, 7, OTHER + size - 4)
        program.map(1, descriptor)
        program(0xBF, 2, 10)
        program(0x07, 2, 0, 0, place)
        program.helper(DELETE_ELEM)
    program(0x05, 0, 0, "no")
    program.place(known)
    program.map(1, descriptor)
    program(0xBF, 2, 10)
    program(0x07, 2, 0, 0, key)
    program.helper(LOOKUP_ELEM)
    program(0x15, 0, 0, "no", 0)
    program(0xBF, 7, 0)  # r7 = Flow
    program.map(8, config, value=True)
    program(0x61, 1, 8, 0)  # the generation that is in force, where it stands in a grant
    program(0x47, 1, 0, 0, way)
    program(0x61, 2, 7, 0)
    program(0x5D, 1, 2, "no")
    program.helper(COARSE_CLOCK)
    program(0x79, 1, 7, 8)
    program(0x1D, 1, 0, "yes")  # this tick's packet is not the first
    program(0x79, 2, 7, 16)
    program(0x0F, 1, 2)
    program(0x2D, 0, 1, "no")
    program(0x7B, 7, 0, 8)
    program(0x05, 0, 0, "yes")


def assembled(maps: tuple[int, int], config: int, way: int) -> bytes:
    """The program of one way: 1 for a packet that may pass."""
    program = Assembler()
    program(0xBF, 6, 1)
    program.copied(0, 1, -8)
    program(0x71, 1, 10, -8)
    program(0x77, 1, 0, 0, 4)
    program(0x15, 1, 0, "six", 6)
    asked(program, 4, maps[0], config, way)
    program.place("six")
    asked(program, 6, maps[1], config, way)
    program.place("yes")
    program(0xB7, 0, 0, 0, 1)
    program(0x95)
    program.place("no")
    program(0xB7, 0, 0, 0, 0)
    program(0x95)
    return program.code()


def load(code: bytes) -> int:
    """A program's descriptor. OSError."""
    held, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    words = (SOCKET_FILTER, len(code) // 8, ctypes.addressof(held), ctypes.addressof(licence))
    return call(PROG_LOAD, struct.pack("=IIQQ", *words) + bytes(80))


class FlowMap:
    """The maps of one daemon, and what it has in a directory of a BPF file system. OSError where that cannot be."""

    def __init__(self, directory: str, room: int = ROOM) -> None:
        self.directory = Path(directory)
        self._open: list[int] = []
        self._pinned: list[Path] = []
        try:
            self.config = self._map(ARRAY, 4, 8, 1)
            four, six = (self._map(LRU_HASH, size, FLOW_SIZE, room) for size, _, _ in FAMILIES.values())
        except OSError:
            self.close()
            raise
        self.maps = four, six

    def _map(self, kind: int, key: int, value: int, room: int) -> int:
        made = call(MAP_CREATE, struct.pack("=IIIII", kind, key, value, room, 0) + bytes(52))
        self._open.append(made)
        return made

    def close(self) -> None:
        """Give all of it back; no rule names a program any more."""
        self._forget()
        for descriptor in self._open:
            os.close(descriptor)
        self._open = []

    def _forget(self) -> None:
        """Take every program's name away."""
        for path in self._pinned:
            path.unlink(missing_ok=True)
        self._pinned = []
        with contextlib.suppress(OSError):  # it was never made, or another daemon's are there
            self.directory.rmdir()

    def check(self) -> None:
        """OSError: programs cannot be loaded, or not be named there; the maps are given back."""
        try:
            self.program(0)
        except OSError:
            self.close()
            raise
        self._forget()

    def program(self, way: int) -> Path:
        """Load a way's program; its name."""
        path = self.directory / f"{os.getpid()}-{way}"
        made = load(assembled(self.maps, self.config, way))
        self._pinned.append(path)
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            name = ctypes.create_string_buffer(os.fsencode(path))
            path.unlink(missing_ok=True)
            call(PIN, struct.pack("=QII", ctypes.addressof(name), made, 0))
        finally:
            os.close(made)
        return path

    def force(self, grant: int) -> None:
        """Grants of this generation, as it stands in them, let packets pass, and of no other; 0: none does."""
        self._element(MAP_UPDATE, self.config, bytes(4), ctypes.create_string_buffer(struct.pack("=Q", grant)))

    def clear(self) -> int:
        """Forget every grant; how many there were."""
        count = 0
        for descriptor, (size, _, _) in zip(self.maps, FAMILIES.values(), strict=True):
            first = ctypes.create_string_buffer(size)
            with contextlib.suppress(FileNotFoundError):  # it is empty
                while True:
                    self._element(MAP_NEXT, descriptor, None, first)
                    self._element(MAP_DELETE, descriptor, first.raw)
                    count += 1
        return count

    def _element(
        self, command: int, map: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None = None
    ) -> None:
        held = ctypes.create_string_buffer(key or b"")
        at, told = (
            0 if one is None else ctypes.addressof(there) for one, there in ((key, held), (value, value or held))
        )
        call(command, struct.pack("=IxxxxQQQ", map, at, told, 0))
