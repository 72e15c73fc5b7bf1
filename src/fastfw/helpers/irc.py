"""IRC's direct client connections (DCC): a client tells another, through the server, where it listens.

The message is `PRIVMSG target :\\x01DCC SEND file address port size\\x01`, the address a 32-bit number; the same with
CHAT, MOVE, TSEND and SCHAT. It counts as the first message of a packet the client sends, as in Linux.
"""

from __future__ import annotations

import re

from fastfw.helpers.base import DROP, ORIGINAL, TCP, Flow, Helper, Verdict
from fastfw.helpers.text import wrapped

LONGEST = 4095  # bytes of a packet looked at
SHORTEST = 26  # bytes of the shortest offer there can be, from the blank before its colon
COMMANDS = (b"SEND ", b"CHAT ", b"MOVE ", b"TSEND ", b"SCHAT ")
NUMBERS = re.compile(rb"([0-9]*) *([0-9]*)")


class IrcHelper(Helper):
    """Anyone may connect to where the client says it listens, if that is at its own address."""

    name = "irc"
    ports = ((TCP, 6667),)
    families = (4,)
    limit = 8
    timeout = 300
    directions = (ORIGINAL,)
    contains = b"\1DCC "

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if flow.direction != ORIGINAL or not flow.established:
            return None
        offer = read_offer(bytes(payload[:LONGEST]))
        if offer is None or offer[0] != flow.source or offer[1] == 0:
            return None
        return None if flow.expect(destination=offer[0], port=offer[1]) else DROP


def read_offer(text: bytes) -> tuple[bytes, int] | None:
    """Address and port of the first DCC offer in `text`, if nothing but other DCC requests stands before it."""
    at = 0
    while at < len(text) - 10 and text[at] in b" \r\n":
        at += 1
    if at < len(text) - 10:
        if text[at : at + 8].upper() != b"PRIVMSG ":
            return None
        at += 8
    while 0 <= (at := text.find(b" :", at)) < len(text) - SHORTEST:
        at += 2
        if text[at : at + 5] != b"\1DCC ":
            return None
        at += 5
        for command in COMMANDS:
            if not text.startswith(command, at):
                continue
            at += len(command)
            space = text.find(b" ", at)
            if not 0 <= space <= len(text) - 12 or b"\n" not in text[space:]:
                return None
            found = NUMBERS.match(text, space + 1)
            assert found is not None  # it matches the empty string
            address = wrapped(found[1], 32)
            return address.to_bytes(4, "big"), wrapped(found[2], 16)
    return None
