"""comment: words for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Match, Option
from fastfw.ruleset.ext.values import show_text, text

LIMIT = 255
"""Bytes that are kept."""


@dataclass(slots=True)
class Comment(Match):
    """Always true."""

    name: ClassVar[str] = "comment"

    comment: str = ""

    options: ClassVar[tuple[Option, ...]] = (Option("comment", "comment", text(LIMIT), show_text, required=True),)
