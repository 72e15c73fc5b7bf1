"""Sections of a report as tables: rich's where rich is installed and the output is a terminal, else aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from fastfw.cli.errors import printable

Cell = str | int


@dataclass(frozen=True)
class Section:
    """A table with a title; numbers are set to the right. A section without rows is not shown."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""


#: Words that carry a colour on a terminal.
STYLES = {
    "ACCEPT": "green",
    "DROP": "red",
    "REJECT": "red",
    "INVALID": "red",
    "HOLD": "yellow",
    "QUEUE": "yellow",
}


def render(parts: Iterable[Section], hints: Sequence[str], file: TextIO) -> None:
    """Writes the sections, then the hints."""
    shown = [part for part in parts if part.rows]
    if file.isatty() and _render_rich(shown, hints, file):
        return
    for part in shown:
        file.write(f"{part.title}\n")
        cells = [part.columns, *([_text(cell) for cell in row] for row in part.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(part.columns))]
        numeric = [all(isinstance(row[i], int) for row in part.rows) for i in range(len(part.columns))]
        for row in cells:
            line = "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            )
            file.write(f"  {line.rstrip()}\n")
        if part.note:
            file.write(f"  {part.note}\n")
        file.write("\n")
    for hint in hints:
        file.write(f"note: {hint}\n")


def _text(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else printable(cell)


def _render_rich(parts: Sequence[Section], hints: Sequence[str], file: TextIO) -> bool:
    """The same with rich; False where it is not installed."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        return False
    console = Console(file=file)
    for part in parts:
        table = Table(
            title=part.title,
            box=SIMPLE_HEAD,
            title_justify="left",
            title_style="bold",
            caption=part.note or None,
            caption_justify="left",
        )
        for i, column in enumerate(part.columns):
            numeric = all(isinstance(row[i], int) for row in part.rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in part.rows:
            table.add_row(*(Text(_text(cell), style=STYLES.get(str(cell), "")) for cell in row))
        console.print(table)
        console.print()
    for hint in hints:
        console.print(Text(f"note: {hint}", style="bold yellow"))
    return True
