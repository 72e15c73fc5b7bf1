"""SIP (RFC 3261): the media that a call's session description announces, and the calls a registered phone receives.

Media are expected from the other end of the signalling only, and only at the speaker's own address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from fastfw.helpers import sip_text
from fastfw.helpers.base import DROP, TCP, UDP, Flow, Helper, Verdict
from fastfw.helpers.sip_text import Unreadable, Uri

SIGNALLING, AUDIO, VIDEO, IMAGE = 0, 1, 2, 3  # classes of expectations
MEDIA_CLASSES = {b"audio": AUDIO, b"video": VIDEO, b"image": IMAGE}
MOST_MEDIA = 3  # media lines of one description that are followed
PATIENCE_S = 3600  # how long the signalling's own connection may be silent
SHORTEST = len(b"SIP/2.0 200")
RESPONSE = b"sip/2.0 "


class Message:
    """One SIP message, with its flow and the connection's notes: the sequence numbers of the newest INVITE and REGISTER
    that were let through."""

    def __init__(self, text: bytes, flow: Flow) -> None:
        self.text, self.flow = text, flow
        self.notes = flow.memory
        self.sequence = 0
        self.code = 0

    def cancel_media(self) -> None:
        for class_ in (AUDIO, VIDEO, IMAGE):
            for one in self.flow.awaiting(class_):
                self.flow.cancel(**one._asdict())


Step = Callable[[Message], Verdict | None]


# --- calls -----------------------------------------------------------------------------------------------------------


def offer(m: Message) -> Verdict | None:
    """Expect the media of the session description, if there is one."""
    start = sip_text.session(m.text)
    if start is None:
        return None
    usual = sip_text.connection(m.text, start, m.flow.family)
    at, followed = start, 0
    while followed < MOST_MEDIA and (line := sip_text.media(m.text, at)) is not None:
        class_ = MEDIA_CLASSES.get(line.kind)
        at = line.end if class_ is None else line.at
        if class_ is None or line.port == 0:
            continue
        address = sip_text.connection(m.text, at, m.flow.family) or usual
        if not 1024 <= line.port <= 65535 or address is None or not expect_media(m.flow, address, line.port, class_):
            return DROP
        followed += 1
    return None


def expect_media(flow: Flow, address: bytes, port: int, class_: int) -> bool:
    """RTP at the even port and RTCP at the odd one above (RFC 3550 11)."""
    if address != flow.source:
        return True
    even = port & ~1
    if not flow.expect(
        protocol=UDP, source=flow.destination, destination=address, port=even, class_=class_, shared=True
    ):
        return False
    if flow.expect(
        protocol=UDP, source=flow.destination, destination=address, port=even + 1, class_=class_, shared=True
    ):
        return True
    flow.cancel(protocol=UDP, source=flow.destination, source_port=None, destination=address, port=even)
    return False


def invite(m: Message) -> Verdict | None:
    m.cancel_media()
    verdict = offer(m)
    if verdict is None:
        m.notes["invite"] = m.sequence
    return verdict


def answer(m: Message) -> Verdict | None:
    """A provisional or good answer may describe media; any other ends the call it belongs to."""
    if 100 <= m.code <= 299:
        return offer(m)
    if m.notes.get("invite", 0) == m.sequence:
        m.cancel_media()
    return None


def bye(m: Message) -> Verdict | None:
    m.cancel_media()
    return None


# --- registrations ---------------------------------------------------------------------------------------------------


def transport(m: Message, contact: Uri) -> bool:
    """Whether the contact is to be reached by the protocol it was said over."""
    at = sip_text.parameter(m.text, contact.end, b"transport=")
    if at is None:
        return True
    return m.text[at : at + 3].lower() == (b"tcp" if m.flow.protocol == TCP else b"udp")


def lifetime(m: Message, contact: Uri, usual: int) -> int:
    """Seconds for which a contact is registered. Raises Unreadable."""
    at = sip_text.parameter(m.text, contact.end, b"expires=")
    if at is None:
        return usual
    seconds = sip_text.number(m.text, at)
    if seconds is None:
        raise Unreadable(at)
    return seconds


def usual_lifetime(m: Message) -> int:
    digits = sip_text.count(m.text, sip_text.EXPIRES)
    return (sip_text.number(digits, 0) if digits else None) or 0


def register(m: Message) -> Verdict | None:
    """Calls from the registrar to the contact are expected once it agrees."""
    flow = m.flow
    if flow.expected:
        return None
    usual = usual_lifetime(m)
    try:
        contact = next(sip_text.contacts(m.text, flow.family), None)
        if contact is None or contact.address != flow.source or not transport(m, contact):
            return None
        seconds = lifetime(m, contact, usual)
    except Unreadable:
        return DROP
    if seconds and not flow.expect(
        protocol=flow.protocol,
        source=flow.destination,
        destination=contact.address,
        port=contact.port,
        permanent=True,
        inactive=True,
        class_=SIGNALLING,
        helper=SipHelper.name,
    ):
        return DROP
    m.notes["register"] = m.sequence
    return None


def registered(m: Message) -> Verdict | None:
    """The registrar's answer says for how long; where it does not list the contact, it is forgotten."""
    flow = m.flow
    if m.notes.get("register", 0) != m.sequence or 100 <= m.code <= 199:
        return None
    if 200 <= m.code <= 299:
        usual = usual_lifetime(m)
        try:
            for contact in sip_text.contacts(m.text, flow.family):
                if contact.address != flow.destination or not transport(m, contact):
                    continue
                seconds = lifetime(m, contact, usual)
                if seconds == 0:
                    break
                for one in flow.awaiting(SIGNALLING):
                    if (one.protocol, one.destination, one.port) == (flow.protocol, contact.address, contact.port):
                        flow.expect(**one._asdict(), permanent=True, timeout=seconds, helper=SipHelper.name)
                        return None
        except Unreadable:
            return DROP
    for one in flow.awaiting(SIGNALLING):
        flow.cancel(**one._asdict())
    return None


REQUESTS: dict[bytes, Step] = {
    b"invite": invite,
    b"update": offer,
    b"ack": offer,
    b"prack": offer,
    b"bye": bye,
    b"register": register,
}
RESPONSES: dict[bytes, Step] = {b"invite": answer, b"update": answer, b"prack": answer, b"register": registered}


def follow(text: bytes, flow: Flow) -> Verdict | None:
    """One message. What is addressed to us and cannot be read is dropped."""
    m = Message(text, flow)
    if text[: len(RESPONSE)].lower() == RESPONSE:
        code = sip_text.number(text, len(RESPONSE))
        place = sip_text.find(text, sip_text.CSEQ)
        sequence = None if place is None else sip_text.number(text, place.at)
        if not code or place is None or sequence is None:
            return DROP
        m.code, m.sequence = code, sequence
        at = place.at + len(sip_text.digits(text, place.at)) + 1
        answered = text[at : at + 8].lower()
        step = next((step for method, step in RESPONSES.items() if answered.startswith(method)), None)
        return step(m) if step else None
    method, blank, rest = text[:10].lower().partition(b" ")
    step = REQUESTS.get(method)
    if step is None or not blank or not rest[:1].isalpha():
        return None
    place = sip_text.find(text, sip_text.CSEQ)
    sequence = None if place is None else sip_text.number(text, place.at)
    if sequence is None:
        return DROP
    m.sequence = sequence
    return step(m)


def messages(payload: bytes) -> Iterator[bytes]:
    """The whole messages of a TCP segment, as their Content-Length divides it; one that is cut ends it."""
    while True:
        place = sip_text.find(payload, sip_text.CONTENT_LENGTH)
        length = None if place is None else sip_text.number(payload, place.at)
        if place is None or length is None:
            return
        body = payload.find(b"\r\n\r\n", place.at + len(sip_text.digits(payload, place.at)))
        if body < 0:
            return
        end = body + 4 + length
        if end > len(payload):
            return
        yield payload[:end]
        payload = payload[end:]


class SipHelper(Helper):
    """See the module."""

    name = "sip"
    ports = ((UDP, 5060), (TCP, 5060))
    timeout = 180
    class_names = ("signalling", "audio", "video", "image")
    limits: ClassVar[dict[int, int]] = {SIGNALLING: 1, AUDIO: 4, VIDEO: 4, IMAGE: 2}

    def policy(self, class_: int) -> tuple[int, int]:
        return self.limits[class_], self.timeout

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not payload or (flow.protocol == TCP and not flow.established):
            return None
        flow.refresh(PATIENCE_S)
        if len(payload) < SHORTEST:
            return None
        text = bytes(payload)
        for message in messages(text) if flow.protocol == TCP else (text,):
            if follow(message, flow) is DROP:
                return DROP
        return None
