"""helper: the conntrack helper of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import show_text, text

NAME_LIMIT = 29


@dataclass(slots=True)
class Helper(Match):
    """`helper` is a helper's name, with `-port` for one that is not on its usual port; "": any."""

    name: ClassVar[str] = "helper"

    helper: str = ""
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("helper", "helper", text(NAME_LIMIT), show_text, "invert", required=True),
    )
