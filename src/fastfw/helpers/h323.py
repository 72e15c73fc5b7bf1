"""H.323: calls announced to a gatekeeper (RAS), set up (Q.931, H.225.0) and given media (H.245).

A registration announces where calls come in, a call's messages where its control connection listens, and that, or
the call itself by H.225.0's fast start and H.245 tunnelling, where RTP and T.120 flow. The messages are in ASN.1's
aligned packed encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from fastfw.helpers.base import DROP, TCP, UDP, Flow, Helper, Verdict
from fastfw.helpers.h323_schema import H225, H245
from fastfw.helpers.per import Schema, Unreadable

REGISTERED_S = 300  # how long a registration lasts that names no time
TICKS = 250  # of the kernel's clock in a second
UINT32 = 0xFFFFFFFF
UNREGISTERED_S = 30  # how long the connection waits for the answer to the end of a registration
MOST_FAST_STARTS = 30  # elements of a list that are followed
MOST_CONTROLS = 4
MOST_ADDRESSES = 10

TPKT = b"\3\0"
CALL_SIGNALLING = 8  # Q.931's protocol discriminator
USER_USER = 0x7E  # the information element that carries H.225.0

Value = dict[str, Any]
Control = tuple[str, tuple[str, Value] | None]


@cache
def schemas() -> tuple[Schema, Schema]:
    """H.225.0's and H.245's."""
    h245 = Schema(H245)
    return Schema(H225, h245, {"Open": MOST_FAST_STARTS, "ControlMessage": MOST_CONTROLS}), h245


def read(which: int, name: str, text: bytes) -> Any:
    """A value of H.225.0 (0) or H.245 (1) at the head of `text`, None where there is none."""
    try:
        return schemas()[which].read(name, text)
    except Unreadable:
        return None


class Address(NamedTuple):
    """Where something listens."""

    host: bytes
    port: int


def h225_address(said: tuple[str, Any] | None, family: int) -> Address | None:
    """An address of the connection's own family, or None."""
    kind, fields = said or ("", {})
    if kind != {4: "ipAddress", 6: "ip6Address"}[family]:
        return None
    return Address(fields["ip"], fields["port"])


def h245_address(said: tuple[str, Any] | None, family: int) -> Address | None:
    """A unicast address of the connection's own family, or None."""
    kind, which = said or ("", {})
    if kind != "unicastAddress" or which[0] != {4: "iPAddress", 6: "iP6Address"}[family]:
        return None
    return Address(which[1]["network"], which[1]["tsapIdentifier"])


# --- what is expected ------------------------------------------------------------------------------------------------


def expect_media(flow: Flow, at: Address | None) -> bool:
    """RTP at the even port and RTCP at the odd one above, if it is the speaker's own address."""
    if at is None or at.host != flow.source or at.port == 0:
        return True
    even = at.port & ~1
    if not flow.expect(protocol=UDP, source=flow.destination, destination=at.host, port=even):
        return False
    if flow.expect(protocol=UDP, source=flow.destination, destination=at.host, port=even + 1):
        return True
    flow.cancel(protocol=UDP, source=flow.destination, source_port=None, destination=at.host, port=even)
    return False


def expect_data(flow: Flow, at: Address | None) -> bool:
    """T.120, as many connections as it wants."""
    if at is None or at.host != flow.source or at.port == 0:
        return True
    return flow.expect(protocol=TCP, source=flow.destination, destination=at.host, port=at.port, permanent=True)


def expect_control(flow: Flow, at: Address | None) -> bool:
    """The H.245 connection, which is read in turn."""
    if at is None or at.host != flow.source or at.port == 0:
        return True
    return flow.expect(
        protocol=TCP, source=flow.destination, destination=at.host, port=at.port, helper=ControlHelper.name
    )


def expect_forwarded(flow: Flow, at: Address | None) -> bool:
    """The call once more, to where it is forwarded: the one address that need not be the speaker's."""
    if at is None or at.port == 0:
        return True
    return flow.expect(protocol=TCP, source=flow.destination, destination=at.host, port=at.port, helper=CallHelper.name)


# --- H.245 -----------------------------------------------------------------------------------------------------------


def channel(choice: tuple[str, Any] | None, flow: Flow) -> bool:
    """Media and their control of one direction of a logical channel."""
    kind, fields = choice or ("", {})
    if kind != "h2250":
        return True
    return all(
        expect_media(flow, h245_address(fields.get(name), flow.family))
        for name in ("mediaChannel", "mediaControlChannel")
    )


def separate_stack(message: Value, flow: Flow) -> bool:
    stack = message.get("separateStack")
    if stack is None or stack["networkAddress"][0] != "localAreaAddress":
        return True
    return expect_data(flow, h245_address(stack["networkAddress"][1], flow.family))


def carries_t120(data_type: tuple[str, Any]) -> bool:
    kind, data = data_type
    if kind != "data" or data["application"][0] != "t120":
        return False
    return bool(data["application"][1][0] == "separateLANStack")


def opened(message: Value, flow: Flow) -> bool:
    """OpenLogicalChannel."""
    reverse = message.get("reverse") or {}
    return (
        channel(message["forward"]["multiplex"], flow)
        and channel(reverse.get("multiplex"), flow)
        and (not carries_t120(message["forward"]["dataType"]) or separate_stack(message, flow))
    )


def acknowledged(message: Value, flow: Flow) -> bool:
    """OpenLogicalChannelAck."""
    reverse = message.get("reverse") or {}
    return (
        channel(reverse.get("multiplex"), flow)
        and channel(message.get("forwardMultiplexAck"), flow)
        and separate_stack(message, flow)
    )


def announce(message: Control, flow: Flow) -> bool:
    """Expect what a message names; False where that cannot be."""
    kind, inside = message
    name, fields = inside or ("", {})
    if (kind, name) == ("request", "openLogicalChannel"):
        return opened(fields, flow)
    if (kind, name) == ("response", "openLogicalChannelAck"):
        return acknowledged(fields, flow)
    return True


def follow_control(text: bytes, flow: Flow) -> bool | None:
    """One H.245 message; None where it cannot be read, False where what it announces cannot be expected."""
    said: Control | None = read(1, "ControlMessage", text)
    return None if said is None else announce(said, flow)


# --- Q.931 and H.225.0 -----------------------------------------------------------------------------------------------


def user_user(text: bytes) -> bytes | None:
    """The H.225.0 message in a Q.931 one (Q.931 4): its user-user element behind the protocol discriminator."""
    if len(text) < 2 or text[0] != CALL_SIGNALLING:
        return None
    at = 2 + text[1] + 1  # behind the call reference and the message type
    while at < len(text):
        if text[at] == USER_USER:
            size = int.from_bytes(text[at + 1 : at + 3], "big")
            if at + 3 > len(text) or at + 3 + size > len(text):
                return None
            return text[at + 4 : at + 3 + size]
        if at + 1 >= len(text):
            return None
        at += 2 + text[at + 1]
    return None


def follow_body(kind: str, fields: Value, flow: Flow) -> bool:
    """The message itself: where the call goes instead, H.245's address, and fast start's channels."""
    if kind == "facility" and fields["reason"][0] == "callForwarded":
        return expect_forwarded(flow, h225_address(fields.get("alternativeAddress"), flow.family))
    if not expect_control(flow, h225_address(fields.get("h245Address"), flow.family)):
        return False
    return all(opened(message, flow) for message in fields.get("fastStart", []))


def read_call(text: bytes) -> tuple[str, Value | None, list[Control]] | None:
    """A Q.931 message's kind, fields and the H.245 messages in it; None where something of it cannot be read."""
    inside = user_user(text)
    said = None if inside is None else read(0, "UserInformation", inside)
    if said is None:
        return None
    kind, fields = said["pdu"]["body"]
    return kind, fields, said["pdu"].get("h245Control", [])


def follow_call(text: bytes, flow: Flow) -> bool | None:
    """One Q.931 message; None where it cannot be read, False where what it announces cannot be expected."""
    said = read_call(text)
    if said is None:
        return None
    kind, fields, tunnelled = said
    if fields is not None and not follow_body(kind, fields, flow):
        return False
    return all(announce(each, flow) for each in tunnelled)


# --- what is common to both TCP protocols ----------------------------------------------------------------------------


def tpkts(payload: bytes, memory: dict[Any, Any], direction: int) -> Iterator[bytes]:
    """The whole packets (RFC 1006) that a segment begins with; a header may come alone, in a segment of its own."""
    alone = memory.pop(f"alone {direction}", 0)
    at = 0
    if len(payload) < 4 or payload[:2] != TPKT:
        if not 0 < alone <= len(payload):
            return
        yield payload[:alone]
        at = alone
    while at == 0 or len(payload) - at > 4:
        size = int.from_bytes(payload[at + 2 : at + 4], "big")
        if payload[at : at + 2] != TPKT or size < 4:
            return
        if at + size > len(payload):
            if len(payload) - at == 4:
                memory[f"alone {direction}"] = size - 4
            return
        yield payload[at + 4 : at + size]
        at += size


class TpktHelper(Helper):
    """A helper whose messages travel in TPKTs over TCP."""

    def follow(self, text: bytes, flow: Flow) -> bool | None:
        """One message; None where it cannot be read, False where what it announces cannot be expected."""
        raise NotImplementedError

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not flow.established:
            return None
        for text in tpkts(bytes(payload), flow.memory, flow.direction):
            done = self.follow(text, flow)
            if done is None:
                return None
            if not done:
                return DROP
        return None


class ControlHelper(TpktHelper):
    """H.245 on a connection of its own, which a call announces."""

    name = "H.245"
    limit = 18
    timeout = 240

    def follow(self, text: bytes, flow: Flow) -> bool | None:
        return follow_control(text, flow)


class CallHelper(TpktHelper):
    """Call signalling: Q.931 that carries H.225.0."""

    name = "Q.931"
    ports = ((TCP, 1720),)
    limit = 20
    timeout = 240
    companions = ("H.245",)

    def follow(self, text: bytes, flow: Flow) -> bool | None:
        return follow_call(text, flow)


# --- RAS -------------------------------------------------------------------------------------------------------------


Notes = dict[str, Any]
"""Of a connection: "lasts", how many seconds its registration does; 0 or absent: there is none."""


def expect_calls(flow: Flow, at: Address | None) -> bool:
    """Calls to an address the gatekeeper names, wherever it is."""
    if at is None:
        return True
    return flow.expect(
        protocol=TCP, source=flow.destination, destination=at.host, port=at.port, permanent=True, helper=CallHelper.name
    )


def gatekeeper_found(fields: Value, flow: Flow, notes: Notes) -> bool:
    """The gatekeeper may want to be spoken to elsewhere."""
    at = h225_address(fields["rasAddress"], flow.family)
    if at is None or at == (flow.source, flow.source_port):
        return True
    return flow.expect(protocol=UDP, source=flow.destination, destination=at.host, port=at.port, helper=RasHelper.name)


def registering(fields: Value, flow: Flow, notes: Notes) -> bool:
    """Calls to the first of the speaker's own addresses, from the gatekeeper."""
    for said in fields["callSignalAddress"][:MOST_ADDRESSES]:
        at = h225_address(said, flow.family)
        if at is None or at.host != flow.source or at.port == 0:
            continue
        if not expect_calls(flow, at):
            return False
        break
    notes["lasts"] = fields.get("timeToLive", REGISTERED_S) & UINT32
    return True


def registered(fields: Value, flow: Flow, notes: Notes) -> bool:
    """The connection lasts as long as the registration does. The kernel counts its ticks in 32 bits, and the upper half
    of them is the past."""
    if "timeToLive" in fields:
        notes["lasts"] = fields["timeToLive"] & UINT32
    lasts = notes.get("lasts", 0)
    if lasts:
        ticks = lasts * TICKS & UINT32
        flow.refresh(-(-ticks // TICKS) if ticks >> 31 == 0 else 0)
    return True


def unregistering(fields: Value, flow: Flow, notes: Notes) -> bool:
    """Nothing is expected any more."""
    for one in flow.awaiting(0):
        flow.cancel(**one._asdict())
    flow.refresh(UNREGISTERED_S)
    return True


def admitted(fields: Value, flow: Flow, notes: Notes) -> bool:
    """Where a call may go; the answer to one who is called names the asker itself."""
    at = h225_address(fields["destCallSignalAddress"], flow.family)
    return at is None or at.host == flow.destination or expect_calls(flow, at)


def located(fields: Value, flow: Flow, notes: Notes) -> bool:
    return expect_calls(flow, h225_address(fields["callSignalAddress"], flow.family))


RAS_STEPS: dict[str, Callable[[Value, Flow, Notes], bool]] = {
    "gatekeeperConfirm": gatekeeper_found,
    "registrationRequest": registering,
    "registrationConfirm": registered,
    "unregistrationRequest": unregistering,
    "admissionConfirm": admitted,
    "locationConfirm": located,
}


class RasHelper(Helper):
    """Registration, admission and status: endpoint and gatekeeper."""

    name = "RAS"
    ports = ((UDP, 1719),)
    limit = 32
    timeout = 240
    companions = ("Q.931", "H.245")

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        said: tuple[str, Value] | None = read(0, "RasMessage", bytes(payload))
        step = None if said is None else RAS_STEPS.get(said[0])
        if said is None or step is None:
            return None
        return None if step(said[1], flow, flow.memory) else DROP
