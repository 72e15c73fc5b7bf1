"""Figures, collected by the benchmarks: printed together, and written to a file that pages and plots are made from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol


class Measure(Protocol):
    """The fixture cpu_time: seconds of CPU time that `work` takes on this thread, the median of `rounds`, each after
    `before`."""

    def __call__(self, work: Callable[[], object], before: Callable[[], object] = ..., rounds: int = 7) -> float: ...


@dataclass(frozen=True)
class Figure:
    """One measured figure. `value` is in `unit`; `reads` are the machine's random cache-line reads a second, measured
    right before, 0 where they say nothing; `goal` is what is aimed at; `series` and `x` place it in a plot."""

    name: str
    value: float
    unit: str
    reads: float = 0.0
    goal: float | None = None
    plot: str = ""
    series: str = ""
    x: float = 0.0

    @property
    def ratio(self) -> float | None:
        """The rate as a share of the line-read rate; None where there is none."""
        return self.value / self.reads if self.reads else None

    def line(self) -> tuple[str, str, str]:
        """Name, figure and ratio as they are printed."""
        shown = f"{self.value / 1e6:.2f} M/s" if self.unit == "packets/s" else f"{self.value:.4g} {self.unit}"
        share = f"{self.ratio:.3f} of {self.reads / 1e6:.0f} M/s" if self.ratio is not None else ""
        return self.name, shown, share


class Reporter:
    """Collects figures until the session ends."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def rate(self, benchmark: Any, name: str, per_second: float, line_reads: float, **more: Any) -> None:
        """Note a rate, as it is and as a share of the line-read rate measured beside it."""
        figure = Figure(name, per_second, "packets/s", line_reads, **more)
        self.figures.append(figure)
        benchmark.extra_info["per_second"] = round(per_second)
        benchmark.extra_info["line_reads_per_second"] = round(line_reads)
        benchmark.extra_info["ratio"] = round(per_second / line_reads, 3)

    def value(self, benchmark: Any, name: str, value: float, unit: str, **more: Any) -> None:
        """Note a figure that is no rate."""
        self.figures.append(Figure(name, value, unit, **more))
        benchmark.extra_info[unit] = value

    def write(self, path: Path) -> None:
        """All figures as JSON, with what they were measured on."""
        machine = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
        figures = [
            asdict(figure) | {"ratio": None if figure.ratio is None else round(figure.ratio, 4)}
            for figure in self.figures
        ]
        path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")


def processor() -> str:
    """The processor's name as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
