"""Rules put in force without what makes them quick: the reference that the quick engine is held against."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import fastfw
from fastfw.ruleset.compile import compile_ruleset


def enforce(engine: fastfw.Engine, family: int, text: str, remember: bool = False, classify: bool = False) -> None:
    """`Engine.replace` with all it does (templates, sets, accounting); paths and classifier only where asked for."""
    slow = partial(compile_ruleset, remember=remember, classify=classify)
    with patch("fastfw.engine.compile_ruleset", slow):
        engine.replace(**{f"rules{family}": fastfw.Ruleset.parse(text, family)})
