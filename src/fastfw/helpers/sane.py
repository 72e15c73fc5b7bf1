"""SANE, scanners over the network: the server answers a start request with the port of the picture's data."""

from __future__ import annotations

from fastfw.helpers.base import DROP, ORIGINAL, TCP, Flow, Helper, Verdict

NET_START = (7).to_bytes(4, "big")  # the request's number; a handle of 4 bytes follows
SUCCESS = bytes(4)


class SaneHelper(Helper):
    """The reply right after a start request: status (4 bytes), port (4 bytes, big-endian)."""

    name = "sane"
    ports = ((TCP, 6566),)
    limit = 1
    timeout = 300

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not flow.established:
            return None
        message = bytes(payload[:8])
        if flow.direction == ORIGINAL:
            if len(payload) == 8:
                flow.memory["asked"] = message[:4] == NET_START
            return None
        if not flow.memory.get("asked"):
            return None
        flow.memory["asked"] = False
        if len(message) < 8 or message[:4] != SUCCESS or message[4:6] != b"\0\0":
            return None
        port = int.from_bytes(message[6:8], "big")
        return None if flow.expect(source=flow.destination, destination=flow.source, port=port) else DROP
