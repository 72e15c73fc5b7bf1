"""CONNSECMARK and SECMARK: security marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Option, Target
from fastfw.ruleset.ext.values import show_plain, text

CONTEXT_LIMIT = 255


@dataclass(slots=True)
class ConnSecMark(Target):
    """`mode` is save or restore."""

    name: ClassVar[str] = "CONNSECMARK"
    tables: ClassVar[tuple[str, ...]] = ("mangle", "security")

    mode: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("save", "mode", value="save", excludes=("restore",)),
        Option("restore", "mode", value="restore"),
    )

    def finish(self, context: Context) -> None:
        """One of both must be given."""
        if not self.mode:
            raise Refusal("CONNSECMARK needs --save or --restore")
        Target.finish(self, context)


@dataclass(slots=True)
class SecMark(Target):
    """`context` is a security context's name; only a kernel with that policy knows it."""

    name: ClassVar[str] = "SECMARK"
    tables: ClassVar[tuple[str, ...]] = ("mangle", "security")

    context: str = ""

    options: ClassVar[tuple[Option, ...]] = (
        Option("selctx", "context", text(CONTEXT_LIMIT), show_plain, required=True),
    )
