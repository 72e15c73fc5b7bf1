"""rpfilter: whether a reply would leave where the packet came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option


@dataclass(slots=True)
class RpFilter(Match):
    """`loose`: any interface will do; `invert`: packets that fail the test."""

    name: ClassVar[str] = "rpfilter"
    tables: ClassVar[tuple[str, ...]] = ("raw", "mangle")
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING",)

    loose: bool = False
    validmark: bool = False
    accept_local: bool = False
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("loose", "loose"),
        Option("validmark", "validmark"),
        Option("accept-local", "accept_local"),
        Option("invert", "invert"),
    )
