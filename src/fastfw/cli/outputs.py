"""Files that the verbs write. Each fault is one error that names the file, and an input is never overwritten."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO

from fastfw.cli.errors import CliError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Named(io.FileIO):
    """A file whose faults name it, as a full disk's does not."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from None


def open_outputs(
    wanted: Mapping[str, str | None], inputs: Iterable[str | None], stack: contextlib.ExitStack
) -> dict[str, BinaryIO]:
    """The files of those options that are given, by option; `-` is standard output. The stack closes them.

    CliError: one cannot be written, is an input, or is named twice; devices such as /dev/null may be.
    """
    outputs: dict[str, BinaryIO] = {}
    sources = [path for path in inputs if path and path != "-"]
    taken: list[object] = []
    for option, path in wanted.items():
        if path is None:
            continue
        if path == "-":
            stack.callback(sys.stdout.buffer.flush)
            outputs[option] = sys.stdout.buffer
            place: object = path
        else:
            if any(os.path.exists(source) and _same(path, source) for source in sources):
                raise CliError(f"{option} {path}: that is an input, which writing would destroy")
            outputs[option] = stack.enter_context(_open(option, path))
            place = _place(outputs[option])
        if place in taken:
            raise CliError(f"{option} {path}: two outputs cannot be one file")
        if place:
            taken.append(place)
    return outputs


def _same(path: str, source: str) -> bool:
    return os.path.exists(path) and os.path.samefile(path, source)


def _open(option: str, path: str) -> BinaryIO:
    try:
        return io.BufferedWriter(Named(path, "wb"))
    except OSError as error:
        raise CliError(f"{option} {path or repr(path)}: {error.strerror}") from None


def _place(file: BinaryIO) -> object:
    """What two names of one file have in common; None for what is no regular file."""
    status = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
