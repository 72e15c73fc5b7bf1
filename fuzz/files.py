"""Files of any bytes, read in the sanitizer build: each function makes one of bytes for an engine."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from fuzz.packets import echo, tcp, udp

import fastfw
from fastfw import state as states

MEMORY = Path("/dev/shm")
PROBES = (udp(1, 2, 4000, 53), udp(2, 1, 53, 4000), echo(1, 2, 7), tcp(1, 2, 4000, 21, 0x10, 100, 500, b"PASV\r\n"))


def scratch() -> Path:
    """A file that costs no disk where the system has such."""
    return Path(tempfile.mkdtemp(prefix="fastfw-fuzz-", dir=MEMORY if MEMORY.is_dir() else None)) / "file"


def capture(engine: fastfw.Engine) -> Callable[[bytes], None]:
    """Every record of a capture that can be opened lies inside the file, and can be judged."""
    path = scratch()

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            cap = fastfw.Capture(str(path))
        except fastfw.CaptureError:
            return
        ends = cap.offset + cap.length
        assert not len(ends) or int(ends.max()) <= cap.data.size
        engine.flush()
        engine.process(cap.data, cap.offset, cap.length, cap.time_ns)

    return one


def state(engine: fastfw.Engine) -> Callable[[bytes], None]:
    """A saved table of any bytes behind a right checksum is refused whole, or is one that packets can meet and that
    can be saved and loaded again.
    """
    path = scratch()

    def one(data: bytes) -> None:
        path.write_bytes(data + struct.pack("<I", zlib.crc32(data)))
        engine.flush()
        before = engine.conntrack_count
        try:
            states.load(engine, path)
        except states.StateError:
            assert engine.conntrack_count == before
            return
        for connection in engine.connections():
            str(connection)
        for packet in PROBES:
            engine.decide(packet, now=1)
        saved = states.save(engine, path)
        engine.flush()
        assert states.load(engine, path).connections == saved

    return one
