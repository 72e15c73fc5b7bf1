"""RTSP (RFC 2326): the media streams that a client and a server agree on in SETUP.

Linux has no such helper of its own; this one expects what the protocol says, and only between the two speakers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastfw.helpers.base import DROP, ORIGINAL, TCP, UDP, Flow, Helper, Verdict

REQUEST, ANSWER = b"SETUP ", b"RTSP/1.0 200"
LONGEST = 8192  # bytes of a packet looked at
MOST_MESSAGES = 16  # of one packet
TRANSPORT = re.compile(rb"^transport:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
CLIENT_PORTS = re.compile(rb";\s*client_port=([0-9]{1,5})(?:-([0-9]{1,5}))?(?![0-9])", re.IGNORECASE)
SERVER_PORTS = re.compile(rb";\s*server_port=([0-9]{1,5})(?:-([0-9]{1,5}))?(?![0-9])", re.IGNORECASE)


def heads(text: bytes) -> Iterator[bytes]:
    """The heads of the messages that a packet begins with, first line and headers."""
    for _ in range(MOST_MESSAGES):
        head, end, text = text.partition(b"\r\n\r\n")
        if not end:
            return
        yield head


def ports(head: bytes, form: re.Pattern[bytes]) -> Iterator[int]:
    """The unprivileged ports that a Transport header names: RTP's, and RTCP's if it is the next one."""
    for header in TRANSPORT.finditer(head):
        for found in form.finditer(header[1]):
            first = int(found[1])
            last = int(found[2] or found[1])
            if 1024 <= first <= last <= min(first + 1, 65535):
                yield from range(first, last + 1)


class RtspHelper(Helper):
    """A client's SETUP opens its media ports to the server, the server's good reply its own to the client."""

    name = "rtsp"
    ports = ((TCP, 554),)
    limit = 8
    timeout = 300
    contains = (REQUEST, ANSWER)

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not flow.established:
            return None
        if flow.direction == ORIGINAL:
            begins, form = REQUEST, CLIENT_PORTS
        else:
            begins, form = ANSWER, SERVER_PORTS
        for head in heads(bytes(payload[:LONGEST])):
            if not head.startswith(begins):
                continue
            for port in ports(head, form):
                if not flow.expect(protocol=UDP, source=flow.destination, destination=flow.source, port=port):
                    return DROP
        return None
