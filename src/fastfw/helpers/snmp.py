"""SNMP (RFC 1157): a request broadcast to all agents of a network."""

from __future__ import annotations

from fastfw.helpers.base import UDP
from fastfw.helpers.broadcast import BroadcastHelper


class SnmpHelper(BroadcastHelper):
    """Answers may come for 30 seconds."""

    name = "snmp"
    ports = ((UDP, 161),)
    timeout = 30
    service_port = 161
