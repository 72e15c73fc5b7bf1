"""Reading SIP messages (RFC 3261) and session descriptions (RFC 8866) as Linux does: leniently, line by line.

Positions are offsets into the whole message. Where a reader may say that something is there and cannot be read, it
raises Unreadable; None is "not there".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from fastfw.helpers.text import parse_dotted, parse_ipv6_prefix

SIP_PORT = 5060
LINE_END = re.compile(rb"\r\n|\r|\n")
BREAK = re.compile(rb"[\r\n]")
USER_END = re.compile(rb"[@\r\n]")
DIGITS = re.compile(rb"[0-9]*")
LETTERS = re.compile(rb"[A-Za-z]*")
BLANKS = re.compile(rb"[ \t]*")
LONGEST_ADDRESS = 256  # bytes looked at: far more than any that is meant


class Unreadable(Exception):
    """It is there, but is not what it has to be. `at` is where it begins."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(at)
        self.at = at


class Uri(NamedTuple):
    """Host and port of a URI, and where it ends."""

    address: bytes
    port: int
    end: int


# --- numbers and addresses -------------------------------------------------------------------------------------------


def digits(text: bytes, at: int) -> bytes:
    """The decimal digits at a position; there may be none."""
    found = DIGITS.match(text, at)
    return found[0] if found else b""


def number(text: bytes, at: int) -> int | None:
    """The decimal number at a position: up to 11 digits, up to 32 bits; else None."""
    found = digits(text, at)
    if not 1 <= len(found) <= 11 or int(found) > 0xFFFF_FFFF:
        return None
    return int(found)


def address(text: bytes, at: int, family: int, *, bracketed: bool) -> tuple[bytes, int] | None:
    """The address at a position and where it ends; in a URI an IPv6 address stands in brackets."""
    if family == 4:
        found = parse_dotted(text[at : at + LONGEST_ADDRESS])
        return (found[0], at + found[1]) if found else None
    if bracketed:
        if text[at : at + 1] != b"[":
            return None
        at += 1
    found = parse_ipv6_prefix(text[at : at + LONGEST_ADDRESS])
    if not found:
        return None
    end = at + found[1]
    if bracketed:
        if text[end : end + 1] != b"]":
            return None
        end += 1
    return found[0], end


# --- headers ---------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """A header's name, its one-letter form, and what its value is sought by."""

    name: bytes
    compact: bytes = b""
    search: bytes = b""


CSEQ = Header(b"cseq")
EXPIRES = Header(b"expires")
CONTENT_LENGTH = Header(b"content-length", b"l")
CONTACT = Header(b"contact", b"m", b"sip:")


def unfold(text: bytes, at: int, end: int) -> int | None:
    """After a line's end at `at`: where the continuation line's text begins; None if the header ends there."""
    at += 2 if text[at : at + 2] == b"\r\n" else 1
    if at >= end or text[at] not in b" \t":
        return None
    blanks = BLANKS.match(text, at, end)
    return blanks.end() if blanks else at


def skip_blanks(text: bytes, at: int) -> int | None:
    """Past blanks and at most one line's end that is continued."""
    blanks = BLANKS.match(text, at)
    at = blanks.end() if blanks else at
    if text[at : at + 1] in (b"\r", b"\n"):
        return unfold(text, at, len(text))
    return at


@cache
def sought(needle: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(needle) + rb"|[\r\n]", re.IGNORECASE)


def seek(text: bytes, at: int, end: int, needle: bytes) -> int | None:
    """`needle` (lower case) in a header's value from `at` on, over continuation lines, any case."""
    last = end - len(needle)
    pattern = sought(needle)
    while at < last:
        found = pattern.search(text, at, end - 1)
        if found is None or found.start() >= last:
            return None
        if found[0] not in (b"\r", b"\n"):
            return found.start()
        further = unfold(text, found.start(), last)
        if further is None:
            return None
        at = further + 1
    return None


class Place(NamedTuple):
    """Where a header's value begins, and where in it what is sought."""

    value: int
    at: int


def find(text: bytes, header: Header, at: int = 0) -> Place | None:
    """The first such header after a line's end from `at` on. Raises Unreadable if it lacks what is sought in it."""
    size = len(text)
    while (line_end := LINE_END.search(text, at)) is not None:
        at = line_end.end()
        if at >= size:
            return None
        if text[at] in b" \t":  # a continuation
            at += 1
            continue
        end = at + len(header.name)
        if text[at:end].lower() != header.name:
            end = at + 1
            if (
                not header.compact
                or text[at:end].lower() != header.compact
                or end >= size
                or text[end : end + 1].isalpha()
            ):
                at += 1
                continue
        colon = skip_blanks(text, end)
        if colon is None or text[colon : colon + 1] != b":" or colon + 1 >= size:
            return None
        start = skip_blanks(text, colon + 1)
        if start is None:
            return None
        if not header.search:
            return Place(start, start)
        found = seek(text, start, size, header.search)
        if found is None:
            raise Unreadable(start)
        return Place(start, found + len(header.search))
    return None


def count(text: bytes, header: Header) -> bytes | None:
    """The digits of a header's number; None if there are none."""
    place = find(text, header)  # a header without a search is never Unreadable
    return None if place is None else digits(text, place.at) or None


# --- contacts --------------------------------------------------------------------------------------------------------


class Users:
    """Where the next user's name ends, or the line it may stand in. A line of many is read once."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.asked = self.found = -1

    def __call__(self, at: int) -> int:
        if not self.asked <= at <= self.found:
            end = USER_END.search(self.text, at)
            self.asked, self.found = at, end.start() if end else len(self.text)
        return self.found


def uri_at(text: bytes, at: int, family: int, users: Users) -> Uri | None:
    """After `sip:`, the address behind a user's name if there is one, and a port from 1024 on in up to five digits."""
    user = users(at)
    host = address(text, user + 1 if text[user : user + 1] == b"@" else at, family, bracketed=True)
    if host is None:
        return None
    end = host[1]
    if text[end : end + 1] != b":":
        return Uri(host[0], SIP_PORT, end)
    port = digits(text, end + 1)
    if not 4 <= len(port) <= 5 or not 1024 <= int(port) <= 65535:
        return None
    return Uri(host[0], int(port), end + 1 + len(port))


def contacts(text: bytes, family: int) -> Iterator[Uri]:
    """The URIs of all Contact headers in order; what cannot be read is passed over."""
    at, within, users = 0, False, Users(text)
    while True:
        found, at = next_in_header(text, at, family, users) if within else (None, at)
        if found is None:
            found, at = next_header(text, at, family, users)
        if found is None:
            return
        yield found
        at, within = found.end, True


Found = tuple[Uri | None, int]  # and where to look further


def next_in_header(text: bytes, at: int, family: int, users: Users) -> Found:
    """The next of several contacts that stand in one header, behind a comma."""
    while True:
        comma = seek(text, at, len(text), b",")
        scheme = None if comma is None else seek(text, comma, len(text), CONTACT.search)
        if scheme is None:
            return None, at
        start = scheme + len(CONTACT.search)
        found = uri_at(text, start, family, users)
        if found is not None:
            return found, at
        at = start


def next_header(text: bytes, at: int, family: int, users: Users) -> Found:
    """The first contact of the next Contact header. One that cannot be read is passed over."""
    while True:
        try:
            place = find(text, CONTACT, at)
        except Unreadable as unreadable:
            at = unreadable.at
            continue
        if place is None:
            return None, at
        found = uri_at(text, place.at, family, users)
        if found is not None:
            return found, at
        at = place.value


def parameter(text: bytes, at: int, name: bytes) -> int | None:
    """Where the value of a parameter such as `expires=` begins, in what follows a contact's URI."""
    comma = seek(text, at, len(text), b",")
    found = seek(text, at, len(text) if comma is None else comma, name)
    return None if found is None else found + len(name)


# --- session descriptions --------------------------------------------------------------------------------------------


def sdp_line(text: bytes, at: int, kind: bytes, until: bytes = b"") -> int | None:
    """Behind the first line from `at` on that begins with `kind` (`m=`), if none with `until` comes before it."""
    size = len(text)
    while (line_end := LINE_END.search(text, at)) is not None:
        at = line_end.end()
        if at >= size:
            return None
        start = text[at : at + 2].lower()
        if until and start == until:
            return None
        if start == kind:
            return at + 2
        at += 1
    return None


def session(text: bytes) -> int | None:
    """Where a session description begins, behind its `v=`."""
    at = sdp_line(text, 0, b"v=")
    return at if at is not None and digits(text, at) else None


def connection(text: bytes, at: int, family: int) -> bytes | None:
    """The address of the `c=` line that follows `at` before the next media line."""
    start = sdp_line(text, at, b"c=", until=b"m=")
    if start is None:
        return None
    line = BREAK.search(text, start)
    network = b"IN IP4 " if family == 4 else b"IN IP6 "
    found = text.find(network, start, line.start() if line else len(text) - 1)
    if found < 0:
        return None
    host = address(text, found + len(network), family, bracketed=False)
    return host[0] if host else None


class Media(NamedTuple):
    """A media line: its kind (`audio`), its port (0: none that can be read), and where the port's digits are."""

    kind: bytes
    port: int
    at: int
    end: int


def media(text: bytes, at: int) -> Media | None:
    """The next media line from `at` on; None if there is none, or if it cannot be read."""
    start = sdp_line(text, at, b"m=")
    if start is None:
        return None
    letters = LETTERS.match(text, start)
    kind = letters[0] if letters else b""
    port_at = start + len(kind) + 1
    if text[port_at - 1 : port_at] != b" ":
        return None
    return Media(kind, number(text, port_at) or 0, port_at, port_at + len(digits(text, port_at)))
