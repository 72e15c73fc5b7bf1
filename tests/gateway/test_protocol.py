"""Lines at the control socket: whatever comes is a message, or one error."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")

from fastfw.gateway.protocol import ProtocolError, read_reply, read_request


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"v":1}',
        b'{"v":1,"verb":"hel\xfflo"}',
        b'{"v":1,"verb":"hello","rows":"?"}',
        b'{"v":1,"verb":"hello","other":1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_told_in_one_error(line: bytes) -> None:
    """Cut, not UTF-8, not base64, nested without end, with unknown fields: a ProtocolError."""
    with pytest.raises(ProtocolError, match="no re"):
        read_request(line)
    with pytest.raises(ProtocolError, match="no re"):
        read_reply(line)
