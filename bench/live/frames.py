"""Frames that the kernel makes by itself, faster than anything here takes them: XDP's live frames, by bpf(2) without a
library. `python bench/live/frames.py` sends what it is told on standard input, a line each:

    INTERFACE TARGET SOURCE DESTINATION RATE COUNT      RATE in packets a second, 0 for as fast as it goes

Frames of 64 bytes, their checksum counted, of one UDP flow from port 7000 to port 9000, to the hardware address TARGET.
It answers with a line: in how many seconds they were sent. Needs root; runs in the namespace of the interface.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

SYS_BPF = 321
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, PROG_RUN = 0, 1, 2, 5, 10
MAP_TYPE_ARRAY, PROG_TYPE_XDP = 2, 6
LIVE_FRAMES = 1 << 1
BATCH = 64

CLOCK = struct.Struct("=QQQQ")
"""ns: when the next frame is due, from one to the next, when the first was sent and when the last."""

SPINS = 8_000
"""Looks at the clock while a frame waits for its time: some 25 ns each."""

PAYLOAD = bytes(18)

Word = tuple[int, int, int, int, int]
"""Of an instruction: code, destination and source register, offset, constant."""


def bpf(command: int, attributes: bytes) -> int:
    """One call of bpf(2). OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    done: int = libc.syscall(SYS_BPF, command, buffer, len(attributes))
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return done


def waiting(clock: int) -> list[Word]:
    """Instructions that wait for a frame's time, by the map's only value; the context comes in r1 and stays in r6. A
    sender that was held up does not make up for more than a batch."""
    return [
        (0xBF, 6, 1, 0, 0), (0x18, 7, 2, 0, clock), (0, 0, 0, 0, 0), (0x85, 0, 0, 0, 5),  # r0 = now
        (0x79, 8, 7, 0, 0), (0x55, 8, 0, 2, 0), (0xBF, 8, 0, 0, 0), (0x7B, 7, 0, 16, 0),  # r8 = due, or the first: now
        (0x79, 1, 7, 8, 0), (0x67, 1, 0, 0, 6), (0xBF, 2, 0, 0, 0), (0x1F, 2, 1, 0, 0),  # r2 = now - a batch's time
        (0x3D, 8, 2, 1, 0), (0xBF, 8, 2, 0, 0),  # due = max(due, r2)
        (0xB7, 9, 0, 0, SPINS), (0x3D, 0, 8, 3, 0), (0x85, 0, 0, 0, 5), (0x07, 9, 0, 0, -1), (0x55, 9, 0, -4, 0),
        (0x7B, 7, 0, 24, 0), (0x79, 1, 7, 8, 0), (0x0F, 8, 1, 0, 0), (0x7B, 7, 8, 0, 0), (0xBF, 1, 6, 0, 0),
    ]  # fmt: skip


def redirect(interface: int, frame: bytes, clock: int) -> int:
    """An XDP program that sends every frame out by an interface at its time; its descriptor. Frames are used again as
    the gateway left them, so it writes the addresses, the time to live and the header's checksum anew."""
    words = waiting(clock)
    words += [(0xB7, 0, 0, 0, 1), (0x61, 2, 1, 0, 0), (0x61, 3, 1, 4, 0), (0xBF, 4, 2, 0, 0), (0x07, 4, 0, 0, 34),
              (0x2D, 4, 3, 7, 0)]  # fmt: skip
    words += [(0x62, 2, 0, at, struct.unpack_from("=i", frame, at)[0]) for at in (0, 4, 8, 22)]
    words += [(0xB7, 1, 0, 0, interface), (0xB7, 2, 0, 0, 0), (0x85, 0, 0, 0, 23), (0x95, 0, 0, 0, 0)]
    code = b"".join(struct.pack("=BBhi", kind, into | of << 4, at, value) for kind, into, of, at, value in words)
    held, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    start = struct.pack(
        "=IIQQIIQ", PROG_TYPE_XDP, len(words), ctypes.addressof(held), ctypes.addressof(licence), 0, 0, 0
    )
    return bpf(PROG_LOAD, start + bytes(64))


def summed(data: bytes) -> bytes:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")


def datagram(interface: str, target: str, source: str, destination: str) -> bytes:
    """The frame, its checksums right."""
    size = 8 + len(PAYLOAD)
    places = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, 17, 0) + places
    head = head[:10] + summed(head) + head[12:]
    udp = struct.pack(">HHH", 7000, 9000, size)
    udp += summed(places + struct.pack(">HH", 17, size) + udp + PAYLOAD) + PAYLOAD
    own = Path(f"/sys/class/net/{interface}/address").read_text().strip()
    return bytes.fromhex((target + own).replace(":", "")) + b"\x08\x00" + head + udp


class Flood:
    """One flow's frames, sent out by an interface."""

    def __init__(self, interface: str, target: str, source: str, destination: str) -> None:
        self.clock = bpf(MAP_CREATE, struct.pack("=IIIII", MAP_TYPE_ARRAY, 4, CLOCK.size, 1, 0) + bytes(52))
        frame = datagram(interface, target, source, destination)
        self.program = redirect(socket.if_nametoindex(interface), frame, self.clock)
        self.frame = ctypes.create_string_buffer(frame, len(frame))
        self.key = ctypes.create_string_buffer(4)
        self.value = ctypes.create_string_buffer(CLOCK.size)

    def _clock(self, command: int) -> None:
        words = (self.clock, ctypes.addressof(self.key), ctypes.addressof(self.value), 0)
        bpf(command, struct.pack("=IxxxxQQQ", *words))

    def send(self, rate: float, count: int) -> float:
        """Send so many at a rate, 0 for as fast as it goes; in how many seconds."""
        self.value.raw = CLOCK.pack(0, int(1e9 / rate) if rate else 0, 0, 0)
        self._clock(MAP_UPDATE)
        size, at = len(self.frame), ctypes.addressof(self.frame)
        words = (self.program, 0, size, 0, at, 0, count, 0, 0, 0, 0, 0, LIVE_FRAMES, 0, BATCH)
        bpf(PROG_RUN, struct.pack("=IIIIQQIIIIQQIII", *words) + bytes(4))
        self._clock(MAP_LOOKUP)
        _, _, first, last = CLOCK.unpack(self.value.raw)
        return float(last - first) / 1e9


def main() -> None:
    """Send what standard input asks for."""
    flows: dict[tuple[str, ...], Flood] = {}
    for line in sys.stdin:
        *flow, rate, count = line.split()
        if tuple(flow) not in flows:
            flows[tuple(flow)] = Flood(*flow)
        print(flows[tuple(flow)].send(float(rate), int(count)), flush=True)


if __name__ == "__main__":
    main()
