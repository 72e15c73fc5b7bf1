"""A client of the daemon's control socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any, Self

from fastfw.gateway.protocol import REPLY_LIMIT, VERSION, ProtocolError, Reply, Request, encode, read_reply

SOCKET = "/run/fastfw/control"
VARIABLE = "FASTFW_CONTROL"
"""Environment variable that names the socket where no option does."""


class NoDaemon(OSError):
    """Nobody answers at the socket, or not as a daemon of this protocol would."""


def socket_path(given: str | None) -> str:
    """The socket to talk to."""
    return given or os.environ.get(VARIABLE) or SOCKET


class Client:
    """A connection to a daemon; requests are answered one after the other. NoDaemon where there is none."""

    def __init__(self, path: str, timeout: float | None = 60) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            hint = {
                FileNotFoundError: "no daemon: `fastfw run' makes this socket",
                ConnectionRefusedError: "no daemon listens any more",
                PermissionError: "not allowed to talk to the daemon",
            }.get(type(error), error.strerror or str(error))
            raise NoDaemon(error.errno, hint, path) from None
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up; what the daemon was still to say is not heard."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def ask(self, verb: str, *args: str, **fields: Any) -> Iterator[Reply]:
        """The replies to a request, the last one with its status. NoDaemon where the connection breaks."""
        request = Request(VERSION, verb, list(args), **fields)
        try:
            self._socket.sendall(encode(request))
            while True:
                line = self._file.readline(REPLY_LIMIT + 1)
                if not line.endswith(b"\n"):
                    raise NoDaemon(0, "the daemon hung up", self.path)
                reply = read_reply(line)
                yield reply
                if reply.status is not None:
                    return
        except TimeoutError:
            raise NoDaemon(0, "the daemon does not answer", self.path) from None
        except ProtocolError as error:
            raise NoDaemon(0, str(error), self.path) from None
        except (BrokenPipeError, ConnectionResetError) as error:
            raise NoDaemon(error.errno, f"the daemon hung up: {error.strerror}", self.path) from None

    def wait(self, seconds: float | None) -> None:
        """How long a reply may take from now on; None: for ever."""
        self._socket.settimeout(seconds)
