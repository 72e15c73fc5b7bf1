"""The targets that are no extension: verdicts and jumps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.ext.base import Target


@dataclass(slots=True)
class Accept(Target):
    """Let the packet go on."""

    name: ClassVar[str] = "ACCEPT"


@dataclass(slots=True)
class Drop(Target):
    """Throw the packet away without a word."""

    name: ClassVar[str] = "DROP"


@dataclass(slots=True)
class Return(Target):
    """Go back to the rule after the jump, or to the policy from a built-in chain."""

    name: ClassVar[str] = "RETURN"


@dataclass(slots=True)
class Queue(Target):
    """Hand the packet to user space, queue 0."""

    name: ClassVar[str] = "QUEUE"


@dataclass(slots=True)
class Jump(Target):
    """Go through a user's chain; `Rule.goto` tells whether to come back here."""

    name: ClassVar[str] = ""
    chain: str = ""


VERDICTS: dict[str, type[Target]] = {cls.name: cls for cls in (Accept, Drop, Return, Queue)}
