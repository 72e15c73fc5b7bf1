"""nfacct: a named accounting object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import quoted, text

NAME_LIMIT = 31


def _show(value: str, family: int) -> str:
    """With a second blank in front, as the real tool prints it."""
    return f" {quoted(value)}"


@dataclass(slots=True)
class NfAcct(Match):
    """Always true; counts into the object `object_name`."""

    name: ClassVar[str] = "nfacct"

    object_name: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("nfacct-name", "object_name", text(NAME_LIMIT, 1), _show, required=True),
    )
