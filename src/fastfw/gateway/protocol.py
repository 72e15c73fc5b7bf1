"""What goes over the control socket: one JSON object a line, either way.

A client sends requests, each with the protocol's version, and gets for each any number of replies; the last one carries
`status`. Bytes are base64 in JSON. The version changes with the meaning of a field or verb; the layout of rows is
the release's own, which `hello` tells.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1
REQUEST_LIMIT = 64 << 20
"""Bytes of one request's line; a ruleset of a million rules fits."""

REPLY_LIMIT = 4 << 20
"""Bytes of one reply's line."""


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`verb` and what it needs: `args` are words, `options` named values, `text` a ruleset, `rows` and `numbers` are
    records of the table."""

    v: int
    verb: str
    args: list[str] = []
    options: dict[str, Any] = {}
    text: str = ""
    rows: bytes = b""
    numbers: bytes = b""


class Reply(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`out` and `err` are text for the client's standard output and error; `data` is for programs; `status` ends the
    replies to a request: 0 done, 1 the answer is no, 2 unusable."""

    out: str = ""
    err: str = ""
    data: Any = None
    rows: bytes = b""
    numbers: bytes = b""
    extras: bytes = b""
    status: int | None = None


class ProtocolError(ValueError):
    """A line that is no request or reply."""


_REQUEST = msgspec.json.Decoder(Request)
_REPLY = msgspec.json.Decoder(Reply)
_ENCODER = msgspec.json.Encoder()


def encode(message: Request | Reply) -> bytes:
    """A message's line, its newline included."""
    return _ENCODER.encode(message) + b"\n"


def read_request(line: bytes) -> Request:
    """The request of a line. ProtocolError."""
    try:
        request = _REQUEST.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"no request: {error}") from None
    if request.v != VERSION:
        raise ProtocolError(f"version {VERSION} of the protocol expected, not {request.v}")
    return request


def read_reply(line: bytes) -> Reply:
    """The reply of a line. ProtocolError."""
    try:
        return _REPLY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"no reply: {error}") from None
