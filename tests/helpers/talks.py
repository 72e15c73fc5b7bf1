"""Conversations of the helpers that the running kernel also has, made from the protocols' specifications."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from fastfw.helpers import find

from . import pptp_talk, sip_talk, small_talk
from .kernel import Ends, Say

Talk = Callable[[Random, Ends], list[Say]]
TALKS: dict[str, Talk] = {
    "amanda": small_talk.amanda,
    "irc": small_talk.irc,
    "pptp": pptp_talk.pptp,
    "sane": small_talk.sane,
    "sip": sip_talk.sip,
    "tftp": small_talk.tftp,
}


def cases(names: Iterable[str]) -> list[Any]:
    """Name, protocol, port and family of everything that helpers are attached to."""
    return [
        pytest.param(name, protocol, port, family, id=f"{name}-{protocol}-{family}")
        for name in names
        for protocol, port in find(name).ports
        for family in find(name).families
    ]
