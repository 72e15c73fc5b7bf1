"""One thing that was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAULT: Final = "fault"
NOTE: Final = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is its name. `rule` counts from 1 within the chain, 0: the chain itself. `line` and `column` count from 1,
    0: built by hand. A FAULT is wrong whatever the traffic; a NOTE may be meant so."""

    kind: str
    level: str
    table: str
    chain: str
    rule: int
    line: int
    column: int
    text: str
