"""NetBIOS name service (RFC 1002): a name asked of all of a network."""

from __future__ import annotations

from fastfw.helpers.base import UDP
from fastfw.helpers.broadcast import BroadcastHelper


class NetbiosHelper(BroadcastHelper):
    """Answers may come for 3 seconds."""

    name = "netbios-ns"
    ports = ((UDP, 137),)
    timeout = 3
    service_port = 137
