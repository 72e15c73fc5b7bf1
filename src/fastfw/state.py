"""The table in a file: written whole or not at all, checked before a word of it is believed."""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastfw.core.snapshot import (
    CALL,
    ENTRY,
    EXPECT,
    EXTRA,
    calls,
    check_calls,
    check_expectations,
    entries,
    expectations,
    notes,
    put_calls,
    put_entries,
    put_expectations,
    put_notes,
)
from fastfw.core.terms import Status
from fastfw.timeouts import SLOTS

if TYPE_CHECKING:
    from fastfw.engine import Engine

MAGIC = b"fastfw state 6\n\0"
HEADER = struct.Struct("<16sIIIIIIqII")
"""Magic, bytes an entry, entries, extras (as many or none), bytes an expectation, expectations, calls of PPTP, clock
(ns), bytes of helper names, bytes of what else is told; little-endian.

What follows: the helpers' names by number, separated by NUL; slab indices; entries; extras; expectations; calls; as
JSON what templates ask for and what helpers noted; CRC-32 of all before.
"""

LATE = 16
"""Segments of a TCP connection taken over late that may move its windows: enough for holes of retransmission both ways,
few for one who forges them."""


class StateError(ValueError):
    """A file that holds no table this release can take over."""


class Loaded(NamedTuple):
    """What became of a saved table."""

    connections: int
    refused: int
    expectations: int


def templates_used(table: npt.NDArray[np.void]) -> list[int]:
    """The numbers of the templates that hold for some connection."""
    held = table["status"] & int(Status.STATUS_TEMPLATED) != 0
    return sorted(set(table["template"][held].tolist()))


def templates_of(engine: Engine, table: npt.NDArray[np.void]) -> list[Any]:
    """What the templates ask for that hold for connections: number, (slot, seconds) of timeouts, events, expectation
    events."""
    asked = engine._templates()
    return [
        [number, list(timeouts.items()), events, expect_events]
        for number in templates_used(table)
        for timeouts, events, expect_events in [asked[number]]
    ]


def whole(value: Any, highest: int) -> int:
    """A whole number up to `highest`. ValueError."""
    if type(value) is not int or not 0 <= value <= highest:
        raise ValueError(f"a whole number from 0 to {highest} expected, not {value!r}")
    return value


def read_more(
    data: bytes, table: npt.NDArray[np.void], helper_count: int
) -> tuple[dict[int, tuple[dict[int, int], int, int]], list[tuple[int, int, dict[str, Any]]]]:
    """What templates ask for by number, and what helpers noted: (slab index, helper number, notes). ValueError for what
    no engine would have saved."""
    try:
        more = json.loads(data)
        asked = {
            whole(number, 0xFFFF): (
                {whole(slot, 63): whole(seconds, 2**31 - 1) for slot, seconds in timeouts},
                whole(events, 0xFFFF),
                whole(expect_events, 0xFFFF),
            )
            for number, timeouts, events, expect_events in more["templates"]
        }
        noted = [
            (whole(index, 2**32 - 1), whole(helper, helper_count - 1), dict(memory.items()))
            for index, helper, memory in more["notes"]
        ]
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(f"what templates ask for and helpers noted cannot be read: {error}") from None
    known = {slot for slots in SLOTS.values() for slot in slots.values()}
    if templates_used(table) != sorted(asked) or any(not timeouts.keys() <= known for timeouts, _, _ in asked.values()):
        raise ValueError("the templates are none that an engine would have saved")
    return asked, noted


def save(engine: Engine, path: str | os.PathLike[str]) -> int:
    """Write every live connection, expectation and call, and what helpers noted; returns how many connections. The file
    appears when it is whole.

    What helpers of streams have read of one is not kept.
    """
    noted = notes(engine)
    table, indices, extras = entries(engine)
    if extras is None:
        extras = np.empty(0, EXTRA)
    waiting, told = expectations(engine), calls(engine)
    names = b"\0".join(name.encode() for name in engine.helper_names())
    more = json.dumps({"templates": templates_of(engine, table), "notes": noted}).encode()
    header = HEADER.pack(
        MAGIC,
        ENTRY.itemsize,
        len(table),
        len(extras),
        EXPECT.itemsize,
        len(waiting),
        len(told),
        engine.now,
        len(names),
        len(more),
    )
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            checksum = 0
            arrays = [array.view(np.uint8).tobytes() for array in (indices, table, extras, waiting, told) if len(array)]
            for part in (header, names, *arrays, more):
                checksum = zlib.crc32(part, checksum)
                file.write(part)
            file.write(struct.pack("<I", checksum))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return len(table)


def load(engine: Engine, path: str | os.PathLike[str], behind: bool = False) -> Loaded:
    """Enter what `save` wrote. Connections already in the table stay as they are; those whose time is up are left out.
    `behind`: traffic went on since, and a few segments of each TCP connection may teach it windows anew.

    Raises StateError, and changes nothing, where the file is not whole or not an engine's.
    """
    data = Path(path).read_bytes()
    if len(data) < HEADER.size + 4 or data[:16] != MAGIC:
        raise StateError(f"{path}: not a saved table of this release")
    _, entry_size, count, extra_count, expect_size, waiting_count, told_count, _clock, names_size, more_size = (
        HEADER.unpack_from(data)
    )
    size = HEADER.size + names_size + more_size + count * (4 + entry_size) + extra_count * EXTRA.itemsize
    size += waiting_count * expect_size + told_count * CALL.itemsize + 4
    if entry_size != ENTRY.itemsize or expect_size != EXPECT.itemsize or extra_count not in (0, count):
        raise StateError(f"{path}: saved by a release with another layout")
    if len(data) != size:
        raise StateError(f"{path}: {len(data)} bytes, {size} expected: the file is not whole")
    if zlib.crc32(memoryview(data)[:-4]) != struct.unpack_from("<I", data, len(data) - 4)[0]:
        raise StateError(f"{path}: the checksum is wrong: the file is damaged")
    at = HEADER.size
    saved_names = data[at : at + names_size].split(b"\0")
    at += names_size
    indices = np.frombuffer(data, np.uint32, count, at)
    at += 4 * count
    table = np.frombuffer(bytearray(data[at : at + count * entry_size]), ENTRY)
    at += count * entry_size
    extras = np.frombuffer(bytearray(data[at : at + extra_count * EXTRA.itemsize]), EXTRA) if extra_count else None
    at += extra_count * EXTRA.itemsize
    waiting = np.frombuffer(bytearray(data[at : at + waiting_count * expect_size]), EXPECT)
    at += waiting_count * expect_size
    told = np.frombuffer(bytearray(data[at : at + told_count * CALL.itemsize]), CALL)
    at += told_count * CALL.itemsize
    names = engine.helper_names()
    number = {name.encode(): index for index, name in enumerate(names)}
    helpers = np.array([number.get(name, 0) for name in saved_names], np.uint8)
    try:
        check_expectations(waiting, len(helpers))
        check_calls(told)
        asked, noted = read_more(data[at : at + more_size], table, len(helpers))
        templates = {
            old: engine._template(0, False, 0, timeouts, events, expect_events)
            for old, (timeouts, events, expect_events) in asked.items()
        }
        entered, refused, where = put_entries(engine, table, indices, extras, helpers, LATE if behind else 0, templates)
    except ValueError as error:
        raise StateError(f"{path}: {error}") from error
    put_calls(engine, told, where)
    put_notes(engine, noted, helpers, where)
    return Loaded(entered, refused, put_expectations(engine, waiting, helpers, where))
