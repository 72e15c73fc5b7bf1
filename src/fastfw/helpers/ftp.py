"""FTP: the data connections that PORT and EPRT (client) and the replies 227 and 229 (server) announce.

RFC 959 (PORT, PASV and its reply 227, whose wording RFC 1123 4.1.2.6 leaves open), RFC 2428 (EPRT, EPSV and 229).
Which packets are looked at, and what is made of odd ones, is what Linux does: a line counts only where the packet
begins right after a line's end; what begins like one of the four and does not hold together is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fastfw.helpers.base import DROP, TCP, Flow, Helper, Verdict
from fastfw.helpers.text import parse_ipv6, wrapped

NUMBER = 0xFFFF_FFFF  # decimal numbers wrap at 32 bits, and only low bits are used of what they say


class Announced(NamedTuple):
    """Where data will flow: an address (None: the speaker's own) and a port."""

    address: bytes | None
    port: int


def numbers(text: bytes, count: int, separator: bytes, end: bytes) -> tuple[list[int], int] | None:
    """`count` separated decimal numbers (none is as good as 0), then `end` (empty: whatever else); and their length."""
    form = separator.join([rb"([0-9]*)"] * count)
    found = re.match(form, text)
    if not found or found.end() == len(text):
        return None
    after = text[found.end() : found.end() + 1]
    if after == separator.removeprefix(b"\\") or (end and after != end):
        return None
    return [wrapped(digits, 32) for digits in found.groups()], found.end()


def packed(octets: list[int]) -> bytes:
    """Four numbers as an IPv4 address; one above 255 spills into its neighbours."""
    return ((octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]) & NUMBER).to_bytes(4, "big")


def port_between(text: bytes, start: int, delimiter: int) -> int | None:
    """The decimal port from `start` up to `delimiter`; it wraps at 16 bits and is not 0."""
    end = text.find(delimiter, start)
    digits = text[start:end]
    if end < 0 or not digits.isdigit():
        return None
    return wrapped(digits, 16) or None


def delimiter_of(text: bytes) -> int | None:
    """RFC 2428: any printable character but a digit."""
    first = text[0]
    return first if 33 <= first <= 126 and not 48 <= first <= 57 else None


def port_command(text: bytes, family: int) -> Announced | None:
    """`h1,h2,h3,h4,p1,p2` and a carriage return (RFC 959)."""
    return host_port(text, b"\r")


def host_port(text: bytes, end: bytes) -> Announced | None:
    found = numbers(text, 6, b",", end)
    if found is None:
        return None
    values, _ = found
    return Announced(packed(values), (values[4] << 8 | values[5]) & 0xFFFF)


def reply_227(text: bytes, family: int) -> Announced | None:
    """`h1,h2,h3,h4,p1,p2` from the first digit on, wherever it stands (RFC 1123)."""
    digit = re.search(rb"[0-9]", text)
    return host_port(text[digit.start() :], b"") if digit else None


def eprt_command(text: bytes, family: int) -> Announced | None:
    """`|1|192.0.2.1|1234|` or `|2|2001:db8::1|1234|` with any delimiter (RFC 2428); the number is the family's."""
    if len(text) <= 3:
        return None
    delimiter = delimiter_of(text)
    if delimiter is None or text[2] != delimiter or text[1:2] != (b"1" if family == 4 else b"2"):
        return None
    if family == 4:
        found = numbers(text[3:], 4, rb"\.", bytes((delimiter,)))
        if found is None:
            return None
        address, length = packed(found[0]), found[1]
    else:
        parsed = parse_ipv6(text[3:], delimiter)
        if parsed is None:
            return None
        address, length = parsed
    port = port_between(text, 3 + length + 1, delimiter)
    return None if port is None else Announced(address, port)


def reply_229(text: bytes, family: int) -> Announced | None:
    """`|||1234|` with any delimiter (RFC 2428)."""
    if len(text) <= 3:
        return None
    delimiter = delimiter_of(text)
    if delimiter is None or not text[1] == text[2] == delimiter:
        return None
    port = port_between(text, 3, delimiter)
    return None if port is None else Announced(None, port)


class Form(NamedTuple):
    """How an announcement begins, up to what byte the rest is skipped (empty: nothing is), and how to read it."""

    begins: bytes
    skips_to: bytes
    read: Callable[[bytes, int], Announced | None]


FORMS = (
    (Form(b"PORT", b" ", port_command), Form(b"EPRT", b" ", eprt_command)),  # ORIGINAL: the client
    (Form(b"227 ", b"", reply_227), Form(b"229 ", b"(", reply_229)),  # REPLY: the server
)


class Cut(Exception):
    """A line that begins as an announcement and cannot be read as one."""


def announcement(line: bytes, direction: int, family: int) -> Announced | None:
    """What the packet's payload announces if its first line is for us. Raises Cut."""
    for form in FORMS[direction]:
        length = len(form.begins)
        start = line[:length].upper()
        if len(line) <= length:
            if form.begins.startswith(start):
                raise Cut
            continue
        if start != form.begins:
            continue
        if form.skips_to:
            found = line.find(form.skips_to, length)
            if found < 0:
                raise Cut
            length = found + 1
        announced = form.read(line[length:], family)
        if announced is None:
            raise Cut
        return announced
    return None


def add_line_start(known: list[int], sequence: int) -> None:
    """Note a sequence number at which a line is known to begin; the two newest are kept."""
    if sequence in known:
        return
    if len(known) < 2:
        known.append(sequence)
        return
    oldest = 0 if before(known[0], known[1]) else 1
    if before(known[oldest], sequence):
        known[oldest] = sequence


def before(one: int, other: int) -> bool:
    """Whether sequence number `one` comes before `other` (RFC 9293 3.4)."""
    return (one - other) & NUMBER > 0x7FFF_FFFF


class FtpHelper(Helper):
    """See the module."""

    name = "ftp"
    ports = ((TCP, 21),)
    limit = 1
    timeout = 300
    # How an announcement begins, or what a cut one has of it; and a line's end is remembered.
    prefixes = (b"P", b"E", b"2")
    suffixes = (b"\n",)

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        if not flow.established:
            return None
        starts = flow.memory.setdefault("line starts", [[], []])[flow.direction]
        known = flow.sequence in starts
        line = bytes(payload)
        verdict: Verdict | None = None
        if known:
            try:
                announced = announcement(line, flow.direction, flow.family)
            except Cut:
                # The rest of it would pass unseen, and the data connection with it: dropped, it is sent again whole.
                return DROP
            if announced is not None:
                verdict = self.announce(announced, flow)
        if line.endswith(b"\n"):
            add_line_start(starts, (flow.sequence + len(line)) & NUMBER)
        return verdict

    def announce(self, announced: Announced, flow: Flow) -> Verdict | None:
        # An address other than the speaker's own would open a way to a third party (RFC 2577, the bounce attack).
        # Over IPv6 the four octets of PORT and 227 are held against the first four of the speaker's address.
        if announced.address is not None and not flow.source.startswith(announced.address):
            return None
        if flow.expect(destination=flow.source, port=announced.port, source=flow.destination):
            return None
        return DROP
