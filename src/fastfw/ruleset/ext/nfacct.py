"""nfacct: a named accounting object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import show_plain, text

NAME_LIMIT = 31


@dataclass(slots=True)
class NfAcct(Match):
    """Always true; counts into the object `object_name`."""

    name: ClassVar[str] = "nfacct"

    object_name: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("nfacct-name", "object_name", text(NAME_LIMIT, 1, NAME_LIMIT), show_plain, required=True),
    )
