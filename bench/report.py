"""Figures, collected by the benchmarks and printed together."""

from __future__ import annotations


class Reporter:
    """Collects figures and prints them when the session ends."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def rate(self, benchmark: object, name: str, per_second: float, line_reads: float) -> None:
        """Note a rate, as it is and as a share of the line-read rate measured beside it."""
        info = benchmark.extra_info  # type: ignore[attr-defined]
        info["per_second"] = round(per_second)
        info["line_reads_per_second"] = round(line_reads)
        info["ratio"] = round(per_second / line_reads, 3)
        share = f"{per_second / line_reads:.3f} of {line_reads / 1e6:.0f} M/s"
        self.rows.append((name, f"{per_second / 1e6:.2f} M/s", share))

    def value(self, benchmark: object, name: str, figure: float, unit: str) -> None:
        """Note a figure that is no rate."""
        benchmark.extra_info[unit] = figure  # type: ignore[attr-defined]
        self.rows.append((name, f"{figure:.1f} {unit}", ""))
