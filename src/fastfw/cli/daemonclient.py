"""What the verbs that talk to a daemon share: where it is, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from fastfw._version import __version__
from fastfw.cli.errors import CliError
from fastfw.core.snapshot import ENTRY, EVENT, EXPECT, EXTRA


def take_socket(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of a leading `--control SOCKET`, and the words after it: the rest is another program's language."""
    words = list(argv)
    if words and words[0] == "--control":
        if len(words) < 2:
            raise CliError("--control: a socket expected")
        return words[1], words[2:]
    if words and words[0].startswith("--control="):
        return words[0].partition("=")[2], words[1:]
    return None, words


def connect(socket: str | None, timeout: float | None = 60) -> Any:
    """A Client of the daemon. OSError where there is none."""
    from fastfw.gateway.client import Client, socket_path

    return Client(socket_path(socket), timeout)


def relay(client: Any, verb: str, *args: str, **fields: Any) -> int:
    """Ask, print what is said, return the status."""
    status = 0
    for reply in client.ask(verb, *args, **fields):
        if reply.out:
            sys.stdout.write(reply.out)
        if reply.err:
            sys.stdout.flush()
            sys.stderr.write(reply.err)
        status = reply.status or 0
    return int(status)


def check_layout(client: Any) -> dict[str, Any]:
    """The daemon's greeting. CliError: its release keeps its table in another form."""
    greeting: dict[str, Any] = {}
    for reply in client.ask("hello"):
        greeting = reply.data or {}
        if reply.status:
            raise CliError(reply.err.removeprefix("fastfw: ").strip())
    if greeting.get("layout") != [ENTRY.itemsize, EXTRA.itemsize, EXPECT.itemsize, EVENT.itemsize]:
        raise CliError(f"the daemon is release {greeting.get('release')}, this command {__version__}: use its own")
    return greeting
