"""Helpers: they read what an application says on one connection and announce the connections that follow from it."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple

from fastfw.helpers.base import ACCEPT, DROP, GRE, ORIGINAL, REPLY, TCP, UDP, Flow, Helper, Verdict

__all__ = [
    "ACCEPT",
    "DROP",
    "GRE",
    "ORIGINAL",
    "REPLY",
    "TCP",
    "UDP",
    "Flow",
    "Helper",
    "HelperError",
    "Spec",
    "Verdict",
    "find",
    "known",
    "parse_spec",
]

ENTRY_POINTS = "fastfw.helpers"
"""The entry point group in which an installed package names helper classes of its own."""

BUILT_IN = {
    "H.245": "fastfw.helpers.h323:ControlHelper",
    "Q.931": "fastfw.helpers.h323:CallHelper",
    "RAS": "fastfw.helpers.h323:RasHelper",
    "amanda": "fastfw.helpers.amanda:AmandaHelper",
    "ftp": "fastfw.helpers.ftp:FtpHelper",
    "irc": "fastfw.helpers.irc:IrcHelper",
    "netbios-ns": "fastfw.helpers.netbios_ns:NetbiosHelper",
    "pptp": "fastfw.helpers.pptp:PptpHelper",
    "rtsp": "fastfw.helpers.rtsp:RtspHelper",
    "sane": "fastfw.helpers.sane:SaneHelper",
    "sip": "fastfw.helpers.sip:SipHelper",
    "snmp": "fastfw.helpers.snmp:SnmpHelper",
    "tftp": "fastfw.helpers.tftp:TftpHelper",
}
"""Helper name -> module:class."""

KERNELS = tuple(name for name in BUILT_IN if name != "rtsp")
"""Those that Linux has too."""

PROTOCOLS = {"tcp": TCP, "udp": UDP}


class HelperError(ValueError):
    """A helper that is not known, or one attached to something it cannot be; the message says what would do."""


class Spec(NamedTuple):
    """A helper and what it is attached to: (protocol number, port) pairs."""

    helper: Helper
    ports: tuple[tuple[int, int], ...]


@cache
def _targets() -> dict[str, str]:
    found = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return found | BUILT_IN


def known() -> list[str]:
    """The names of all helpers, installed packages' among them, sorted."""
    return sorted(_targets())


def find(name: str) -> Helper:
    """A new instance of the helper called `name`, as in `CT --helper NAME`.

    Raises HelperError if there is none, or if the package that offers it cannot provide it.
    """
    target = _targets().get(name)
    if target is None:
        raise HelperError(f"no helper is called {name!r}; known are {', '.join(known())}")
    module, _, attribute = target.partition(":")
    try:
        made = getattr(import_module(module), attribute)()
    except Exception as error:
        raise HelperError(f"helper {name!r} cannot be had from {target}: {error}") from error
    if not isinstance(made, Helper):
        raise HelperError(f"helper {name!r}: {target} is no subclass of fastfw.helpers.Helper")
    return made


def parse_spec(text: str) -> Spec:
    """Read `NAME[:PROTO:PORT]`, such as `ftp` or `ftp:tcp:2121`; without a port the helper's own ports stand.

    Raises HelperError.
    """
    name, *attached = text.split(":")
    helper = find(name)
    if not attached:
        if not helper.ports:
            raise HelperError(f"helper {name!r} has no port of its own: {name}:PROTO:PORT expected")
        return Spec(helper, helper.ports)
    if len(attached) != 2:
        raise HelperError(f"{text!r}: NAME or NAME:PROTO:PORT expected")
    protocol, port = PROTOCOLS.get(attached[0].lower()), attached[1]
    if protocol is None:
        raise HelperError(f"{text!r}: protocol tcp or udp expected, not {attached[0]!r}")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise HelperError(f"{text!r}: a port from 1 to 65535 expected, not {port!r}")
    serves = {number for number, _ in helper.ports}
    if serves and protocol not in serves:
        wanted = " or ".join(word for word, number in PROTOCOLS.items() if number in serves)
        raise HelperError(f"{text!r}: helper {name!r} works over {wanted} only")
    return Spec(helper, ((protocol, int(port)),))
