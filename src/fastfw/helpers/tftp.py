"""TFTP (RFC 1350): the server answers a request from a port of its own choice."""

from __future__ import annotations

from fastfw.helpers.base import DROP, REPLY, UDP, Flow, Helper, Verdict

READ_REQUEST, WRITE_REQUEST = b"\0\1", b"\0\2"


class TftpHelper(Helper):
    """After a request, from either side, the server may send from any port to the client's port."""

    name = "tftp"
    ports = ((UDP, 69),)
    limit = 1
    timeout = 300
    prefixes = (READ_REQUEST, WRITE_REQUEST)

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if bytes(payload[:2]) not in self.prefixes:
            return None
        client, port, server = flow.source, flow.source_port, flow.destination
        if flow.direction == REPLY:
            client, port, server = flow.destination, flow.destination_port, flow.source
        return None if flow.expect(protocol=UDP, source=server, destination=client, port=port) else DROP
