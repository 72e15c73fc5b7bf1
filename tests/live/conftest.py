"""Prints what live tests showed."""

from __future__ import annotations

import pytest

from live.told import TOLD


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A section for each text that a test told."""
    for title, text in TOLD:
        terminalreporter.section(title)
        terminalreporter.write_line(text)
