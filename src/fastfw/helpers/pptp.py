"""PPTP (RFC 2637): the two directions of the GRE tunnel that an incoming or outgoing call sets up.

The client that opened the control connection is taken for the PNS, the server for the PAC, as in Linux. A control
message is looked at where it begins a packet and is whole; one that its session or call does not allow is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

from fastfw.helpers.base import GRE, ORIGINAL, TCP, Flow, Helper, Verdict

CONTROL = 1  # of packet types
MAGIC = 0x1A2B3C4D
HEADER = struct.Struct(">HHIH2x")  # length, packet type, magic cookie, control message type, reserved

# Control message types, and the length of each with its header.
START_REQUEST, START_REPLY, STOP_REQUEST, STOP_REPLY, ECHO_REQUEST, ECHO_REPLY = 1, 2, 3, 4, 5, 6
OUT_REQUEST, OUT_REPLY, IN_REQUEST, IN_REPLY, IN_CONNECTED = 7, 8, 9, 10, 11
CLEAR_REQUEST, DISCONNECTED, WAN_ERROR, LINK_INFO = 12, 13, 14, 15
LENGTHS = {
    START_REQUEST: 156,
    START_REPLY: 156,
    STOP_REQUEST: 16,
    STOP_REPLY: 16,
    ECHO_REQUEST: 16,
    ECHO_REPLY: 20,
    OUT_REQUEST: 168,
    OUT_REPLY: 32,
    IN_REQUEST: 220,
    IN_REPLY: 24,
    IN_CONNECTED: 28,
    CLEAR_REQUEST: 16,
    DISCONNECTED: 148,
    WAN_ERROR: 40,
    LINK_INFO: 24,
}
GOOD = 1  # the result code of every reply that agrees

# States of the session; a later one is the higher.
NO_SESSION, SESSION_ERROR, STOPPING, REQUESTED, CONFIRMED = range(5)
# States of the one call that is followed.
NO_CALL, OUT_ASKED, OUT_CALL, IN_ASKED, IN_ANSWERED, IN_CALL, CLEARING = range(7)


@dataclass
class Control:
    """What is known of a control connection and its newest call."""

    session: int = NO_SESSION
    call: int = NO_CALL
    pns_call: int = 0  # the call's number as the client assigned it
    pac_call: int = 0  # and the server
    keys: list[int] | None = None  # destination keys, there and back, of the tunnel GRE packets are told by


class Body(NamedTuple):
    """The first five bytes after a control message's header, by the names of what they are in one or another."""

    first: int  # mostly the sender's call number
    second: int  # mostly the peer's
    code: int  # byte 4: result of a call
    session_result: int  # byte 2: result of a session's start
    stop_result: int  # byte 0: result of its stop


Step = Callable[[Control, Body, Flow], None]


def start_request(c: Control, body: Body, flow: Flow) -> None:
    if c.session == NO_SESSION:
        c.session = REQUESTED


def start_reply(c: Control, body: Body, flow: Flow) -> None:
    if c.session >= REQUESTED:
        c.session = CONFIRMED if body.session_result == GOOD else SESSION_ERROR


def stop_request(c: Control, body: Body, flow: Flow) -> None:
    c.session = STOPPING


def stop_reply(c: Control, body: Body, flow: Flow) -> None:
    if c.session <= STOPPING:
        c.session = NO_SESSION if body.stop_result == GOOD else SESSION_ERROR


def out_request(c: Control, body: Body, flow: Flow) -> None:
    if c.session == CONFIRMED:
        c.call, c.pns_call = OUT_ASKED, body.first


def out_reply(c: Control, body: Body, flow: Flow) -> None:
    if c.session != CONFIRMED or c.call not in (OUT_ASKED, OUT_CALL) or body.second != c.pns_call:
        return
    if body.code != GOOD:
        c.call = NO_CALL
        return
    c.call, c.pac_call = OUT_CALL, body.first
    announce(c, body.first, body.second, flow)


def in_request(c: Control, body: Body, flow: Flow) -> None:
    if c.session == CONFIRMED:
        c.call, c.pac_call = IN_ASKED, body.first


def in_reply(c: Control, body: Body, flow: Flow) -> None:
    if c.call not in (IN_ASKED, IN_ANSWERED) or body.second != c.pac_call:
        return
    if body.code == GOOD:
        c.call, c.pns_call = IN_ANSWERED, body.first
    else:
        c.call = NO_CALL


def in_connected(c: Control, body: Body, flow: Flow) -> None:
    if c.session != CONFIRMED or c.call not in (IN_ANSWERED, IN_CALL) or body.first != c.pns_call:
        return
    c.call = IN_CALL
    announce(c, c.pac_call, body.first, flow)


def clear_request(c: Control, body: Body, flow: Flow) -> None:
    if c.session == CONFIRMED:
        c.call = CLEARING


def disconnected(c: Control, body: Body, flow: Flow) -> None:
    c.call = NO_CALL
    for way in ways(c.pac_call, c.pns_call, flow):
        flow.cancel(protocol=GRE, **way._asdict())
    flow.forget_calls()
    c.keys = None


STEPS: tuple[dict[int, Step], dict[int, Step]] = (
    {  # ORIGINAL: what the client (PNS) says
        START_REQUEST: start_request,
        STOP_REQUEST: stop_request,
        OUT_REQUEST: out_request,
        IN_REPLY: in_reply,
        CLEAR_REQUEST: clear_request,
    },
    {  # REPLY: what the server (PAC) says
        START_REPLY: start_reply,
        STOP_REPLY: stop_reply,
        OUT_REPLY: out_reply,
        IN_REQUEST: in_request,
        IN_CONNECTED: in_connected,
        DISCONNECTED: disconnected,
    },
)


class Way(NamedTuple):
    """One direction of a tunnel. A GRE packet's destination key is the receiver's call number."""

    source: bytes
    source_port: int
    destination: bytes
    port: int


def ways(pac_call: int, pns_call: int, flow: Flow) -> tuple[Way, Way]:
    """Both directions of a tunnel, the client's first."""
    client, server = flow.source, flow.destination
    if flow.direction != ORIGINAL:
        client, server = server, client
    return Way(client, pns_call, server, pac_call), Way(server, pac_call, client, pns_call)


def announce(c: Control, pac_call: int, pns_call: int, flow: Flow) -> None:
    there, back = ways(pac_call, pns_call, flow)
    if not flow.expect(protocol=GRE, **there._asdict()):
        return
    if not flow.expect(protocol=GRE, **back._asdict()):
        flow.cancel(protocol=GRE, **there._asdict())
        return
    if c.keys in (None, [pac_call, pns_call]):
        c.keys = [pac_call, pns_call]
        return
    # One tunnel a control connection: its keys stay another call's until that is disconnected, or until a call
    # shares the way there with it but not the way back.
    for way in (there, back):
        flow.cancel(protocol=GRE, **way._asdict())
    if c.keys[0] == pac_call:
        flow.forget_calls()
        c.keys = None


class PptpHelper(Helper):
    """See the module."""

    name = "pptp"
    ports = ((TCP, 1723),)
    families = (4,)
    limit = 2
    timeout = 300
    contains = struct.pack(">HI", CONTROL, MAGIC)

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not flow.established or len(payload) < HEADER.size:
            return None
        _, kind, magic, message = HEADER.unpack_from(payload)
        step = STEPS[flow.direction].get(message)
        if kind != CONTROL or magic != MAGIC or step is None or len(payload) < LENGTHS[message]:
            return None
        control = Control(**flow.memory)
        fields = bytes(payload[HEADER.size : HEADER.size + 5]).ljust(5, b"\0")  # the shortest message has four
        first, second, code = struct.unpack(">HHB", fields)
        step(control, Body(first, second, code, session_result=fields[2], stop_result=fields[0]), flow)
        flow.memory.update(asdict(control))
        return None
