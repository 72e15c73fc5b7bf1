"""Amanda, the network backup: the client answers with the ports at which the server shall fetch the backup."""

from __future__ import annotations

import re

from fastfw.helpers.base import DROP, REPLY, TCP, UDP, Flow, Helper, Verdict

CHANNELS = (b"DATA ", b"MESG ", b"INDEX ", b"STATE ")
DIGITS = re.compile(rb"[0-9]{0,5}")
PATIENCE_S = 300  # the connection itself waits this long for a client that estimates its disks


class AmandaHelper(Helper):
    """`CONNECT DATA 1234 MESG 1235 INDEX 1236` in a reply: the server may connect to those ports."""

    name = "amanda"
    ports = ((UDP, 10080),)
    limit = 4
    timeout = 180
    directions = (REPLY,)

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if flow.direction != REPLY:
            return None
        flow.refresh(PATIENCE_S)
        _, connect, rest = bytes(payload).partition(b"CONNECT ")
        line, newline, _ = rest.partition(b"\n")
        if not connect or not newline:
            return None
        for channel in CHANNELS:
            at = line.find(channel)
            if at < 0:
                continue
            found = DIGITS.match(line, at + len(channel))
            port = int(found[0] or b"0") & 0xFFFF if found else 0
            if port == 0:
                break
            if not flow.expect(protocol=TCP, source=flow.destination, destination=flow.source, port=port):
                return DROP
        return None
