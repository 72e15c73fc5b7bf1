"""What live tests have to show, printed when they are over."""

from __future__ import annotations

TOLD: list[tuple[str, str]] = []


def tell(title: str, text: str) -> None:
    """Keep a text for the end."""
    TOLD.append((title, text.rstrip()))
